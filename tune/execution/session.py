"""One start of a study: the driver connects to Ray, runs the trials that are left, and closes the study in MLflow.

Searches and ablations have the same session. They differ in their `Source` (which trials run), in their scheduler
(which are stopped early), and in how their records are ranked.
"""

from __future__ import annotations

import gc
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import ray.tune

from t5vqvae.disk import disk_errors, shown, size_of
from t5vqvae.errors import DiskError, EnvironmentFault, TrackingError, UserError
from t5vqvae.spec.run import RunSpec
from t5vqvae.stages import PROGRESS, read_note, stage
from tune.execution.asha import RunToCompletion
from tune.execution.capacity import Room
from tune.execution.deaths import DeadWorkers
from tune.execution.exported import exported
from tune.execution.gpu_packing import GPUPackingSearcher
from tune.execution.page_keeper import PageKeeper
from tune.execution.ray_cluster import connect, is_own
from tune.execution.ray_workarounds import every_death_is_known, quiet_loggers
from tune.execution.recorder import TrialRecorder
from tune.execution.retention import Rank, Retention
from tune.execution.searcher import TrialSearcher
from tune.execution.stopping import Stop
from tune.execution.trial import PLAN, TrialPlan, trainable
from tune.monitor.board import Board
from tune.process import collected_seldom
from tune.records.copies import SETTING, StudyCopies
from tune.records.events import START, STOP, StudyEvents
from tune.records.record import TrialRecord
from tune.records.study_page import StudyPage
from tune.records.study_paths import StudyPaths
from tune.records.study_tracker import track_lost
from tune.sampling.source import Source
from tune.spec.study_spec import StudySpec

if TYPE_CHECKING:
    from t5vqvae.tracking import Tracker

SETTLE_SECONDS = 20
"""How long the end of a session waits for the last trials' processes to release their logs."""


@contextmanager
def locked(paths: StudyPaths, spec: StudySpec) -> Iterator[Stop]:
    """Holds a study for this driver and turns the first signal into a gentle stop.

    Raises:
        UserError: If another driver holds the study.
        DiskError: If the disk of the state folder is full or refuses to be written.
    """
    stop = Stop(spec.budget.hours)
    with disk_errors(paths.state), paths.locked(), stop.on_signals(), collected_seldom():
        yield stop


