"""SAP of closed-form latents, and against reading the number of a code."""

from __future__ import annotations

import numpy as np
import pytest
from closed_forms import ENTANGLED, FIRST, INDEPENDENT, NUM, ONE_TO_ONE, RNG, SECOND, TWICE, slots
from sklearn.svm import LinearSVC

from t5vqvae.measures.separated import accuracy, separation


def test_one_latent_for_every_factor_has_the_room_above_chance() -> None:
    assert separation(ONE_TO_ONE, seed=0) == pytest.approx(3 / 4, abs=0.05)
    assert separation(ENTANGLED, seed=0) == pytest.approx(3 / 4, abs=0.05), "one latent says both, the other none"


def test_two_latents_of_the_same_factor_have_none() -> None:
    assert separation(TWICE, seed=0) == 0


def test_independent_and_shuffled_latents_have_none() -> None:
    assert separation(INDEPENDENT, seed=0) < 0.08 and separation(ONE_TO_ONE.shuffled(seed=0), seed=0) < 0.08


def test_values_are_weighted_equally() -> None:
    rare = (RNG.random(NUM) < 0.05).astype(np.int64)
    # The latent says nothing, so always guessing the frequent value is right in 95% and counts as one half.
    halves = slots(RNG.integers(2, size=NUM), rare).halves(0)
    assert accuracy(np.ones((NUM, 1)), rare, *halves) == pytest.approx(0.5)


def test_a_line_through_the_numbers_of_codes_cannot_tell_them_apart() -> None:
    codes = np.array([4, 1, 7, 2, 0, 6, 3, 5])[FIRST * 2 + SECOND // 2]
    factor = FIRST * 2 + SECOND // 2
    fit, judge = slots(codes, SECOND).halves(0)
    as_number = LinearSVC(C=0.01, class_weight="balanced", random_state=0).fit(codes[fit, None], factor[fit])
    assert as_number.score(codes[judge, None], factor[judge]) < 0.6
    assert accuracy(slots(codes, SECOND).linear[0], factor, fit, judge) == 1
