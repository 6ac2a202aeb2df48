"""The findings of an ablation: tuned settings, effects and rows, from its plan and the records of its runs.

Nothing here runs anything. The same records give the same findings during the study, at its end and a year later.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from t5vqvae.errors import DamagedFileError, SettingError
from t5vqvae.files import atomic_write, read_twice, write_twice
from t5vqvae.redaction import redacted_values
from t5vqvae.spec.run import RunSpec
from tune.ablation.ablation_spec import AblationSpec
from tune.ablation.designs import BASELINE, Arm
from tune.ablation.nuisance import at_the_edge, choose
from tune.ablation.plan import PlannedRun, all_arms, expand
from tune.ablation.run_numbers import RunNumbers
from tune.analysis import Comparison, Cost, FactorialEffect, RunRow, compare_arms, cost, factorial_effects
from tune.records.record import TrialRecord, read_records
from tune.records.study_paths import StudyPaths, is_there
from tune.spec.study_spec import WAY_OUT

TAKEN = "taken_from"
"""The tag of a run that was not trained, because the same run was found elsewhere; its value says where."""


@dataclass(frozen=True)
class Findings:
    """A study's plan and the records of its runs.

    Attributes:
        spec: The study.
        base: The baseline's run spec.
        numbers: `{key of a planned run: number}`, as far as given.
        records: Runs that have ended, by number.
        urls: Web addresses of runs, by number.
    """

    spec: AblationSpec
    base: RunSpec
    numbers: Mapping[str, int]
    records: Mapping[int, TrialRecord]
    urls: Mapping[int, str] = field(default_factory=dict)

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
    def tuning(self) -> dict[str, list[PlannedRun]]:
        """The tuning runs of every arm."""
        runs = [run for run in expand(self.spec, self.base) if run.phase == "tuning"]
        return {arm.name: [run for run in runs if run.arm == arm.name] for arm in self.arms}

    @cached_property
    def tuned(self) -> dict[str, dict[str, Any]]:
        """`{arm: nuisance settings}` of the arms whose candidates have all ended; empty where none completed."""
        found = {}
        for arm, runs in self.tuning.items():
            records = [self.record(run) for run in runs]
            if all(record is not None for record in records):
                pairs = [(self._candidate(run), self.row(run)) for run in runs]
                chosen = choose([(point, row) for point, row in pairs if row is not None], self.spec.objective)
                found[arm] = dict(chosen or {})
        return found

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
        """Returns the ended runs of the comparison."""
        rows = [self.row(run) for run in self.runs if run.phase == "comparison"]
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
            self._cells(question.objective), contrasts, design.fraction(self.base), question, secondary
        )

    def _cells(self, metric: str) -> dict[tuple[int, ...], dict[int, float]]:
        """Returns a metric of the completed runs of a factorial: `{cell: {seed: value}}`."""
        num_factors = len(self.spec.design.factors_of(self.base)) if self.spec.design else 0
        cells = {arm.name: arm.cell or (0,) * num_factors for arm in self.arms}
        found: dict[tuple[int, ...], dict[int, float]] = {cell: {} for cell in cells.values()}
        for row in self.rows():
            value = row.value(metric)
            if value is not None:
                found[cells[row.arm]][row.seed] = value
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
        for arm, runs in self.tuning.items():
            tried, chosen = [self._candidate(run) for run in runs], self.tuned.get(arm, {})
            if runs and arm in self.tuned and not chosen:
                found.append(f"{arm}: no tuning run completed, so it runs with the baseline's own nuisance settings")
            for path in at_the_edge(self.spec.nuisance, tried, chosen):
                found.append(
                    f"{arm}: {path}={chosen[path]:.3g} is the last value that was tried; better may lie beyond"
                )
        rows = self.rows()
        for metric in self.spec.beside if rows else ():
            if not any(metric in row.metrics for row in rows):
                found.append(f"beside: no run measured {metric}")
        taken = [record for run in self.runs if (record := self.record(run)) is not None and TAKEN in record.tags]
        if taken:
            found.append(
                f"{len(taken)} runs were not trained again, because the same run existed; runs.parquet says where"
            )
        return found

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
            names = ("number", "status", "run_id", "mlflow_id", "steps", "seconds")
            known |= {name: getattr(record, name) for name in names}
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


@dataclass(frozen=True)
class AblationHistory:
    """The history of an ablation's spec, in `ablation.json` of its folder.

    Attributes:
        base: The baseline's run spec at the first start; a champion may have changed afterwards.
        specs: The study at its first start, and at every later start that changed it.
    """

    base: RunSpec
    specs: tuple[AblationSpec, ...]

    @staticmethod
    def path(paths: StudyPaths) -> Path:
        return paths.ablation

    @classmethod
    def read(cls, paths: StudyPaths) -> AblationHistory | None:
        """Reads the history; returns None before the first start."""
        file = cls.path(paths)
        if not is_there(file):
            return None
        values = read_twice(file, WAY_OUT)
        try:
            return cls(RunSpec.parse(values["base"]), tuple(AblationSpec.parse(spec) for spec in values["specs"]))
        except (KeyError, TypeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise DamagedFileError(f"{file} is no ablation of this version: {reason}; {WAY_OUT}") from None

    def write(self, paths: StudyPaths) -> None:
        """Writes the history, twice, each whole or not at all."""
        values = {"base": self.base.as_dict(), "specs": [spec.as_dict() for spec in self.specs]}
        write_twice(self.path(paths), redacted_values(values), indent=1)

    def notes(self) -> list[str]:
        """Returns the rules that were changed after the first start, which the p-values do not take into account."""
        first, last = self.specs[0].as_flat_dict(), self.specs[-1].as_flat_dict()
        paths = [path for path in {**first, **last} if first.get(path) != last.get(path)]
        deciding = [
            path for path in paths if path.split(".")[0] not in ("budget", "resources", "retention", "tracking")
        ]
        if not deciding:
            return []
        changes = ", ".join(f"{path} from {first.get(path)} to {last.get(path)}" for path in deciding)
        return [f"changed after the first start; p-values and intervals do not take it into account: {changes}"]


def read_findings(paths: StudyPaths) -> tuple[Findings, list[str]]:
    """Returns the findings of an ablation from its folder, and remarks on changes of its spec.

    Raises:
        SettingError: If none of its runs has ended.
    """
    begun, records = AblationHistory.read(paths), {record.number: record for record in read_records(paths.trials)}
    if begun is None or not records:
        raise SettingError(f"no run of ablation {paths.study} has ended yet; start it first")
    numbers = RunNumbers(paths.root).latest
    return Findings(begun.specs[-1], begun.base, numbers, records), begun.notes()
