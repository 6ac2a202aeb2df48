"""Edits of mathematics whose answers are printed anew: what they are, and what counts as right."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from t5vqvae.data import MathCorpus
from t5vqvae.data.corpora import expressions
from t5vqvae.data.corpora.edits import Edit
from t5vqvae.data.corpora.math_edits import draw_edits
from t5vqvae.data.corpora.math_meaning import same_meaning
from t5vqvae.data.corpora.math_parser import parse
from t5vqvae.measures.moved import found_of

SUM = Edit("a + b", r"\cos{(x )}", "b + c", "", "variable", "local", (0, 1), (6, 7))
"""By hand: a becomes c, and the printer writes b + c for c + b."""


@pytest.fixture(scope="module")
def edits() -> list[Edit]:
    rng = random.Random(3)
    trees = [expressions.draw(rng, number % 3) for number in range(300)]
    texts = list(dict.fromkeys(expressions.print_expression(tree) for tree in trees))
    return draw_edits(texts, (), 8, random.Random(0), moved=True).edits


def in_place(edit: Edit) -> str:
    start, end = edit.source_span
    return edit.source[:start] + edit.donor[slice(*edit.donor_span)] + edit.source[end:]


def test_answers_are_printed_in_another_order_and_mean_what_replacing_the_word_means(edits: list[Edit]) -> None:
    local = [edit for edit in edits if edit.kind == "local"]
    assert len(local) > 8 and {edit.factor for edit in local} >= {"variable", "function"}
    for edit in local:
        assert parse(edit.answer) is not None and in_place(edit) != edit.answer
        assert parse(in_place(edit)) is None, "the printer would not write it"
        assert same_meaning(edit.answer, in_place(edit)) == "right"
        assert same_meaning(edit.answer, edit.source) == "wrong"


@pytest.mark.parametrize(
    ("answer", "decoded", "verdict"),
    [
        ("b + c", "c + b", "right"),
        ("b + c", "b + c", "right"),
        ("b + c", "b - c", "wrong"),
        ("b + c", "b + d", "wrong"),
        ("b + c", "b + ", "wrong"),
        (r"x \cos{(y )}", r"\cos{(y )} x", "right"),
        (r"\frac{b}{a}", r"b a^{-1}", "right"),
    ],
)
def test_meaning_by_hand(answer: str, decoded: str, verdict: str) -> None:
    assert same_meaning(answer, decoded) == verdict
    assert MathCorpus().same_meaning(answer, decoded) == verdict


def test_metrics_by_hand() -> None:
    repeated = Edit("a b + a", "x", "a c + c", "", "repeated_variable", "distributed", (0, 1), (0, 1))
    found = found_of([SUM, SUM, SUM, repeated], ["b + c", "c + b", "b - c", "a c + a"], same_meaning).metrics
    assert found == {
        "control/moved_local_intervention": 2 / 3,
        "control/moved_distributed_intervention": 0,
        "control/moved_printed": 1 / 4,
        "control/moved_undecided": 0,
    }


def test_a_corpus_without_such_edits_has_none(tmp_path: Path) -> None:
    assert MathCorpus(task="derive").moved_edits(tmp_path, "validation", 3, 0) == []
