from __future__ import annotations

import json
import logging
import os
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
from t5vqvae.data.corpora.base import CorpusConfig
from t5vqvae.data.prepare import test_strings
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


def test_too_long_training_sentences_are_dropped_others_kept_and_both_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    corpus = _text(tmp_path, "a", "ab", "abc", "abcd")
    config = DataConfig(corpus=corpus, tokenizer=TokenizerConfig(kind="latex"), max_length=6)
    whole = prepare(config, tmp_path / "cache")
    assert len(whole.train) == 4
    shorter = config.with_overrides({"max_length": 4})
    with caplog.at_level(logging.WARNING):
        data = prepare(shorter, tmp_path / "cache")
    assert data.num_too_long == {"train": 1, "validation": 1, "test": 1}
    assert data.train.sources(range(3)) == ["a", "ab", "abc"]
    assert "1 of 4 sentences of the train split are dropped: longer than 4 source" in caplog.text
    assert data.validation.sources([0]) == ["short"] and prepare_test(shorter, tmp_path / "cache")["test"].sources([0])
    assert "1 of 1 sentences of the test split are longer than 4 source" in caplog.text
    assert test_strings(shorter, tmp_path / "cache") == test_strings(config, tmp_path / "cache")
    (tmp_path / "train.txt").write_text("abcd\nabcde")
    with pytest.raises(DataError, match=r"data.max_length=4 .* leaves none of the 2 sentences of the train split"):
        prepare(shorter, tmp_path / "cache")


def test_a_test_sentence_too_long_to_be_measured_is_refused_by_name(tmp_path: Path) -> None:
    corpus = _text(tmp_path, "a", "ab")
    (tmp_path / "test.txt").write_text("x" * 99)
    config = DataConfig(corpus=corpus, tokenizer=TokenizerConfig(kind="latex"), max_length=4)
    with pytest.raises(DataError, match=r"data.max_length=4 .* of the test split \(100 tokens\).* raise it to 5"):
        prepare(config, tmp_path / "cache")
    assert len(prepare_test(config.with_overrides({"max_length": 5}), tmp_path / "cache")["test"]) == 1


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
    from t5vqvae.data import split, written_splits

    monkeypatch.setattr(written_splits, "write_split", lambda *args: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match=r"disk full"):
        prepare(DataConfig(corpus=GRAMMAR), tmp_path)
    assert not [path for path in (tmp_path / "prepared").rglob("*") if path.suffix != ".lock" and path.is_file()]
    monkeypatch.setattr(written_splits, "write_split", split.write_split)
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


HTML = [f"was <s>{number} euro</s> now <unk> euro" for number in range(15)]


def _of(folder: Path, lines: list[str], **settings: Any) -> DataConfig:
    (folder / "all.txt").write_text("\n".join(lines))
    return DataConfig(corpus=TextCorpus(path=str(folder / "all.txt")), max_length=200).with_overrides(settings)


@pytest.mark.parametrize("kind", ["unigram", "latex"])
def test_special_tokens_never_come_from_text(kind: str, tmp_path: Path) -> None:
    data = prepare(_of(tmp_path, HTML, **{"tokenizer.kind": kind}), tmp_path / "cache")
    ids = data.train.batch(range(len(data.train))).input_ids_BT
    assert data.tokenizer.batch_decode(ids, skip_special_tokens=True) == data.train.sources(range(len(data.train)))
    assert ((ids == 1).sum(-1) == 1).all() and not (ids == 2).any()


def test_premises_are_two_texts(tmp_path: Path) -> None:
    from t5vqvae.data import PublicCorpus, corpus_folder

    folder = corpus_folder("entailment", tmp_path)
    folder.mkdir(parents=True)
    for split, word in (("train", "a"), ("validation", "b"), ("test", "c")):
        (folder / f"{split}.tsv").write_text(f"premise1\tpremise2\tconclusion\n{word} </s> x\ty\tz\n")
    data = prepare(DataConfig(corpus=PublicCorpus(dataset="entailment")), tmp_path)
    (ids,) = data.train.batch([0]).input_ids_BT.tolist()
    assert ids == [*data.tokenizer("a </s> x").input_ids, *data.tokenizer("y").input_ids] and ids.count(1) == 2
    assert data.train.sources([0]) == ["a </s> x </s> y"] and data.train.has_pairs


