"""Plans the runs of an ablation: arm, seed and settings of each, and their cost.

For each seed of the comparison, every arm tries the same nuisance candidates on that seed's own tuning seed, then it
runs with its best candidate. So the luck of tuning differs from seed to seed, and intervals and tests contain it.
`expand` gives both phases; the overrides of the second are complete once `tuned` is given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from t5vqvae.spec.run import RunSpec
from tune.ablation.ablation_spec import AblationSpec
from tune.ablation.designs import BASELINE, Arm
from tune.ablation.nuisance import candidates
from tune.monitor.formats import markdown_table, markdown_text
from tune.spec.disk_plan import disk_plan

Phase = Literal["tuning", "comparison"]


@dataclass(frozen=True)
class PlannedRun:
    """One run of an ablation.

    Attributes:
        arm: Name of its arm; `baseline` for the baseline.
        seed: Seed of the run.
        overrides: Settings over the baseline's run spec, with the seed. In the comparison, nuisance settings are
            missing until the arm is tuned.
        phase: `tuning` or `comparison`.
        trial: Number of the nuisance candidate; None in the comparison.
        tunes: The seed of the comparison that a tuning run is for; None if it is for all, and in the comparison.
    """

    arm: str
    seed: int
    overrides: Mapping[str, Any]
    phase: Phase
    trial: int | None = None
    tunes: int | None = None

    @property
    def key(self) -> str:
        """Name of the run within its study."""
        return f"{self.arm}/{self.phase}/{self.seed}" + ("" if self.trial is None else f"/{self.trial}")


def all_arms(spec: AblationSpec, base: RunSpec) -> list[Arm]:
    """Returns the baseline as an arm, then the others."""
    return [Arm(name=BASELINE, question=spec.question), *spec.resolve_arms(base)]


Tuned = Mapping[str, Mapping[int, Mapping[str, Any]]]
"""`{arm: {seed of the comparison: chosen nuisance overrides}}`."""


def expand(spec: AblationSpec, base: RunSpec, tuned: Tuned | None = None) -> list[PlannedRun]:
    """Returns all runs, seed by seed so that the comparison fills evenly if it is cut short.

    Args:
        spec: The ablation.
        base: The baseline's run spec, `spec.resolve_base(...)`.
        tuned: The chosen overrides of the arms and seeds whose tuning has ended.
    """
    spec.check(base)
    arms, runs, chosen = all_arms(spec, base), [], tuned or {}
    values = {arm.name: base.with_overrides(arm.overrides).as_flat_dict() for arm in arms}
    begun: set[int] = set()
    for seed, tuning_seed in spec.tuning_seeds.items():
        if tuning_seed not in begun:
            tunes = seed if spec.tuning == "per_seed" else None
            runs += [run for arm in arms for run in _tuning_runs(spec, values[arm.name], arm, tuning_seed, tunes)]
        begun.add(tuning_seed)
        for arm in arms:
            overrides = {**arm.overrides, **chosen.get(arm.name, {}).get(seed, {}), "seed": seed}
            runs.append(PlannedRun(arm.name, seed, overrides, "comparison"))
    return runs


def _tuning_runs(
    spec: AblationSpec, values: Mapping[str, Any], arm: Arm, seed: int, tunes: int | None
) -> list[PlannedRun]:
    if spec.trials_per_arm is None:
        return []
    points = candidates(spec.nuisance, values, spec.trials_per_arm, seed)
    return [
        PlannedRun(arm.name, seed, {**arm.overrides, **point, "seed": seed}, "tuning", trial, tunes)
        for trial, point in enumerate(points)
    ]


@dataclass(frozen=True)
class _PlanRow:
    """The runs of one arm and phase, and their cost; hours are None where a step's seconds are unknown."""

    arm: str
    phase: Phase
    runs: int
    steps: int
    hours: float | None
    overrides: str


