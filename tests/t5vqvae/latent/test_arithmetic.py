"""Arithmetic obeys its laws, and an analogy on a line of words is what the numbers say."""

from __future__ import annotations

import pytest
from spelling_model import codes

from t5vqvae.errors import SettingError
from t5vqvae.latent.arithmetic import analogy, combine
from t5vqvae.latent.latent_space import LatentSpace

A, B = "a bat eats honey", "a cat eats eggs in old trees"


@pytest.mark.parametrize("text", [A, B])
def test_a_minus_b_plus_b_is_a(space: LatentSpace, vectors_only: LatentSpace, text: str) -> None:
    for each in (space, vectors_only):
        a, b = each.encode([text, A if text == B else B])
        assert combine(each, [(1, a), (-1, b), (1, b)]).text == text
        assert combine(each, [(1, a)]).text == text


def test_an_analogy_moves_every_position_by_the_difference(space: LatentSpace) -> None:
    """cat - bat is 1, so honey becomes eggs and bat becomes cat; what the shorter sentence lacks adds nothing."""
    a, b, c = space.encode(["a cat eats eggs", "a bat eats honey", "a bat eats honey"])
    found = analogy(space, a, b, c)
    assert found.latent_TX.squeeze(-1).tolist() == codes("a cat eats eggs")
    a, b, c = space.encode(["a dog eats honey", "a cat", "a bat"])
    assert analogy(space, a, b, c).text == "a cat eats honey"


def test_an_average_has_the_mean_of_states_and_of_lengths(space: LatentSpace) -> None:
    """bat and dog, 4 and 6, average to cat, 5."""
    one, other = space.encode(["a bat", "a dog"])
    assert combine(space, [(1, one), (1, other)], average=True).text == "a cat"
    one, other = space.encode(["a bat", "a dog eats honey"])
    assert len(combine(space, [(1, one), (1, other)], average=True).latent_TX) == 4


def test_no_term_is_refused(space: LatentSpace) -> None:
    with pytest.raises(SettingError, match="needs a sentence"):
        combine(space, [])
