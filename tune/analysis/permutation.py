"""Computes the paired permutation test, its interval, and the smallest p-value that few seeds can give.

If arm and baseline are exchangeable, each paired difference could as well have the opposite sign: differences are
symmetric about zero, and that is what is tested. The p-value is the
share of all 2^n sign patterns whose mean is at least as far from zero as the observed mean (Fisher 1935).
"""

from __future__ import annotations

import math

import numpy as np

MAX_EXACT = 20
"""Largest number of pairs for which all 2^n sign patterns are counted; for more pairs, a sample of them."""


def sign_flip_test(differences: np.ndarray, num_samples: int = 100_000, seed: int = 0) -> float:
    """Returns the two-sided p-value of a mean difference of zero, in [2^(1-n), 1].

    Args:
        differences: Shape (n,), finite.
        num_samples: Number of sign patterns drawn where n > 20; the p-value is then (hits + 1) / (num_samples + 1).
        seed: Seed of that draw.
    """
    values = np.asarray(differences, dtype=float)
    slack = 1e-9 * np.abs(values).sum()
    seen = abs(values.sum())
    if values.size <= MAX_EXACT:
        return float(np.mean(np.abs(_all_sums(values)) >= seen - slack))
    signs = np.random.default_rng(seed).choice(np.array([-1.0, 1.0]), size=(num_samples, values.size))
    hits = int((np.abs(signs @ values) >= seen - slack).sum())
    return (hits + 1) / (num_samples + 1)


def sign_flip_above(differences: np.ndarray, num_samples: int = 100_000, seed: int = 0) -> float:
    """Returns the one-sided p-value of a mean difference of at most zero, in [2^-n, 1].

    Args:
        differences: Shape (n,), finite.
        num_samples: As in `sign_flip_test`.
        seed: Seed of the draw where n > 20.
    """
    values = np.asarray(differences, dtype=float)
    bar = values.sum() - 1e-9 * np.abs(values).sum()
    if values.size <= MAX_EXACT:
        sums = _all_sums(values)
        return float(np.mean(np.concatenate([sums, -sums]) >= bar))
    signs = np.random.default_rng(seed).choice(np.array([-1.0, 1.0]), size=(num_samples, values.size))
    return (int((signs @ values >= bar).sum()) + 1) / (num_samples + 1)


def sign_flip_interval(differences: np.ndarray, confidence: float, seed: int = 0) -> tuple[float, float]:
    """Returns the interval of the means that `sign_flip_test` does not reject at level 1 - confidence.

    Interval and test therefore agree, up to 20 pairs always; for more, each draws its own sample of patterns, and they
    can disagree where p is within the sample's error of the level.

    Args:
        differences: Shape (n,), finite.
        confidence: In (0, 1).
        seed: Seed of the draw of subsets where n > 20.

    Returns:
        Both ends in the unit of the differences; infinite where n pairs cannot reject anything (`smallest_p`).

    Source: Hartigan 1969 (typical values), Journal of the American Statistical Association 64; Tritchler 1984 for the
        inversion.
    """
    values = np.asarray(differences, dtype=float)
    # A mean m below the observed one is rejected when few sign patterns of `differences - m` reach its sum. Those
    # that do correspond to the subsets whose own mean is at most m. So the ends are order statistics of the means of
    # all 2^n - 1 subsets: exact, without a search over m.
    means, num_patterns = _subset_means(values, seed)
    rank = math.floor((1 - confidence) * num_patterns / 2 + 1e-9)
    if rank < 1:
        return -math.inf, math.inf
    ends = [rank - 1, means.size - rank]
    slack = 1e-9 * np.abs(values).mean()  # as in the test: rounding keeps sums that should be zero from being so
    low, high = (0.0 if abs(end) <= slack else float(end) for end in np.partition(means, ends)[ends])
    return low, high


def _subset_means(values: np.ndarray, seed: int, num_samples: int = 100_000) -> tuple[np.ndarray, int]:
    """Returns the means of nonempty subsets, and the number of sign patterns, which includes the empty subset's."""
    if values.size <= MAX_EXACT:
        sums, sizes = np.zeros(1), np.zeros(1)
        for value in values:
            sums, sizes = np.concatenate([sums, sums + value]), np.concatenate([sizes, sizes + 1])
        return sums[1:] / sizes[1:], sums.size
    chosen = np.random.default_rng(seed).random((num_samples, values.size)) < 0.5
    chosen = chosen[chosen.any(axis=1)]
    return (chosen @ values) / chosen.sum(axis=1), len(chosen) + 1


def _all_sums(values: np.ndarray) -> np.ndarray:
    """Returns the sums of all sign patterns whose first sign is plus; the others are their negatives."""
    sums = values[:1]
    for value in values[1:]:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def smallest_p(num_pairs: int) -> float:
    """Returns the smallest two-sided p-value of n pairs: 2 of 2^n sign patterns."""
    return min(1.0, 2.0 ** (1 - num_pairs))
