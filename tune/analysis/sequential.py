"""Stops arms early by group-sequential tests of paired differences that about keep the error rate; off by default.

Alpha is spent over looks (Lan and DeMets 1983): at the look with information fraction t, a*(t) of it is spent. Bounds
follow from the joint distribution of the looks by recursive integration (Armitage, McPherson and Rowe 1969). Stopping
for futility is non-binding: it costs a little power and does not raise the error rate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from scipy import optimize, stats

from tune.analysis.effect import ROUNDING

SIMULATED = "simulated: .048 to .058 for .05"
"""The error of plans with few pairs; `tests/benchmarks/results/error_rates.md` has the table."""
Spending = Literal["obrien_fleming", "pocock"]
Decision = Literal["continue", "effect", "futile"]
GRID = 1201
"""Points of a grid of integration; odd, for Simpson's rule."""


@dataclass(frozen=True)
class SequentialPlan:
    """The looks at an arm, and the bounds that keep its two-sided error at about alpha.

    Attributes:
        looks: Numbers of pairs at which to look, increasing; the last one is the whole study.
        alpha: Two-sided error of one arm over all looks, about; divide by the number of arms beforehand.
        spending: `obrien_fleming` spends little early, `pocock` evenly.
        futility: Stop an arm whose conditional power has fallen below this chance; None: never.
    """

    looks: tuple[int, ...]
    alpha: float = 0.05
    spending: Spending = "obrien_fleming"
    futility: float | None = None

    def __post_init__(self) -> None:
        if not self.looks or self.looks[0] < 2 or list(self.looks) != sorted(set(self.looks)):
            raise ValueError(f"looks={list(self.looks)} must increase and begin at 2 pairs or more")

    @cached_property
    def bounds(self) -> tuple[float, ...]:
        """The bounds on |z|, one for each look."""
        fractions = [look / self.looks[-1] for look in self.looks]
        return tuple(_bounds(fractions, [spent(t, self.alpha, self.spending) for t in fractions]))

    def decide(self, differences: Sequence[float]) -> Decision:
        """Returns whether to stop an arm, and why, after some of its differences.

        Args:
            differences: As many as one of `looks`, in the order of the seeds.

        Raises:
            ValueError: If no look is planned at that number of pairs.
        """
        values = _without_rounding(differences)
        if values.size not in self.looks:
            raise ValueError(f"{values.size} pairs are no planned look; use one of looks={list(self.looks)}")
        if abs(_z_value(values)) >= self.bounds[self.looks.index(values.size)]:
            return "effect"
        hopeless = self.futility is not None and self._chance(values) < self.futility
        return "futile" if hopeless and values.size < self.looks[-1] else "continue"

    def closes_with_effect(self, differences: Sequence[float]) -> bool:
        """Returns whether the last look shows an effect though fewer pairs than planned are all that there will be.

        It spends what is left of alpha, at the share of the planned pairs that it has.

        Args:
            differences: Fewer than the last of `looks`, in the order of the seeds.
        """
        values = _without_rounding(differences)
        if values.size < 2:
            return False
        passed = [look for look in self.looks if look < values.size]
        fractions = [look / self.looks[-1] for look in (*passed, values.size)]
        spendings = [*(spent(t, self.alpha, self.spending) for t in fractions[:-1]), self.alpha]
        return abs(_z_value(values)) >= _bounds(fractions, spendings)[-1]

    def _chance(self, values: np.ndarray) -> float:
        """Returns the conditional power: the chance to cross the last bound if the current mean and spread persist."""
        num_all, mean, sd = self.looks[-1], abs(float(values.mean())), float(values.std(ddof=1))
        left = num_all - values.size
        if left == 0 or sd == 0:
            return 0.0
        needed = self.bounds[-1] * sd * math.sqrt(num_all)
        return float(stats.norm.sf((needed - num_all * mean) / (sd * math.sqrt(left))))


def spent(fraction: float, alpha: float, spending: Spending = "obrien_fleming") -> float:
    """Returns the two-sided alpha that is spent until an information fraction, in (0, 1]."""
    if spending == "pocock":
        return alpha * math.log(1 + (math.e - 1) * fraction)
    return float(4 * stats.norm.sf(stats.norm.isf(alpha / 4) / math.sqrt(fraction)))


def _without_rounding(differences: Sequence[float]) -> np.ndarray:
    """Returns differences, those of rounding alone as 0, as in `paired_effect`."""
    values = np.asarray(differences, dtype=float)
    return np.where(np.abs(values) < ROUNDING, 0.0, values)


def _z_value(values: np.ndarray) -> float:
    """Returns the standard normal quantile of the t statistic of the differences, with its sign."""
    sd = float(values.std(ddof=1))
    if sd == 0:
        return 0.0 if values[0] == 0 else math.copysign(math.inf, values[0])
    # Through the p-value, which keeps the error rate with few seeds (Jennison and Turnbull 2000, section 3.6).
    t = float(values.mean()) / (sd / math.sqrt(values.size))
    return math.copysign(float(stats.norm.isf(stats.t.sf(abs(t), values.size - 1))), t)


def _bounds(fractions: list[float], spendings: list[float]) -> list[float]:
    """Returns each look's bound: without an effect, the cumulative chance to cross equals the alpha to be spent."""
    # The score process S(t) is a Brownian motion. Its density within the bounds so far is propagated on a grid.
    bounds = [float(stats.norm.isf(spendings[0] / 2))]
    grid, density = _grid(bounds[0] * math.sqrt(fractions[0])), None
    density = stats.norm.pdf(grid, scale=math.sqrt(fractions[0]))
    for last, now, before, after in zip(fractions, fractions[1:], spendings, spendings[1:], strict=False):
        step = math.sqrt(now - last)
        weights = density * _simpson(grid)

        def crossed(z: float, grid=grid, weights=weights, step=step, now=now) -> float:  # type: ignore[no-untyped-def]
            edge = z * math.sqrt(now)
            return float(weights @ (stats.norm.sf((edge - grid) / step) + stats.norm.cdf((-edge - grid) / step)))

        extra = after - before
        bounds.append(float(optimize.brentq(lambda z, crossed=crossed, extra=extra: crossed(z) - extra, 0.0, 12.0)))
        new = _grid(bounds[-1] * math.sqrt(now))
        density = stats.norm.pdf((new[:, None] - grid[None, :]) / step) / step @ weights
        grid = new
    return bounds


def _grid(edge: float) -> np.ndarray:
    return np.linspace(-min(edge, 8.0), min(edge, 8.0), GRID)


def _simpson(grid: np.ndarray) -> np.ndarray:
    """Returns Simpson's weights for an odd number of equally spaced points."""
    weights = np.ones(grid.size)
    weights[1:-1:2], weights[2:-1:2] = 4.0, 2.0
    return weights * (grid[1] - grid[0]) / 3
