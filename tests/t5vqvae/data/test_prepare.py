from __future__ import annotations

import json
import logging
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from t5vqvae.data import (
    DataConfig,
    Example,
    GrammarCorpus,
    MathCorpus,
    TextCorpus,
    TokenizerConfig,
    build_tokenizer,
    prepare,
    prepare_test,
)
from t5vqvae.data import prepare as prepare_function
from t5vqvae.data.corpora.base import CorpusConfig
from t5vqvae.data.prepare import roles_of_tokens
from t5vqvae.data.tokenizer import load_pretrained
from t5vqvae.errors import DataError, SettingError

GRAMMAR = GrammarCorpus(size=60, validation_size=10, test_size=10)


def _text(folder: Path, *sentences: str) -> TextCorpus:
    (folder / "train.txt").write_text("\n".join(sentences))
    (folder / "validation.txt").write_text("short")
    (folder / "test.txt").write_text("brief")
    return TextCorpus(path=str(folder))


def test_defaults_are_valid_and_overridable() -> None:
    config = DataConfig().with_overrides({"corpus.name": "grammar", "corpus.size": 7, "max_length": 20})
    assert isinstance(config.corpus, GrammarCorpus) and config.corpus.size == 7
    assert DataConfig.parse(config.as_dict()) == config
    with pytest.raises(SettingError, match=r"max_length=1 must be at least 2"):
        DataConfig.parse({"max_length": 1})


def test_too_long_sentences_are_dropped_counted_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    corpus = _text(tmp_path, "a", "ab", "abc", "abcd")
    config = DataConfig(corpus=corpus, tokenizer=TokenizerConfig(kind="latex"), max_length=6)
    assert len(prepare(config, tmp_path / "cache").train) == 4
    shorter = config.with_overrides({"max_length": 4, "corpus.validation_fraction": 0.2})
    with pytest.raises(DataError, match=r"data.max_length=4 .* leaves none of the 1 sentences of the validation split"):
        prepare(shorter, tmp_path / "cache")
    (tmp_path / "validation.txt").write_text("x")
    with caplog.at_level(logging.WARNING):
        data = prepare(shorter, tmp_path / "cache")
    assert data.num_too_long == {"train": 1, "validation": 0, "test": 1}
    assert data.train.sources(range(3)) == ["a", "ab", "abc"]
    assert "1 of 4 sentences of the train split are dropped: longer than 4 source" in caplog.text
    assert prepare_test(shorter, tmp_path / "cache") == {}


def test_target_length_has_its_own_limit(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("q\ta\nx\tlong\nyy\tl\n")
    (tmp_path / "validation.tsv").write_text("q\ta\nz\tl\n")
    corpus = TextCorpus(path=str(tmp_path), target_column="a", test_fraction=0)
    config = DataConfig(corpus=corpus, tokenizer=TokenizerConfig(kind="latex"), max_length=9, max_target_length=3)
    data = prepare(config, tmp_path / "cache")
    assert (data.train.sources([0]), data.train.texts([0])) == (["yy"], ["l"])
    assert len(data.train) == 1


def test_second_call_loads_no_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = DataConfig(corpus=GRAMMAR)
    first = prepare(config, tmp_path)

    def refuse(*args: object) -> None:
        raise AssertionError("loaded again")

    monkeypatch.setattr(GrammarCorpus, "load", refuse)
    second = prepare(config, tmp_path)
    assert second.fingerprint == first.fingerprint
    assert second.train.batch([0, 1]).input_ids_BT.tolist() == first.train.batch([0, 1]).input_ids_BT.tolist()
    assert set(prepare_test(config, tmp_path)) == {"test"}
    with pytest.raises(AssertionError, match=r"loaded again"):
        prepare(config.with_overrides({"corpus.seed": 1}), tmp_path)


def test_changed_file_is_noticed_and_touched_one_costs_nothing(tmp_path: Path) -> None:
    config = DataConfig(corpus=_text(tmp_path, "one", "two"))
    first = prepare(config, tmp_path / "cache")
    train = tmp_path / "train.txt"
    train.touch()
    assert prepare(config, tmp_path / "cache").folder == first.folder
    train.write_text("one\nthree")
    changed = prepare(config, tmp_path / "cache")
    assert changed.fingerprint != first.fingerprint
    assert changed.train.sources([1]) == ["three"]


@pytest.mark.parametrize(
    "overrides",
    [{"max_length": 44}, {"max_target_length": 44}, {"tokenizer.vocab_size": 320}, {"tokenizer.kind": "latex"}],
)
def test_fingerprint_hears_of_every_setting(overrides: dict[str, object], tmp_path: Path) -> None:
    config = DataConfig(corpus=GRAMMAR)
    data = prepare(config, tmp_path)
    assert prepare(config, tmp_path / "elsewhere").fingerprint == data.fingerprint
    assert prepare(config.with_overrides(overrides), tmp_path).fingerprint != data.fingerprint


def test_lost_folder_is_prepared_again(tmp_path: Path) -> None:
    config = DataConfig(corpus=GRAMMAR)
    data = prepare(config, tmp_path)
    data.folder.rename(tmp_path / "away")
    assert len(prepare(config, tmp_path).train) == 60


def test_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from t5vqvae.data import split

    module = sys.modules[prepare_function.__module__]
    monkeypatch.setattr(module, "write_split", lambda *args: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match=r"disk full"):
        prepare(DataConfig(corpus=GRAMMAR), tmp_path)
    assert not [path for path in (tmp_path / "prepared").rglob("*") if path.suffix != ".lock" and path.is_file()]
    monkeypatch.setattr(module, "write_split", split.write_split)
    assert len(prepare(DataConfig(corpus=GRAMMAR), tmp_path).train) == 60


def test_concurrent_processes_prepare_once(tmp_path: Path) -> None:
    code = """
import sys, time
from pathlib import Path
from t5vqvae.data import DataConfig, GrammarCorpus, prepare
load = GrammarCorpus.load
def counted(config, cache_dir):
    with open(sys.argv[1] + "/loaded", "a") as file:
        file.write("x")
    time.sleep(1)  # long enough for the other process to come, too
    return load(config, cache_dir)
GrammarCorpus.load = counted
data = prepare(DataConfig(corpus=GrammarCorpus(size=60, validation_size=10, test_size=10)), Path(sys.argv[1]))
print(data.fingerprint, data.train.batch([0]).input_ids_BT.tolist())
"""
    runs = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) for _ in range(2)]
    outputs = [run.communicate()[0] for run in runs]
    assert outputs[0] and outputs[0] == outputs[1]
    assert (tmp_path / "loaded").read_text() == "x"


