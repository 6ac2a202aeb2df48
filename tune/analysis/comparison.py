"""Arms against a baseline: from the rows of a study's runs to effects that a reviewer would believe.

Only runs of the same seed are compared. A diverged run has no value and is never averaged away: the effect is over
the seeds that both sides completed, and the arm's verdict is `unstable`. A crashed or missing run is missing data:
said, but no finding.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from t5vqvae.evaluation.metrics import PRICES, Direction
from tune.analysis.effect import Effect, Interval, Test, paired_differences, paired_effect
from tune.analysis.equivalence import Equivalence, equivalence
from tune.analysis.holm import holm
from tune.analysis.sequential import SequentialPlan, spent

Verdict = Literal["better", "worse", "equivalent", "undecided", "unstable"]
BESIDE = PRICES
"""Shown beside every effect: quality says nothing without its price."""


@dataclass(frozen=True)
class RunRow:
    """One finished run of the comparison.

    Attributes:
        arm: Name of its arm.
        seed: Its seed.
        status: completed, diverged, failed, pruned or stopped (by a sequential plan).
        metrics: `split/name`: value, of its last milestone.
        run_id: The run spec's id.
        mlflow_id: The tracking run's id, where there is one.
        url: Where that run is shown, where there is such a place.
    """

    arm: str
    seed: int
    status: str
    metrics: Mapping[str, float]
    run_id: str = ""
    mlflow_id: str | None = None
    url: str | None = None

    def value(self, metric: str) -> float | None:
        """Returns the metric of a completed run, and None where there is no finite one."""
        value = self.metrics.get(metric) if self.status == "completed" else None
        return value if value is not None and math.isfinite(value) else None


@dataclass(frozen=True)
class Question:
    """What a comparison asks and by which rules it answers.

    Attributes:
        objective: Metric that decides.
        direction: Whether less or more of it is better.
        alpha: Chance of any false claim over all arms, in (0, 1).
        margin: Largest difference that does not matter; None: no equivalence is tested.
        test: `permutation` or `t`.
        interval: As in `paired_effect`.
        beside: Metrics whose differences are shown beside the objective's.
    """

    objective: str
    direction: Direction
    alpha: float = 0.05
    margin: float | None = None
    test: Test = "permutation"
    interval: Interval | None = None
    beside: tuple[str, ...] = BESIDE
    plan: SequentialPlan | None = None
    """Looks taken on the way, each arm at its share of alpha; None: one test at the end."""


@dataclass(frozen=True)
class ArmResult:
    """One arm against the baseline.

    Attributes:
        arm: Its name.
        effect: Arm minus baseline of the objective; None without a single pair.
        p_adjusted: The effect's p-value after Holm over all arms; 1 without an effect.
        equivalence: Within the margin; None where no margin was given or no pair exists.
        p_equivalence: Its p-value after Holm over all arms.
        verdict: What may be claimed.
        value: Mean of the arm's objective over the pairs.
        baseline_value: Mean of the baseline's objective over the same pairs.
        beside: Differences of the metrics beside it, over the seeds where both have them.
        diverged: Seeds on which this arm diverged.
        baseline_diverged: Seeds on which the baseline did.
        missing: Seeds without a pair for any other reason.
        stopped_at: Pairs after which a sequential plan stopped it; its mean then leans away from zero.
        rows: Its runs.
    """

    arm: str
    effect: Effect | None
    p_adjusted: float
    equivalence: Equivalence | None
    p_equivalence: float
    verdict: Verdict
    value: float | None
    baseline_value: float | None
    beside: Mapping[str, Effect] = field(default_factory=dict)
    diverged: tuple[int, ...] = ()
    baseline_diverged: tuple[int, ...] = ()
    missing: tuple[int, ...] = ()
    stopped_at: int | None = None
    rows: tuple[RunRow, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """All arms of a study against its baseline, in the order they were planned."""

    question: Question
    baseline: str
    seeds: tuple[int, ...]
    arms: tuple[ArmResult, ...]
    baseline_rows: tuple[RunRow, ...]

    def arm(self, name: str) -> ArmResult:
        """Returns the result of the arm called `name`; KeyError if there is none."""
        return {result.arm: result for result in self.arms}[name]


def compare_arms(
    rows: Sequence[RunRow], baseline: str, arms: Sequence[str], seeds: Sequence[int], question: Question
) -> Comparison:
    """Compares every planned arm with the baseline.

    Args:
        rows: The runs that ended; at most one an arm and seed. Others than the planned ones are ignored.
        baseline: Name of the baseline's arm.
        arms: Planned arms without the baseline. All count for Holm, also one without a single run.
        seeds: Planned seeds, the same for every arm.
        question: What decides.
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


