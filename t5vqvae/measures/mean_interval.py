"""The 95% percentile bootstrap interval of a mean.

Letters: N values, S samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

NUM_SAMPLES = 2_000


def mean_interval(values: Sequence[float], seed: int) -> tuple[float, float, float]:
    """Returns the mean of values, and the ends of its interval when they are resampled."""
    values_N = np.asarray(values, dtype=float)
    drawn_SN = np.random.default_rng(seed).choice(values_N, (NUM_SAMPLES, len(values_N)))
    low, high = np.quantile(drawn_SN.mean(1), [0.025, 0.975])
    return float(values_N.mean()), float(low), float(high)
