"""Partial rank correlation: do two measures order configurations alike, beyond what a third quantity explains?

Ranks of both are regressed on the ranks of what is given; the correlation of the residuals is Spearman's partial
correlation. Its interval is a percentile bootstrap over configurations.

Letters: N configurations, G given quantities.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_Floats = npt.NDArray[np.float64]
NUM_RESAMPLES = 2_000


@dataclass(frozen=True)
class PartialCorrelation:
    """A partial rank correlation over configurations.

    Attributes:
        value: The correlation; None where one of the two does not vary beyond what is given.
        low: Lower end of its 95% interval.
        high: Upper end.
        number: Configurations.
        smallest: The smallest correlation that so many configurations show with a power of .8, at a level of .05.
    """

    value: float | None
    low: float | None
    high: float | None
    number: int
    smallest: float | None


def partial_spearman(
    one: Sequence[float],
    other: Sequence[float],
    given: Sequence[Sequence[float]] = (),
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> PartialCorrelation:
    """Returns the rank correlation of two measures over configurations, given others.

    Args:
        one: A measure, a value for each configuration.
        other: Another one, in the same order.
        given: What is held fixed, each in the same order.
        seed: Seed of the bootstrap.
        num_resamples: Draws of all configurations, with replacement.

    Raises:
        ValueError: If they have different lengths.
    """
    columns = [one, other, *given]
    if len({len(column) for column in columns}) > 1:
        raise ValueError("every measure needs a value for each configuration")
    values_NC = np.column_stack([np.asarray(column, float) for column in columns])
    number, rng = len(values_NC), np.random.default_rng(seed)
    drawn = (_partial(values_NC[rng.integers(number, size=number)]) for _ in range(num_resamples))
    found = [value for value in drawn if value is not None]
    value = _partial(values_NC) if number > len(columns) else None
    low, high = np.quantile(found, [0.025, 0.975]).tolist() if value is not None and found else (None, None)
    return PartialCorrelation(value, low, high, number, smallest_shown(number, len(given)))


def smallest_shown(number: int, num_given: int = 0) -> float | None:
    """Returns the smallest correlation that shows with a power of .8 at a level of .05, by Fisher's transformation.

    None where there are too few configurations for any.
    """
    room = number - num_given - 3
    return math.tanh((1.959964 + 0.841621) / math.sqrt(room)) if room > 0 else None


def _partial(values_NC: _Floats) -> float | None:
    from scipy.stats import rankdata

    ranks_NC = rankdata(values_NC, axis=0)
    given_NG = np.column_stack([np.ones(len(ranks_NC)), ranks_NC[:, 2:]])
    fitted_NC = given_NG @ np.linalg.lstsq(given_NG, ranks_NC[:, :2], rcond=None)[0]
    one_N, other_N = (ranks_NC[:, :2] - fitted_NC).T
    size = float(np.linalg.norm(one_N) * np.linalg.norm(other_N))
    # Residuals of what is given itself are rounding errors.
    return float(one_N @ other_N) / size if min(np.linalg.norm(one_N), np.linalg.norm(other_N)) > 1e-6 else None
