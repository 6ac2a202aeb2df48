"""The paired permutation test, and what it can show at all with few seeds.

If arm and baseline are exchangeable, each paired difference could as well have had the other sign. The p-value is the
share of all 2^n sign patterns whose mean is at least as far from zero as the one seen (Fisher 1935).
"""

from __future__ import annotations

import math

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


def sign_flip_interval(differences: np.ndarray, confidence: float, seed: int = 0) -> tuple[float, float]:
    """Returns the means that `sign_flip_test` does not reject at 1 - confidence: test and interval never disagree.

    A mean m below the one seen is rejected when few sign patterns of `differences - m` reach its sum, and those that
    do are the subsets whose own mean is at most m. So the ends are order statistics of the means of all 2^n - 1
    subsets, exact, without a search over m.

    Args:
        differences: Shape (n,), finite.
        confidence: In (0, 1).
        seed: Of the draw of subsets where n > 20.

    Returns:
        Ends in the differences' unit; infinite where n pairs cannot reject anything (`smallest_p`).

    Source: Hartigan 1969 (typical values), Journal of the American Statistical Association 64; Tritchler 1984 for the
        inversion.
    """
    values = np.asarray(differences, dtype=float)
    means, num_patterns = _subset_means(values, seed)
    rank = math.floor((1 - confidence) * num_patterns / 2 + 1e-9)
    if rank < 1:
        return -math.inf, math.inf
    ends = [rank - 1, means.size - rank]
    slack = 1e-9 * np.abs(values).mean()  # as the test has it: sums that should be zero are not quite
    low, high = (0.0 if abs(end) <= slack else float(end) for end in np.partition(means, ends)[ends])
    return low, high


def _subset_means(values: np.ndarray, seed: int, num_samples: int = 100_000) -> tuple[np.ndarray, int]:
    """Returns the means of subsets, and how many sign patterns they stand for: theirs and that of the empty one."""
    if values.size <= MAX_EXACT:
        sums, sizes = np.zeros(1), np.zeros(1)
        for value in values:
            sums, sizes = np.concatenate([sums, sums + value]), np.concatenate([sizes, sizes + 1])
        return sums[1:] / sizes[1:], sums.size
    chosen = np.random.default_rng(seed).random((num_samples, values.size)) < 0.5
    chosen = chosen[chosen.any(axis=1)]
    return (chosen @ values) / chosen.sum(axis=1), len(chosen) + 1


def _all_sums(values: np.ndarray) -> np.ndarray:
    """Returns the sums of all sign patterns with the first sign fixed: the others mirror them."""
    sums = values[:1]
    for value in values[1:]:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def smallest_p(num_pairs: int) -> float:
    """Returns the smallest two-sided p-value that `num_pairs` pairs can give: 2 of 2^n patterns."""
    return min(1.0, 2.0 ** (1 - num_pairs))
