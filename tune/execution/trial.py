"""Runs one trial: two runners behind one interface, chosen by `StudySpec.runner`, with the same results.

- `process`: a class Trainable whose actor is kept warm and reused, so that a trial starts without a new process; one
  worker a trial.
- `ray_train`: a Tune function that fits a Ray Train `TorchTrainer`; any number of workers.

Both follow `t5vqvae.runs.attempt.attempted` and report what it yields. To add a runner, return its trainable from
`trainable`.
"""

from __future__ import annotations

import contextlib
import gc
import math
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ray.tune

from t5vqvae.disk import disk_errors
from t5vqvae.errors import DiskError
from t5vqvae.runs.attempt import UNFIT, Attempt, attempted, hopeless
from t5vqvae.runs.follow import Report, failure, stopped_by_disk
from t5vqvae.runs.freed_memory import free_memory
from t5vqvae.runs.tracked_run import TRAINER, TrackedRun, load_trainer
from t5vqvae.spec.run import RunSpec
from t5vqvae.training.threads import THREADS, use_threads
from tune.records.study_paths import StudyPaths, trial_key
from tune.records.trial_names import trial_name
from tune.spec.study_spec import StudySpec

if TYPE_CHECKING:
    from t5vqvae.tracking import Tracker

TuneResult = dict[str, Any]
"""A report as Ray Tune receives it: `Report.flat()`, and what Tune adds."""

TrialConfig = dict[str, Any]
"""The config of a trial in Ray Tune: `number`, `overrides`, `plan`, and at times `tags` and `attempt`."""

PLAN = "plan"
"""The key under which every trial's config carries its `TrialPlan`."""

ATTEMPT = "attempt"
"""The key under which the config of a trial on a GPU carries its attempt; see `gpu_packing.py`."""

ON_HEAD = "node:__internal_head__"
"""The resource of the head node: drivers of trials take no CPU from their workers and are not preempted there."""


@dataclass(frozen=True)
class TrialPlan:
    """What all trials of a study share. Small and picklable: every trial's config carries it.

    Attributes:
        study: Name of the study.
        base: The run spec that a trial's overrides apply to.
        paths: Where the study lives.
        runner: `process` or `ray_train`.
        cpus: CPUs a worker.
        gpus: GPUs a worker; a fraction lets several trials share one.
        packed: Whether `gpus` is for the first trial only, whose measured memory decides the share of the others.
        workers: Workers a trial; 1 with `process`.
        keep_steps: Checkpoints of a running trial; None: all.
        tracker: The tracker of its runs; None: they are not tracked.
        parent_id: The MLflow run of the study.
        trainer: See `t5vqvae.runs.tracked_run.TRAINER`.
    """

    study: str
    base: RunSpec
    paths: StudyPaths
    runner: str = "process"
    cpus: float = 1
    gpus: float = 0
    packed: bool = False
    workers: int = 1
    keep_steps: int | None = 2
    tracker: Tracker | None = None
    parent_id: str | None = None
    trainer: str = TRAINER

    def run(
        self,
        number: int,
        overrides: Mapping[str, Any],
        tags: Mapping[str, str] | None = None,
        attempt: Attempt | None = None,
    ) -> TrackedRun:
        """Returns the run of trial `number`, with the attempt's micro-batches and further tags."""
        settings = {**overrides, "train.num_workers": self.workers}
        attempt, tags = attempt or Attempt(), tags or {}
        if attempt.microbatches is not None:
            settings["train.microbatches"] = attempt.microbatches
        spec = self.base.with_overrides(settings)
        return TrackedRun(
            spec=spec,
            directory=self.paths.trial(number),
            cache_dir=self.paths.cache,
            key=self.key(number),
            tracker=self.tracker,
            parent_id=self.parent_id,
            tags={
                "t5vqvae.study": self.study,
                "t5vqvae.number": str(number),
                THREADS: str(self.threads),
                **attempt.tags,
                **tags,
            },
            keep_steps=self.keep_steps,
            trainer=self.trainer,
            name=trial_name(number, spec.as_flat_dict(), overrides, tags.get("arm", "")),
            note=self._note(number, tags),
        )

    def _note(self, number: int, tags: Mapping[str, str]) -> str:
        """Returns a trial's description in MLflow, with a link to its study."""
        linked = self.study
        if self.tracker is not None and self.parent_id is not None:
            linked = f"[{self.study}]({self.tracker.link(self.parent_id)})"
        arm = f", arm {tags['arm']}" if "arm" in tags else ""
        return f"Trial {number} of study {linked}{arm}."

    @classmethod
    def of(cls, spec: StudySpec, base: RunSpec, paths: StudyPaths, tracker: Tracker, trainer: str) -> TrialPlan:
        """Returns what the trials of a study share, but for the study's MLflow run."""
        resources = spec.resources
        return cls(
            study=spec.name,
            base=base,
            paths=paths,
            runner=spec.resolved_runner,
            cpus=resources.cpus,
            gpus=resources.first_gpus,
            packed=resources.packed,
            workers=resources.workers,
            keep_steps=spec.retention.keep_steps,
            tracker=tracker,
            trainer=trainer,
        )

    @property
    def threads(self) -> int:
        """Threads with which a worker computes; the same wherever and whenever a trial runs or resumes."""
        return max(1, math.floor(self.cpus))

    def key(self, number: int) -> str:
        """Returns the name of a trial in its experiment."""
        return trial_key(self.study, number)

    def resources(self) -> dict[str, float]:
        """Returns the CPUs and GPUs of all workers of a trial, without its driver."""
        return {"cpu": self.cpus * self.workers, "gpu": self.gpus * self.workers}


