"""Orders the runs of an ablation seed by seed: an arm is tuned for a seed, then compared on it.

A run with the run id of another run, in this study, in another study or in MLflow, is not trained: its result is taken,
with a tag that names the source. A sequential plan releases the seeds of an arm look by look, tuning included, so that
the seeds alone decide which arms stop, and not the order in which runs end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from t5vqvae.spec.run import RunSpec
from tune.ablation.designs import BASELINE
from tune.ablation.findings import TAKEN, Findings
from tune.ablation.plan import PlannedRun
from tune.ablation.run_numbers import RunNumbers
from tune.analysis import RunRow
from tune.records.record import TrialRecord
from tune.sampling.source import WAIT, NextTrial, Wait

Identify = Callable[[RunSpec], str]
"""Returns the run id of a spec."""
Find = Callable[[str], TrialRecord | None]
"""Returns the result of a run id from elsewhere, with a tag that names the source."""
Bring = Callable[[str, str], TrialRecord | None]
"""Returns the result of a run id or a settings id from what the user brought, with a tag that names the source."""


@dataclass(frozen=True)
class Job:
    """A run that has to be trained."""

    number: int
    run: PlannedRun

    @property
    def tags(self) -> dict[str, str]:
        """Tags of its tracked run."""
        return tags_of(self.run)


def tags_of(run: PlannedRun) -> dict[str, str]:
    """Returns the tags of a planned run: arm, seed and phase; in tuning, the candidate and the seed that it is for."""
    tags = {"arm": run.arm, "seed": str(run.seed), "phase": run.phase}
    more = {"candidate": run.trial, "tunes": run.tunes}
    return tags | {name: str(value) for name, value in more.items() if value is not None}


class RunQueue:
    """Returns the runs of an ablation, each once.

    Args:
        findings: The plan, with the records of earlier starts; the caller adds the records of runs that end.
        numbering: The numbers of runs.
        identify: Returns the run id of a spec.
        find: Looks for a result elsewhere.
        keep: Called with a run whose result was taken, and its record.
        start: Called with a run that is trained, before it starts.
        settings_id: Returns the settings id of a spec.
        bring: Looks for a result in what the user brought; None: nothing.
    """

    def __init__(
        self,
        findings: Findings,
        numbering: RunNumbers,
        *,
        identify: Identify,
        find: Find,
        keep: Callable[[Job, TrialRecord], None],
        start: Callable[[Job], None] = lambda job: None,
        settings_id: Identify = lambda spec: "",
        bring: Bring | None = None,
    ) -> None:
        self._first = findings
        self.numbering = numbering
        self.identify, self.find, self.keep, self.start = identify, find, keep, start
        self.settings_id, self.bring = settings_id, bring
        self.plan = findings.spec.analysis_question(findings.base).plan
        self._given: set[int] = set()
        self._ids: dict[str, tuple[str, str]] = {}
        self._seen = -1
        self._now = findings
        self._released: list[PlannedRun] = []
        self._seeds_of: dict[str, set[int]] = {}

    def next(self) -> NextTrial | Wait | None:
        """Returns a run to start; WAIT while the next ones depend on runs that have not ended."""
        job = self._next_job()
        if job is None:
            return None if self.finished else WAIT
        self.start(job)
        return NextTrial(job.number, job.run.overrides, job.tags)

    def report(self, number: int, metrics: Mapping[str, float]) -> None:
        """Does nothing: an ablation decides by ended runs."""

    def end(self, number: int, status: str, metrics: Mapping[str, float]) -> None:
        """Does nothing: the recorder adds the run's record, and this reads the records."""

    def _next_job(self) -> Job | None:
        while True:
            taken = False
            self._look()
            for run in self._released:
                number = self.numbering.latest[run.key]
                if number in self._first.records or number in self._given:
                    continue
                if self.numbering.run_ids[number] in self._ids_under_way:
                    continue  # its result is taken when it exists
                if not self._take(run, number):
                    self._given.add(number)
                    return Job(number, run)
                taken = True
            if not taken:
                return None

    @property
    def finished(self) -> bool:
        """Whether all runs have ended."""
        findings = self._look()
        tuned = all(self._seeds_of[arm.name] <= findings.tuned[arm.name].keys() for arm in findings.arms)
        return tuned and all(findings.record(run) is not None for run in self._released)

    def _look(self) -> Findings:
        """Returns the findings of the present records, after numbering and releasing the runs that follow."""
        if self._seen != len(self._first.records):
            self._seen = len(self._first.records)
            self._now = replace(self._first, numbers=self.numbering.latest)
            self._number_all(self._now.tuning_runs)
            known = [run for run in self._now.runs if run.phase == "tuning" or run.seed in self._now.tuned[run.arm]]
            self._number_all(known)
            self._seeds_of = {arm.name: self._seeds(arm.name) for arm in self._now.arms[1:]}
            self._seeds_of[BASELINE] = {seed for released in self._seeds_of.values() for seed in released}
            self._released = [run for run in known if self._is_released(run)]
        return self._now

    def _is_released(self, run: PlannedRun) -> bool:
        seed = run.seed if run.phase == "comparison" else run.tunes
        return seed is None or seed in self._seeds_of[run.arm]

    def _number_all(self, runs: list[PlannedRun]) -> None:
        for run in runs:
            said = f"{run.key} {sorted(run.overrides.items())}"
            if said not in self._ids:
                spec = self._first.base.with_overrides(run.overrides)
                self._ids[said] = self.identify(spec), self.settings_id(spec)
            self.numbering.number(run.key, *self._ids[said])

    @property
    def _ids_under_way(self) -> set[str]:
        return {self.numbering.run_ids[number] for number in self._given if number not in self._first.records}

    def _take(self, run: PlannedRun, number: int) -> bool:
        """Takes an existing result of the same run; returns whether there was one."""
        run_id = self.numbering.run_ids[number]
        found = self._own(run_id, number) or self.find(run_id)
        if found is None and self.bring is not None:
            found = self.bring(run_id, self.numbering.settings_ids.get(number, ""))
        if found is None:
            return False
        origin = found.tags.get(TAKEN) or f"run {found.number} of this study"
        record = replace(
            found,
            study=self._first.spec.name,
            number=number,
            overrides=dict(run.overrides),
            run_id=run_id,
            mlflow_id=None,
            checkpoint=None,
            tags={**found.tags, TAKEN: origin},
            seconds=0.0,
        )
        self.keep(Job(number, run), record)
        return True

    def _own(self, run_id: str, number: int) -> TrialRecord | None:
        same = [other for other, known in self.numbering.run_ids.items() if known == run_id and other != number]
        return next((self._first.records[other] for other in same if other in self._first.records), None)

    def _seeds(self, arm: str) -> set[int]:
        """Returns the seeds of an arm that a sequential plan has released; all without one."""
        plan, seeds = self.plan, self._first.spec.seeds
        if plan is None:
            return set(seeds)
        rows = {(row.arm, row.seed): row for row in self._now.rows()}
        for stage in plan.looks[:-1]:
            if not all((name, seed) in rows for name in (arm, BASELINE) for seed in seeds[:stage]):
                return set(seeds[:stage])
            differences = self._differences(rows, arm)
            passed = [look for look in plan.looks[:-1] if look <= len(differences)]
            if any(plan.decide(differences[:look]) != "continue" for look in passed):
                return {seed for seed in seeds if (arm, seed) in rows} | set(seeds[:stage])
        return set(seeds)

    def _differences(self, rows: dict[tuple[str, int], RunRow], arm: str) -> list[float]:
        metric, found = self._first.spec.objective.metric, []
        for seed in self._first.spec.seeds:
            values = [rows[name, seed].value(metric) if (name, seed) in rows else None for name in (arm, BASELINE)]
            if values[0] is not None and values[1] is not None:
                found.append(values[0] - values[1])
        return found
