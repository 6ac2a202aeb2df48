"""Partial rank correlation against its closed form, simulations, and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from tests.benchmarks.partial_correlation import partial_spearman, smallest_shown

RNG = np.random.default_rng(0)


def test_without_anything_given_it_is_spearman_s() -> None:
    one, other = RNG.normal(size=30), RNG.normal(size=30).round(0)
    assert partial_spearman(one, other).value == pytest.approx(spearmanr(one, other).statistic)


def test_one_given_quantity_by_the_closed_form() -> None:
    given = RNG.normal(size=40)
    one, other = given + RNG.normal(size=40), given + RNG.normal(size=40)
    xy, xz, yz = (spearmanr(a, b).statistic for a, b in ((one, other), (one, given), (other, given)))
    expected = (xy - xz * yz) / math.sqrt((1 - xz**2) * (1 - yz**2))
    assert partial_spearman(one, other, [given]).value == pytest.approx(expected)


def test_what_is_common_to_both_by_the_given_quantity_alone_vanishes() -> None:
    given = RNG.normal(size=2_000)
    one, other = given + RNG.normal(size=2_000), given + RNG.normal(size=2_000)
    assert spearmanr(one, other).statistic > 0.4
    found = partial_spearman(one, other, [given], num_resamples=200)
    assert found.value is not None and abs(found.value) < 0.07
    assert found.low is not None and found.high is not None and found.low < 0 < found.high


def test_a_measure_that_the_given_ones_decide_has_no_correlation_left() -> None:
    given = list(range(20))
    found = partial_spearman(given, RNG.normal(size=20), [given])
    assert (found.value, found.low, found.high, found.number) == (None, None, None, 20)


def test_the_smallest_correlation_by_hand() -> None:
    """By hand: 20 configurations, two given, leave 15; (1.960 + .842) / sqrt(15) = .7234, tanh .6190."""
    assert smallest_shown(20, 2) == pytest.approx(0.6190, abs=1e-3)
    assert smallest_shown(5, 2) is None
    assert partial_spearman([1, 2], [1, 2], [[1, 3], [2, 1]]).value is None


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Independent measures, 25 times: the interval should miss 0 in about 5% of the cases, and never in a third."""
    misses = 0
    for seed in range(25):
        rng = np.random.default_rng(seed)
        found = partial_spearman(rng.normal(size=25), rng.normal(size=25), [rng.normal(size=25)], num_resamples=60)
        assert found.low is not None and found.high is not None
        misses += not found.low <= 0 <= found.high
    assert misses <= 6
