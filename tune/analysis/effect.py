"""Computes one paired effect: the mean difference between runs of the same seed, its interval, size and p-value.

Every comparison of a study results in an `Effect`. All functions take differences between two runs of the same seed
(same initial weights where shapes allow, same data order), never two unpaired samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from tune.analysis.permutation import sign_flip_interval, sign_flip_test
from tune.analysis.symmetry import Doubt, doubt

ROUNDING = 1e-12
"""Differences below it are of rounding, and count as 0."""
Interval = Literal["permutation", "t", "bca"]
Test = Literal["permutation", "t"]


@dataclass(frozen=True)
class Effect:
    """A mean paired difference, with its interval and p-value.

    Attributes:
        mean: Mean over seeds of arm minus baseline, in the metric's unit.
        low: Lower end of the confidence interval; -inf with one seed.
        high: Upper end of the confidence interval; inf with one seed.
        num_seeds: Number of pairs.
        sd: Standard deviation of the differences (n - 1); NaN with one seed.
        p_value: Two-sided p-value of the hypothesis that the mean is zero, unadjusted.
        confidence: Confidence of the interval, in (0, 1).
        seeds: Seeds of the pairs; empty where unknown.
        interval: Method of the interval.
        test: Method of the p-value.
        doubt: Why the differences may not be symmetric, which the sign flips assume; None without a reason.
    """

    mean: float
    low: float
    high: float
    num_seeds: int
    sd: float
    p_value: float
    confidence: float = 0.95
    seeds: tuple[int, ...] = ()
    interval: Interval = "permutation"
    test: Test = "permutation"
    doubt: Doubt | None = None

    @property
    def d_z(self) -> float | None:
        """Cohen's d_z: the mean in standard deviations of the differences; None when they do not vary."""
        return None if not self.sd > 0 else self.mean / self.sd

    @property
    def g_z(self) -> float | None:
        """Hedges' g_z: `d_z` corrected for small samples, where it is too large by about 3 / (4 n - 5)."""
        return None if self.d_z is None else self.d_z * hedges_correction(self.num_seeds - 1)


def hedges_correction(df: int) -> float:
    """Returns Hedges' correction J(df) of a standardized effect, in [0, 1).

    J(df) = G(df / 2) / (sqrt(df / 2) G((df - 1) / 2)), with G the gamma function, for df >= 2. Below, where that is
    undefined, the approximation 1 - 3 / (4 df - 1), at least 0.

    Source: Hedges 1981, Journal of Educational Statistics 6(2).
    """
    if df < 2:
        return max(0.0, 1 - 3 / (4 * df - 1))
    return math.exp(math.lgamma(df / 2) - math.lgamma((df - 1) / 2)) / math.sqrt(df / 2)


def paired_differences(arm: Mapping[int, float], baseline: Mapping[int, float]) -> dict[int, float]:
    """Returns `{seed: arm - baseline}` over the seeds that both sides have."""
    return {seed: arm[seed] - baseline[seed] for seed in sorted(arm.keys() & baseline.keys())}


def paired_effect(
    differences: Mapping[int, float] | Sequence[float],
    confidence: float = 0.95,
    test: Test = "permutation",
    interval: Interval | None = None,
) -> Effect:
    """Returns the mean of paired differences with its interval and p-value.

    Args:
        differences: Arm minus baseline, `{seed: difference}` or in any order; finite, at least one.
        confidence: Confidence of the interval, in (0, 1).
        test: `permutation` (sign flips; exact up to 20 pairs, assumes symmetry only; see `doubt`) or `t`.
        interval: `permutation` or `t` (the means that the test of that name does not reject), or `bca` (bootstrap; too
            narrow below about ten seeds). None: as `test`, so that it excludes zero where
            p <= 1 - confidence: exactly, with the permutation test up to 20 pairs.

    Raises:
        ValueError: If there is no difference, or one is not finite; the caller must leave out diverged runs.
    """
    seeds = tuple(differences) if isinstance(differences, Mapping) else ()
    values = np.asarray(list(differences.values()) if isinstance(differences, Mapping) else differences, dtype=float)
    if values.size == 0 or not np.isfinite(values).all():
        raise ValueError(f"differences {values.tolist()} must be finite and at least one; leave diverged runs out")
    values = np.where(np.abs(values) < ROUNDING, 0.0, values)  # else rounding alone, with no spread, has p = 0
    interval = interval or test
    low, high = INTERVALS[interval](values, confidence)
    p_value = sign_flip_test(values) if test == "permutation" else _t_test(values)
    sd = float(values.std(ddof=1)) if values.size > 1 else math.nan
    doubted = doubt(values, confidence) if test == "permutation" else None
    return Effect(float(values.mean()), low, high, values.size, sd, p_value, confidence, seeds, interval, test, doubted)


def t_interval(values: np.ndarray, confidence: float) -> tuple[float, float]:
    """Returns the interval mean -+ t(n - 1) sd / sqrt(n); (-inf, inf) for one value."""
    if values.size < 2:
        return -math.inf, math.inf
    half = stats.t.ppf((1 + confidence) / 2, values.size - 1) * values.std(ddof=1) / math.sqrt(values.size)
    return float(values.mean() - half), float(values.mean() + half)


def _bca_interval(values: np.ndarray, confidence: float, num_resamples: int = 9999) -> tuple[float, float]:
    """Returns the bias-corrected and accelerated bootstrap interval of the mean, seeded (Efron 1987)."""
    if values.size < 2:
        return -math.inf, math.inf
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    found = stats.bootstrap(
        (values,), np.mean, confidence_level=confidence, method="BCa", n_resamples=num_resamples, rng=0
    ).confidence_interval
    return float(found.low), float(found.high)


INTERVALS: dict[Interval, Callable[[np.ndarray, float], tuple[float, float]]] = {
    "permutation": sign_flip_interval,
    "t": t_interval,
    "bca": _bca_interval,
}


def _t_test(values: np.ndarray) -> float:
    """Returns the two-sided p-value of a mean of zero by the one-sample t test; 1 for one value."""
    if values.size < 2:
        return 1.0
    if np.ptp(values) == 0:
        return 1.0 if values[0] == 0 else 0.0
    return float(stats.ttest_1samp(values, 0.0).pvalue)