def _result(found: Any, arm: str, baseline: str, seeds: Sequence[int], question: Question, tests: Any) -> ArmResult:
    effect, p_adjusted, same, p_same = tests
    diverged, baseline_diverged = (_diverged(found, name, seeds) for name in (arm, baseline))
    paired = () if effect is None else effect.seeds
    stopped_at = _stopped_at(found, arm, baseline, seeds, question)
    awaited = seeds if stopped_at is None else seeds[:stopped_at]
    missing = tuple(s for s in awaited if s not in {*paired, *diverged, *baseline_diverged})
    claim = verdict(effect, p_adjusted, p_same, bool(diverged or baseline_diverged), question)
    values = [_mean(found, name, paired, question.objective) for name in (arm, baseline)]
    beside = {metric: _effect(found, arm, baseline, seeds, metric, question) for metric in question.beside}
    return ArmResult(
        arm=arm,
        effect=effect,
        p_adjusted=p_adjusted,
        equivalence=same,
        p_equivalence=p_same,
        verdict=claim,
        value=values[0],
        baseline_value=values[1],
        beside={metric: effect for metric, effect in beside.items() if effect is not None},
        diverged=diverged,
        baseline_diverged=baseline_diverged,
        missing=missing,
        stopped_at=stopped_at,
        rows=_rows_of(found, arm, seeds),
    )


def verdict(effect: Effect | None, p_adjusted: float, p_same: float, unstable: bool, question: Question) -> Verdict:
    """Says what may be claimed. A significant difference within the margin is equivalent: it does not matter."""
    if unstable:
        return "unstable"
    if effect is None:
        return "undecided"
    if question.margin is not None and p_same <= question.alpha:
        return "equivalent"
    if p_adjusted > question.alpha:
        return "undecided"
    return "better" if (effect.mean > 0) == (question.direction == "maximize") else "worse"


def _values(found: Any, arm: str, seeds: Sequence[int], metric: str) -> dict[int, float]:
    values = {seed: found[arm, seed].value(metric) for seed in seeds if (arm, seed) in found}
    return {seed: value for seed, value in values.items() if value is not None}


def _differences(found: Any, arm: str, baseline: str, seeds: Sequence[int], metric: str) -> dict[int, float]:
    return paired_differences(_values(found, arm, seeds, metric), _values(found, baseline, seeds, metric))


def _effect(
    found: Any, arm: str, baseline: str, seeds: Sequence[int], metric: str, question: Question
) -> Effect | None:
    differences = _differences(found, arm, baseline, seeds, metric)
    return paired_effect(differences, 1 - question.alpha, question.test, question.interval) if differences else None


def _equivalence(
    effect: Effect | None, found: Any, arm: str, baseline: str, seeds: Sequence[int], question: Question
) -> Equivalence | None:
    if effect is None or question.margin is None:
        return None
    differences = _differences(found, arm, baseline, seeds, question.objective)
    return equivalence(differences, question.margin, question.alpha)


def _stopped_at(found: Any, arm: str, baseline: str, seeds: Sequence[int], question: Question) -> int | None:
    """Returns the pairs at which a sequential plan ended the arm before the last look; None if it did not."""
    if question.plan is None:
        return None
    differences = list(_differences(found, arm, baseline, seeds, question.objective).values())
    for look in question.plan.looks[:-1]:
        if look <= len(differences) and question.plan.decide(differences[:look]) != "continue":
            return look
    return None


def _sequential_p(
    plan: SequentialPlan, found: Any, arm: str, baseline: str, seeds: Sequence[int], question: Question, num_arms: int
) -> float:
    """Returns the alpha spent, over all arms, by the look at which the arm crossed its bound; 1 if it did not."""
    by_seed = _differences(found, arm, baseline, seeds, question.objective)
    differences = [by_seed[seed] for seed in seeds if seed in by_seed]
    for look in plan.looks:
        if look <= len(differences) and plan.decide(differences[:look]) == "effect":
            return min(1.0, num_arms * spent(look / plan.looks[-1], plan.alpha, plan.spending))
    return 1.0


def _mean(found: Any, arm: str, seeds: Sequence[int], metric: str) -> float | None:
    values = _values(found, arm, seeds, metric)
    return sum(values.values()) / len(values) if values else None


def _diverged(found: Any, arm: str, seeds: Sequence[int]) -> tuple[int, ...]:
    """Returns the seeds whose run diverged; one that "completed" without a finite objective is caught by `value`."""
    return tuple(seed for seed in seeds if (arm, seed) in found and found[arm, seed].status == "diverged")


def _rows_of(found: Any, arm: str, seeds: Sequence[int]) -> tuple[RunRow, ...]:
    return tuple(found[arm, seed] for seed in seeds if (arm, seed) in found)
