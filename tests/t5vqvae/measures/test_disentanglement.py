"""Disentanglement of closed-form latents: one to one, entangled, duplicated, independent."""

from __future__ import annotations

import numpy as np
import pytest

from t5vqvae.measures.disentanglement import compactness, mig, modularity, shares

NUM = 4_000
RNG = np.random.default_rng(0)
FACTORS = RNG.integers(4, size=(NUM, 2))
NOISE = RNG.integers(64, size=NUM)


def found(*latents: np.ndarray) -> np.ndarray:
    return shares(np.stack(latents, 1), FACTORS)


def test_codes_that_name_one_factor_each_have_one() -> None:
    one_to_one = found(FACTORS[:, 0], FACTORS[:, 1])
    assert one_to_one == pytest.approx(np.eye(2), abs=0.01)
    assert mig(one_to_one) == pytest.approx(1, abs=0.01)
    assert modularity(one_to_one) == pytest.approx(1, abs=0.02)
    assert compactness(one_to_one) == pytest.approx(1, abs=0.02)


def test_a_code_that_names_both_factors_is_compact_and_not_modular() -> None:
    both = found(FACTORS[:, 0] * 4 + FACTORS[:, 1], NOISE)
    assert modularity(both) == pytest.approx(0, abs=0.02), "the other code says nothing, so it does not count"
    assert compactness(both) == pytest.approx(1, abs=0.03) and mig(both) == pytest.approx(1, abs=0.02)


def test_two_codes_of_the_same_factor_are_modular_and_not_compact() -> None:
    twice = found(FACTORS[:, 0], FACTORS[:, 0])
    assert modularity(twice) == pytest.approx(1, abs=0.02)
    assert compactness(twice) == pytest.approx(0, abs=0.02) and mig(twice) == pytest.approx(0, abs=0.02)


def test_independent_codes_say_nothing_however_many_they_are() -> None:
    for size in (64, 22_000):
        nothing = found(RNG.integers(size, size=NUM), RNG.integers(size, size=NUM))
        assert nothing.max() < 0.02 and mig(nothing) < 0.02
        assert modularity(nothing) is None and compactness(nothing) is None


def test_half_a_factor_by_hand() -> None:
    # The code says whether the factor is below 2: one of its two bits.
    assert found(FACTORS[:, 0] // 2, NOISE)[0, 0] == pytest.approx(0.5, abs=0.02)


def test_few_sentences_of_many_fillers_still_have_one() -> None:
    fillers_NF = np.stack([RNG.integers(30, size=200), RNG.integers(30, size=200)], 1)
    one_to_one = shares(fillers_NF, fillers_NF)
    assert np.diag(one_to_one) == pytest.approx(1) and one_to_one[0, 1] < 0.1
