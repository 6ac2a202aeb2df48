"""The file of scores of sentences: read as it was written, or not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from t5vqvae.evaluation.scored_sentences import ScoredSentence, amounts
from tune.promotion.sentence_scores import SENTENCES_FILE, KeptScores

ROW = ScoredSentence(0, 6.0, 3, 1, 12, False, "x + y", "x + x")
KEPT = KeptScores("a" * 64, "d" * 64, "trial 0 of study tiny", [ROW, replace(ROW, index=1, nll=2.0, exact=True)])


def test_a_file_of_scores_is_read_as_it_was_written_and_a_damaged_one_is_none(tmp_path: Path) -> None:
    file = KEPT.write(tmp_path / SENTENCES_FILE)
    assert KeptScores.read(file) == KEPT
    assert KeptScores.read(tmp_path / "other.parquet") is None
    whole = file.read_bytes()
    place = whole.index(b"x + x")
    for damaged in (whole[:-9], whole[:place] + b"x + z" + whole[place + 5 :], b""):
        file.write_bytes(damaged)
        assert KeptScores.read(file) is None


def test_numerators_and_denominators_are_those_of_the_metric() -> None:
    assert amounts(KEPT.sentences, "nll") == ([6.0, 2.0], [3.0, 3.0])
    assert amounts(KEPT.sentences, "nll_per_char") == ([6.0, 2.0], [12.0, 12.0])
    assert amounts(KEPT.sentences, "token_accuracy") == ([1.0, 1.0], [3.0, 3.0])
    assert amounts(KEPT.sentences, "exact_match") == ([0.0, 1.0], [1.0, 1.0])
    shared = [pytest.approx(2 / 3)] * 2
    assert amounts(KEPT.sentences, "bleu1") == (shared, [1.0, 1.0]), "x, + of x + y; the second x is none"
