"""Computes the Pareto front of quality against rate or cost, and the cost of the study itself."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from t5vqvae.evaluation.metric import GPUS
from tune.analysis.trial_values import Trial, completed
from tune.records.ranking import non_dominated


@dataclass(frozen=True)
class Cost:
    """The time and hardware that the trials of a study used.

    Attributes:
        hours: Wall time, summed over trials.
        cpu_hours: Wall time times the CPUs of a trial, summed over trials.
        gpu_hours: Wall time times the GPUs (or share of one) of a trial, summed over trials.
        by_status: Number of trials by status.
        hours_by_status: Hours of wall time by status.
    """

    hours: float
    cpu_hours: float
    gpu_hours: float
    by_status: Mapping[str, int]
    hours_by_status: Mapping[str, float]


def pareto_front(trials: Sequence[Trial], objectives: Mapping[str, str]) -> list[Trial]:
    """Returns the completed trials that no other trial dominates, ordered by the first objective.

    Args:
        trials: Records; trials without one of the metrics are left out (a run without bottleneck has no rate).
        objectives: `{metric: minimize or maximize}`.
    """
    done = list(trials)
    for metric in objectives:
        done = completed(done, metric)
    costs = [tuple(t["metrics"][m] * (1 if d == "minimize" else -1) for m, d in objectives.items()) for t in done]
    return [done[i] for i in sorted(non_dominated(costs), key=lambda i: costs[i])]


def cost(trials: Sequence[Trial], cpus: float, gpus: float = 0.0) -> Cost:
    """Returns the time and hardware that the trials used.

    Args:
        trials: Records; a trial without `seconds` of wall time counts as 0.
        cpus: CPUs of one trial.
        gpus: GPUs of one trial, or its share of one; a trial's own metric `cost/gpus` comes first.
    """
    hours: dict[str, float] = {}
    gpu_hours = 0.0
    for trial in trials:
        spent = (trial.get("seconds") or 0.0) / 3600
        hours[trial["status"]] = hours.get(trial["status"], 0.0) + spent
        gpu_hours += spent * trial.get("metrics", {}).get(GPUS, gpus)
    total = math.fsum(hours.values())
    counts = Counter(trial["status"] for trial in trials)
    return Cost(total, total * cpus, gpu_hours, dict(sorted(counts.items())), dict(sorted(hours.items())))
