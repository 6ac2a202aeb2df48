"""What edits changed, by role: examples worked by hand, and a law over the edits of both corpora that have some."""

from __future__ import annotations

from pathlib import Path

import pytest

from t5vqvae.data.corpora.base import CorpusConfig
from t5vqvae.data.corpora.edits import Edit, Kind
from t5vqvae.data.corpora.grammar import GrammarCorpus
from t5vqvae.data.corpora.math import MathCorpus
from t5vqvae.measures.control import Outcome
from t5vqvae.measures.edit_changes import carried_roles, changed_roles, changes_by_role, words_and_roles

GRAMMAR = GrammarCorpus(version=2, size=2_000, validation_size=300, test_size=50)
MATH = MathCorpus(size=1_500, validation_size=300, test_size=50, num_further=2)


def edit_of(source: str, answer: str, own: str, factor: str, kind: Kind = "distributed") -> Edit:
    start = source.index(own)
    return Edit(source, answer, answer, source, factor, kind, (start, start + len(own)), (0, 1))


WOLVES = "the tiny wolves eat some grass in a lake at dawn"
WOLF = "the tiny wolf eats some grass in a lake at dawn"
AGREEMENT = edit_of(WOLVES, WOLF, "wolves", "agreement")


Shares = dict[str, tuple[float, float]]


def shares(edit: Edit, *decoded: str, corpus: CorpusConfig = GRAMMAR, plain: str = "") -> Shares:
    outcomes = [Outcome(edit, text, plain or edit.source, edit.donor, True) for text in decoded]
    rows = changes_by_role(outcomes, corpus)
    assert all(row["edits"] == len(decoded) and row["factor"] == edit.factor for row in rows)
    return {str(row["words"]): (float(row["changed"] or 0), float(row["should"] or 0)) for row in rows}


def test_a_noun_that_changes_without_its_verb_shows_in_the_verb_alone() -> None:
    found = shares(AGREEMENT, "the tiny wolf eat some grass in a lake at dawn")
    assert found == {
        "edited words": (1, 1),
        "ARG0": (0, 0),
        "V": (0, 1),
        "ARG1": (0, 0),
        "ARGM-LOC": (0, 0),
        "ARGM-TMP": (0, 0),
    }
    assert next(iter(found)) == "edited words"


def test_shares_are_over_edits_and_what_should_stay_is_seen() -> None:
    found = shares(AGREEMENT, WOLF, WOLVES, "the tiny wolf eats some nuts in a lake at dawn", "")
    assert found["edited words"] == (0.75, 1) and found["V"] == (0.75, 1)
    assert found["ARG1"] == (0.5, 0), "nuts for grass, and a text without words"


def test_words_are_compared_with_the_reconstruction_and_have_the_roles_of_what_they_stand_for() -> None:
    plain = "the odd foxes eat some eggs in a lake at dawn"
    found = shares(AGREEMENT, "the odd fox eat some eggs in a lake at dawn", plain=plain)
    assert found["edited words"] == (1, 1) and found["ARG0"] == found["ARG1"] == (0, 0) and found["V"] == (0, 1)
    source, roles = words_and_roles(AGREEMENT, GRAMMAR)
    assert roles[:4] == ["ARG0", "ARG0", "edited words", "V"]
    assert carried_roles(source, roles, plain.split()) == roles
    assert carried_roles(source, roles, []) == []
    longer = carried_roles(["a", "bat"], ["DET", "N"], ["a", "big", "bat", "flies"])
    assert longer == ["DET", "DET", "N", "N"], "words that are put in have the role of the word before"


def test_a_word_that_is_put_in_counts_for_the_edited_words_that_it_touches() -> None:
    negated = edit_of(WOLVES, "the tiny wolves do not eat any grass in a lake at dawn", "eat", "negation_scope")
    found = shares(negated, "the tiny wolves do not eat some grass in a lake at dawn")
    assert found["edited words"] == (1, 1) and found["ARG0"] == (0, 0) and found["ARG1"] == (0, 1)
    assert changed_roles(["a", "bat", "eats"], ["D", "N", "V"], ["the", "a", "bat", "often", "eats"]) == {"D", "N"}
    assert changed_roles([], [], ["a", "bat"]) == set()


def test_kinds_of_tokens_stand_for_roles_in_mathematics() -> None:
    repeated = edit_of(r"\cos{(2 k)} + k", r"\cos{(2 F)} + F", "k", "repeated_variable")
    found = shares(repeated, r"\cos{(2 F)} + k", corpus=MATH)
    assert found == {
        "edited words": (1, 1), "letter": (0, 1), "number": (0, 0), "operator": (0, 0), "bracket": (0, 0),
    }  # fmt: skip


def test_local_factors_stand_first() -> None:
    local = edit_of(WOLVES, WOLVES.replace("grass", "nuts"), "grass", "zeal", "local")
    rows = changes_by_role([Outcome(e, e.answer, e.source, e.donor, True) for e in (AGREEMENT, local)], GRAMMAR)
    assert list(dict.fromkeys(row["factor"] for row in rows)) == ["zeal", "agreement"]


@pytest.mark.parametrize("corpus", [GRAMMAR, MATH], ids=["grammar", "math"])
def test_right_answers_change_what_should_change_and_local_ones_the_edited_words_alone(
    corpus: CorpusConfig, tmp_path: Path
) -> None:
    edits = corpus.edits(tmp_path, "validation", 15, 0)
    rows = changes_by_role([Outcome(e, e.answer, e.source, e.donor, True) for e in edits], corpus)
    assert {row["factor"] for row in rows} == {edit.factor for edit in edits}
    for row in rows:
        assert row["changed"] == row["should"], row
        if row["words"] == "edited words":
            assert row["should"] == 1, row
        elif row["kind"] == "local":
            assert row["should"] == 0, row
    others = {row["factor"] for row in rows if row["words"] != "edited words" and row["should"]}
    assert others == {edit.factor for edit in edits if edit.kind == "distributed"}
