"""Scores of texts, worked by hand."""

from __future__ import annotations

import math

import pytest

from t5vqvae.data.texts import same_text
from t5vqvae.evaluation.text_scores import bleu1, corpus_bleu


def test_texts_agree_up_to_runs_of_white_space() -> None:
    assert same_text("a  b", " a b\n") and same_text("", " ")
    assert same_text("a\u2581b", "a b"), "tokenizers write a space as that character"
    assert not same_text("a b", "ab") and not same_text("a b", "b a")


def test_bleu1_counts_each_word_at_most_as_often_as_the_target_has_it() -> None:
    assert bleu1("a b c", "a b c") == 1.0
    assert bleu1("a b c", "c b a") == 1.0, "order does not count"
    assert bleu1("a b c", "a a a") == pytest.approx(1 / 3)
    assert bleu1("a b", "a b c d") == 0.5


def test_bleu1_shrinks_short_texts() -> None:
    assert bleu1("a b c d", "a b") == pytest.approx(math.exp(1 - 4 / 2))
    assert bleu1("a b", "") == 0.0


def test_corpus_bleu_runs_from_0_to_100() -> None:
    target = "the cat sat on the mat today"
    assert corpus_bleu([target], [target]) == pytest.approx(100.0)
    assert corpus_bleu([target], ["entirely different words"]) < 5
