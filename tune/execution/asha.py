"""Asynchronous successive halving over optimizer steps, with rungs that survive a restart.

`Rungs` is the algorithm as plain arithmetic; `_StepASHA` is the Ray scheduler around it. Ray's own ASHA keeps its
rungs under trial ids that are new after every restart of the driver; these are kept under the study's trial numbers
and rebuilt from the intermediate values that the study's storage holds.

Source: Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning" (arXiv:1810.05934), algorithm 2, in
the stopping form of Ray's `ASHAScheduler`: a trial is judged once a rung, at its first value there.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_left, insort
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from tune.execution.deaths import DeadWorkers
from tune.spec.search_spec import SearchSpec

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

PATIENCE_SECONDS = 60.0
"""How long a trial waits for a process of its own before it takes that of a trial that has ended."""


class Rungs:
    """The values that trials had when they first reached `grace_steps * reduction_factor**k` steps.

    Args:
        grace_steps: Optimizer steps that every trial may take.
        max_steps: Steps of a whole trial; rungs lie strictly below it, since nothing is saved by a stop at the end.
        reduction_factor: The best `1 / reduction_factor` of a rung continue.
        direction: `minimize` or `maximize`.
    """

    def __init__(self, grace_steps: int, max_steps: int, reduction_factor: float, direction: str) -> None:
        self.reduction_factor = reduction_factor
        self.sign = 1.0 if direction == "maximize" else -1.0
        steps = []
        step = float(grace_steps)
        while step < max_steps:
            steps.append(step)
            step *= reduction_factor
        self.values: dict[float, dict[int, float]] = {step: {} for step in reversed(steps)}
        self._ranked: dict[float, list[float]] = {step: [] for step in self.values}  # finite ones, ascending

    def survives(self, number: int, step: int, value: float) -> bool:
        """Records a trial's value at its highest new rung and returns whether the trial may continue.

        A value that is not finite counts as the worst and withdraws the trial's values at lower rungs: a trial that
        breaks a constraint later must not set the bar for trials that keep it. A rung judges each trial once, so that
        a resumed trial which repeats a step keeps its verdict.
        """
        score = self.sign * value if math.isfinite(value) else -math.inf
        if score == -math.inf:
            self._withdraw(number)
        for rung, scores in self.values.items():
            if step < rung:
                continue
            if number in scores:
                return True
            ranked = self._ranked[rung]
            continues = score >= self._cutoff(ranked)
            scores[number] = score
            if score > -math.inf:
                insort(ranked, score)
            return continues
        return True

    def replay(self, history: Mapping[int, Mapping[int, float]]) -> None:
        """Fills the rungs from stored values, `{trial number: {step: value}}`, without stopping a trial."""
        for number, values in history.items():
            for step in sorted(values):
                self.survives(number, step, values[step])

    def _withdraw(self, number: int) -> None:
        for rung, scores in self.values.items():
            if scores.get(number, -math.inf) > -math.inf:
                ranked = self._ranked[rung]
                del ranked[bisect_left(ranked, scores[number])]
                scores[number] = -math.inf

    def _cutoff(self, ranked: list[float]) -> float:
        """Returns the quantile of finite, ascending scores that the next score has to reach."""
        if not ranked:
            return -math.inf
        last = len(ranked) - 1
        place = last - last / self.reduction_factor  # exact where a score lies on it, which then suffices
        below = math.floor(place)
        low, high = ranked[below], ranked[min(below + 1, last)]
        between = low + (high - low) * (place - below)
        # Rounded up, the cutoff would stop a trial that lies on it.
        return between - 4 * math.ulp(max(abs(low), abs(high))) if below < place else between


class RunToCompletion(FIFOScheduler):
    """Runs every trial to its end, in the order of their numbers.

    Attributes:
        deaths: Notes the trials whose processes died; see `TrialSearcher`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.deaths = DeadWorkers()
        self._added: dict[str, float] = {}  # by Ray's id of the trial

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        self._added[trial.trial_id] = time.monotonic()

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        live = [] if tune_controller is None else tune_controller.get_live_trials()
        self.deaths.died(trial, sum(each.status == "RUNNING" for each in live))

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """Returns the trial that takes the process of one that has ended; None: a trial that is new.

        Tune gives up the process that a chosen trial has asked for, also one that starts. Where trials are shorter
        than the start of a process, the first waiting trial would always be chosen and no second process ever start,
        on a node that has just joined least of all. So a trial waits for its own first; new ones take what is there.

        Only live trials are looked at: Ray's own method looks through all trials of the search.
        """
        live = tune_controller.get_live_trials()
        starting = _starting(tune_controller)
        waiting = [trial for status in ("PENDING", "PAUSED") for trial in live if trial.status == status]
        late = [
            trial
            for trial in waiting
            if trial.status != "PENDING" or (self._waited(trial) > PATIENCE_SECONDS and trial.trial_id not in starting)
        ]
        return min(late, key=lambda trial: (trial.status != "PENDING", trial.config["number"]), default=None)

    def _waited(self, trial: Trial) -> float:
        """Returns for how many seconds a trial has been with Ray."""
        return time.monotonic() - self._added.get(trial.trial_id, 0.0)


def _starting(tune_controller: Any) -> set[str]:
    """Returns Ray's ids of trials whose own process starts already: only what is merely asked for may be given up."""
    inner = getattr(tune_controller, "_tune_controller", tune_controller)  # schedulers get a wrapper
    actors = getattr(inner, "_trial_to_actor", {})
    return {trial.trial_id for trial, actor in actors.items() if inner._actor_manager.is_actor_started(actor)}


class _StepASHA(RunToCompletion):
    """Stops running trials that do not survive their rung; the last step is never cut.

    Args:
        rungs: The values of earlier trials.
        value: Returns the value to judge of a milestone's metrics, or None for a milestone that is not judged; see
            `SearchSpec.scheduled_value`.
    """

    def __init__(self, rungs: Rungs, value: Callable[[Mapping[str, Any]], float | None]) -> None:
        super().__init__()
        self.rungs = rungs
        self.value = value

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        value = self.value(result) if result.get("status") == "running" else None
        if value is None:
            return TrialScheduler.CONTINUE
        number, step = trial.config["number"], int(result["progress/step"])
        keep = self.rungs.survives(number, step, value)
        return TrialScheduler.CONTINUE if keep else TrialScheduler.STOP


def scheduler_of(spec: SearchSpec, history: Mapping[int, Mapping[int, float]]) -> RunToCompletion:
    """Returns the scheduler of a search, its rungs filled with what earlier starts saw.

    Args:
        spec: The search.
        history: `{trial number: {step: value}}`, see `Suggestions.intermediate_values`.
    """
    objective = spec.scheduler_objective
    if objective is None:
        return RunToCompletion()
    steps, factor = spec.base_spec.train.max_steps, spec.scheduler.reduction_factor
    rungs = Rungs(spec.grace_steps, steps, factor, objective.direction)
    rungs.replay(history)
    return _StepASHA(rungs, spec.scheduled_value)
