"""Laws that every corpus of the registry obeys; a new variant needs an entry in `CONFIGS` only if it reads files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from t5vqvae.data import CorpusConfig, DataConfig, prepare, prepare_test
from t5vqvae.data.corpora.public import corpus_folder
from t5vqvae.data.corpora.sources import SOURCES

SENTENCES = [f"sentence number {i} of {i * i}" for i in range(60)]
SMALL = {"size": 40, "validation_size": 10, "test_size": 10}


def _files(folder: Path) -> None:
    """Writes what the variants that read files read."""
    table = folder / "table"
    table.mkdir()
    for split, sentences in (("train", SENTENCES[:40]), ("validation", SENTENCES[40:50]), ("test", SENTENCES[50:])):
        (table / f"{split}.jsonl").write_text("".join(json.dumps({"text": s}) + "\n" for s in sentences))
    (folder / "lines.txt").write_text("\n".join(SENTENCES))
    public = corpus_folder("explanations", folder)
    public.mkdir(parents=True)
    for file, part in zip(
        SOURCES["explanations"].files, (SENTENCES[:40], SENTENCES[40:50], SENTENCES[50:]), strict=True
    ):
        (public / file).write_text("\n".join(part))


@pytest.fixture(params=sorted(CorpusConfig.variants))
def corpus(request: pytest.FixtureRequest, tmp_path: Path) -> CorpusConfig:
    _files(tmp_path)
    settings = {
        "text": {"path": str(tmp_path / "lines.txt")},
        "hub": {"dataset": str(tmp_path / "table")},
        "public": {},
    }.get(request.param, SMALL)
    return CorpusConfig.variants[request.param].parse(settings)


def test_splits_share_no_string(corpus: CorpusConfig, tmp_path: Path) -> None:
    seen: set[str] = set()
    for examples in corpus.load(tmp_path).splits.values():
        sources = {example.source for example in examples}
        assert sources and not sources & seen
        seen |= sources


def test_same_config_same_content(corpus: CorpusConfig, tmp_path: Path) -> None:
    first = corpus.load(tmp_path)
    (tmp_path / "else").mkdir()
    elsewhere = tmp_path if corpus.name == "public" else tmp_path / "else"
    second = corpus.load(elsewhere)
    assert first.fingerprint == second.fingerprint
    assert first.splits == second.splits
    assert first.source


def test_stamp_is_plain_and_stable(corpus: CorpusConfig, tmp_path: Path) -> None:
    stamp = corpus.stamp(tmp_path)
    assert json.dumps(stamp) == json.dumps(corpus.stamp(tmp_path))


def test_prepared_texts_are_the_corpus(corpus: CorpusConfig, tmp_path: Path) -> None:
    config = DataConfig(corpus=corpus, max_length=200)
    data = prepare(config, tmp_path)
    loaded = corpus.load(tmp_path)
    everything = range(len(data.train))
    assert data.train.sources(everything) == [example.source for example in loaded.train]
    assert data.train.texts(everything) == [example.text for example in loaded.train]
    assert set(prepare_test(config, tmp_path)) == {"test", *loaded.extra_tests}
    decoded = data.tokenizer.batch_decode(data.train.batch(everything).input_ids_BT, skip_special_tokens=True)
    assert decoded == [example.source for example in loaded.train]
