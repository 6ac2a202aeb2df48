"""z-diff of closed-form latents; that it is near 1 for entangled ones, too, is part of what is known."""

from __future__ import annotations

import numpy as np
import pytest
from closed_forms import ENTANGLED, FIRST, INDEPENDENT, NUM, ONE_TO_ONE, RNG, SECOND, TWICE, slots

from t5vqvae.measures.z_diff import z_diff


def test_latents_that_name_factors_show_which_was_fixed() -> None:
    assert z_diff(ONE_TO_ONE, seed=0) > 0.99
    assert z_diff(TWICE, seed=0) > 0.99, "both latents stay alike for the first factor, neither for the second"


def test_the_latents_of_a_sentence_are_vectors_alike() -> None:
    turned = np.stack([FIRST + SECOND, FIRST - SECOND], 1) + RNG.normal(size=(NUM, 2)) * 0.01
    separate = slots(FIRST[:, None] * 1.0, SECOND[:, None] * 1.0)
    assert z_diff(separate, seed=0) > 0.99
    assert z_diff(slots(turned[:, :1], turned[:, 1:]), seed=0) < 0.65, "turned by 45 degrees, both change alike"


def test_independent_and_shuffled_latents_have_chance() -> None:
    for nothing in (INDEPENDENT, ONE_TO_ONE.shuffled(seed=0)):
        assert z_diff(nothing, seed=0) == pytest.approx(1 / 2, abs=0.1)


def test_a_latent_that_never_varies_is_left_out() -> None:
    constant = np.zeros(NUM, dtype=np.int64)
    assert z_diff(slots(constant, constant), seed=0) == 1 / 2
    assert z_diff(ENTANGLED, seed=0) < 0.75, "fixing either factor changes the one latent as often"


def test_the_number_of_a_factors_values_does_not_show_in_latents_that_say_nothing() -> None:
    """It does where a sentence may be its own partner: the more values, the more such pairs, alike in every latent."""
    rng = np.random.default_rng(3)
    values = (16, 12, 8, 2, 2)
    found = []
    for _ in range(3):
        factors = np.stack([rng.integers(each, size=220) for each in values], 1)
        found.append(z_diff(slots(*rng.integers(64, size=(5, 220)), factors=factors), seed=0))
    assert sum(found) / 3 == pytest.approx(1 / 5, abs=0.08), "with such pairs it is .46"


def test_a_factor_without_pairs_is_left_out() -> None:
    alone = np.stack([np.arange(NUM), SECOND], 1)
    assert z_diff(slots(FIRST, SECOND, factors=alone), seed=0) is None
    three = np.stack([FIRST, np.arange(NUM), SECOND], 1)
    assert z_diff(slots(FIRST, SECOND, factors=three), seed=0) == z_diff(slots(FIRST, SECOND), seed=0)
