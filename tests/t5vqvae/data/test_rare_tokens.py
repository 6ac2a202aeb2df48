"""Prepared data say how often training shows their rarest token; an open vocabulary names those hardly shown."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from t5vqvae.config import Overrides
from t5vqvae.data import DataConfig, TextCorpus, prepare
from t5vqvae.data.rare_tokens import report_rare, shown_counts

OPEN: Overrides = {"tokenizer.open_vocabulary": True, "tokenizer.min_count": 2, "max_length": 90}


@pytest.fixture
def config(tmp_path: Path) -> DataConfig:
    rows = "".join(f"a {'b ' * n}.\tyes {'b' * n}\n" for n in range(1, 60))
    (tmp_path / "pairs.tsv").write_text(f"text\tanswer\n{rows}")
    corpus = TextCorpus(path=str(tmp_path / "pairs.tsv"), source_column="text", target_column="answer")
    return DataConfig(corpus=corpus)


def test_sources_and_targets_are_counted(config: DataConfig, tmp_path: Path) -> None:
    data = prepare(config.with_overrides({"max_length": 90}), tmp_path)
    counts = shown_counts(data.train, data.tokenizer)
    assert counts["</s>"] == 2 * len(data.train) and counts["\u2581a"] == len(data.train)
    assert "<unk>" not in counts and "<pad>" not in counts
    assert list(counts.values()) == sorted(counts.values()) and data.fewest_shown == counts["<0x00>"] == 0


def test_an_open_vocabulary_that_training_hardly_shows_is_said_once(
    config: DataConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        assert prepare(config.with_overrides(OPEN), tmp_path).fewest_shown == 0
    (said,) = (each.getMessage() for each in caplog.records if "open_vocabulary" in each.getMessage())
    assert "tokens fewer than 50 times ('<0x00>' 0, '<0x01>' 0, " in said and " more); raise data.augment.join" in said
    prepare(config.with_overrides({"max_length": 80}), tmp_path)
    assert len([each for each in caplog.records if "open_vocabulary" in each.getMessage()]) == 1, "closed"


def test_few_rare_tokens_are_all_named_and_none_is_not_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        report_rare({"a": 50, "b": 60})
        report_rare({"x": 49, "a": 50})
    (said,) = (each.getMessage() for each in caplog.records)
    assert "show 1 of 2 tokens fewer than 50 times ('x' 49); raise" in said
