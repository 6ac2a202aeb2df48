"""InfoE of closed-form latents, by hand, and against fitting and judging on the same sentences."""

from __future__ import annotations

import math

import numpy as np
import pytest
from closed_forms import ENTANGLED, FIRST, INDEPENDENT, NUM, ONE_TO_ONE, RNG, SECOND, TWICE, slots
from sklearn.linear_model import LogisticRegression

from t5vqvae.measures.explicitness import cross_entropy, explicitness


def test_codes_that_name_factors_take_all_entropy_away_also_when_they_name_both() -> None:
    assert explicitness(ONE_TO_ONE, seed=0) > 0.98
    assert explicitness(ENTANGLED, seed=0) > 0.9, "linear in one-hot codes, though entangled"


def test_half_of_what_is_asked_by_hand() -> None:
    assert explicitness(TWICE, seed=0) == pytest.approx(0.5, abs=0.02), "one of two factors"
    # The code says whether the factor is below 2: one of its two bits.
    assert explicitness(slots(FIRST // 2, SECOND // 2), seed=0) == pytest.approx(0.5, abs=0.03)


def test_a_factor_that_needs_two_latents_together_is_not_explicit() -> None:
    first, second = RNG.integers(2, size=(2, NUM))
    either = np.stack([first ^ second, first], 1)
    assert explicitness(slots(first, second, factors=either), seed=0) == pytest.approx(0.5, abs=0.02)


def test_independent_latents_take_nothing_away_and_judging_where_one_fits_says_they_do() -> None:
    assert explicitness(INDEPENDENT, seed=0) < 0.02
    assert explicitness(ONE_TO_ONE.shuffled(seed=0), seed=0) < 0.02
    values_ND = np.concatenate(INDEPENDENT.linear, 1)
    model = LogisticRegression(C=1000.0, max_iter=300).fit(values_ND, FIRST)
    fitted = cross_entropy(model.predict_proba(values_ND), FIRST, np.arange(4))
    assert 1 - fitted / math.log(4) > 0.15


def test_the_cross_entropy_by_hand() -> None:
    shares_NV = np.array([[0.5, 0.5], [0.75, 0.25]])
    assert cross_entropy(shares_NV, np.array([7, 9]), np.array([7, 9])) == pytest.approx(
        math.log(2) / 2 + math.log(4) / 2
    )
