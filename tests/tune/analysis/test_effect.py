"""Worked examples of the statistics behind one comparison."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tune.analysis import (
    PowerTarget,
    advice,
    detectable,
    equivalence,
    holm,
    paired_differences,
    paired_effect,
    pairs_needed,
    power,
    seeds_needed,
    sign_flip_interval,
    sign_flip_test,
    smallest_adjusted_p,
    smallest_p,
)
from tune.analysis.effect import hedges_correction

DIFFERENCES = [0.5, 1.5, 1.0, 2.0, -0.5]
numbers = st.floats(-100, 100).map(lambda x: round(x, 3))


def test_pairs_are_by_seed_and_only_those_that_both_have():
    assert paired_differences({1: 5.0, 2: 7.0, 9: 1.0}, {2: 4.0, 1: 4.5}) == {1: 0.5, 2: 3.0}


def test_an_effect_by_hand():
    effect = paired_effect(dict(enumerate(DIFFERENCES)), test="t")
    sd = math.sqrt((0.16 + 0.36 + 0.01 + 1.21 + 1.96) / 4)
    assert effect.mean == pytest.approx(0.9)
    assert effect.sd == pytest.approx(sd)
    assert effect.high - effect.mean == pytest.approx(2.776445 * sd / math.sqrt(5), rel=1e-6)
    assert effect.mean - effect.low == pytest.approx(effect.high - effect.mean)
    assert effect.d_z == pytest.approx(0.9 / sd)
    assert effect.g_z == pytest.approx(0.9 / sd * (1 - 3 / (4 * 4 - 1)), rel=0.01)
    assert effect.p_value == pytest.approx(stats.ttest_rel([1 + d for d in DIFFERENCES], [1.0] * 5).pvalue)
    assert (effect.num_seeds, effect.seeds) == (5, (0, 1, 2, 3, 4))


def test_hedges_correction_as_tabulated():
    assert hedges_correction(10) == pytest.approx(0.9228, abs=2e-4)
    assert hedges_correction(2) == pytest.approx(0.5642, abs=2e-4)


def test_one_pair_says_nothing_and_a_constant_difference_has_no_standard_size():
    one = paired_effect([0.3])
    assert (one.low, one.high, one.p_value, one.d_z) == (-math.inf, math.inf, 1.0, None)
    same = paired_effect([0.0] * 6)
    assert (same.mean, same.low, same.high, same.p_value, same.d_z) == (0, 0, 0, 1.0, None)


@pytest.mark.parametrize("bad", [[], [1.0, math.nan], [math.inf]])
def test_a_diverged_difference_is_refused_rather_than_averaged(bad):
    with pytest.raises(ValueError, match="leave diverged runs out"):
        paired_effect(bad)


def test_the_bootstrap_interval_is_seeded_and_follows_a_skew():
    skewed = [0.0, 0.1, 0.1, 0.2, 0.2, 0.3, 0.4, 0.5, 0.9, 3.0]
    first, second = paired_effect(skewed, interval="bca"), paired_effect(skewed, interval="bca")
    assert (first.low, first.high) == (second.low, second.high)
    assert first.high - first.mean > 1.5 * (first.mean - first.low)


def test_the_permutation_interval_by_hand():
    # Means of the 7 subsets of (1, 2, 6): 1, 1.5, 2, 3, 3.5, 4, 6. Two in eight patterns: the smallest and the largest.
    assert sign_flip_interval(np.array([1.0, 2.0, 6.0]), 0.75) == (1.0, 6.0)
    assert sign_flip_interval(np.array([1.0, 2.0, 6.0]), 0.5) == (1.5, 4.0)
    assert sign_flip_interval(np.array([1.0, 2.0, 6.0]), 0.8) == (-math.inf, math.inf)


@given(st.lists(numbers, min_size=1, max_size=9), st.sampled_from([0.8, 0.9, 0.95]))
@settings(deadline=None)
def test_an_interval_excludes_zero_just_where_its_test_does(differences, confidence):
    effect = paired_effect(differences, confidence)
    assert (effect.low > 0 or effect.high < 0) == (effect.p_value <= 1 - confidence + 1e-12)


def test_beyond_exact_counting_test_and_interval_still_agree():
    values = np.random.default_rng(3).normal(0.4, 1.0, 30)
    low, high = sign_flip_interval(values, 0.95)
    t_low, t_high = stats.t.interval(0.95, 29, values.mean(), stats.sem(values))
    assert (low, high) == pytest.approx((t_low, t_high), abs=0.05)
    assert sign_flip_test(values - low) == pytest.approx(0.05, abs=0.005)


def test_the_permutation_test_counts_sign_patterns():
    # |sums| of the 8 patterns of (1, 2, 3): 6 4 2 0 0 2 4 6
    assert sign_flip_test(np.array([1.0, 2.0, 3.0])) == 2 / 8
    assert sign_flip_test(np.array([1.0, -2.0, 3.0])) == 6 / 8
    assert sign_flip_test(np.array([0.1] * 5)) == smallest_p(5) == 0.0625


@given(st.lists(numbers, min_size=2, max_size=9))
@settings(max_examples=40, deadline=None)
def test_the_permutation_test_agrees_with_scipy_and_ignores_the_sign(values):
    array = np.array(values)
    other = stats.permutation_test((array,), np.sum, permutation_type="samples", n_resamples=10_000).pvalue
    assert sign_flip_test(array) == pytest.approx(sign_flip_test(-array))
    assert sign_flip_test(array) == pytest.approx(min(1.0, other), abs=1e-9)


def test_many_pairs_are_sampled_and_come_close_to_the_t_test():
    values = np.random.default_rng(3).normal(0.3, 1.0, 40)
    assert sign_flip_test(values) == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=0.01)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]


@pytest.mark.parametrize("seed", range(20))
def test_holm_agrees_with_statsmodels(seed):
    from statsmodels.stats.multitest import multipletests

    p_values = np.random.default_rng(seed).uniform(0, 0.3, 1 + seed % 7).tolist()
    assert holm(p_values) == pytest.approx(list(multipletests(p_values, method="holm")[1]))


def test_what_few_pairs_can_show():
    assert smallest_adjusted_p(5, 1) == 0.0625
    assert (pairs_needed(1, 0.05), pairs_needed(4, 0.05)) == (6, 8)
    assert smallest_adjusted_p(5, 3, "t") == 0.0
    assert smallest_adjusted_p(pairs_needed(3, 0.01), 3) <= 0.01 < smallest_adjusted_p(pairs_needed(3, 0.01) - 1, 3)


def test_power_agrees_with_statsmodels():
    from statsmodels.stats.power import TTestPower

    for size, num in ((0.5, 34), (1.0, 8), (2.0, 5)):
        expected = TTestPower().power(size, num, 0.05)
        assert power(size * 3, 3.0, num, PowerTarget(test="t")) == pytest.approx(expected, abs=1e-6)
    assert seeds_needed(0.5, 1.0, PowerTarget(test="t")) == 34
    assert power(9.0, 1.0, 5) == 0.0, "five pairs cannot reach .05 in a permutation test"


@pytest.mark.parametrize(("num_seeds", "num_tests"), [(6, 1), (9, 7), (11, 3)])
def test_power_is_that_of_the_permutation_test_where_it_knows_few_p_values(num_seeds, num_tests):
    samples = np.random.default_rng(8).normal(1.2, 1.0, (600, num_seeds))
    found = np.mean([sign_flip_test(sample) <= 0.05 / num_tests for sample in samples])
    claimed = power(1.2, 1.0, num_seeds, PowerTarget(num_tests=num_tests))
    assert claimed == pytest.approx(found, abs=4 * 0.5 / math.sqrt(600))
    if (num_seeds, num_tests) == (9, 7):
        assert power(1.2, 1.0, 9, PowerTarget(num_tests=7, test="t")) > claimed + 0.15


def test_detectable_and_needed_are_inverse():
    smallest = detectable(0.4, 9)
    assert power(smallest, 0.4, 9) == pytest.approx(0.8, abs=1e-3)
    assert seeds_needed(smallest * 1.0001, 0.4) == 9
    assert math.isinf(detectable(0.4, 5))
    assert seeds_needed(1e-6, 1.0) is None


def test_the_advice_is_a_sentence():
    t = PowerTarget(test="t")
    assert (
        advice(0.3, 0.3, 5, "BLEU", t) == "five seeds can show a difference of 0.5 BLEU; you asked about 0.3: run ten"
    )
    assert advice(0.6, 0.3, 5, "BLEU", t).endswith("you asked about 0.6: enough")
    assert advice(0.3, 0.3, 5, "BLEU") == "five seeds can show no difference; you asked about 0.3: run eleven"


def test_equivalence_by_hand():
    values = [0.1, -0.1, 0.05, -0.05, 0.0]
    found = equivalence(values, margin=0.2)
    error = np.std(values, ddof=1) / math.sqrt(5)
    assert found.p_value == pytest.approx(stats.t.sf(0.2 / error, 4))
    assert found.high == pytest.approx(2.131847 * error, rel=1e-6)
    assert found.p_value < 0.05 and found.low > -0.2 and found.high < 0.2


@given(st.lists(numbers, min_size=3, max_size=8), st.floats(0.01, 50))
@settings(deadline=None)
def test_equivalent_is_when_the_interval_lies_within_the_margin(values, margin):
    found = equivalence(values, margin)
    inside = -margin < found.low and found.high < margin
    near = min(abs(abs(found.low) - margin), abs(abs(found.high) - margin)) < 1e-6
    assert near or (found.p_value < 0.05) == inside


def test_equivalence_of_copies_and_of_one_seed():
    assert equivalence([0.0] * 6, 0.1).p_value < 1e-9
    assert equivalence([0.0], 0.1).p_value == 1.0
    assert equivalence([0.1] * 6, 0.1).p_value == 1.0, "the margin itself is not within the margin"
    with pytest.raises(ValueError, match="margin=0 must be more than 0"):
        equivalence([0.0, 0.1], 0)
