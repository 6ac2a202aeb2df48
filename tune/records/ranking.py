"""Ranks the ended trials of a search: costs, contenders, best and Pareto front."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from tune.records.record import TrialRecord
from tune.spec.judging import Judging
from tune.spec.objective import dominates


class Measured(Protocol):
    """A trial with metrics."""

    @property
    def metrics(self) -> Mapping[str, float]: ...


def costs(record: Measured, spec: Judging) -> tuple[float, ...]:
    """Returns the objectives as numbers to minimize; a missing or non-finite one is infinite."""
    values = [(objective, record.metrics.get(objective.metric, math.nan)) for objective in spec.objectives]
    return tuple(objective.sign * value if math.isfinite(value) else math.inf for objective, value in values)


def contenders(records: Iterable[TrialRecord], spec: Judging) -> list[TrialRecord]:
    """Returns the trials that may count as best, best first by the first objective; ties by number."""
    counting = [record for record in records if spec.counts_as_best(record.status, record.metrics)]
    return sorted(counting, key=lambda record: (costs(record, spec), record.number))


def best(records: Iterable[TrialRecord], spec: Judging) -> TrialRecord | None:
    """Returns the best trial; of several objectives the first decides. None if no trial counts."""
    return next(iter(contenders(records, spec)), None)


def pareto(records: Iterable[TrialRecord], spec: Judging) -> list[TrialRecord]:
    """Returns the Pareto front: the trials that no other trial dominates, in the order of `contenders`."""
    counting = contenders(records, spec)
    return [counting[i] for i in non_dominated([costs(record, spec) for record in counting])]


def non_dominated(points: Sequence[Sequence[float]]) -> list[int]:
    """Returns the indices, in order, of the points that no other point dominates; coordinates are costs."""
    return [i for i, point in enumerate(points) if not any(dominates(other, point) for other in points)]
