"""Reduces a long study, for its sampler, to its best trials and an even spread of the rest.

TPE processes all trials that it reads at every suggestion, 0.3 s of CPU time at ten thousand trials. It models good
settings by 25 trials at most, and the rest by a density, for which some hundreds of trials suffice.
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
"""Number of best trials that are always read; TPE models the best 25."""
READ = (TrialState.COMPLETE, TrialState.PRUNED)


class TrialSubset:
    """Chooses the trials that a sampler reads. The choice depends on the ended trials only, not on earlier choices.

    Args:
        storage: Optuna's storage of the study.
        limit: Most trials that are read; None: all.
    """

    def __init__(self, storage: BaseStorage, limit: int | None) -> None:
        self.storage = storage
        self.limit = limit
        self._known = 0
        self._live: list[int] = []
        self._ended: list[int] = []
        self._best: list[tuple[tuple[float, ...], int]] = []

    def view(self, study: Study) -> Study:
        """Returns the study reduced to the chosen trials; while it is short, the study itself."""
        # With several objectives, all trials together decide which of them are good, so none can be left out.
        if self.limit is None or len(study.directions) > 1:
            return study
        trials = study.get_trials(deepcopy=False)
        self._look_at(trials, study.direction)
        if len(self._ended) <= self.limit:
            return study
        chosen = [trials[number] for number in self._chosen(self.limit)]
        return Study(study.study_name, _SubsetStorage(self.storage, chosen), study.sampler)  # type: ignore[arg-type]

    def _look_at(self, trials: list[FrozenTrial], direction: StudyDirection) -> None:
        """Updates the ended and the best trials with those that are new or were running."""
        looked_at = [trials[number] for number in [*self._live, *range(self._known, len(trials))]]
        self._known = len(trials)
        self._live = [trial.number for trial in looked_at if not trial.state.is_finished()]
        news = [trial for trial in looked_at if trial.state in READ]
        self._ended += [trial.number for trial in news]
        ranked = [(_rank(trial, direction), trial.number) for trial in news]
        self._best = heapq.nsmallest(NUM_BEST, [*self._best, *ranked])

    def _chosen(self, limit: int) -> list[int]:
        """Returns the numbers of the best trials and of every k-th one; k, a power of two, grows with the study."""
        stride = 2 ** math.ceil(math.log2(max(1, len(self._ended) / (limit - NUM_BEST))))
        spread = {number for number in self._ended if number % stride == 0}
        return sorted(spread.union(number for _, number in self._best))


def _rank(trial: FrozenTrial, direction: StudyDirection) -> tuple[float, ...]:
    """Returns the sort key of a trial, best first, as TPE sorts trials.

    First completed trials by value, then pruned trials by their last step and the value there, then trials that
    violate constraints, by the sum of violations.
    """
    sign = 1.0 if direction == StudyDirection.MINIMIZE else -1.0
    broken = sum(value for value in trial.constraints.values() if value > 0)
    if broken > 0:
        return 2.0, broken
    if trial.state == TrialState.COMPLETE and trial.value is not None:
        return 0.0, sign * trial.value
    step, value = max(trial.intermediate_values.items(), default=(-1, math.nan))
    return 1.0, float(-step), math.inf if math.isnan(value) else sign * value


class _SubsetStorage:
    """Wraps a storage and returns only some of its trials."""

    def __init__(self, storage: BaseStorage, trials: list[FrozenTrial]) -> None:
        self._storage = storage
        self._trials = trials

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        trials = [trial for trial in self._trials if states is None or trial.state in states]
        return copy.deepcopy(trials) if deepcopy else trials
