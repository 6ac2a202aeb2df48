"""Suggests the next trial of a study and reports its result, by the ask-and-tell interface of Optuna.

All state is in Optuna's storage, so a driver may die at any time. The next driver first suggests the trials that were
left running, with their numbers and settings. A restart neither repeats nor changes a random suggestion (`seeded.py`).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from t5vqvae.config import Overrides
from t5vqvae.errors import DamagedFileError
from tune.records.record import TrialRecord
from tune.sampling.database import Database
from tune.sampling.drawn import DrawnParameters
from tune.sampling.seeded import SeededByNumber, seed_of
from tune.sampling.source import NextTrial
from tune.sampling.storage import open_storage, sync
from tune.sampling.tried import TriedSettings
from tune.spec.search_spec import SearchSpec

ORIGIN = "origin"
"""User attribute with the source of a trial's settings, unless the sampler chose them."""
BASELINE = "baseline"
"""Origin of the trial of the base spec."""
TOLD = "told:"
"""Prefix of the origin of another study's trial, which is evidence for the sampler but no trial of this study."""
HISTORY = "history:"
"""Prefix of a step's user attribute with the scheduler's metric, where that is not the objective."""

# TPE ignores failed trials and would sample the same settings again. So a diverged trial is PRUNED with a violated
# constraint, and only a crashed one is FAIL. The Gaussian process ignores pruned ones, too: see `_told`.
STATES = {"completed": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "diverged": TrialState.PRUNED}


