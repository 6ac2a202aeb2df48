"""Tests equivalence: two one-sided tests (TOST) of a paired difference against a margin.

A p-value above alpha does not show that two arms are equal; this test can. Two arms are equivalent if the whole
(1 - 2 alpha) interval lies strictly between -margin and +margin (Schuirmann 1987).

The one-sided tests are sign flips, which assume that differences are symmetric about their mean, or t tests, which
assume that they are normal. On exponential differences both claim equivalence at one margin in .13 to .15 of studies
instead of .05, and at the other one in .01 (`tests/benchmarks/results/error_rates.md`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from tune.analysis.effect import INTERVALS, Test
from tune.analysis.permutation import sign_flip_above


@dataclass(frozen=True)
class Equivalence:
    """The result of an equivalence test.

    Attributes:
        margin: Largest difference that does not matter, in the metric's unit.
        p_value: The larger p-value of the two one-sided tests, unadjusted; at most alpha: equivalent.
        low: Lower end of the (1 - 2 alpha) interval.
        high: Upper end of that interval.
    """

    margin: float
    p_value: float
    low: float
    high: float


def equivalence(
    differences: Mapping[int, float] | Sequence[float], margin: float, alpha: float = 0.05, test: Test = "t"
) -> Equivalence:
    """Tests that the mean paired difference lies strictly between -margin and +margin.

    Args:
        differences: Arm minus baseline, finite; with fewer than two the p-values are 1.
        margin: > 0, in the metric's unit.
        alpha: Error rate of each one-sided test; only the interval depends on it.
        test: `permutation` (sign flips) or `t`.

    Raises:
        ValueError: If the margin is not positive.
    """
    if not margin > 0:
        raise ValueError(f"margin={margin} must be more than 0")
    values = np.asarray(list(differences.values()) if isinstance(differences, Mapping) else differences, dtype=float)
    low, high = INTERVALS[test](values, 1 - 2 * alpha)
    above = _above if test == "t" else _flipped_above
    return Equivalence(margin, max(above(values + margin), above(margin - values)), low, high)


def _flipped_above(values: np.ndarray) -> float:
    """Returns the p-value of the one-sided sign-flip test of the hypothesis that the mean is at most zero."""
    return 1.0 if values.size < 2 else sign_flip_above(values)


def _above(values: np.ndarray) -> float:
    """Returns the p-value of the one-sided t test of the hypothesis that the mean is at most zero."""
    if values.size < 2:
        return 1.0
    if np.ptp(values) == 0:
        return 0.0 if values[0] > 0 else 1.0
    error = float(values.std(ddof=1)) / math.sqrt(values.size)
    return float(stats.t.sf(values.mean() / error, values.size - 1))
