"""Traversal precision: which texts a swap at a position may give, by hand."""

from __future__ import annotations

import pytest
import torch
from spelling_model import CODE, Spelling

from t5vqvae.data.corpora.math import MathCorpus
from t5vqvae.latent.latent_space import LatentSpace
from t5vqvae.latent.sentence import Sentence
from t5vqvae.measures.traversals import is_precise, place_of

TEXT = "a old bat eats honey in caves"
ROLES = ["ARG0", "ARG0", "ARG0", "V", "ARG1", "LOC", "LOC", "none"]


@pytest.fixture(scope="module")
def space() -> LatentSpace:
    return LatentSpace(Spelling())


@pytest.mark.parametrize(
    ("position", "text", "expected"),
    [
        (2, "a old cat eats honey in caves", True),
        (2, "a big cat eats honey in caves", True),
        (1, "cat eats honey in caves", True),
        (2, "a old cat eats eggs in caves", False),
        (2, TEXT, False),
        (2, "eats honey in caves", False),
        (4, "a old cat eats honey in caves", False),
        (4, "a old bat eats eggs in caves", True),
        (6, "a old bat eats honey", False),
    ],
)
def test_the_words_of_the_role_may_change_and_no_others(
    space: LatentSpace, position: int, text: str, expected: bool
) -> None:
    place = place_of(space.encode([TEXT])[0], position, 0, ROLES)
    assert place is not None and is_precise(place, text) == expected


def test_without_roles_the_word_itself_may_change(space: LatentSpace) -> None:
    place = place_of(space.encode([TEXT])[0], 2, 0, [])
    assert place is not None
    assert is_precise(place, "a old cat eats honey in caves") and not is_precise(place, "a big cat eats honey in caves")


def test_the_word_of_an_expression_is_its_token() -> None:
    text = r"x^{2} + \cos{(y )}"
    words = MathCorpus().word_spans
    spans = tuple(words(text))
    sentence = Sentence(text, spans, torch.zeros(len(spans), 1), torch.zeros(len(spans), 1, dtype=torch.int64), None)
    place = place_of(sentence, 3, 0, [], words)
    assert place is not None and place.before == ("x", "^", "{") and place.behind[:2] == ("}", "+")
    assert is_precise(place, r"x^{a} + \cos{(y )}") and not is_precise(place, r"z^{a} + \cos{(y )}")


def test_the_end_of_the_text_is_no_place(space: LatentSpace) -> None:
    assert place_of(space.encode([TEXT])[0], 7, 0, ROLES) is None
    assert CODE["bat"] == int(space.encode([TEXT])[0].latent_TX[2, 0])
