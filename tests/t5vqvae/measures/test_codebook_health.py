"""Distinctness and directions of codes, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from t5vqvae.measures.codebook_health import effective_rank, mean_cosine

RNG = np.random.default_rng(0)


def test_the_cosine_is_the_mean_over_pairs() -> None:
    vectors_KC = RNG.normal(size=(6, 3)) + 1
    units_KC = vectors_KC / np.linalg.norm(vectors_KC, axis=1, keepdims=True)
    pairs = [units_KC[i] @ units_KC[j] for i in range(6) for j in range(6) if i != j]
    assert mean_cosine(vectors_KC, np.ones(6)) == pytest.approx(np.mean(pairs))


def test_frequent_codes_count_for_more() -> None:
    vectors_KC = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert mean_cosine(vectors_KC, np.ones(3)) == pytest.approx(1 / 3)
    # Of 2 x 8 x 8 + 4 x 8 ordered pairs of positions with different codes, 2 x 8 x 8 have a cosine of 1.
    assert mean_cosine(vectors_KC, np.array([8.0, 8.0, 1.0])) == pytest.approx(128 / 160)
    assert mean_cosine(vectors_KC[:1], np.ones(1)) is None


def test_the_rank_counts_directions_in_use() -> None:
    assert effective_rank(np.eye(5)) == pytest.approx(5)
    assert effective_rank(np.outer(np.arange(4.0), np.ones(3))) == pytest.approx(1)
    # Singular values 3 and 1: shares 3/4 and 1/4.
    assert effective_rank(np.diag([3.0, 1.0])) == pytest.approx(math.exp(0.75 * math.log(4 / 3) + 0.25 * math.log(4)))
    assert effective_rank(np.zeros((3, 3))) == 0
