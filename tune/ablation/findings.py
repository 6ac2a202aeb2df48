"""The findings of an ablation: tuned settings, effects and rows, from its plan and the records of its runs.

Nothing here runs anything. The same records give the same findings during the study, at its end and a year later.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from t5vqvae.files import atomic_write
from t5vqvae.spec.run import RunSpec
from tune.ablation.ablation_spec import AblationSpec
from tune.ablation.designs import BASELINE, Arm
from tune.ablation.nuisance import at_the_edge, choose
from tune.ablation.plan import PlannedRun, all_arms, expand
from tune.analysis import Comparison, Cost, FactorialEffect, RunRow, compare_arms, cost, factorial_effects
from tune.records.record import TrialRecord

TAKEN = "taken_from"
"""The tag of a run that was not trained, because the same run was found elsewhere; its value says where."""
ANOTHER_VERSION = "by another version of the trainer"
"""Ends that value where the settings, the data and the precision are the same, and the trainer's source is not."""


@dataclass(frozen=True)
class Findings:
    """A study's plan and the records of its runs.

    Attributes:
        spec: The study.
        base: The baseline's run spec.
        numbers: `{key of a planned run: number}`, as far as given.
        records: Runs that have ended, by number.
        urls: Web addresses of runs, by number.
        settings_ids: `RunSpec.settings_id` of runs, by number, as far as known.
    """

    spec: AblationSpec
    base: RunSpec
    numbers: Mapping[str, int]
    records: Mapping[int, TrialRecord]
    urls: Mapping[int, str] = field(default_factory=dict)
    settings_ids: Mapping[int, str] = field(default_factory=dict)

    @cached_property
    def arms(self) -> list[Arm]:
        """The baseline as an arm, then the others."""
        return all_arms(self.spec, self.base)

    @cached_property
    def runs(self) -> list[PlannedRun]:
        """All planned runs; the overrides of the comparison are complete for tuned arms."""
        return expand(self.spec, self.base, self.tuned)

    def record(self, run: PlannedRun) -> TrialRecord | None:
        """Returns the record of a planned run that has ended, or None."""
        return self.records.get(self.numbers.get(run.key, -1))

    @cached_property
    def tuning_runs(self) -> list[PlannedRun]:
        """All tuning runs, in the order of the plan."""
        return [run for run in expand(self.spec, self.base) if run.phase == "tuning"]

    @cached_property
    def tuning(self) -> dict[str, dict[int, list[PlannedRun]]]:
        """The tuning runs of every arm for each seed of the comparison; shared ones are there for each."""
        found: dict[str, dict[int, list[PlannedRun]]] = {}
        for arm in self.arms:
            mine = [run for run in self.tuning_runs if run.arm == arm.name]
            found[arm.name] = {s: [run for run in mine if run.tunes in (None, s)] for s in self.spec.seeds}
        return found

    @cached_property
    def tuned(self) -> dict[str, dict[int, dict[str, Any]]]:
        """`{arm: {seed: nuisance settings}}` where all candidates have ended; no settings where none completed."""
        found: dict[str, dict[int, dict[str, Any]]] = {}
        for arm, by_seed in self.tuning.items():
            ended = {seed: runs for seed, runs in by_seed.items() if all(self.record(run) is not None for run in runs)}
            found[arm] = {seed: self._chosen(runs) for seed, runs in ended.items()}
        return found

    def _chosen(self, runs: Sequence[PlannedRun]) -> dict[str, Any]:
        pairs = [(self._candidate(run), self.row(run)) for run in runs]
        chosen = choose([(point, row) for point, row in pairs if row is not None], self.spec.objective)
        return dict(chosen or {})

    def _candidate(self, run: PlannedRun) -> dict[str, Any]:
        return {path: run.overrides[path] for path in self.spec.nuisance.paths if path in run.overrides}

    def row(self, run: PlannedRun) -> RunRow | None:
        """Returns an ended run as the analysis reads it."""
        record = self.record(run)
        if record is None:
            return None
        run_id, url = record.run_id or "", self.urls.get(record.number)
        return RunRow(run.arm, run.seed, record.status, dict(record.metrics), run_id, record.mlflow_id, url)

    def rows(self) -> list[RunRow]:
        """Returns the ended runs of the comparison; one whose arm is being tuned again is out of date, and left out."""
        runs = [run for run in self.runs if run.phase == "comparison" and run.seed in self.tuned[run.arm]]
        rows = [self.row(run) for run in runs]
        return [row for row in rows if row is not None]

    def comparison(self) -> Comparison:
        """Returns the arms against the baseline."""
        names = [arm.name for arm in self.arms[1:]]
        question = self.spec.analysis_question(self.base)
        return compare_arms(self.rows(), BASELINE, names, self.spec.seeds, question)

    def effects(self) -> list[FactorialEffect]:
        """Returns main effects and interactions; empty unless the design is a factorial."""
        design = self.spec.design
        contrasts = [] if design is None else design.contrasts(self.base)
        if design is None or not contrasts:
            return []
        question = self.spec.analysis_question(self.base)
        secondary = {metric: self._cells(metric) for metric in question.secondary}
        return factorial_effects(
            self._cells(question.objective),
            contrasts,
            design.fraction(self.base),
            question,
            secondary,
            self._diverged_cells(),
        )

    def _cells(self, metric: str) -> dict[tuple[int, ...], dict[int, float]]:
        """Returns a metric of the completed runs of a factorial: `{cell: {seed: value}}`."""
        cells = self._cell_of_arm
        found: dict[tuple[int, ...], dict[int, float]] = {cell: {} for cell in cells.values()}
        for row in self.rows():
            value = row.value(metric)
            if value is not None:
                found[cells[row.arm]][row.seed] = value
        return found

    @property
    def _cell_of_arm(self) -> dict[str, tuple[int, ...]]:
        num_factors = len(self.spec.design.factors_of(self.base)) if self.spec.design else 0
        return {arm.name: arm.cell or (0,) * num_factors for arm in self.arms}

    def _diverged_cells(self) -> dict[tuple[int, ...], list[int]]:
        """Returns the seeds on which each cell of a factorial diverged."""
        found: dict[tuple[int, ...], list[int]] = {}
        for row in self.rows():
            if row.status == "diverged":
                found.setdefault(self._cell_of_arm[row.arm], []).append(row.seed)
        return found

    def levels(self) -> dict[str, list[Any]]:
        """Returns the levels of a factorial's factors, the baseline's first."""
        design = self.spec.design
        flat, found = self.base.as_flat_dict(), {}
        for at, path in enumerate(() if design is None else design.factors_of(self.base)):
            by_level = {arm.cell[at]: arm.overrides[path] for arm in self.arms if arm.cell and arm.cell[at]}
            found[path] = [flat.get(path), *(by_level[level] for level in sorted(by_level))]
        return found

    def notes(self) -> list[str]:
        """Returns remarks on plan, tuning and reuse for the readers of the report."""
        found = list(self.spec.notes(self.base))
        for arm in self.tuning:
            found += self._tuning_notes(arm)
        rows = self.rows()
        for metric in self.spec.beside if rows else ():
            if not any(metric in row.metrics for row in rows):
                found.append(f"beside: no run measured {metric}")
        taken = [record for run in self.runs if (record := self.record(run)) is not None and TAKEN in record.tags]
        if taken:
            others = sum(record.tags[TAKEN].endswith(ANOTHER_VERSION) for record in taken)
            more = f", {others} of them {ANOTHER_VERSION}" if others else ""
            found.append(
                f"{len(taken)} runs were not trained again, because their results existed{more}; runs.parquet says"
                " where"
            )
        found += self._mixed_notes()
        return found

    def _mixed_notes(self) -> list[str]:
        """Returns a remark on every arm whose pairs compare two versions of the trainer: that difference is in them."""
        taken = {
            (run.arm, run.seed)
            for run in self.runs
            if run.phase == "comparison"
            and (record := self.record(run)) is not None
            and record.tags.get(TAKEN, "").endswith(ANOTHER_VERSION)
        }
        notes = []
        for arm in self.arms[1:]:
            seeds = [seed for seed in self.spec.seeds if ((arm.name, seed) in taken) != ((BASELINE, seed) in taken)]
            if seeds:
                notes.append(
                    f"{arm.name}: its runs and the baseline's are of two versions of the trainer for seeds"
                    f" {', '.join(map(str, seeds))}, so what the version changed is in the effect; train one side again"
                )
        return notes

    def _tuning_notes(self, arm: str) -> list[str]:
        """Returns remarks on an arm whose tuning failed, or whose best candidates lie at an end of what was tried."""
        tuned = {seed: found for seed, found in self.tuned[arm].items() if self.tuning[arm][seed]}
        notes, failed = [], [seed for seed, chosen in tuned.items() if not chosen]
        if failed:
            where = "" if len(failed) == len(tuned) else f" for seeds {', '.join(map(str, failed))}"
            notes.append(f"{arm}: no tuning run completed{where}, so it runs with the baseline's own nuisance settings")
        pairs = [
            ([self._candidate(run) for run in self.tuning[arm][s]], chosen) for s, chosen in tuned.items() if chosen
        ]
        for path, end, num in at_the_edge(self.spec.nuisance, pairs):
            notes.append(
                f"{arm}: {path} is the {end} value tried for {num} of {len(pairs)} seeds; better may lie beyond"
            )
        return notes

    def cost(self) -> Cost:
        """Returns the cost of the runs of both phases."""
        ended = [record for run in self.runs if (record := self.record(run)) is not None]
        resources = self.spec.resources
        workers = resources.workers
        return cost([asdict(record) for record in ended], workers * resources.cpus, workers * resources.first_gpus)

    def table(self) -> list[dict[str, Any]]:
        """Returns a flat row with all metrics for every ended run of both phases."""
        rows = []
        for run in self.runs:
            record = self.record(run)
            if record is None:
                continue
            known = {"study": self.spec.name, "arm": run.arm, "phase": run.phase, "seed": run.seed, "trial": run.trial}
            known |= {"tunes": run.tunes}
            names = ("number", "status", "run_id", "mlflow_id", "steps", "seconds")
            known |= {name: getattr(record, name) for name in names}
            known |= {"settings_id": self.settings_ids.get(record.number)}
            known |= {TAKEN: record.tags.get(TAKEN), "overrides": json.dumps(dict(record.overrides), sort_keys=True)}
            rows.append(known | dict(record.metrics))
        return rows


def write_parquet(rows: list[dict[str, Any]], path: Path) -> Path:
    """Writes rows as Parquet, with the columns of all rows."""
    import pyarrow
    import pyarrow.parquet

    names = list(dict.fromkeys(name for row in rows for name in row))
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as scratch:
        pyarrow.parquet.write_table(pyarrow.table({name: [row.get(name) for row in rows] for name in names}), scratch)
    return path
