"""What a sampler reads of a long study: its best trials, and an even spread of the rest.

TPE goes through all it reads at every suggestion, 0.3 s of CPU time at ten thousand trials. Its model of good settings
is made of 25 trials at most; that of the others is a density, which some hundreds of them draw as well.
"""

from __future__ import annotations

import copy
import heapq
import math
from collections.abc import Container
from typing import Any

from optuna.storages import BaseStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

NUM_BEST = 50
"""Best trials that are always read; TPE's good ones are the best 25."""
READ = (TrialState.COMPLETE, TrialState.PRUNED)


class Window:
    """Chooses the trials that a sampler reads; which follows from those that have ended, not from when it was asked.

    Args:
        storage: Of the study.
        limit: Most trials read; None: all.
    """

    def __init__(self, storage: BaseStorage, limit: int | None) -> None:
        self.storage = storage
        self.limit = limit
        self._known: set[int] = set()
        self._best: list[tuple[tuple[float, ...], int]] = []

    def view(self, study: Study) -> Study:
        """Returns the study with fewer trials, as they are now; the study itself while it is short.

        With several objectives it is the study itself: which of its trials are good depends on all of them.
        """
        if self.limit is None or len(study.directions) > 1:
            return study
        ended = study.get_trials(deepcopy=False, states=READ)
        if len(ended) <= self.limit:
            return study
        return Study(study.study_name, _Fewer(self.storage, self._chosen(study, ended, self.limit)), study.sampler)  # type: ignore[arg-type]

    def _chosen(self, study: Study, ended: list[FrozenTrial], limit: int) -> list[FrozenTrial]:
        news = [(_rank(trial, study.direction), trial.number) for trial in ended if trial.number not in self._known]
        self._known.update(number for _, number in news)
        self._best = heapq.nsmallest(NUM_BEST, [*self._best, *news])
        best = {number for _, number in self._best}
        stride = 2 ** math.ceil(math.log2(max(1, len(ended) / (limit - NUM_BEST))))
        return [trial for trial in ended if trial.number in best or trial.number % stride == 0]


def _rank(trial: FrozenTrial, direction: StudyDirection) -> tuple[float, ...]:
    """Returns what trials are ordered by, best first, as TPE orders them.

    Completed ones by value, then pruned ones by how far they came and their value there, then those that break
    constraints, by how much.
    """
    sign = 1.0 if direction == StudyDirection.MINIMIZE else -1.0
    broken = sum(value for value in trial.constraints.values() if value > 0)
    if broken > 0:
        return 2.0, broken
    if trial.state == TrialState.COMPLETE and trial.value is not None:
        return 0.0, sign * trial.value
    step, value = max(trial.intermediate_values.items(), default=(-1, math.nan))
    return 1.0, float(-step), math.inf if math.isnan(value) else sign * value


class _Fewer:
    """A storage that tells of some of its trials only."""

    def __init__(self, storage: BaseStorage, trials: list[FrozenTrial]) -> None:
        self._storage = storage
        self._trials = trials

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        told = [trial for trial in self._trials if states is None or trial.state in states]
        return copy.deepcopy(told) if deepcopy else told
