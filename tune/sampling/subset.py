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


class TrialSubset:
    """Chooses the trials that a sampler reads; which follows from those that have ended, not from when it was asked.

    Args:
        storage: Of the study.
        limit: Most trials read; None: all.
    """

    def __init__(self, storage: BaseStorage, limit: int | None) -> None:
        self.storage = storage
        self.limit = limit
        self._known = 0
        self._live: list[int] = []
        self._ended: list[int] = []
        self._best: list[tuple[tuple[float, ...], int]] = []

    def view(self, study: Study) -> Study:
        """Returns the study with fewer trials, as they are now; the study itself while it is short.

        With several objectives it is the study itself: which of its trials are good depends on all of them.
        """
        if self.limit is None or len(study.directions) > 1:
            return study
        trials = study.get_trials(deepcopy=False)
        self._look_at(trials, study.direction)
        if len(self._ended) <= self.limit:
            return study
        chosen = [trials[number] for number in self._chosen(self.limit)]
        return Study(study.study_name, SubsetStorage(self.storage, chosen), study.sampler)  # type: ignore[arg-type]

    def _look_at(self, trials: list[FrozenTrial], direction: StudyDirection) -> None:
        """Takes the trials that are new or were running into account."""
        looked_at = [trials[number] for number in [*self._live, *range(self._known, len(trials))]]
        self._known = len(trials)
        self._live = [trial.number for trial in looked_at if not trial.state.is_finished()]
        news = [trial for trial in looked_at if trial.state in READ]
        self._ended += [trial.number for trial in news]
        ranked = [(_rank(trial, direction), trial.number) for trial in news]
        self._best = heapq.nsmallest(NUM_BEST, [*self._best, *ranked])

    def _chosen(self, limit: int) -> list[int]:
        """Returns the numbers of the best trials and of every second, fourth, ... one."""
        stride = 2 ** math.ceil(math.log2(max(1, len(self._ended) / (limit - NUM_BEST))))
        spread = {number for number in self._ended if number % stride == 0}
        return sorted(spread.union(number for _, number in self._best))


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


class SubsetStorage:
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
