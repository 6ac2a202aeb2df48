"""How many seeds a question needs, for differences that vary normally over seeds.

The t test's power is that of the noncentral t distribution. With few pairs a permutation test knows few p-values and
shows less (9 pairs, 7 tests: a difference of 1.2 standard deviations in 34 of 100 studies, where a t test would in 54);
its power is simulated there, and the t test's from 13 pairs on, where they agree to .02. With m tests under Holm, the
first one is held to alpha / m: numbers here are for that, so they are on the safe side.
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
MAX_SIMULATED = 12
"""Pairs up to which the permutation test's own power is simulated."""
NUM_SIMULATED = 4_000
_WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]


@dataclass(frozen=True)
class PowerTarget:
    """What a comparison is asked to show.

    Attributes:
        alpha: Chance of any false claim over all tests, in (0, 1).
        power: Chance to find a difference that is there, in (0, 1).
        num_tests: m, tests under Holm.
        test: The test in use.
    """

    alpha: float = 0.05
    power: float = 0.8
    num_tests: int = 1
    test: Test = "permutation"


def power(difference: float, sd: float, num_seeds: int, demand: PowerTarget = PowerTarget()) -> float:
    """Returns the chance that `num_seeds` pairs show a true mean `difference`.

    Args:
        difference: True mean of the paired differences, in the metric's unit.
        sd: Their standard deviation, > 0.
        num_seeds: Pairs.
        demand: Its `power` is not read.

    scipy has no number for shifts of hundreds of standard errors: there the answer is the step it tends to.
    """
    if num_seeds < 2 or smallest_adjusted_p(num_seeds, demand.num_tests, demand.test) > demand.alpha:
        return 0.0
    if demand.test == "permutation" and num_seeds <= MAX_SIMULATED:
        needed = _needed_shifts(num_seeds, demand.alpha / demand.num_tests)
        ends = np.searchsorted(needed, [abs(difference) / sd, -abs(difference) / sd])
        return float(ends.sum() / len(needed))
    df = num_seeds - 1
    shift = abs(difference) / sd * math.sqrt(num_seeds)
    bound = stats.t.ppf(1 - demand.alpha / demand.num_tests / 2, df)
    right, wrong = float(stats.nct.sf(bound, df, shift)), float(stats.nct.cdf(-bound, df, shift))
    right = float(shift > bound) if math.isnan(right) else right
    return right + (0.0 if math.isnan(wrong) else wrong)


@lru_cache(maxsize=64)
def _needed_shifts(num_seeds: int, alpha: float) -> np.ndarray:
    """Returns, in order, how far 4,000 samples of standard normal differences must be shifted to be significant.

    A shift moves the permutation interval along with the sample, so what a sample needs is minus its lower end; on
    the other side it is the same by symmetry.
    """
    samples = np.random.default_rng(0).normal(size=(NUM_SIMULATED, num_seeds))
    return np.sort([-sign_flip_interval(sample, 1 - alpha)[0] for sample in samples])


def detectable(sd: float, num_seeds: int, demand: PowerTarget = PowerTarget()) -> float:
    """Returns the smallest true difference shown with chance `demand.power`; inf when no difference can be."""
    if power(1e3 * sd, sd, num_seeds, demand) < demand.power:
        return math.inf
    return float(optimize.brentq(lambda x: power(x, sd, num_seeds, demand) - demand.power, 0.0, 1e3 * sd))


def seeds_needed(difference: float, sd: float, demand: PowerTarget = PowerTarget()) -> int | None:
    """Returns the fewest pairs that show a true `difference` with chance `demand.power`; None beyond 10,000."""
    low, high = 1, 2
    while power(difference, sd, high, demand) < demand.power:
        low, high = high, 2 * high
        if high > MAX_SEEDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(difference, sd, middle, demand) >= demand.power else (middle, high)
    return high


def advice(asked: float, sd: float, num_seeds: int, metric: str, demand: PowerTarget = PowerTarget()) -> str:
    """Says in one sentence what `num_seeds` seeds can show, and how many the question needs.

    Args:
        asked: The smallest difference that matters, in the metric's unit, > 0.
        sd: Of paired differences, from a pilot or from the study itself, > 0.
        num_seeds: Seeds planned or run.
        metric: For the sentence.
        demand: Error rates and number of tests.
    """
    smallest = detectable(sd, num_seeds, demand)
    seen = "no difference" if math.isinf(smallest) else f"a difference of {smallest:.2g} {metric}"
    can = f"{_word(num_seeds)} seed{'' if num_seeds == 1 else 's'} can show {seen}"
    if smallest <= asked:
        return f"{can}; you asked about {asked:.2g}: enough"
    needed = seeds_needed(asked, sd, demand)
    return f"{can}; you asked about {asked:.2g}: run " + (f"more than {MAX_SEEDS}" if needed is None else _word(needed))


def _word(number: int) -> str:
    return _WORDS[number] if number < len(_WORDS) else str(number)