def test_texts_that_the_tokenizer_cannot_spell_are_measured_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    corpus = _text(tmp_path, "a", "b")
    (tmp_path / "validation.txt").write_text("short\nsn☃w")
    (tmp_path / "test.txt").write_text("sn☂w\nsn我w")
    config = DataConfig(corpus=corpus, tokenizer=TokenizerConfig(kind="latex"))
    with caplog.at_level(logging.WARNING):
        data = prepare(config, tmp_path / "cache")
    assert data.validation.sources([0, 1]) == ["short", "sn☃w"], "so that a small vocabulary makes no test easier"
    assert prepare_test(config, tmp_path / "cache")["test"].sources([0, 1]) == ["sn☂w", "sn我w"]
    assert data.num_unspellable == {"train": 0, "validation": 1, "test": 2}
    assert "1 of 2 sentences of the validation split are measured" in caplog.text and "'☃'" in caplog.text
    (tmp_path / "validation.txt").write_text("我喜歡 1\n我喜歡 2")
    with pytest.raises(DataError, match=r"cannot spell any of the 2 sentences of the validation split.*'我'.*unigram"):
        prepare(config, tmp_path / "cache")


def test_rows_left_out_and_repeated_are_counted_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [{"text": None}, {"text": " "}, *({"text": f"row {number}"} for number in range(20)), {"text": "row 3"}]
    (tmp_path / "all.jsonl").write_text("\n".join(map(json.dumps, rows)))
    config = DataConfig(corpus=TextCorpus(path=str(tmp_path / "all.jsonl")))
    with caplog.at_level(logging.WARNING):
        data = prepare(config, tmp_path / "cache")
    assert data.left_out["train"] == {"missing": 1, "empty": 1}
    assert sum(data.num_repeated.values()) == 1 and len(data.train) + len(data.validation) == 19
    assert "2 rows read for the train split are left out: 1 missing, 1 empty" in caplog.text
    assert "repeat another one; all are kept" in caplog.text


def test_what_the_tokenizer_reads_as_one_text_is_in_one_split(tmp_path: Path) -> None:
    from tokenizers import normalizers

    own = build_tokenizer(TokenizerConfig(), [Example("abc") for _ in range(9)], "unigram", None, tmp_path)
    own.backend_tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), own.backend_tokenizer.normalizer])
    own.save_pretrained(tmp_path / "backbone")
    corpus = _text(tmp_path, "a ﬁne day", "another")
    (tmp_path / "validation.txt").write_text("a fine day")
    with pytest.raises(DataError, match=r"reads 1 sentences of the train split as it reads others of the validation"):
        prepare(DataConfig(corpus=corpus, max_length=90), tmp_path / "cache", backbone=str(tmp_path / "backbone"))


def test_a_backbone_with_fewer_rows_than_tokens_is_refused(tmp_path: Path) -> None:
    own = build_tokenizer(TokenizerConfig(), [Example("zebra zebra")], "unigram", None, tmp_path)
    own.save_pretrained(tmp_path / "backbone")
    config = DataConfig(corpus=GRAMMAR, max_length=200)
    (tmp_path / "backbone" / "config.json").write_text(json.dumps({"model_type": "t5", "vocab_size": len(own) + 5}))
    prepare(config, tmp_path, backbone=str(tmp_path / "backbone"))
    (tmp_path / "backbone" / "config.json").write_text(json.dumps({"model_type": "t5", "vocab_size": 150}))
    sizes = rf"model.backbone='.*' has embeddings for 150 tokens, but the tokenizer has {len(own)};"
    for overrides in ({}, {"tokenizer.kind": "unigram"}):
        with pytest.raises(DataError, match=sizes if not overrides else r"embeddings for 150 tokens"):
            prepare(config.with_overrides(overrides), tmp_path, backbone=str(tmp_path / "backbone"))