class Session:
    """One driver's work on a study, for as long as it holds the study's lock.

    Args:
        spec: The study.
        stop: Ends the session early.

    Attributes:
        plan: What the study's trials share; with `parent_id` once the study's MLflow run is open.
        records: The trials that have ended, by number; those that end now are added.
        page: Keeps the study's page in MLflow up to date; None before `open`.
    """

    def __init__(self, spec: StudySpec, plan: TrialPlan, records: dict[int, TrialRecord], stop: Stop) -> None:
        self.spec = spec
        self.plan = plan
        self.records = records
        self.stop = stop
        self.copies = StudyCopies.of(spec, plan.paths)
        self.page: PageKeeper | None = None

    @contextmanager
    def on_ray(self) -> Iterator[Room]:
        """Connects to Ray and yields the room for trials; an error interrupts the study's MLflow run."""
        if self.copies is not None:
            with stage(f"looking at {SETTING}"):
                self.copies.check()
        with ExitStack() as stack:
            with stage("connecting to Ray"):
                stack.enter_context(connect())
            self.stop.listen()  # again: Ray has installed its handler
            try:
                room = Room(self.plan, self.spec.budget.concurrent, is_own=is_own())
                room.wait(self.stop.stop_all)
                yield room
            except BaseException:
                if self.plan.parent_id is not None:
                    with suppress(UserError, OSError):  # report what ended the block, not what follows from it
                        self._end("interrupted")
                raise

    def open(
        self,
        tags: Mapping[str, str] = {},
        trial_tags: Mapping[int, Mapping[str, str]] = {},
        planned: int | None = None,
        rank: Rank | None = None,
    ) -> None:
        """Opens the study's MLflow run, sends what an earlier start could not, and replaces what MLflow has lost.

        Args:
            tags: Of that run, with those that every study has.
            trial_tags: Of the runs of ended trials, by number.
            planned: Trials of the study in all, for its page; None: unknown.
            rank: Orders records that count, for its page, best first; None: none is best.
        """
        known = {"t5vqvae.study": self.spec.name, "question": self.spec.question, **self._kind, **tags}
        opened = partial(self.tracker.open_study, self.spec.as_flat_dict(), known)
        self.plan, left = replace(self.plan, parent_id=opened()), list((self.plan.paths.root / "spool").glob("*.jsonl"))
        self.tracker.describe(self.spec.question, {"t5vqvae.study": self.spec.name, **self._kind})
        for folder in (self.plan.paths.root, self.plan.paths.trials):
            self.tracker.replay(folder)
        if left:  # they end with the end of an earlier start, which has closed the run again
            opened()

        def run_of(record: TrialRecord) -> tuple[RunSpec, Mapping[str, str]]:
            return self.plan.run(record.number, record.overrides).spec, trial_tags.get(record.number, {})

        ran = [record for record in self.ended if self.plan.base.allows(record.overrides)]
        for record in track_lost(self.tracker, self.parent_id, ran, run_of):
            self.keep(record)
        self._open_page(planned, rank)

    def _open_page(self, planned: int | None, rank: Rank | None) -> None:
        def settings(record: TrialRecord) -> Mapping[str, object]:
            ran = self.plan.base.with_overrides(record.overrides if self.plan.base.allows(record.overrides) else {})
            return {**ran.as_flat_dict(), **record.overrides}

        page = StudyPage(self.spec, planned, rank, settings, self.tracker.link)
        logger = self.tracker.logger(self.parent_id, self.plan.paths.root / "spool")
        self.page = PageKeeper(page, logger, self.plan.paths.root, self.ended)

    @property
    def _kind(self) -> dict[str, str]:
        """The tags by which studies are found in MLflow: their kind and their corpus."""
        return {"t5vqvae.study_kind": self.spec.kind, "t5vqvae.corpus": self.plan.base.data.corpus.name}

    def run(
        self,
        source: Source,
        *,
        board: Board,
        rank: Rank,
        room: Room,
        scheduler: RunToCompletion | None = None,
        too_many_failures: Callable[[int], str | None] = lambda num_failed: None,
    ) -> None:
        """Runs trials until the source has none left or the session is stopped; adds them to `records`.

        Args:
            source: Decides which trials run.
            board: Shows them.
            rank: Orders records for retention, best first.
            room: Trials at once.
            scheduler: Stops trials early; None: runs all to completion.
            too_many_failures: From the number of trials that failed in this session to the reason to stop, or None.
        """
        retention = Retention(self.plan.paths, self.spec.retention.keep_best, rank)
        board.hours = self.spec.budget.hours
        board.live = lambda number: read_note(self.plan.paths.trial(number) / PROGRESS)
        if self.copies is not None:
            self.copies.put()
        scheduler = scheduler or RunToCompletion()
        scheduler.deaths = deaths = DeadWorkers(self.spec.budget.concurrent, self.plan.paths)
        recorder = TrialRecorder(self.spec, self.plan, self.records, retention, board, deaths, self.copies, self.page)
        self.stop.failed = lambda: recorder.disk_error or too_many_failures(recorder.num_failed) or room.lost()
        packs = bool(self.plan.gpus)
        searcher = (
            GPUPackingSearcher(source, scheduler, self.plan, lambda: room.gpus)
            if packs
            else TrialSearcher(source, scheduler)
        )
        searcher.room = room
        events = StudyEvents(self.plan.paths.root)
        facts = {"planned": board.trials, "before": len(self.records), "hours": board.hours, "process": os.getpid()}
        events.append(START, **facts, concurrent=room())
        try:
            shown = exported(self.spec, self.plan.paths, board, searcher, recorder)
            with quiet_loggers(), every_death_is_known(), self.stop.gently(), board, shown:
                self._run_tune(searcher, scheduler, recorder)
        finally:
            events.append(STOP, reason=self.stop.reason or recorder.disk_error)
        board.final()
        if recorder.disk_error is not None:
            raise DiskError(recorder.disk_error)
        if self.stop.reason is not None and self.stop.reason == room.lost():
            raise EnvironmentFault(self.stop.reason)

    def _run_tune(self, searcher: TrialSearcher, scheduler: RunToCompletion, recorder: TrialRecorder) -> None:
        """Runs Ray Tune over the trials of a searcher."""
        scratch = self.plan.paths.root / "ray"
        gc.freeze()  # imported objects stay; without this, every full collection would look through them
        ray.tune.run(
            trainable(self.plan),
            name="tune",
            storage_path=str(scratch),
            config={PLAN: self.plan},
            num_samples=-1,
            search_alg=searcher,
            scheduler=scheduler,
            reuse_actors=self.plan.runner == "process",
            max_failures=0,  # `deaths.py` decides which trials are retried
            raise_on_failed_trial=False,
            stop=self.stop,
            callbacks=[recorder],
            trial_name_creator=_name,
            trial_dirname_creator=_name,
            verbose=0,
        )
        shutil.rmtree(scratch, ignore_errors=True)

    def settle(self, *further: Callable[[], None]) -> None:
        """Sends what waits for MLflow and leaves no run of the study RUNNING.

        Args:
            further: What the kind of study tracks besides, each called after the trials are settled.
        """
        try:
            with stage("sending the last results to MLflow"):
                self._settle_trials()
            for track in further:
                track()
        except TrackingError as error:
            print(f"{error}; unsent entries are kept, and the next start of this study sends them")

    def close(self, tags: Mapping[str, str] = {}, metrics: Mapping[str, float] = {}) -> None:
        """Ends the study's MLflow run, with its last tags and metrics, and prints what the study takes of the disk."""
        root = self.plan.paths.root
        print(f"study {self.spec.name} takes {shown(size_of(root))} of the disk, in {root}")
        self._end("interrupted" if self.stop.reason else "completed", tags, metrics)
        if self.copies is not None:
            self.copies.finish(self.records)

    @property
    def tracker(self) -> Tracker:
        """Where the study is tracked."""
        assert self.plan.tracker is not None, "a study is always tracked"
        return self.plan.tracker

    @property
    def parent_id(self) -> str:
        """The study's MLflow run; `open` must have been called."""
        assert self.plan.parent_id is not None, "the study's MLflow run is not open"
        return self.plan.parent_id

    def keep(self, record: TrialRecord) -> None:
        """Writes a record into its trial's folder and adds it to `records`."""
        record.write(self.plan.paths.trial(record.number))
        self.records[record.number] = record

    @property
    def ended(self) -> list[TrialRecord]:
        """The records by number."""
        return [self.records[number] for number in sorted(self.records)]

    def _settle_trials(self) -> None:
        tracker, plan = self.tracker, self.plan
        deadline = time.monotonic() + SETTLE_SECONDS
        # The process of a trial that was just killed may still hold its log.
        while tracker.replay(plan.paths.trials) and time.monotonic() < deadline:
            tracker.check()
            time.sleep(0.5)
        late = [number for number, record in self.records.items() if record.mlflow_id is None]
        mlflow_ids = tracker.trials(self.parent_id) if late else {}  # one request; a request by key takes as long
        for number in late:
            if (mlflow_id := mlflow_ids.get(plan.key(number))) is not None:
                self.keep(replace(self.records[number], mlflow_id=mlflow_id))
        statuses = {plan.key(number): record.status for number, record in self.records.items()}
        for key, mlflow_id in tracker.running(self.parent_id).items():
            tracker.close(mlflow_id, statuses.get(key, "interrupted"))

    def _end(self, status: str, tags: Mapping[str, str] = {}, metrics: Mapping[str, float] = {}) -> None:
        spool = self.plan.paths.root / "spool"
        if self.page is not None:
            self.page.logger.close()  # first, so that nothing of it is sent after the end
        self.tracker.close(self.parent_id, status, tags, metrics, key=self.spec.name, spool=spool)


def _name(trial: Any) -> str:
    return f"{trial.config['number']:05d}-{trial.trial_id[:5]}"
