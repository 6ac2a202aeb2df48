"""When symmetry is in doubt, and what is said beside the sign flips."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tune.analysis import bootstrap_t_interval, doubt, equivalence, paired_effect, sign_flip_above, sign_test

EVEN = [0.10, 0.13, 0.08, 0.11, 0.12, 0.09, 0.14]


def test_one_seed_that_carries_the_spread_is_named():
    found = doubt([*EVEN, 3.0])
    assert found.at == (7,) and found.share > 0.99
    assert found.p_sign == pytest.approx(2 / 2**8)
    assert doubt([-value for value in [*EVEN, 3.0]]).at == (7,)


def test_two_on_one_side_are_named_and_two_on_both_sides_are_symmetric():
    assert doubt([1.5, *EVEN, 1.4]).at == (0, 8)
    assert doubt([1.5, *EVEN, -1.3]) is None


def test_normal_samples_and_few_or_equal_values_raise_no_doubt():
    rng = np.random.default_rng(0)
    for num in (5, 8, 20):
        doubted = [doubt(sample) is not None for sample in rng.normal(size=(300, num))]
        assert np.mean(doubted) < 0.08
    assert doubt([0.0, 0.0, 0.0, 9.0]) is None and doubt([0.3] * 8) is None


def test_a_skew_raises_doubt_more_often():
    rng = np.random.default_rng(1)
    assert np.mean([doubt(sample) is not None for sample in rng.lognormal(sigma=1.5, size=(100, 10))]) > 0.5


def test_the_sign_test_by_hand():
    assert sign_test([1.0] * 7 + [-1.0]) == pytest.approx(2 * (1 + 8) / 2**8)
    assert sign_test([1.0] * 7 + [-1.0, 0.0, 0.0]) == sign_test([1.0] * 7 + [-1.0]), "zeros do not count"
    assert sign_test([0.0] * 5) == 1.0


def test_the_bootstrap_t_interval_is_the_t_interval_of_many_normal_values():
    values = np.random.default_rng(2).normal(1.0, 2.0, 200)
    expected = stats.t.interval(0.95, 199, values.mean(), stats.sem(values))
    assert bootstrap_t_interval(values, 0.95) == pytest.approx(expected, abs=0.03)
    assert bootstrap_t_interval(values, 0.95) == bootstrap_t_interval(values, 0.95), "seeded"
    assert bootstrap_t_interval([0.5] * 6, 0.95) == (0.5, 0.5)


def test_the_bootstrap_t_interval_reaches_into_the_long_tail_and_covers_more_than_sign_flips():
    rng = np.random.default_rng(3)
    samples = rng.exponential(1.0, (200, 10))
    ends = np.array([bootstrap_t_interval(sample, 0.95, num_resamples=500) for sample in samples])
    covered = np.mean((ends[:, 0] <= 1) & (ends[:, 1] >= 1))
    flips = [paired_effect(sample) for sample in samples]
    assert covered >= 0.91 > np.mean([e.low <= 1 <= e.high for e in flips])
    assert np.mean(ends[:, 1] - samples.mean(1)) > 1.5 * np.mean(samples.mean(1) - ends[:, 0])


def test_an_effect_carries_its_doubt_and_the_declared_test_decides():
    skewed = [*EVEN, 3.0]
    effect = paired_effect(dict(zip(range(10, 18), skewed, strict=True)))
    assert effect.doubt == doubt(skewed) and effect.p_value == pytest.approx(2 / 2**8)
    assert paired_effect(skewed, test="t").doubt is None, "the t test has another assumption"


def test_one_sided_sign_flips_by_hand():
    # Sums of the 8 patterns of (1, 2, 3): 6 4 2 0 0 -2 -4 -6
    assert sign_flip_above(np.array([1.0, 2.0, 3.0])) == 1 / 8
    assert sign_flip_above(np.array([1.0, -2.0, 3.0])) == 3 / 8
    assert sign_flip_above(np.array([-1.0, -2.0, -3.0])) == 1.0
    many = np.random.default_rng(4).normal(0.3, 1.0, 40)
    assert sign_flip_above(many) == pytest.approx(stats.ttest_1samp(many, 0, alternative="greater").pvalue, abs=0.01)


def test_equivalence_by_sign_flips_by_hand_and_with_its_interval():
    assert equivalence([0.0] * 6, 0.1, test="permutation").p_value == 1 / 64
    assert equivalence([0.1] * 6, 0.1, test="permutation").p_value == 1.0, "the margin is not within the margin"
    assert equivalence([0.0], 0.1, test="permutation").p_value == 1.0
    rng = np.random.default_rng(5)
    for sample in rng.normal(0, 1, (60, 8)):
        found = equivalence(sample, 0.9, test="permutation")
        assert (found.p_value <= 0.05) == (max(-found.low, found.high) < 0.9)
