"""What a study would take, before it takes it: every trial's resources and settings, and the hours at most.

The settings of the random start are those that the search will really draw; later ones depend on results.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tune.sampling.suggestions import Suggestions
from tune.spec.search_spec import SearchSpec


@dataclass(frozen=True)
class PlannedTrial:
    """One trial of a study that has not begun.

    Attributes:
        number: Its number in the study.
        overrides: Its settings; None where the search decides them by results.
        workers: Data-parallel workers.
        cpus: CPUs of all workers.
        gpus: GPUs of all workers.
        max_hours: Wall time when it runs to its end; None without an estimate of a step.
    """

    number: int
    overrides: Mapping[str, Any] | None
    workers: int
    cpus: float
    gpus: float
    max_hours: float | None


@dataclass(frozen=True)
class DryRun:
    """A study's trials, planned. `str` gives the table.

    Attributes:
        spec: The study.
        trials: One a trial of the budget.
        step_seconds: Seconds of a step that hours are reckoned with; None: unknown.
    """

    spec: SearchSpec
    trials: list[PlannedTrial]
    step_seconds: float | None

    @property
    def max_trial_hours(self) -> float | None:
        """Hours of all trials together if none is stopped early."""
        return None if self.step_seconds is None else sum(trial.max_hours or 0.0 for trial in self.trials)

    @property
    def expected_share(self) -> float:
        """The share of all steps that is expected to be taken when one in `reduction_factor` passes each rung.

        Halving that is asynchronous lets more pass in the beginning, so the truth lies between this and 1.
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
        """Returns the table and its sums as lines of text."""
        spec = self.spec
        head = f"{'trial':>5}  {'workers':>7}  {'CPUs':>5}  {'GPUs':>5}  {'hours':>6}  settings"
        lines = [f"study {spec.name}: {spec.question}".rstrip(": "), "", head]
        for trial in self.trials:
            hours = "?" if trial.max_hours is None else f"{trial.max_hours:.2f}"
            lines.append(
                f"{trial.number:>5}  {trial.workers:>7}  {trial.cpus:>5g}  {trial.gpus:>5g}  {hours:>6}"
                f"  {_settings(trial)}"
            )
        return [*lines, "", *self._sums()]

    def _sums(self) -> list[str]:
        spec, resources = self.spec, self.spec.resources
        device, each = ("GPU", resources.first_gpus) if resources.gpus else ("CPU", resources.cpus)
        total = self.max_trial_hours
        gpus = f"{resources.first_gpus:g} GPU(s)" if not resources.packed else "a GPU, less once memory is measured,"
        needs = f"a trial takes {resources.workers} worker(s) with {resources.cpus:g} CPU(s) and {gpus}"
        if total is None:
            return [f"{needs} each; hours unknown: set budget.step_seconds to what a step takes"]
        device_hours = total * each * resources.workers
        wall = f" ({total / spec.budget.concurrent:.1f} hours of wall time)" if spec.budget.concurrent else ""
        lines = [
            f"{needs} each, at {self.step_seconds:g} seconds a step",
            f"at most {device_hours:.1f} {device} hours{wall} if no trial is stopped early",
        ]
        if self.expected_share < 1:
            share = self.expected_share
            lines.append(
                f"about {device_hours * share:.1f} {device} hours if {spec.scheduler.name} stops what it should"
            )
        return lines

    def __str__(self) -> str:
        return "\n".join(self.lines())


def dry_run(spec: SearchSpec, step_seconds: float | None = None) -> DryRun:
    """Plans a study without running anything.

    Args:
        spec: The study.
        step_seconds: Measured seconds of a training step, evaluation shared out; None: `budget.step_seconds`.
    """
    seconds = step_seconds or spec.budget.step_seconds
    resources, steps = spec.resources, spec.base_spec.train.max_steps
    known = _known_overrides(spec)
    trials = [
        PlannedTrial(
            number=number,
            overrides=known[number] if number < len(known) else None,
            workers=resources.workers,
            cpus=resources.cpus * resources.workers,
            gpus=resources.first_gpus * resources.workers,
            max_hours=None if seconds is None else steps * seconds / 3600,
        )
        for number in range(spec.budget.trials)
    ]
    return DryRun(spec, trials, seconds)


def _known_overrides(spec: SearchSpec) -> list[Mapping[str, Any]]:
    """Returns the settings of the trials that no result can change: the baseline and the random start."""
    num_random = spec.sampler.num_random
    num_known = spec.budget.trials if num_random is None else min(spec.budget.trials, max(1, num_random))
    suggestions = Suggestions(spec)
    asked = [suggestions.next() for _ in range(num_known)]
    return [suggestion.overrides for suggestion in asked if suggestion is not None]


def _settings(trial: PlannedTrial) -> str:
    if trial.overrides is None:
        return "(decided by results)"
    shown = ", ".join(
        f"{path.split('.', 1)[-1]}={value:.4g}" if isinstance(value, float) else f"{path.split('.', 1)[-1]}={value}"
        for path, value in trial.overrides.items()
    )
    return f"{'baseline: ' if trial.number == 0 else ''}{shown}"