@dataclass(frozen=True)
class _PlanTable:
    """A dry run: rows, sums and remarks.

    Attributes:
        rows: By arm and phase.
        num_runs: All runs; two equal runs are trained once.
        num_distinct: Runs with different settings.
        hours: Machine hours of all distinct runs, one after another; None where a step's seconds are unknown.
        wall_hours: Hours with `budget.concurrent` runs at once; None where the machines say how many.
        notes: Remarks, one sentence each.
    """

    rows: tuple[_PlanRow, ...]
    num_runs: int
    num_distinct: int
    hours: float | None
    wall_hours: float | None
    notes: tuple[str, ...]

    def markdown(self) -> str:
        """Returns the table as Markdown."""
        head = ["arm", "phase", "runs", "steps a run", "hours", "overrides"]
        rows = [[r.arm, r.phase, r.runs, r.steps, _hours(r.hours), r.overrides] for r in self.rows]
        total = f"{self.num_runs} runs, {self.num_distinct} of them different; {_hours(self.hours)} machine hours"
        wall = "" if self.hours is None else ", fewer by the runs that the machines hold at once"
        if self.wall_hours is not None:
            wall = f", {_hours(self.wall_hours)} hours with the runs at once"
        notes = [f"- {markdown_text(note)}" for note in self.notes]
        return "\n".join([markdown_table(head, rows), "", f"{total}{wall}.", *notes])


def dry_run(spec: AblationSpec, base: RunSpec, step_seconds: float | None = None) -> _PlanTable:
    """Returns the runs of the ablation and their hours, without running anything.

    Args:
        spec: The ablation.
        base: The baseline's run spec.
        step_seconds: Measured or estimated seconds of a training step, evaluations shared out; None: the budget's.
    """
    seconds = step_seconds or spec.budget.step_seconds
    runs = expand(spec, base)
    rows = []
    for arm in all_arms(spec, base):
        run_spec = base.with_overrides(arm.overrides)
        for phase in ("tuning", "comparison"):
            num = sum(run.arm == arm.name and run.phase == phase for run in runs)
            if num:
                steps = run_spec.train.max_steps
                hours = None if seconds is None else num * steps * seconds / 3600
                rows.append(_PlanRow(arm.name, phase, num, steps, hours, _overrides(arm)))
    lengths = [base.with_overrides(overrides).train.max_steps for overrides in _distinct(runs, base)]
    hours = None if seconds is None else sum(lengths) * seconds / 3600
    at_once = spec.budget.concurrent
    wall = None if seconds is None or at_once is None else _wall_hours(lengths, at_once, seconds)
    notes = [*spec.notes(base), *_tuning_note(spec, runs)]
    if seconds is None:
        notes.append("hours are unknown: set budget.step_seconds to the cost/step_seconds of a short run")
    notes.append(disk_plan(spec, base))
    return _PlanTable(tuple(rows), len(runs), len(lengths), hours, wall, tuple(notes))


def _tuning_note(spec: AblationSpec, runs: list[PlannedRun]) -> list[str]:
    """Returns what tuning every seed anew costs."""
    num = sum(run.phase == "tuning" for run in runs)
    if spec.tuning == "shared" or not num:
        return []
    seeds = len(spec.seeds)
    return [
        f"{num} of {len(runs)} runs are tuning: {spec.trials_per_arm} candidates an arm, anew for each of {seeds}"
        f" seeds, so that the luck of tuning is in the error; tuning=shared takes {num // seeds} and understates it"
    ]


def _distinct(runs: list[PlannedRun], base: RunSpec) -> list[Mapping[str, Any]]:
    """Returns the overrides of different runs; an arm that only renames the baseline adds none."""
    kept: dict[tuple[str, str], Mapping[str, Any]] = {}
    for run in runs:
        spec = base.with_overrides(run.overrides)
        kept.setdefault((run.phase, str(sorted(spec.as_flat_dict().items(), key=lambda item: item[0]))), run.overrides)
    return list(kept.values())


def _wall_hours(steps: list[int], concurrent: int, seconds: float) -> float:
    return math.ceil(len(steps) / concurrent) * max(steps) * seconds / 3600


def _overrides(arm: Arm) -> str:
    return ", ".join(f"{path}={value}" for path, value in arm.overrides.items()) or "-"


def _hours(hours: float | None) -> str:
    return "?" if hours is None else f"{hours:.2g}"
