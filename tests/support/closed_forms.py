"""Latents whose disentanglement is known: two factors of four values, and latents made of them."""

from __future__ import annotations

import numpy as np

from t5vqvae.measures.slots import Slots

NUM = 900
RNG = np.random.default_rng(0)
FACTORS = RNG.integers(4, size=(NUM, 2))
FIRST, SECOND = FACTORS.T
NOISE = RNG.integers(64, size=NUM)
PERMUTED = np.array([2, 0, 3, 1])
"""Meanings of codes that have nothing to do with their numbers."""


def slots(*parts: np.ndarray, factors: np.ndarray = FACTORS) -> Slots:
    """A template with these latents."""
    names = [f"latent {number}" for number in range(len(parts))]
    return Slots("planted", names, parts, [f"factor {n}" for n in range(factors.shape[1])], factors)


ONE_TO_ONE = slots(PERMUTED[FIRST], PERMUTED[SECOND])
ENTANGLED = slots(FIRST * 4 + SECOND, NOISE)
TWICE = slots(FIRST, PERMUTED[FIRST])
INDEPENDENT = slots(NOISE, RNG.integers(64, size=NUM))
"""Says nothing about either factor."""
