"""Plans a search without running it: the resources and settings of every trial, and the hours at most.

The settings of the first, random trials are those that the search will draw; later ones depend on results, and so do
all but the baseline's where the study learns from another one (`--from`), whose trials take numbers, too.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import count, islice

from t5vqvae.config import Overrides
from tune.sampling.suggestions import Suggestions
from tune.spec.disk_plan import disk_plan
from tune.spec.search_spec import SearchSpec


@dataclass(frozen=True)
class _PlannedTrial:
    """One trial of a study that has not started.

    Attributes:
        number: Number of the trial in the study; None where another study's trials may take it.
        overrides: Settings of the trial; None where the search chooses them from results.
        workers: Number of data-parallel workers.
        cpus: CPUs of all workers.
        gpus: GPUs of all workers.
        max_hours: Wall time if the trial is not stopped early; None without an estimate of a step.
    """

    number: int | None
    overrides: Overrides | None
    workers: int
    cpus: float
    gpus: float
    max_hours: float | None


@dataclass(frozen=True)
class _DryRun:
    """The plan of a study; `str` returns it as a table.

    Attributes:
        spec: The study.
        trials: Planned trials, one for each trial of the budget that has not ended.
        step_seconds: Seconds of a training step from which hours are computed; None: unknown.
        num_ended: Number of trials that have ended.
    """

    spec: SearchSpec
    trials: list[_PlannedTrial]
    step_seconds: float | None
    num_ended: int = 0

    @property
    def max_trial_hours(self) -> float | None:
        """Wall time of all trials together, in hours, if none is stopped early; None if unknown."""
        return None if self.step_seconds is None else sum(trial.max_hours or 0.0 for trial in self.trials)

    @property
    def expected_share(self) -> float:
        """The expected share of all training steps, in (0, 1], if one trial in `reduction_factor` passes each rung.

        The true share lies between this and 1, because asynchronous halving lets more trials pass at the start.
        """
        if self.spec.scheduler.name == "none":
            return 1.0
        steps, factor = self.spec.base_spec.train.max_steps, self.spec.scheduler.reduction_factor
        rung, before, passing, expected = float(self.spec.grace_steps), 0.0, 1.0, 0.0
        while rung < steps:
            expected += passing * (rung - before)
            passing /= factor
            before, rung = rung, rung * factor
        return (expected + passing * (steps - before)) / steps

    def lines(self) -> list[str]:
        """Returns the table of trials and its totals as lines of text."""
        spec = self.spec
        head = f"{'trial':>5}  {'workers':>7}  {'CPUs':>5}  {'GPUs':>5}  {'hours':>6}  settings"
        lines = [f"study {spec.name}: {spec.question}".rstrip(": "), "", head]
        if self.num_ended:
            lines.insert(1, f"{self.num_ended} trials have ended; {len(self.trials)} are left:")
        for trial in self.trials:
            hours = "?" if trial.max_hours is None else f"{trial.max_hours:.2f}"
            number = "?" if trial.number is None else trial.number
            lines.append(
                f"{number:>5}  {trial.workers:>7}  {trial.cpus:>5g}  {trial.gpus:>5g}  {hours:>6}  {_settings(trial)}"
            )
        return [*lines, "", *self._totals(), disk_plan(spec, spec.base_spec)]

    def _totals(self) -> list[str]:
        spec, resources = self.spec, self.spec.resources
        device, each = ("GPU", resources.first_gpus) if resources.gpus else ("CPU", resources.cpus)
        total = self.max_trial_hours
        gpus = f"{resources.first_gpus:g} GPU(s)" if not resources.packed else "a GPU, less once memory is measured,"
        needs = f"a trial takes {resources.workers} worker(s) with {resources.cpus:g} CPU(s) and {gpus}"
        if total is None:
            return [f"{needs} each; hours unknown: set budget.step_seconds to the seconds of a training step"]
        device_hours = total * each * resources.workers
        wall = f" ({total / spec.budget.concurrent:.1f} hours of wall time)" if spec.budget.concurrent else ""
        lines = [
            f"{needs} each, at {self.step_seconds:g} seconds a step",
            f"at most {device_hours:.1f} {device} hours{wall} if no trial is stopped early",
        ]
        if self.expected_share < 1:
            share = self.expected_share
            lines.append(
                f"about {device_hours * share:.1f} {device} hours if {spec.scheduler.name} stops trials as expected"
            )
        return lines

    def __str__(self) -> str:
        return "\n".join(self.lines())


def dry_run(
    spec: SearchSpec, step_seconds: float | None = None, ended: Collection[int] = (), learns: bool = False
) -> _DryRun:
    """Returns the plan of a study.

    Args:
        spec: The study.
        step_seconds: Measured seconds of a training step, its share of evaluation included; None:
            `budget.step_seconds`.
        ended: Numbers of trials that have ended and are not planned again.
        learns: Whether the study has, or will have, trials of another study.
    """
    seconds = step_seconds or spec.budget.step_seconds
    resources, steps = spec.resources, spec.base_spec.train.max_steps
    known = _known_overrides(spec)[: 1 if learns else None]
    numbers = islice((number for number in count() if number not in ended), max(0, spec.planned_trials - len(ended)))
    trials = [
        _PlannedTrial(
            number=number if number == 0 or not learns else None,
            overrides=known[number] if number < len(known) else None,
            workers=resources.workers,
            cpus=resources.cpus * resources.workers,
            gpus=resources.first_gpus * resources.workers,
            max_hours=None if seconds is None else steps * seconds / 3600,
        )
        for number in numbers
    ]
    return _DryRun(spec, trials, seconds, len(ended))


def _known_overrides(spec: SearchSpec) -> list[Overrides]:
    """Returns the settings of the trials that do not depend on results: the baseline and the first, random trials."""
    num_random = spec.sampler.num_random
    num_known = spec.budget.trials if num_random is None else min(spec.budget.trials, max(1, num_random))
    suggestions = Suggestions(spec)
    known = [suggestions.next() for _ in range(num_known)]
    return [suggestion.overrides for suggestion in known if suggestion is not None]


def _settings(trial: _PlannedTrial) -> str:
    if trial.overrides is None:
        return "(chosen from results)"
    shown = ", ".join(
        f"{path.split('.', 1)[-1]}={value:.4g}" if isinstance(value, float) else f"{path.split('.', 1)[-1]}={value}"
        for path, value in trial.overrides.items()
    )
    return f"{'baseline: ' if trial.number == 0 else ''}{shown}"
