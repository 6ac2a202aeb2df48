"""Similarity and its rank correlation, by hand."""

from __future__ import annotations

import pytest

from t5vqvae.measures.sensitivity import rank_correlation, similarity


def test_the_similarity_by_hand() -> None:
    assert similarity(["a", "bat", "eats", "honey"], ["a", "cat", "eats", "honey"]) == pytest.approx(2 * 3 / 8)
    assert similarity([(1, 2), (3, 4)], [(1, 2), (3, 5)]) == pytest.approx(1 / 2), "all codes of a position"
    assert similarity(["a", "b"], ["b", "a"]) == pytest.approx(1 / 2), "in their order"
    assert similarity([1], [1]) == 1 and similarity([1], [2]) == 0


def test_codes_that_differ_as_texts_do_have_one_and_what_never_differs_has_none() -> None:
    assert rank_correlation([0.1, 0.5, 0.9], [0.2, 0.3, 1.0]) == pytest.approx(1)
    assert rank_correlation([0.1, 0.5, 0.9], [0.9, 0.4, 0.3]) == pytest.approx(-1)
    assert rank_correlation([1.0, 1.0, 1.0], [0.9, 0.4, 0.3]) is None