class Suggestions:
    """Holds the trials of a study in Optuna; one driver may use it at a time.

    Args:
        spec: The study.
        storage: Optuna's file, or its database; None: in memory, for dry runs.

    Raises:
        DamagedFileError: If the file is damaged, or holds another study.
    """

    def __init__(self, spec: SearchSpec, storage: Path | Database | None = None) -> None:
        self.spec = spec
        self.name = storage.study if isinstance(storage, Database) else spec.name
        self.storage = open_storage(storage)
        self._refuse_another_study(storage)
        self.study = optuna.create_study(
            study_name=self.name,
            storage=self.storage,
            sampler=SeededByNumber(spec, self.storage),
            pruner=optuna.pruners.NopPruner(),
            directions=[objective.direction for objective in spec.objectives],
            load_if_exists=True,
        )
        ours = [trial for trial in self.trials() if is_ours(trial)]
        self.num_asked = sum(trial.state != TrialState.WAITING for trial in ours)
        self._unfinished = deque(trial.number for trial in ours if trial.state == TrialState.RUNNING)
        self._live: dict[int, Trial] = {}
        self._reported: dict[int, set[int]] = {}
        self._has_baseline = any(trial.user_attrs.get(ORIGIN) == BASELINE for trial in ours)
        self._tried = TriedSettings(spec)
        for trial in ours:
            self._note_settings(trial)

    def next(self) -> NextTrial | None:
        """Returns the next trial: unfinished ones, then the baseline, then new ones; None if none is left.

        No settings are tried twice: a suggestion that was tried already, or that the run spec refuses, is replaced by
        the nearest one that was not.
        """
        if self._unfinished:
            return self._resume(self._unfinished.popleft())
        if self.num_asked >= self.spec.budget.trials:
            return None
        if self._tried.are_all():
            return None
        self.enqueue_baseline()
        trial = self.study.ask()
        self.num_asked += 1
        self._live[trial.number], self._reported[trial.number] = trial, set()
        return self._sampled(trial)

    def _resume(self, number: int) -> NextTrial:
        """Returns a trial of an earlier start; one that Optuna calls ended keeps the settings that it has there."""
        trial = self._open(number)
        if trial is not None:
            return self._sampled(trial)
        frozen = self.storage.get_trial(self._trial_id(number))
        overrides = self.spec.space.read(frozen.params, self.spec.base_values)
        assert overrides is not None, "an ended trial has all its settings"
        return NextTrial(number, overrides)

    def _sampled(self, trial: Trial) -> NextTrial:
        """Returns a trial with its settings, which are stored when all of them are known."""
        space, base = self.spec.space, self.spec.base_values
        drawn = DrawnParameters(trial)
        overrides = space.sample(trial, base)
        if drawn and not self._tried.may_try(overrides, trial.number):
            seed = seed_of(self.spec.seed, trial.number)
            other = space.another(overrides, base, lambda candidate: not self._tried.may_try(candidate), seed)
            if other is not None:
                overrides = other
                point = space.place({**base, **self.spec.run_spec(other).as_flat_dict()})
                drawn.replace(space.distributions, point or {})
        drawn.store()
        self._tried.add(overrides, trial.number)
        sync(self.storage)
        return NextTrial(trial.number, overrides)

    def has_tried(self, overrides: Overrides) -> bool:
        """Returns whether a trial has these settings."""
        return overrides in self._tried

    def _note_settings(self, trial: FrozenTrial) -> None:
        """Counts the settings of a trial as tried, unless it has not all of them yet."""
        overrides = self.spec.space.read(trial.params, self.spec.base_values)
        if trial.state != TrialState.WAITING and overrides is not None:
            self._tried.add(overrides, trial.number)

    def adopt(self, number: int) -> None:
        """Takes up a running trial that was added to Optuna's storage after this was made."""
        self.num_asked += 1
        self._unfinished.append(number)
        self._has_baseline = True
        self._note_settings(self.trials()[number])

    def reopen(self, number: int) -> None:
        """Gives a trial again that Optuna calls ended; what it reports changes nothing there."""
        self._unfinished.append(number)

    @property
    def evidence(self) -> tuple[int, ...]:
        """Numbers of the trials of other studies."""
        return tuple(trial.number for trial in self.trials() if not is_ours(trial))

    def report(self, number: int, metrics: Mapping[str, float]) -> None:
        """Stores the metrics of a milestone; a step that is stored already is ignored.

        Args:
            number: Number of the trial.
            metrics: Metrics of the milestone, with `progress/step`.
        """
        step = int(metrics["progress/step"])
        trial = self._open(number)
        if trial is None or step in self._reported[number]:
            return
        self._reported[number].add(step)
        objective, scheduled = self._sole_objective(), self.spec.scheduled_value(metrics)
        if objective is not None and objective in metrics:
            trial.report(float(metrics[objective]), step)
        if self.spec.scheduler_objective is not None and scheduled != metrics.get(objective or ""):
            trial.set_user_attr(f"{HISTORY}{self._scheduled_metric()}:{step}", scheduled)

    def end(self, number: int, status: str, metrics: Mapping[str, float]) -> None:
        """Stores the end of a trial; a trial that has ended already does not change.

        A completed trial with an objective that is not finite counts as diverged.

        Args:
            number: Number of the trial.
            status: As in `TrialRecord`.
            metrics: Last metrics of the trial.
        """
        trial = self._open(number)
        if trial is None:
            return
        if "progress/step" in metrics and status != "failed":
            self.report(number, metrics)
        values = [float(metrics.get(objective.metric, math.nan)) for objective in self.spec.objectives]
        if status == "completed" and not all(map(math.isfinite, values)):
            status = "diverged"
        known = trial.constraints
        for key, value in self.constraints(status, metrics).items():
            if status != "failed" and key not in known:
                trial.set_constraint(key, value)
        told, state = self._told(status, values)
        self.study.tell(trial, told, state)
        self._live.pop(number, None)
        self._reported.pop(number, None)

    def _told(self, status: str, values: list[float]) -> tuple[list[float] | None, TrialState]:
        """Returns what Optuna stores of a trial's end: its values if any, and its state."""
        state = STATES.get(status, TrialState.FAIL)
        if state == TrialState.COMPLETE:
            return values, state
        if status == "diverged" and not self.spec.sampler.takes_pruned:
            ended = [trial.values for trial in self.trials() if trial.state == TrialState.COMPLETE and trial.values]
            worst = [max if objective.direction == "minimize" else min for objective in self.spec.objectives]
            if ended:
                columns = zip(*ended, strict=True)
                return [of(column) for of, column in zip(worst, columns, strict=True)], TrialState.COMPLETE
        return None, state

    def reconcile(self, records: Mapping[int, TrialRecord]) -> None:
        """Stores the end of each trial that has a record but is unfinished in Optuna: its driver died in between."""
        states = {trial.number: trial.state for trial in self.trials()}
        for number, record in sorted(records.items()):
            if not states[number].is_finished():
                self.end(number, record.status, record.metrics)
        self._unfinished = deque(number for number in self._unfinished if number not in records)

    def intermediate_values(self) -> dict[int, dict[int, float]]:
        """Returns `{trial number: {step: value}}` of the values that the scheduler compares (`scheduled_value`)."""
        metric = self._scheduled_metric()
        shared = metric == self._sole_objective()
        values = {}
        for trial in filter(is_ours, self.trials()):
            judged = {**(trial.intermediate_values if shared else {}), **dict(_history(trial, metric))}
            values[trial.number] = {step: value for step, value in judged.items() if value is not None}
        return values

    def constraints(self, status: str, metrics: Mapping[str, float]) -> dict[str, float]:
        """Returns the constraint values of a trial: more than 0 is a violation."""
        # Optuna's Gaussian process requires the same constraints in the same order for every trial.
        return {
            "diverged": 1.0 if status == "diverged" else 0.0,
            "bottleneck": 0.0 if self.spec.has_bottleneck(metrics) else 1.0,
            **{str(constraint): constraint.violation(metrics) for constraint in self.spec.constraints},
        }

    def enqueue_baseline(self) -> None:
        """Enqueues the base spec as the first trial, unless the study has it already."""
        if not self._has_baseline:
            point = self.spec.space.place(self.spec.base_values)
            self.study.enqueue_trial(point or {}, user_attrs={ORIGIN: BASELINE})
            self._has_baseline = True

    def _open(self, number: int) -> Trial | None:
        """Returns Optuna's handle of a trial of this or an earlier driver; None if the trial has ended."""
        if number not in self._reported:
            trial_id = self._trial_id(number)
            frozen = self.storage.get_trial(trial_id)
            if frozen.state.is_finished():
                return None
            self._live.setdefault(number, Trial(self.study, trial_id))
            self._reported[number] = {*frozen.intermediate_values, *dict(_history(frozen, self._scheduled_metric()))}
        return self._live[number]

    def _trial_id(self, number: int) -> int:
        study_id = self.storage.get_study_id_from_name(self.name)
        return self.storage.get_trial_id_from_study_id_trial_number(study_id, number)

    def trials(self) -> list[FrozenTrial]:
        """Returns Optuna's trials; they must not be changed."""
        return self.study.get_trials(deepcopy=False)

    def _sole_objective(self) -> str | None:
        """Returns the metric of the objective, or None if there are several."""
        # Optuna accepts intermediate values of a single objective only.
        return self.spec.objectives[0].metric if len(self.spec.objectives) == 1 else None

    def _scheduled_metric(self) -> str | None:
        objective = self.spec.scheduler_objective
        return None if objective is None else objective.metric

    def _refuse_another_study(self, place: Path | Database | None) -> None:
        """Refuses a file that holds another study, and this study with other objectives; a database holds many."""
        wanted = [StudyDirection[objective.direction.upper()] for objective in self.spec.objectives]
        for study in self.storage.get_all_studies():
            named = study.study_name == self.name
            if study.directions != wanted if named else not isinstance(place, Database):
                raise DamagedFileError(f"{place} holds study {study.study_name}, with other objectives or another name")


def is_ours(trial: FrozenTrial) -> bool:
    """Returns whether a trial is the study's own, and not evidence of another study."""
    return not trial.user_attrs.get(ORIGIN, "").startswith(TOLD)


def _history(trial: FrozenTrial, metric: str | None) -> Iterator[tuple[int, float | None]]:
    """Yields step and value of what the scheduler judged by a metric; earlier versions noted no metric."""
    for key, value in trial.user_attrs.items():
        if key.startswith(HISTORY):
            of, _, step = key.removeprefix(HISTORY).rpartition(":")
            if of in ("", metric):
                yield int(step), value
