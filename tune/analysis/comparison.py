"""Compares the arms of a study with its baseline: effects and verdicts from the rows of its runs.

Only runs of the same seed are compared, and the effect is over the seeds that both sides completed. A diverged run has
no value, and it is not averaged away: it makes the arm's verdict `unstable`. A crashed or absent run is missing data:
it is reported and changes no verdict.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from t5vqvae.evaluation.metric import PRICES, Direction
from tune.analysis.effect import Effect, Interval, Test, paired_differences, paired_effect
from tune.analysis.equivalence import Equivalence, equivalence
from tune.analysis.holm import holm
from tune.analysis.sequential import SequentialPlan, spent

Verdict = Literal["better", "worse", "equivalent", "undecided", "unstable"]


@dataclass(frozen=True)
class RunRow:
    """One finished run of the comparison.

    Attributes:
        arm: Name of the arm.
        seed: Seed of the run.
        status: completed, diverged, failed, pruned or stopped (by a sequential plan).
        metrics: `{split/name: value}` of the last milestone.
        run_id: Id of the run spec.
        mlflow_id: Id of the tracking run, if there is one.
        url: Page of the tracking run, if there is one.
    """

    arm: str
    seed: int
    status: str
    metrics: Mapping[str, float]
    run_id: str = ""
    mlflow_id: str | None = None
    url: str | None = None

    def value(self, metric: str) -> float | None:
        """Returns the metric if the run completed and the metric is finite, else None."""
        value = self.metrics.get(metric) if self.status == "completed" else None
        return value if value is not None and math.isfinite(value) else None


_Runs = Mapping[tuple[str, int], RunRow]
"""Runs by arm and seed."""


@dataclass(frozen=True)
class Question:
    """The objective of a comparison, and the statistical rules for its verdicts.

    Attributes:
        objective: Metric that decides.
        direction: Whether lower or higher values are better.
        alpha: Chance of any false claim over all arms, in (0, 1).
        power: Chance to find what is there, for advice on seeds.
        margin: Largest difference that does not matter; None: no equivalence is tested.
        test: `permutation` or `t`.
        interval: As in `paired_effect`.
        secondary: Metrics that are compared as well but decide nothing.
        plan: Interim looks, each with its share of an arm's alpha; None: one test at the end.
    """

    objective: str
    direction: Direction
    alpha: float = 0.05
    power: float = 0.8
    margin: float | None = None
    test: Test = "permutation"
    interval: Interval | None = None
    secondary: tuple[str, ...] = PRICES
    plan: SequentialPlan | None = None


@dataclass(frozen=True)
class ArmResult:
    """The comparison of one arm with the baseline.

    Attributes:
        arm: Name of the arm.
        effect: Difference of the objective, arm minus baseline; None without a single pair.
        p_adjusted: P-value of the effect after Holm over all arms; 1 without an effect.
        equivalence: Test that the difference is within the margin; None without a margin or a pair.
        p_equivalence: P-value of that test after Holm over all arms.
        verdict: The claim that the data support.
        value: Mean of the arm's objective over the pairs.
        baseline_value: Mean of the baseline's objective over the same pairs.
        secondary: Differences of the secondary metrics, over the seeds where both sides have them.
        diverged: Seeds on which this arm diverged.
        baseline_diverged: Seeds on which the baseline diverged.
        missing: Seeds without a pair for any other reason.
        stopped_at: Number of pairs after which a sequential plan stopped the arm, which biases the mean away from zero;
            None if it did not.
        rows: Runs of the arm.
    """

    arm: str
    effect: Effect | None
    p_adjusted: float
    equivalence: Equivalence | None
    p_equivalence: float
    verdict: Verdict
    value: float | None
    baseline_value: float | None
    secondary: Mapping[str, Effect] = field(default_factory=dict)
    diverged: tuple[int, ...] = ()
    baseline_diverged: tuple[int, ...] = ()
    missing: tuple[int, ...] = ()
    stopped_at: int | None = None
    rows: tuple[RunRow, ...] = ()


_Tests = tuple[Effect | None, float, Equivalence | None, float]
"""Of one arm: effect, its adjusted p-value, equivalence, its adjusted p-value."""


@dataclass(frozen=True)
class Comparison:
    """The comparisons of all arms of a study with its baseline, in the planned order."""

    question: Question
    baseline: str
    seeds: tuple[int, ...]
    arms: tuple[ArmResult, ...]
    baseline_rows: tuple[RunRow, ...]

    def arm(self, name: str) -> ArmResult:
        """Returns the result of an arm by its name; KeyError if there is none."""
        return {result.arm: result for result in self.arms}[name]


def compare_arms(
    rows: Sequence[RunRow], baseline: str, arms: Sequence[str], seeds: Sequence[int], question: Question
) -> Comparison:
    """Compares every planned arm with the baseline.

    Args:
        rows: The runs that ended, at most one for each arm and seed; runs that were not planned are ignored.
        baseline: Name of the baseline's arm.
        arms: Planned arms without the baseline; Holm counts all of them, even one without any run.
        seeds: Planned seeds, the same for every arm.
        question: The objective and the rules.
    """
    found = {(row.arm, row.seed): row for row in rows}
    effects = {arm: _effect(found, arm, baseline, seeds, question.objective, question) for arm in arms}
    same = {arm: _equivalence(effect, found, arm, baseline, seeds, question) for arm, effect in effects.items()}
    if question.plan is None:
        p_values = holm([1.0 if effect is None else effect.p_value for effect in effects.values()])
    else:
        p_values = [_sequential_p(question.plan, found, arm, baseline, seeds, question, len(arms)) for arm in arms]
    p_same = holm([1.0 if test is None else test.p_value for test in same.values()])
    results = []
    for arm, p, p_equal in zip(arms, p_values, p_same, strict=True):
        results.append(_result(found, arm, baseline, seeds, question, (effects[arm], p, same[arm], p_equal)))
    return Comparison(question, baseline, tuple(seeds), tuple(results), _rows_of(found, baseline, seeds))


def _result(
    found: _Runs, arm: str, baseline: str, seeds: Sequence[int], question: Question, tests: _Tests
) -> ArmResult:
    effect, p_adjusted, same, p_same = tests
    diverged, baseline_diverged = (_diverged(found, name, seeds) for name in (arm, baseline))
    paired = () if effect is None else effect.seeds
    stopped_at = _stopped_at(found, arm, baseline, seeds, question)
    awaited = seeds if stopped_at is None else seeds[:stopped_at]
    missing = tuple(s for s in awaited if s not in {*paired, *diverged, *baseline_diverged})
    claim = verdict(effect, p_adjusted, p_same, bool(diverged or baseline_diverged), question)
    values = [_mean(found, name, paired, question.objective) for name in (arm, baseline)]
    secondary = {metric: _effect(found, arm, baseline, seeds, metric, question) for metric in question.secondary}
    return ArmResult(
        arm=arm,
        effect=effect,
        p_adjusted=p_adjusted,
        equivalence=same,
        p_equivalence=p_same,
        verdict=claim,
        value=values[0],
        baseline_value=values[1],
        secondary={metric: effect for metric, effect in secondary.items() if effect is not None},
        diverged=diverged,
        baseline_diverged=baseline_diverged,
        missing=missing,
        stopped_at=stopped_at,
        rows=_rows_of(found, arm, seeds),
    )


def verdict(effect: Effect | None, p_adjusted: float, p_same: float, unstable: bool, question: Question) -> Verdict:
    """Returns the claim that an effect and its adjusted p-values support; `unstable` overrides all others."""
    if unstable:
        return "unstable"
    if effect is None:
        return "undecided"
    # Equivalence comes first: a difference within the margin does not matter, even a significant one.
    if question.margin is not None and p_same <= question.alpha:
        return "equivalent"
    if p_adjusted > question.alpha:
        return "undecided"
    return "better" if (effect.mean > 0) == (question.direction == "maximize") else "worse"


def _values(found: _Runs, arm: str, seeds: Sequence[int], metric: str) -> dict[int, float]:
    values = {seed: found[arm, seed].value(metric) for seed in seeds if (arm, seed) in found}
    return {seed: value for seed, value in values.items() if value is not None}


def _differences(found: _Runs, arm: str, baseline: str, seeds: Sequence[int], metric: str) -> dict[int, float]:
    return paired_differences(_values(found, arm, seeds, metric), _values(found, baseline, seeds, metric))


def _effect(
    found: _Runs, arm: str, baseline: str, seeds: Sequence[int], metric: str, question: Question
) -> Effect | None:
    differences = _differences(found, arm, baseline, seeds, metric)
    return paired_effect(differences, 1 - question.alpha, question.test, question.interval) if differences else None


def _equivalence(
    effect: Effect | None, found: _Runs, arm: str, baseline: str, seeds: Sequence[int], question: Question
) -> Equivalence | None:
    if effect is None or question.margin is None:
        return None
    differences = _differences(found, arm, baseline, seeds, question.objective)
    return equivalence(differences, question.margin, question.alpha, question.test)


def _stopped_at(found: _Runs, arm: str, baseline: str, seeds: Sequence[int], question: Question) -> int | None:
    """Returns the number of pairs at which the plan stopped the arm before its last look; None if it did not."""
    if question.plan is None:
        return None
    differences = _planned(found, arm, baseline, seeds, question)
    for look in question.plan.looks[:-1]:
        if look <= len(differences) and question.plan.decide(differences[:look]) != "continue":
            return look
    return None


def _sequential_p(
    plan: SequentialPlan, found: _Runs, arm: str, baseline: str, seeds: Sequence[int], question: Question, num_arms: int
) -> float:
    """Returns the alpha spent over all arms by the look at which the arm crossed its bound; 1 if it did not.

    The look decides: a rounding error of the sum never takes its decision back. Where all runs have ended and some
    without a result, the last look is at the pairs that there are.
    """
    differences = _planned(found, arm, baseline, seeds, question)
    for look in plan.looks:
        if look <= len(differences) and plan.decide(differences[:look]) == "effect":
            return min(question.alpha, num_arms * spent(look / plan.looks[-1], plan.alpha, plan.spending))
    ended = all((name, seed) in found for name in (arm, baseline) for seed in seeds)
    if ended and len(differences) < plan.looks[-1] and plan.closes_with_effect(differences):
        return min(question.alpha, num_arms * plan.alpha)
    return 1.0


def _planned(found: _Runs, arm: str, baseline: str, seeds: Sequence[int], question: Question) -> list[float]:
    """Returns the differences in the order of the seeds, which is that of the looks."""
    by_seed = _differences(found, arm, baseline, seeds, question.objective)
    return [by_seed[seed] for seed in seeds if seed in by_seed]


def _mean(found: _Runs, arm: str, seeds: Sequence[int], metric: str) -> float | None:
    values = _values(found, arm, seeds, metric)
    return sum(values.values()) / len(values) if values else None


def _diverged(found: _Runs, arm: str, seeds: Sequence[int]) -> tuple[int, ...]:
    """Returns the seeds whose run diverged. `RunRow.value` excludes completed runs without a finite objective."""
    return tuple(seed for seed in seeds if (arm, seed) in found and found[arm, seed].status == "diverged")


def _rows_of(found: _Runs, arm: str, seeds: Sequence[int]) -> tuple[RunRow, ...]:
    return tuple(found[arm, seed] for seed in seeds if (arm, seed) in found)
