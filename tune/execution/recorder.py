"""Records what happens to trials: their record, tracking, checkpoints, resources and display.

Anything that may wait for a server or a disk runs in a thread (`BackgroundQueue`), never in the driver's loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import ray.tune

from t5vqvae.evaluation.metric import RATE, STEP
from t5vqvae.evaluation.metrics import metrics_of
from t5vqvae.runs.attempt import OUT_OF_MEMORY
from t5vqvae.runs.follow import NO_DISK
from t5vqvae.tracking.server.runs import NAME
from tune.execution.deaths import DeadWorkers
from tune.execution.page_keeper import PageKeeper
from tune.execution.retention import Retention, clean
from tune.execution.trial import TrialPlan, TuneResult, release
from tune.monitor.board import Board
from tune.monitor.row import Row
from tune.records.background import BackgroundQueue
from tune.records.events import TRIAL, StudyEvents, milestones
from tune.records.record import TrialRecord
from tune.records.running import FRACTION
from tune.records.trial_names import PRUNED
from tune.spec.study_spec import StudySpec

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

    from tune.records.copies import StudyCopies

FINAL = ("completed", "diverged", "failed")
"""The last statuses that a trial reports; a trial that ends with the status `running` was pruned."""
RELEASE_SECONDS = 1.0
"""Seconds between two searches for resources that stopped trials still hold."""


class TrialRecorder(ray.tune.Callback):
    """Receives Ray Tune's events and keeps the study's own record of its trials.

    Args:
        spec: The study.
        plan: What its trials share.
        records: The trials that ended before this start, by number; those that end now are added.
        retention: Decides which checkpoints stay.
        board: Where progress is shown.
        deaths: Knows which trials died, and which of them are retried; None: none dies.
        copies: Where ended trials are copied to; None: to no place.
        page: Keeps the study's page in MLflow up to date; None: it has none.

    Attributes:
        num_failed: Trials that failed in this start.
        num_out_of_memory: Attempts of this start that ran out of a GPU's memory.
        on_retry: Called with the number of a trial that begins again at its last checkpoint.
        disk_error: What a trial's disk refused, in one line; None: nothing.
    """

    def __init__(
        self,
        spec: StudySpec,
        plan: TrialPlan,
        records: dict[int, TrialRecord],
        retention: Retention,
        board: Board,
        deaths: DeadWorkers | None = None,
        copies: StudyCopies | None = None,
        page: PageKeeper | None = None,
    ) -> None:
        self.spec = spec
        self.plan = plan
        self.records = records
        self.retention = retention
        self.board = board
        self.copies = copies
        self.deaths = deaths or DeadWorkers()
        self.page = page
        self.background = BackgroundQueue()
        self.events = StudyEvents(plan.paths.root)
        self.num_failed = self.num_out_of_memory = 0
        self.on_retry: Callable[[int], None] = lambda number: None
        self.disk_error: str | None = None
        self._released = 0.0
        self._noted: set[int] = set()
        self._live: dict[int, dict[str, Any]] = {}
        self._earlier = milestones(plan.paths.root, spec.kept_metrics)
        for number in sorted(records):
            retention.add(records[number])
            board.rows[number] = self._row(number, records[number].status, vars(records[number]))
        board.best = None if retention.best is None else retention.best.number

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: object) -> None:
        number = trial.config["number"]
        self._show(number, "running", self._known(trial))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: TuneResult, **info: object
    ) -> None:
        number = trial.config["number"]
        if number in self.records:
            return
        live = self._known(trial)
        measured = STEP in result and result.get("status") in ("running", "completed")  # whole, as `end` receives it
        live["metrics"] = {**({} if measured else live["metrics"]), **metrics_of(result)}
        if STEP in result and live["status"] == "running" and (kept := self.spec.kept_metrics):
            judged = {name: result[name] for name in kept if name in result}
            live["history"][str(int(result[STEP]))] = judged
        live |= {name: result[name] for name in KNOWN if result.get(name) is not None}
        if live["status"] == NO_DISK:  # no end: the session stops, and the next start resumes it
            self.disk_error = live["tags"].pop("error")
        elif live["status"] == OUT_OF_MEMORY:  # no end: `gpu_packing.py` retries it with its next attempt
            self.num_out_of_memory += 1
            self.on_retry(number)
            self._show(number, "running", live)
        elif live["status"] in FINAL or result.get("done"):
            self._finish(number, live["status"] if live["status"] in FINAL else "pruned")
        else:
            self._show(number, "running", live)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: object) -> None:
        number = trial.config["number"]
        if trial.trial_id in self.deaths.retried:
            self.on_retry(number)
        elif number not in self.records:
            live = self._known(trial)
            reason = self.deaths.reason(trial.trial_id) or str(trial.get_error() or "its process died")
            live["tags"] = {**live["tags"], "error": reason.strip().splitlines()[-1][:300]}
            self._finish(number, "failed")

    def on_step_end(self, iteration: int, trials: list[Trial], **info: object) -> None:
        self.board.draw()
        if self.page is not None:
            self.page.update(running=len(self._live))
        if time.monotonic() - self._released > RELEASE_SECONDS:
            self._released = time.monotonic()
            release(self.plan)

    def on_experiment_end(self, trials: list[Trial], **info: object) -> None:
        """Marks the trials that were stopped before their end; the next start resumes them."""
        release(self.plan, wait=10)
        for number, live in self._live.items():
            self._show(number, "interrupted", live)
            self._close(number, live, "interrupted")
        self.background.finish()
        self.retention.sweep(self.records)

    def _known(self, trial: Trial) -> dict[str, Any]:
        """Returns the last report of a trial that has not ended."""
        fresh = {
            "overrides": dict(trial.config["overrides"]),
            "status": "running",
            "metrics": {},
            "tags": {},
            "history": {},
        }
        earlier = self._earlier.pop(trial.config["number"], None)
        if earlier is not None and earlier.overrides == fresh["overrides"]:
            fresh["history"] = earlier.by_step
        return self._live.setdefault(trial.config["number"], fresh)

    def _finish(self, number: int, status: Any) -> None:
        """Writes the record of a trial that has ended and deletes the checkpoints that nobody needs now."""
        # Before Optuna receives the end: a driver killed in between finds the record at its next start and reports it.
        live = self._live.pop(number)
        record = TrialRecord(
            study=self.spec.name,
            number=number,
            overrides=live["overrides"],
            run_id=live.get("run_id"),
            mlflow_id=live.get("mlflow_id"),
            status=status,
            steps=int(live["metrics"].get("progress/step", 0)),
            metrics=live["metrics"],
            checkpoint=live.get("checkpoint"),
            tags={**live["tags"], **self.deaths.tags(number)},
            seconds=live.get("seconds", 0.0),
            history=live["history"],
        )
        dropped = {other.number: replace(other, checkpoint=None) for other in self.retention.add(record)}
        self._keep(dropped.pop(number, record))
        self.num_failed += status == "failed"
        for other in dropped.values():
            self._keep(other)
        for other in {number: self.records[number], **dropped}.values():
            if other.checkpoint is None:
                self.background.put(partial(clean, self.plan.paths.trial(other.number), keep=False))
        if self.page is not None:
            self.page.page.add(self.records[number])
        self._close(number, vars(record), status)
        self._show(number, status, vars(record))

    def _keep(self, record: TrialRecord) -> None:
        record.write(self.plan.paths.trial(record.number))
        self.records[record.number] = record
        if self.copies is not None:
            self.copies.put(record.number)

    def _close(self, number: int, known: Mapping[str, Any], status: str) -> None:
        """Ends the trial's MLflow run; the trial's folder keeps what an absent server misses."""
        if self.plan.tracker is not None:
            close, spool = self.plan.tracker.close, self.plan.paths.trial(number) / "spool"
            mlflow_id, key, tags = known.get("mlflow_id"), self.plan.key(number), dict(known["tags"])
            if status == "pruned":
                tags |= {NAME: f"{self.plan.run(number, known['overrides']).name}{PRUNED}"}
            self.background.put(partial(close, mlflow_id, status, tags, key=key, spool=spool))

    def _show(self, number: int, status: str, known: Mapping[str, Any]) -> None:
        best = self.retention.best
        self.board.best = None if best is None else best.number
        row = self._row(number, status, known)
        self.board.put(row)
        self._note(row, known)

    def _note(self, row: Row, known: Mapping[str, Any]) -> None:
        """Appends the trial's state to the study's events; its settings once in a start, because they do not change."""
        settings = {} if row.number in self._noted else {"overrides": dict(self.board.rows[row.number].overrides)}
        self._noted.add(row.number)
        shown = [*self.board.objectives, *self.spec.kept_metrics, RATE, STEP, FRACTION]
        metrics = {name: row.metrics[name] for name in shown if name in row.metrics}
        error = {"error": known["tags"]["error"]} if "error" in known["tags"] else {}
        facts = {"seconds": round(row.seconds, 1), "url": row.url, **error, **settings}
        self.events.append(TRIAL, number=row.number, status=row.status, metrics=metrics, **facts)

    def _row(self, number: int, status: str, known: Mapping[str, Any]) -> Row:
        tracker, mlflow_id = self.plan.tracker, known.get("mlflow_id")
        url = tracker.url(mlflow_id) if tracker is not None and mlflow_id else None
        return Row(number, known["overrides"], status, known["metrics"], known.get("seconds") or 0.0, url)


KNOWN = ("status", "tags", "run_id", "mlflow_id", "checkpoint", "seconds")
"""The keys of a report next to its metrics; see `t5vqvae.runs.follow.follow`."""
