"""Splices are the codes that one would write by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from spelling_model import codes
from torch import Tensor

from t5vqvae.errors import DataError
from t5vqvae.latent.latent_space import LatentSpace
from t5vqvae.latent.sentence import Sentence
from t5vqvae.latent.splicing import conjunction, decode_splice, specification, substitution, words_in

TEXT, DONOR = "a bat eats honey", "an old cat eats eggs in old trees"
Operation = Callable[[LatentSpace, Sentence, Sentence], Tensor]
CASES: dict[str, tuple[Operation, str]] = {
    "substitution": (lambda _, a, b: substitution(a, "bat", b, "old cat"), "a old cat eats honey"),
    "specification": (lambda _, a, b: specification(a, b, "in old trees"), "a bat eats honey in old trees"),
    "after words": (
        lambda _, a, b: specification(a, b, "in old trees", after="a bat"),
        "a bat in old trees eats honey",
    ),
    "conjunction": (lambda s, a, b: conjunction(s, a, b, "eats eggs"), "a bat eats honey and eats eggs"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_splice_has_the_codes_of_its_words(case: str, space: LatentSpace, vectors_only: LatentSpace) -> None:
    operation, expected = CASES[case]
    sentence, donor = space.encode([TEXT, DONOR])
    latent = operation(space, sentence, donor)
    assert latent.squeeze(-1).tolist() == codes(expected)
    assert decode_splice(space, sentence, latent).text == expected
    sentence, donor = vectors_only.encode([TEXT, DONOR])
    assert decode_splice(vectors_only, sentence, operation(vectors_only, sentence, donor)).text == expected


def test_words_are_found_whole_and_once() -> None:
    assert words_in("a bat eats a bath", "bat") == (2, 5)
    assert words_in("x+\\cos{y}", "\\cos") == (2, 6)
    assert words_in("\\sin{yz}", "z") == (6, 7), "formulas have no words"
    for words, reason in (
        ("at", "'at' is not in"),
        ("dog", "'dog' is not in"),
        ("", "'' is not in"),
        ("a", "'a' is in .* 2 times; add a word"),
    ):
        with pytest.raises(DataError, match=reason):
            words_in("a bat eats a cat", words)


def test_one_latent_a_sentence_has_no_span(vectors_only: LatentSpace) -> None:
    [sentence] = vectors_only.encode([TEXT])
    whole = Sentence(TEXT, sentence.spans, sentence.states_TE[:1], None, None)
    with pytest.raises(DataError, match="one latent a sentence"):
        substitution(whole, "bat", sentence, "bat")