def test_roles_reach_the_tokens(tmp_path: Path) -> None:
    data = prepare(DataConfig(corpus=GRAMMAR), tmp_path)
    corpus = GRAMMAR.load(tmp_path)
    assert data.role_names[0] == "none" and set(data.role_names[1:]) == {r for e in corpus.train for r in e.roles or ()}
    batch = data.train.batch(range(60))
    assert batch.roles_BT is not None
    for ids, roles, example in zip(batch.input_ids_BT, batch.roles_BT, corpus.train, strict=True):
        tokens = data.tokenizer.convert_ids_to_tokens(ids)
        named = [data.role_names[role] for role in roles]
        starts = [name for token, name in zip(tokens, named, strict=True) if token.startswith("▁") and token != "▁"]
        if not any(token == "▁" for token in tokens):
            assert tuple(starts) == example.roles
        assert all(name == "none" for token, name in zip(tokens, named, strict=True) if token in ("</s>", "<pad>"))


def test_worked_roles_of_tokens() -> None:
    spans = [(0, 2), (2, 4), (4, 8), (8, 9), (9, 11), (0, 0)]  # "an", " o", "ther", " ", "go", </s>
    found = roles_of_tokens("an other go", ("A", "B", "C"), spans, {"none": 0, "A": 1, "B": 2, "C": 3})
    assert found == [1, 2, 2, 0, 3, 0]


def test_backbone_brings_its_tokenizer(tmp_path: Path) -> None:
    own = build_tokenizer(TokenizerConfig(), [Example("zebra zebra")], "unigram", None, tmp_path)
    own.save_pretrained(tmp_path / "backbone")
    config = DataConfig(corpus=GRAMMAR, max_length=200)
    data = prepare(config, tmp_path, backbone=str(tmp_path / "backbone"))
    assert data.tokenizer.get_vocab() == own.get_vocab()
    assert data.fingerprint != prepare(config, tmp_path).fingerprint
    forced = config.with_overrides({"tokenizer.kind": "unigram"})
    ignored = prepare(forced, tmp_path, backbone=str(tmp_path / "backbone"))
    assert ignored.fingerprint == prepare(config, tmp_path).fingerprint


def test_prepared_data_pickles_small(tmp_path: Path) -> None:
    data = prepare(DataConfig(corpus=MathCorpus(size=50, validation_size=5, test_size=5)), tmp_path)
    again = pickle.loads(pickle.dumps(data))
    assert again.train.sources([3]) == data.train.sources([3])
    assert len(pickle.dumps(data)) < 2_000


def test_training_sees_no_test_split(tmp_path: Path) -> None:
    data = prepare(DataConfig(corpus=GRAMMAR), tmp_path)
    assert {name for name in vars(data) if "test" in name} == set()
    assert json.dumps(data.num_too_long) == '{"train": 0, "validation": 0, "test": 0}'
    assert "test" not in CorpusConfig.variants


def test_runs_of_a_process_share_a_tokenizer_and_read_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, read = DataConfig(corpus=GRAMMAR), []
    prepare(config, tmp_path)

    def counted(folder: Path) -> Any:
        read.append(folder)
        return load_pretrained(folder)

    monkeypatch.setattr(sys.modules["t5vqvae.data.prepare"], "load_pretrained", counted)
    first, second = (prepare(config, tmp_path).tokenizer for _ in range(2))
    assert first is second and len(read) == 1
    other = prepare(config.with_overrides({"corpus.size": 50}), tmp_path).tokenizer
    assert other is not first and len(read) == 2