def test_a_change_that_keeps_size_and_time_is_noticed(tmp_path: Path) -> None:
    config = _of(tmp_path, [f"row {number}" for number in range(20)])
    first, times = prepare(config, tmp_path / "cache"), (tmp_path / "all.txt").stat()
    (tmp_path / "all.txt").write_text((tmp_path / "all.txt").read_text().replace("row 3", "raw 3"))
    os.utime(tmp_path / "all.txt", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert prepare(config, tmp_path / "cache").fingerprint != first.fingerprint


def _damage(path: Path, kind: str) -> None:
    content = bytearray(path.read_bytes())
    if kind == "delete":
        path.unlink()
    elif kind == "replace":
        path.write_bytes(b"\xffnothing of the kind")
    elif kind == "truncate":
        path.write_bytes(content[: len(content) // 2])
    else:
        content[-1] ^= 1
        path.write_bytes(content)


@pytest.mark.parametrize("kind", ["flip", "truncate", "delete", "replace"])
def test_a_damaged_cache_is_made_anew(kind: str, tmp_path: Path) -> None:
    config = DataConfig(corpus=GRAMMAR)
    data = prepare(config, tmp_path)
    before = data.train.batch(range(60))
    files = sorted(file.relative_to(data.folder) for file in data.folder.rglob("*") if file.is_file())
    assert {"manifest.json", "facts.json"} <= set(map(str, files)) and len(files) > 15
    shortcuts = [file for file in (tmp_path / "prepared" / "asked").iterdir() if file.suffix != ".lock"]
    for file in (*(data.folder / name for name in files), *shortcuts):
        _damage(file, kind)
        again = prepare(config, tmp_path)
        assert again.fingerprint == data.fingerprint and again.train.sources([7]) == data.train.sources([7]), file
        assert (again.train.batch(range(60)).input_ids_BT == before.input_ids_BT).all(), file
        assert json.loads((again.folder / "manifest.json").read_text()), file


def test_a_cache_without_checksums_or_with_a_further_file_is_made_anew(tmp_path: Path) -> None:
    config = DataConfig(corpus=GRAMMAR)
    folder = prepare(config, tmp_path).folder
    (folder / "validation" / "target_ids.npy").write_bytes(b"")
    assert not (prepare(config, tmp_path).folder / "validation" / "target_ids.npy").exists()
    (folder / "manifest.json").unlink()
    (folder / "train" / "num_chars.npy").unlink()
    assert prepare(config, tmp_path).train.num_chars_N[0] > 0


def test_a_shortcut_to_other_data_is_not_followed(tmp_path: Path) -> None:
    one, other = DataConfig(corpus=GRAMMAR), DataConfig(corpus=GRAMMAR, max_length=44)
    first, second = prepare(one, tmp_path), prepare(other, tmp_path)
    a, b = (file for file in (tmp_path / "prepared" / "asked").iterdir() if file.suffix != ".lock")
    a.write_text(b.read_text())
    assert (prepare(one, tmp_path).fingerprint, prepare(other, tmp_path).fingerprint) == (
        first.fingerprint,
        second.fingerprint,
    )


def test_checksums_are_computed_once_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from t5vqvae.data import checked

    config = DataConfig(corpus=GRAMMAR)
    prepare(config, tmp_path)
    prepare(config, tmp_path)
    monkeypatch.setattr(checked, "file_sha256", lambda path: pytest.fail("computed again"))
    prepare(config, tmp_path)


def test_a_damaged_generated_corpus_is_generated_anew(tmp_path: Path) -> None:
    config = DataConfig(corpus=MathCorpus(size=50, validation_size=5, test_size=5))
    first = prepare(config, tmp_path)
    (kept,) = (tmp_path / "corpora").glob("math-*.jsonl")
    kept.write_text(kept.read_text().replace("cos", "sin"))
    assert prepare(config.with_overrides({"max_length": 44}), tmp_path).train.sources([0]) == first.train.sources([0])
    assert "cos" in kept.read_text()


def test_a_very_long_field_is_read_and_left_out_by_its_length(tmp_path: Path) -> None:
    (tmp_path / "all.csv").write_text(f"text\n{'a ' * 100_000}\n" + "".join(f"row {n}\n" for n in range(20)))
    data = prepare(DataConfig(corpus=TextCorpus(path=str(tmp_path / "all.csv"))), tmp_path / "cache")
    assert sum(data.num_too_long.values()) == 1 and len(data.train) + len(data.validation) == 18


def test_what_was_left_out_is_counted_anew_though_the_examples_are_the_same(tmp_path: Path) -> None:
    config = DataConfig(corpus=_text(tmp_path, "one", "two"))
    (tmp_path / "train.txt").unlink()
    extra = tmp_path / "extra" / "a.txt"
    extra.parent.mkdir()
    read = config.with_overrides({"extra_text": str(extra)})
    found = []
    for rows, lines in (([], ["whales swim"]), ([None, ""], ["whales swim", "short", "brief"])):
        (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, ["one", "two", *rows])))
        extra.write_text("\n".join(lines))
        found.append(prepare(read, tmp_path / "cache"))
    first, again = found
    assert first.left_out["train"] == {} and again.left_out["train"] == {"missing": 1, "empty": 1}
    assert first.extra_text == {"kept": 1} and again.extra_text == {"kept": 1, "in a held-out row": 2}
    assert first.fingerprint == again.fingerprint, "so a run resumes"


def test_the_strings_of_a_test_do_not_depend_on_what_a_tokenizer_can_spell(tmp_path: Path) -> None:
    """A tokenizer that cannot spell a test sentence is measured by it, and none the more comparable for it."""
    for name, lines in {
        "train": ["a b c"] * 3 + ["c b a"] * 3,
        "validation": ["b a c"],
        "test": ["c a b", "caf\u00e9"],
    }.items():
        (tmp_path / f"{name}.txt").write_text("\n".join(lines), encoding="utf-8")
    corpus = TextCorpus(path=str(tmp_path))
    configs = [
        DataConfig(corpus=corpus, tokenizer=TokenizerConfig(kind=kind, vocab_size=300)) for kind in ("latex", "unigram")
    ]
    sizes = [len(prepare_test(config, tmp_path / "cache")["test"]) for config in configs]
    assert sizes == [2, 2] and len({test_strings(config, tmp_path / "cache") for config in configs}) == 1
