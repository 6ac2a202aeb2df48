"""What quality costs: the Pareto front against rate or cost, and what the study itself cost."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from t5vqvae.evaluation.metrics import GPUS
from tune.analysis.importance import Trial, completed
from tune.spec.objective import dominates


@dataclass(frozen=True)
class Cost:
    """What a study took.

    Attributes:
        hours: Sum over trials of the wall time of a trial.
        cpu_hours: The same times the CPUs a trial held.
        gpu_hours: The same times the GPUs (or shares of one) a trial held.
        by_status: Trials by how they ended.
        hours_by_status: Their hours.
    """

    hours: float
    cpu_hours: float
    gpu_hours: float
    by_status: Mapping[str, int]
    hours_by_status: Mapping[str, float]


def pareto(trials: Sequence[Trial], objectives: Mapping[str, str]) -> list[Trial]:
    """Returns the completed trials that no other one beats in all objectives, ordered by the first objective.

    Args:
        trials: Records; those that lack one of the metrics are left out (no bottleneck: no rate).
        objectives: `{metric: minimize or maximize}`.
    """
    done = list(trials)
    for metric in objectives:
        done = completed(done, metric)
    costs = [tuple(t["metrics"][m] * (1 if d == "minimize" else -1) for m, d in objectives.items()) for t in done]
    kept = [i for i, mine in enumerate(costs) if not any(dominates(other, mine) for other in costs)]
    return [done[i] for i in sorted(kept, key=lambda i: costs[i])]


def cost(trials: Sequence[Trial], cpus: float, gpus: float = 0.0) -> Cost:
    """Returns what the trials took.

    Args:
        trials: Records, with `seconds`: wall seconds a trial, 0 where unknown.
        cpus: CPUs that one trial held.
        gpus: GPUs, or the share of one, that one trial held, unless its own `cost/gpus` says otherwise.
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
