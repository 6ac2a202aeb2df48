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

from t5vqvae.errors import SettingError, UserError
from tune.records.record import TrialRecord
from tune.sampling.seeded import SeededByNumber
from tune.sampling.source import NextTrial
from tune.sampling.storage import open_storage, sync
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
# constraint, and only a crashed one is FAIL.
STATES = {"completed": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "diverged": TrialState.PRUNED}


class Suggestions:
    """Holds the trials of a study in Optuna; one driver may use it at a time.

    Args:
        spec: The study.
        storage: Optuna's database file; None: in memory, for dry runs.

    Raises:
        SettingError: If the file holds a study with other objectives.
    """

    def __init__(self, spec: SearchSpec, storage: Path | None = None) -> None:
        self.spec = spec
        self.storage = open_storage(storage)
        self.study = optuna.create_study(
            study_name=spec.name,
            storage=self.storage,
            sampler=SeededByNumber(spec, self.storage),
            pruner=optuna.pruners.NopPruner(),
            directions=[objective.direction for objective in spec.objectives],
            load_if_exists=True,
        )
        self._refuse_other_directions()
        ours = [trial for trial in self.trials() if _is_ours(trial)]
        self.num_asked = sum(trial.state != TrialState.WAITING for trial in ours)
        self._unfinished = deque(trial.number for trial in ours if trial.state == TrialState.RUNNING)
        self._live: dict[int, Trial] = {}
        self._reported: dict[int, set[int]] = {}
        self._has_baseline = any(trial.user_attrs.get(ORIGIN) == BASELINE for trial in ours)

    def next(self) -> NextTrial | None:
        """Returns the next trial: unfinished ones, then the baseline, then new ones; None if the budget is used up."""
        if self._unfinished:
            trial = self._open(self._unfinished.popleft())
            assert trial is not None
        elif self.num_asked < self.spec.budget.trials:
            self.enqueue_baseline()
            trial = self.study.ask()
            self.num_asked += 1
            self._live[trial.number], self._reported[trial.number] = trial, set()
        else:
            return None
        overrides = self.spec.space.sample(trial, self.spec.base_values)
        sync(self.storage)
        return NextTrial(trial.number, overrides)

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
            trial.set_user_attr(f"{HISTORY}{step}", scheduled)

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
        state = STATES.get(status, TrialState.FAIL)
        self.study.tell(trial, values if state == TrialState.COMPLETE else None, state)
        self._live.pop(number, None)
        self._reported.pop(number, None)

    def reconcile(self, records: Mapping[int, TrialRecord]) -> None:
        """Stores the end of each trial that has a record but is unfinished in Optuna: its driver died in between.

        Raises:
            UserError: If the storage has no trial of a record's number.
        """
        states = {trial.number: trial.state for trial in self.trials()}
        for number, record in sorted(records.items()):
            if number not in states:
                raise UserError(
                    f"study {self.spec.name} has a record of trial {number}, which its optuna.db lacks; restore the"
                    f" right database, or start a study of another name with --from {self.spec.name}"
                )
            if not states[number].is_finished():
                self.end(number, record.status, record.metrics)
        self._unfinished = deque(number for number in self._unfinished if number not in records)

    def intermediate_values(self) -> dict[int, dict[int, float]]:
        """Returns `{trial number: {step: value}}` of the values that the scheduler compares (`scheduled_value`)."""
        shared = self._scheduled_metric() == self._sole_objective()
        values = {}
        for trial in filter(_is_ours, self.trials()):
            judged = {**(trial.intermediate_values if shared else {}), **dict(_history(trial))}
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
            self._reported[number] = {*frozen.intermediate_values, *dict(_history(frozen))}
        return self._live[number]

    def _trial_id(self, number: int) -> int:
        study_id = self.storage.get_study_id_from_name(self.spec.name)
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

    def _refuse_other_directions(self) -> None:
        wanted = [StudyDirection[objective.direction.upper()] for objective in self.spec.objectives]
        if self.study.directions != wanted:
            raise SettingError(
                f"study {self.spec.name} was started with other objectives; give this study another name"
            )


def _is_ours(trial: FrozenTrial) -> bool:
    return not trial.user_attrs.get(ORIGIN, "").startswith(TOLD)


def _history(trial: FrozenTrial) -> Iterator[tuple[int, float | None]]:
    for key, value in trial.user_attrs.items():
        if key.startswith(HISTORY):
            yield int(key.removeprefix(HISTORY)), value
