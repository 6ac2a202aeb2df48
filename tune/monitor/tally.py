"""The numbers of a study as Prometheus, a page and a test read them: samples by the name of their metric.

The driver's exporter and the page `watch` give the same rows to the same `Tally`, so that both show the same numbers.
A row costs the same however many trials have ended: what ended is counted, and only running trials stay as rows.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from t5vqvae.evaluation.metrics import common_rate
from tune.monitor.row import Row
from tune.records.ranking import costs
from tune.records.running import ALIVE, STATUSES
from tune.spec.judging import Judging

PREFIX = "t5vqvae_"


@dataclass(frozen=True)
class Sample:
    """One number with its labels; the name has the prefix of all metrics of this project."""

    name: str
    labels: Mapping[str, str]
    value: float


class Tally:
    """Counts the trials of a study.

    Args:
        study: Its name.
        judging: What judges its trials.
        rungs: The steps at which trials are judged early.

    Attributes:
        running: The rows of trials that have not ended, by number.
        best: The row of the best trial so far.
    """

    def __init__(self, study: str, judging: Judging, rungs: Sequence[float] = ()) -> None:
        self.study = study
        self.judging = judging
        self.rungs = list(rungs)
        self.running: dict[int, Row] = {}
        self.best: Row | None = None
        self.seconds = 0.0
        self.counting = 0
        self._ended: set[int] = set()
        self._counts: Counter[str] = Counter()
        self._survivors: Counter[float] = Counter()
        self._runs: Counter[tuple[str, str]] = Counter()
        self._seeds: defaultdict[str, set[str]] = defaultdict(set)

    @property
    def num_ended(self) -> int:
        """How many trials have ended."""
        return len(self._ended)

    def put(self, row: Row) -> None:
        """Adds a trial, or what is new of it; an ended trial counts once."""
        if row.number in self._ended:
            return
        if row.status in ALIVE:
            self.running[row.number] = row
            return
        self.running.pop(row.number, None)
        self._ended.add(row.number)
        self._counts[row.status] += 1
        self.seconds += row.seconds
        for rung in self._passed(row):
            self._survivors[rung] += 1
        self._judge(row)
        self._arm(row)

    def samples(self) -> Iterator[Sample]:
        """Yields all numbers; those with a trial's number are of running trials alone."""
        running = list(self.running.values())
        counts = self._counts + Counter(row.status for row in running)
        yield from (self._sample("trials", counts[status], status=status) for status in STATUSES)
        yield self._sample("trials_counting", self.counting)
        yield self._sample("trial_seconds_total", self.seconds)
        passed = self._survivors + Counter(rung for row in running for rung in self._passed(row))
        yield from (self._sample("rung_survivors", passed[rung], rung=f"{rung:g}") for rung in self.rungs)
        yield from self._of_best()
        for row in running:
            yield from self._of_running(row)
        for (arm, phase), number in sorted(self._runs.items()):
            yield self._sample("arm_runs", number, arm=arm, phase=phase)
        yield from (self._sample("arm_seeds", len(seeds), arm=arm) for arm, seeds in sorted(self._seeds.items()))

    def _judge(self, row: Row) -> None:
        if not self.judging.counts_as_best(row.status, row.metrics):
            return
        self.counting += 1
        best = self.best
        if best is None or self._rank(row) < self._rank(best):
            self.best = row

    def _rank(self, row: Row) -> tuple[tuple[float, ...], int]:
        """Returns what `tune.records.ranking` orders trials by."""
        return costs(row, self.judging), row.number

    def _arm(self, row: Row) -> None:
        """Counts a run of an ablation, whose row has its arm, phase and seed in place of settings."""
        if not {"arm", "phase", "seed"} <= row.overrides.keys():
            return
        arm, phase = str(row.overrides["arm"]), str(row.overrides["phase"])
        self._runs[arm, phase] += 1
        if phase == "comparison" and row.status == "completed":
            self._seeds[arm].add(str(row.overrides["seed"]))

    def _passed(self, row: Row) -> Iterator[float]:
        return (rung for rung in self.rungs if (row.step or 0) > rung)

    def _of_best(self) -> Iterator[Sample]:
        if self.best is None:
            return
        for objective in self.judging.objectives:
            if objective.metric in self.best.metrics:
                yield self._sample("best_objective", self.best.metrics[objective.metric], metric=objective.metric)
        if (rate := common_rate(self.best.metrics)) is not None:
            yield self._sample("best_rate_bits", self.best.metrics[rate[0]])

    def _of_running(self, row: Row) -> Iterator[Sample]:
        if row.status != "running":
            return
        yield self._sample("trial_step", row.step or 0, trial=str(row.number))
        for objective in self.judging.objectives:
            if objective.metric in row.metrics:
                value = row.metrics[objective.metric]
                yield self._sample("trial_objective", value, trial=str(row.number), metric=objective.metric)

    def _sample(self, name: str, value: float, **labels: str) -> Sample:
        return Sample(PREFIX + name, {"study": self.study, **labels}, float(value))