def trainable(plan: TrialPlan) -> Any:
    """Returns the trainable of a study's trials, with its resources."""
    if plan.runner == "process":
        return ray.tune.with_resources(_ProcessTrial, process_resources)
    return ray.tune.with_resources(_ray_train_trial, {"cpu": 0, ON_HEAD: 0.001})


def process_resources(config: TrialConfig) -> ray.tune.PlacementGroupFactory:
    """Returns the resources of a trial that runs in its actor's process."""
    return ray.tune.PlacementGroupFactory([{"CPU": config[PLAN].cpus, "GPU": _attempt_of(config).gpus}])


def _attempt_of(config: TrialConfig) -> Attempt:
    """Returns the attempt in a trial's config; by default one with the plan's share of a GPU."""
    return config.get(ATTEMPT) or Attempt(config[PLAN].gpus)


def run_of(config: TrialConfig) -> TrackedRun:
    """Returns the run of a trial's config."""
    return config[PLAN].run(config["number"], config["overrides"], config.get("tags"), _attempt_of(config))


class _ProcessTrial(ray.tune.Trainable):
    """A trial in its actor's own process; `step` trains to the next milestone. Actors are reused."""

    _reports: Generator[Report] | None = None
    _last: Report | None

    def setup(self, config: TrialConfig) -> None:
        _import_for_good(config[PLAN].trainer)
        self._begin(config)

    def reset_config(self, new_config: TrialConfig) -> bool:
        self.cleanup()
        self._begin(new_config)
        return True

    def cleanup(self) -> None:
        """Ends the trial that ran here, unless it has ended: sends its log and frees its memory."""
        if self._reports is None:
            return
        self._reports.close()
        self._reports = self._last = None
        free_memory()

    def step(self) -> TuneResult:
        assert self._reports is not None, "a trial that has ended takes no step"
        try:
            with disk_errors(self._directory):
                report = self._next(self._reports)
        except DiskError as error:
            report = stopped_by_disk(error, self._last)
        self._last = report
        done = report.status != "running"
        if done:  # now, not at the next trial: other processes may wait for this one's memory
            self.cleanup()
        return {**report.flat(), "done": done}

    def _next(self, reports: Generator[Report]) -> Report:
        """Trains to the next milestone; the run has failed if that raises."""
        try:
            report = next(reports)
            if report.status != "running":
                next(reports, None)  # closes the run's log, so that all is sent before Tune receives the end
            return report
        except DiskError:
            raise
        except Exception as error:
            if UNFIT in str(error):  # this process can run no other trial: another one resumes this one
                raise
            return failure(self._directory, error, self._last)

    def _begin(self, config: TrialConfig) -> None:
        self._last = None
        self._directory = config[PLAN].paths.trial(config["number"])
        # In `step`: what is raised here ends the actor, as if its process had died.
        self._reports = _with_threads(config[PLAN].threads, _reports_of(config))


def _reports_of(config: TrialConfig) -> Iterator[Report]:
    """Yields the reports of a trial; raises SettingError at the first one if its settings are refused."""
    yield from attempted(run_of(config), _attempt_of(config))


def _import_for_good(trainer: str) -> None:
    """Imports a trainer with garbage collection off, and excludes its objects from later collections."""
    # Half a million objects stay. Collections would look through them again and again during the import (a
    # fifth of its time) and once after every trial.
    gc.disable()
    with contextlib.suppress(Exception):  # raised again where the trainer is used
        load_trainer(trainer)
    gc.freeze()
    gc.enable()


def _with_threads(number: int, reports: Iterator[Report]) -> Generator[Report]:
    """Yields reports from a process that computes with a number of threads."""
    use_threads(number)
    yield from reports


def _ray_train_trial(config: TrialConfig) -> None:
    """Fits a Ray Train trainer whose workers follow the run in step; the Tune function of one trial."""
    from t5vqvae.runs.ray_train import fit, ran_out

    plan: TrialPlan = config[PLAN]
    run = None
    try:
        run = run_of(config)
        fit(run, _attempt_of(config), workers=plan.workers, cpus=plan.cpus, threads=plan.threads)
    except Exception as error:
        reason = hopeless(run.spec, error) if run is not None and ran_out(error) else error
        report = failure(plan.paths.trial(config["number"]), reason)
        ray.tune.report(report.flat())


def release(plan: TrialPlan, wait: float = 0.0) -> None:
    """Frees resources that stopped trials still hold in the cluster; the runner `process` holds none.

    Args:
        plan: What the trials share.
        wait: Seconds to wait for trials that are being stopped.
    """
    if plan.runner != "ray_train":
        return
    from t5vqvae.runs.ray_train import free_orphans

    deadline = time.monotonic() + wait
    while free_orphans() and time.monotonic() < deadline:
        time.sleep(0.2)
