"""A study as Python reads it: its trials, its state and its learning curves, from its folder alone.

    study = Study.load("quickstart")
    study.trials                       # a DataFrame, one row a trial, running ones too
    study.curves                       # a DataFrame, one row a milestone
    study.best, study.progress()       # the number of the best trial; how far the study is

It needs neither Ray, Optuna, MLflow nor torch, so it also reads a study that runs now.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from t5vqvae.errors import DamagedFileError, SettingError
from t5vqvae.evaluation.metric import STEP
from t5vqvae.files import read_twice
from tune.records.events import TRIAL, StudyEvents
from tune.records.pace import time_left
from tune.records.ranking import best, contenders
from tune.records.record import TrialRecord, read_records
from tune.records.running import Progress, RunningTrial
from tune.records.study_paths import StudyPaths, is_there, state_dir
from tune.records.trial_labels import labels_in_words
from tune.spec.judging import StudyHeader

if TYPE_CHECKING:
    import pandas

Row = dict[str, Any]
DIFFERENCE = ("kind", "name", "one", "other", "difference")
"""What a row of the differences between two trials has."""


@dataclass(frozen=True)
class Study:
    """A search or an ablation that was started.

    Attributes:
        paths: Its files.
        kind: What it is.
        header: Its name, and what judges its trials.
        question: What it asks.
        budget: Trials of its budget; None for an ablation.
    """

    paths: StudyPaths
    kind: Literal["search", "ablation"]
    header: StudyHeader
    question: str
    budget: int | None = field(default=None, repr=False)

    @classmethod
    def load(cls, name: str, state: Path | str | None = None) -> Study:
        """Reads a study.

        Args:
            name: Its name.
            state: The state folder; None: see `state_dir`.

        Raises:
            SettingError: If there is no such study.
            DamagedFileError: If its file is damaged.
        """
        paths = StudyPaths.existing(state_dir(state), name, ablations=True)
        if is_there(paths.spec):
            values = read_twice(paths.spec)
            budget = values.get("budget", {}).get("trials")
            return cls(paths, "search", StudyHeader.read(paths.spec), values.get("question", ""), budget)
        return cls(paths, "ablation", *_ablation(paths))

    @property
    def name(self) -> str:
        return self.paths.study

    @property
    def objectives(self) -> list[str]:
        """The metrics that judge its trials."""
        return [objective.metric for objective in self.header.objectives]

    @cached_property
    def events(self) -> StudyEvents:
        """What its drivers noted."""
        return StudyEvents(self.paths.root)

    @cached_property
    def records(self) -> dict[int, TrialRecord]:
        """The trials that have ended, by number."""
        return {record.number: record for record in read_records(self.paths.trials)}

    def refresh(self) -> None:
        """Reads what is new since the study was read: trials that ended, and events."""
        for number in self.paths.ended - self.records.keys():
            self.records[number] = TrialRecord.read(self.paths.trial(number))
        for name in ("best", "unfinished"):
            self.__dict__.pop(name, None)

    @cached_property
    def best(self) -> int | None:
        """The number of the best trial; None where none counts, and for an ablation, which compares arms."""
        found = best(self.records.values(), self.header) if self.kind == "search" else None
        return None if found is None else found.number

    @property
    def ranked(self) -> list[int]:
        """The numbers of the trials that may count as best, best first."""
        return [record.number for record in contenders(self.records.values(), self.header)]

    @cached_property
    def unfinished(self) -> dict[int, RunningTrial]:
        """The trials of the last start that have not ended, by number."""
        known: dict[int, dict[str, Any]] = {}
        began: dict[int, float | None] = {}
        here = self.events.since_start()
        earlier = {event.get("number") for event in self.events.read()[: -len(here) or None]}
        for event in here:
            if event["event"] == TRIAL and isinstance(number := event.get("number"), int):
                known.setdefault(number, {}).update(event)
                began.setdefault(number, None if number in earlier else event["time"])
        locked = self.paths.is_locked()
        left = {number: facts for number, facts in sorted(known.items()) if number not in self.records}
        return {n: RunningTrial.of(n, facts, self.paths.trial(n), locked, began[n]) for n, facts in left.items()}

    def progress(self) -> Progress:
        """Returns how far the study is now."""
        start = next(iter(self.events.since_start()), {})
        planned, done = start.get("planned") or self.budget, len(self.records)
        if not self.paths.is_locked():
            return Progress("finished" if planned is not None and done >= planned else "interrupted", done, planned)
        if not start:
            return Progress("running", done, planned)
        seconds = time.time() - start["time"]
        work = done + sum(trial.step / trial.steps for trial in self.unfinished.values() if trial.steps)
        left = time_left(work, start.get("before", 0), planned, seconds, start.get("hours"))
        return Progress("running", done, planned, seconds, left)

    @property
    def trials(self) -> pandas.DataFrame:
        """One row a trial by its number: status, step, metrics, settings and where it is kept."""
        import pandas

        rows = self.rows()
        return pandas.DataFrame(rows, columns=list(rows[0]) if rows else ["trial"]).set_index("trial")

    @property
    def curves(self) -> pandas.DataFrame:
        """One row a milestone: trial, step, and the metrics that judge a trial."""
        import pandas

        rows = [
            {"trial": record.number, "step": int(step), **metrics}
            for record in self.records.values()
            for step, metrics in sorted(record.history.items(), key=lambda item: int(item[0]))
        ]
        return pandas.DataFrame(rows, columns=None if rows else ["trial", "step"])

    def rows(self) -> list[Row]:
        """Returns a row for each trial, by number; all rows have the same keys."""
        found = self._started
        metrics = list(dict.fromkeys(key for one in found.values() for key in one.metrics))
        others = [key for key in metrics if key not in self.objectives and key != STEP]
        settings = self.settings
        return [self._row(found[number], settings, [*self.objectives, *others]) for number in sorted(found)]

    @property
    def settings(self) -> list[str]:
        """The settings that its trials give, in the order of the first trial that gives them."""
        return list(dict.fromkeys(path for one in self._started.values() for path in one.overrides))

    def trial(self, number: int) -> Row:
        """Returns the row of one trial.

        Raises:
            SettingError: If there is no such trial.
        """
        rows = {row["trial"]: row for row in self.rows()}
        if number not in rows:
            there = f"it has {_numbers(sorted(rows))}" if rows else "none has started; search it first"
            raise SettingError(f"study {self.name} has no trial {number}; {there}")
        return rows[number]

    def diff(self, one: int, other: int) -> pandas.DataFrame:
        """Returns what differs between two trials, by setting or metric: both values, and the second less the first.

        Raises:
            SettingError: If there is no such trial.
        """
        import pandas

        rows = self.differences(one, other)
        columns = ["kind", "name", "one", "other", "difference"]
        return pandas.DataFrame(rows, columns=columns).set_index("name")

    def differences(self, one: int, other: int) -> list[Row]:
        """Returns what differs between two trials: settings first, then metrics."""
        first, second = self.trial(one), self.trial(other)
        settings = set(self.settings)
        found = []
        for name in [*self.settings, *(key for key in first if "/" in key)]:
            if first[name] != second[name]:
                values = (first[name], second[name])
                difference = _difference(first[name], second[name])
                kind = "setting" if name in settings else "metric"
                found.append(dict(zip(DIFFERENCE, (kind, name, *values, difference), strict=True)))
        return found

    @property
    def _started(self) -> dict[int, TrialRecord | RunningTrial]:
        found: dict[int, TrialRecord | RunningTrial] = {**self.records}
        found.update(self.unfinished)
        return found

    def _row(self, one: TrialRecord | RunningTrial, settings: Sequence[str], metrics: Sequence[str]) -> Row:
        row: Row = {"trial": one.number, "status": one.status, "best": one.number == self.best}
        row |= {key: one.metrics.get(key) for key in metrics[: len(self.objectives)]}
        row |= {"step": one.steps if isinstance(one, TrialRecord) else one.step, "seconds": one.seconds}
        row |= {path: one.overrides.get(path) for path in settings}
        row |= {key: one.metrics.get(key) for key in metrics[len(self.objectives) :]}
        kept = one if isinstance(one, TrialRecord) else None
        row |= {"run_id": kept and kept.run_id, "mlflow_id": kept and kept.mlflow_id}
        row |= {"labels": None if kept is None else labels_in_words(kept.tags) or None}
        return row | {"checkpoint": kept and kept.checkpoint, "error": kept and kept.tags.get("error")}


def studies(state: Path | str | None = None) -> list[Study | DamagedFileError]:
    """Returns all studies under a state folder by name; for a damaged one, its error."""
    found: list[Study | DamagedFileError] = []
    folder = state_dir(state) / "studies"
    for root in sorted(folder.glob("[!.]*")):
        paths = StudyPaths(state_dir(state), root.name)
        if is_there(paths.spec) or is_there(paths.ablation):
            try:
                found.append(Study.load(root.name, state))
            except DamagedFileError as error:
                found.append(error)
    return found


def _ablation(paths: StudyPaths) -> tuple[StudyHeader, str]:
    """Returns the header and the question of an ablation, from the spec of its last start."""
    try:
        spec = read_twice(paths.ablation)["specs"][-1]
        header = StudyHeader.parse({"name": spec["name"], "objectives": [spec["objective"]]})
    except (KeyError, TypeError, IndexError, SettingError) as error:
        raise DamagedFileError(f"{paths.ablation} is no ablation of this version: {error}; restore it") from None
    return header, str(spec.get("question", ""))


def _difference(one: object, other: object) -> float | None:
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other))
    return other - one if numbers else None  # type: ignore[operator]


def _numbers(found: Sequence[int]) -> str:
    """Returns the numbers of trials in words, such as `trials 0 to 4`."""
    if len(found) == 1:
        return f"trial {found[0]}"
    whole = found[-1] - found[0] + 1 == len(found)
    return f"trials {found[0]} to {found[-1]}" if whole else f"{len(found)} trials from {found[0]} to {found[-1]}"
