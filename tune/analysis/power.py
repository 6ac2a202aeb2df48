"""Computes statistical power: how many seeds a question needs, if differences are normally distributed over seeds.

With m tests under Holm, the smallest p-value is compared with alpha / m. All numbers here use that level, so they are
conservative.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import optimize, stats

from tune.analysis.effect import Test
from tune.analysis.holm import smallest_adjusted_p
from tune.analysis.permutation import sign_flip_interval

MAX_SEEDS = 10_000
"""Most pairs that a search for enough seeds considers."""
MAX_SIMULATED = 12
"""Most pairs for which the power of the permutation test is simulated; for more, the t test's agrees to .02."""
NUM_SIMULATED = 4_000
"""Number of simulated studies."""
_WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]


@dataclass(frozen=True)
class PowerTarget:
    """The error rates that a comparison should keep.

    Attributes:
        alpha: Chance of any false claim over all tests, in (0, 1).
        power: Chance to detect a true difference, in (0, 1).
        num_tests: m, the number of tests under Holm.
        test: The test in use.
    """

    alpha: float = 0.05
    power: float = 0.8
    num_tests: int = 1
    test: Test = "permutation"


def power(difference: float, sd: float, num_seeds: int, target: PowerTarget = PowerTarget()) -> float:
    """Returns the chance that a comparison detects a true mean difference.

    Args:
        difference: True mean of the paired differences, in the metric's unit.
        sd: Standard deviation of the paired differences, > 0.
        num_seeds: Number of pairs.
        target: The error rates and the test; its `power` is not used.
    """
    if num_seeds < 2 or smallest_adjusted_p(num_seeds, target.num_tests, target.test) > target.alpha:
        return 0.0
    if target.test == "permutation" and num_seeds <= MAX_SIMULATED:
        # Few pairs allow few p-values, so the permutation test has less power than the t test: with 9 pairs and
        # 7 tests, it detects a difference of 1.2 standard deviations in 34 of 100 studies, the t test in 54.
        needed = _needed_shifts(num_seeds, target.alpha / target.num_tests)
        ends = np.searchsorted(needed, [abs(difference) / sd, -abs(difference) / sd])
        return float(ends.sum() / len(needed))
    # The power of the t test follows from the noncentral t distribution.
    df = num_seeds - 1
    shift = abs(difference) / sd * math.sqrt(num_seeds)
    bound = stats.t.ppf(1 - target.alpha / target.num_tests / 2, df)
    right, wrong = float(stats.nct.sf(bound, df, shift)), float(stats.nct.cdf(-bound, df, shift))
    # scipy returns NaN for shifts of hundreds of standard errors, where the chance is all but 0 or 1.
    right = float(shift > bound) if math.isnan(right) else right
    return right + (0.0 if math.isnan(wrong) else wrong)


@lru_cache(maxsize=64)
def _needed_shifts(num_seeds: int, alpha: float) -> np.ndarray:
    """Returns, sorted, the shift that makes each of 4,000 samples of standard normal differences significant."""
    samples = np.random.default_rng(0).normal(size=(NUM_SIMULATED, num_seeds))
    # A shift moves the permutation interval with the sample, so a sample needs a shift of minus its lower end. The
    # upper end gives the same by symmetry.
    return np.sort([-sign_flip_interval(sample, 1 - alpha)[0] for sample in samples])


def detectable(sd: float, num_seeds: int, target: PowerTarget = PowerTarget()) -> float:
    """Returns the smallest true difference that is detected with chance `target.power`; inf if there is none.

    Args:
        sd: As in `power`.
        num_seeds: Number of pairs.
        target: The error rates and the test.
    """
    if power(1e3 * sd, sd, num_seeds, target) < target.power:
        return math.inf
    return float(optimize.brentq(lambda x: power(x, sd, num_seeds, target) - target.power, 0.0, 1e3 * sd))


def seeds_needed(difference: float, sd: float, target: PowerTarget = PowerTarget()) -> int | None:
    """Returns the fewest pairs that detect a true difference with chance `target.power`; None beyond 10,000.

    Args:
        difference: As in `power`.
        sd: As in `power`.
        target: The error rates and the test.
    """
    low, high = 1, 2
    while power(difference, sd, high, target) < target.power:
        low, high = high, 2 * high
        if high > MAX_SEEDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(difference, sd, middle, target) >= target.power else (middle, high)
    return high


def advice(margin: float, sd: float, num_seeds: int, metric: str, target: PowerTarget = PowerTarget()) -> str:
    """Returns one sentence: the difference that the seeds can show, and the number of seeds that the question needs.

    Args:
        margin: Smallest difference that matters, in the metric's unit, > 0.
        sd: Standard deviation of paired differences, from a pilot or from the study itself, > 0.
        num_seeds: Number of seeds, planned or run.
        metric: Name of the metric in the sentence.
        target: The error rates and the test.
    """
    smallest = detectable(sd, num_seeds, target)
    seen = "no difference" if math.isinf(smallest) else f"a difference of {smallest:.2g} {metric}"
    can = f"{_word(num_seeds)} seed{'' if num_seeds == 1 else 's'} can show {seen}"
    if smallest <= margin:
        return f"{can}; you asked about {margin:.2g}: enough"
    needed = seeds_needed(margin, sd, target)
    number = f"more than {MAX_SEEDS}" if needed is None else _word(needed)
    return f"{can}; you asked about {margin:.2g}: run {number}"


def _word(number: int) -> str:
    return _WORDS[number] if number < len(_WORDS) else str(number)
