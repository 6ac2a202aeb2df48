"""Doubts that paired differences are symmetric, which sign flips assume, and gives two answers that do not need it.

A sign-flip test asks whether differences are symmetric about zero. Where one or two seeds carry the spread, that is in
doubt, and a rejection need not be about the mean. The bootstrap-t interval follows a skew (Efron and Tibshirani 1993,
chapter 12; with few seeds it is wide). The sign test holds for any shape, but speaks about the median.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats

MIN_PAIRS = 5
"""Fewest pairs whose shape says anything."""
LEVEL = 0.025
"""Share of normal samples in which one seed carries as much, and in which two seeds do."""


@dataclass(frozen=True)
class Doubt:
    """What stands in the way of symmetric differences, and two answers without it.

    Attributes:
        at: Places of the differences that carry the spread, one or two.
        share: Their share of the squared distances from the median, in (0, 1].
        low: Lower end of the bootstrap-t interval of the mean.
        high: Upper end.
        p_sign: Two-sided p-value of the sign test, of a median of zero.
    """

    at: tuple[int, ...]
    share: float
    low: float
    high: float
    p_sign: float


def doubt(differences: Sequence[float] | np.ndarray, confidence: float = 0.95) -> Doubt | None:
    """Returns the doubt that differences are symmetric; None without one, and below five pairs.

    Args:
        differences: Arm minus baseline, finite.
        confidence: Confidence of the bootstrap-t interval.
    """
    values = np.asarray(differences, dtype=float)
    if values.size < MIN_PAIRS:
        return None
    shares = [float(share[0]) for share in _shares(values[None, :])]
    num = next((i + 1 for i, limit in enumerate(_limits(values.size)) if shares[i] > limit), 0)
    if num == 0:
        return None
    far = np.argsort(-np.abs(values - np.median(values)))[:num]
    low, high = bootstrap_t_interval(values, confidence)
    return Doubt(tuple(sorted(map(int, far))), shares[num - 1], low, high, sign_test(values))


def _shares(values_SN: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns per sample the share of the spread of the farthest value, and of the two farthest on one side."""
    apart_SN = values_SN - np.median(values_SN, axis=1, keepdims=True)
    order_SN = np.argsort(-np.abs(apart_SN), axis=1)
    first_S, second_S = (np.take_along_axis(apart_SN, order_SN[:, i : i + 1], axis=1)[:, 0] for i in (0, 1))
    total_S = (apart_SN**2).sum(axis=1)
    total_S = np.where(total_S > 0, total_S, math.inf)  # equal values have no spread that anyone could carry
    same_side_S = first_S * second_S > 0
    return first_S**2 / total_S, np.where(same_side_S, (first_S**2 + second_S**2) / total_S, 0.0)


@lru_cache(maxsize=64)
def _limits(num: int) -> tuple[float, ...]:
    """Returns the shares that few normal samples exceed."""
    samples = np.random.default_rng(0).normal(size=(20_000, num))
    return tuple(float(np.quantile(shares, 1 - LEVEL)) for shares in _shares(samples))


def bootstrap_t_interval(
    differences: Sequence[float] | np.ndarray, confidence: float, num_resamples: int = 9999, seed: int = 0
) -> tuple[float, float]:
    """Returns the bootstrap-t (studentized) interval of the mean; seeded.

    Args:
        differences: At least two, finite.
        confidence: In (0, 1).
        num_resamples: Draws with replacement.
        seed: Seed of the draws.
    """
    values = np.asarray(differences, dtype=float)
    mean, error = float(values.mean()), float(values.std(ddof=1)) / math.sqrt(values.size)
    if error == 0:
        return mean, mean
    drawn = values[np.random.default_rng(seed).integers(0, values.size, (num_resamples, values.size))]
    errors = drawn.std(axis=1, ddof=1) / math.sqrt(values.size)
    apart = drawn.mean(axis=1) - mean
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(errors > 0, apart / errors, np.sign(apart) * math.inf)
    low, high = np.quantile(ratios, [(1 - confidence) / 2, (1 + confidence) / 2], method="inverted_cdf")
    return mean - float(high) * error, mean - float(low) * error


def sign_test(differences: Sequence[float] | np.ndarray) -> float:
    """Returns the two-sided p-value of a median of zero; zeros do not count, and without other values it is 1."""
    values = np.asarray(differences, dtype=float)
    above, below = int((values > 0).sum()), int((values < 0).sum())
    return float(stats.binomtest(above, above + below).pvalue) if above + below else 1.0
