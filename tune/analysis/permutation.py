"""The paired permutation test, and what it can show at all with few seeds.

If arm and baseline are exchangeable, each paired difference could as well have had the other sign. The p-value is the
share of all 2^n sign patterns whose mean is at least as far from zero as the one seen (Fisher 1935).
"""

from __future__ import annotations

import numpy as np

MAX_EXACT = 20
"""Pairs up to which all 2^n patterns are counted; beyond, a sample of them."""


def sign_flip_test(differences: np.ndarray, num_samples: int = 100_000, seed: int = 0) -> float:
    """Returns the two-sided p-value, in [2^(1-n), 1].

    Args:
        differences: Shape (n,), finite.
        num_samples: Sign patterns drawn where n > 20; the p-value is then (hits + 1) / (num_samples + 1).
        seed: Of that draw.
    """
    values = np.asarray(differences, dtype=float)
    slack = 1e-9 * np.abs(values).sum()
    seen = abs(values.sum())
    if values.size <= MAX_EXACT:
        return float(np.mean(np.abs(_all_sums(values)) >= seen - slack))
    signs = np.random.default_rng(seed).choice(np.array([-1.0, 1.0]), size=(num_samples, values.size))
    hits = int((np.abs(signs @ values) >= seen - slack).sum())
    return (hits + 1) / (num_samples + 1)


def _all_sums(values: np.ndarray) -> np.ndarray:
    """Returns the sums of all sign patterns with the first sign fixed: the others mirror them."""
    sums = values[:1]
    for value in values[1:]:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def smallest_p(num_pairs: int) -> float:
    """Returns the smallest two-sided p-value that `num_pairs` pairs can give: 2 of 2^n patterns."""
    return min(1.0, 2.0 ** (1 - num_pairs))
