"""Splices of `grammar` version 2: laws over hundreds of them, and examples by hand."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from t5vqvae.data import GrammarCorpus
from t5vqvae.data.corpora.edits import Splice
from t5vqvae.data.corpora.grammar_parser import factors_of
from t5vqvae.data.corpora.grammar_splices import splices_between

CORPUS = GrammarCorpus(version=2, size=500, validation_size=600, test_size=50)
WITH, WITHOUT = (
    "the tiny rabbit did not raise its ear for travel in spring",
    "the ammeters did not show the mass of salt in a cave",
)
SEEDS, MEAT = "the owl ate nectar before rain too", "eggs are offered to an owl by this iris in spring"


@cache
def many() -> tuple[Splice, ...]:
    return tuple(CORPUS.splices(Path(), "validation", 100, seed=0))


def put_in(splice: Splice) -> str:
    (start, end), words = splice.source_span, splice.donor[slice(*splice.donor_span)]
    pieces = [splice.source[:start], words, splice.source[end:]]
    if splice.kind == "conjunction":
        pieces.insert(1, "and")
    return " ".join(" ".join(pieces).split())


def test_every_kind_has_its_number_and_the_answer_has_the_donor_s_words() -> None:
    counts = {
        kind: sum(each.kind == kind for each in many()) for kind in ("substitution", "specification", "conjunction")
    }
    assert set(counts.values()) == {100}
    for each in many():
        assert each.donor[slice(*each.donor_span)] in each.answer and each.answer != each.source
        own = each.source[slice(*each.source_span)]
        assert bool(own) == (each.kind == "substitution") and own == own.strip()


def test_answers_are_valid_but_for_conjunctions_and_some_change_more_than_the_phrase() -> None:
    distributed = 0
    for each in many():
        if each.kind == "conjunction":
            assert put_in(each) == each.answer
        else:
            before, after = factors_of(each.source), factors_of(each.answer)
            assert before and after and before["template"] == after["template"]
            distributed += put_in(each) != each.answer
    assert 10 < distributed < 100, "a verb or an article follows"


def test_by_hand() -> None:
    found = {each.kind: each for each in splices_between([WITHOUT, WITH], [], 5, seed=0) if each.source == WITHOUT}
    assert found["specification"].answer == "the tiny ammeters did not show the mass of salt in a cave"
    assert "conjunction" not in found, "one subject is plural"
    moved = [each for each in splices_between([SEEDS, MEAT], [], 5, seed=0) if each.source == SEEDS]
    assert {each.answer for each in moved if each.kind == "substitution"} <= {
        "the owl ate eggs before rain too", "the owl ate nectar in spring too"}  # fmt: skip


def test_answers_are_in_no_other_split_and_choices_are_seeded() -> None:
    elsewhere = {many()[0].answer}
    again = splices_between([each.source for each in many()], elsewhere, 100, seed=0)
    assert all(each.answer not in elsewhere for each in again)
    assert list(many()) == CORPUS.splices(Path(), "validation", 100, seed=0)
    assert GrammarCorpus(version=1).splices(Path(), "validation", 3, seed=0) == []
