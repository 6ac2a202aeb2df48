"""How a trial runs: two runners behind one interface, chosen by `SearchSpec.runner`, with the same results.

- `process`: a class Trainable whose actor is kept warm and reused, so that a trial starts without a new process; one
  worker a trial.
- `ray_train`: a Tune function that fits a Ray Train `TorchTrainer`; any number of workers.

Both follow `t5vqvae.runs.attempt.attempted` and report what it yields. To add a runner, return its trainable from
`trainable`.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import math
import sys
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ray.tune

from t5vqvae.runs.attempt import UNFIT, Attempt, attempted, hopeless
from t5vqvae.runs.follow import failure
from t5vqvae.runs.tracked_run import TRAINER, TrackedRun, load_trainer
from t5vqvae.spec.run import RunSpec
from tune.records.study_paths import StudyPaths, trial_key
from tune.spec.study_spec import StudySpec

if TYPE_CHECKING:
    from t5vqvae.tracking import Tracker

PLAN = "plan"
"""The key under which every trial's config carries its `TrialPlan`."""

ATTEMPT = "attempt"
"""The key under which a trial on a GPU carries how it is fitted there; see `tune.execution.gpu_packing`."""

ON_HEAD = "node:__internal_head__"
"""Drivers of trials take no CPU from their workers, and stay on the node that is not preempted."""


@dataclass(frozen=True)
class TrialPlan:
    """What all trials of a study share; small and picklable, it travels in every trial's config.

    Attributes:
        study: Name of the study.
        base: The run spec that a trial's overrides apply to.
        paths: Where the study lives.
        runner: `process` or `ray_train`.
        cpus: CPUs a worker.
        gpus: GPUs a worker; a fraction lets several trials share one.
        packed: Whether `gpus` is only for the first trial, whose memory says what share the others have.
        workers: Workers a trial; 1 with `process`.
        keep_steps: Checkpoints of a running trial; None: all.
        tracker: Where to log; None: nowhere.
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
        """Returns what trial `number` trains, as an attempt has it, and where its traces go, with further tags."""
        settings = {**overrides, "train.num_workers": self.workers}
        attempt = attempt or Attempt()
        if attempt.microbatches is not None:
            settings["train.microbatches"] = attempt.microbatches
        return TrackedRun(
            spec=self.base.with_overrides(settings),
            directory=self.paths.trial(number),
            cache_dir=self.paths.cache,
            key=self.key(number),
            tracker=self.tracker,
            parent_id=self.parent_id,
            tags={"t5vqvae.study": self.study, "t5vqvae.number": str(number), **attempt.tags, **(tags or {})},
            keep_steps=self.keep_steps,
            trainer=self.trainer,
        )

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

    def key(self, number: int) -> str:
        """Returns the name of a trial in its experiment."""
        return trial_key(self.study, number)

    def resources(self) -> dict[str, float]:
        """Returns what a whole trial takes of the cluster, its driver excluded."""
        return {"cpu": self.cpus * self.workers, "gpu": self.gpus * self.workers}


def trainable(plan: TrialPlan) -> Any:
    """Returns what Ray Tune runs for every trial of a study, with its resources."""
    if plan.runner == "process":
        return ray.tune.with_resources(ProcessTrial, process_resources)
    return ray.tune.with_resources(ray_train_trial, {"cpu": 0, ON_HEAD: 0.001})


def process_resources(config: Mapping[str, Any]) -> ray.tune.PlacementGroupFactory:
    """Returns what a trial in a process of its own takes of the cluster."""
    return ray.tune.PlacementGroupFactory([{"CPU": config[PLAN].cpus, "GPU": attempt_of(config).gpus}])


def attempt_of(config: Mapping[str, Any]) -> Attempt:
    """Returns how a trial is fitted onto its GPU; as its plan says where its config does not."""
    return config.get(ATTEMPT) or Attempt(config[PLAN].gpus)


def run_of(config: Mapping[str, Any]) -> TrackedRun:
    """Returns what the trial of a config trains."""
    return config[PLAN].run(config["number"], config["overrides"], config.get("tags"), attempt_of(config))


class ProcessTrial(ray.tune.Trainable):
    """A trial in its actor's own process; `step` trains to the next milestone. Actors are reused."""

    _reports: Generator[dict[str, Any]] | None = None
    _last: dict[str, Any]

    def setup(self, config: dict[str, Any]) -> None:
        _import_for_good(config[PLAN].trainer)
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.cleanup()
        self._begin(new_config)
        return True

    def cleanup(self) -> None:
        """Ends the trial that ran here, unless it has ended: what was logged is sent, memory is given back."""
        if self._reports is None:
            return
        self._reports.close()
        self._reports, self._last = None, {}
        gc.collect()
        _trim_heap()
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_available():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def step(self) -> dict[str, Any]:
        assert self._reports is not None, "a trial that has ended takes no step"
        try:
            report = next(self._reports)
            if report["status"] != "running":
                next(self._reports, None)  # the journal closes, all is sent before Tune hears of the end
        except Exception as error:
            if UNFIT in str(error):  # this process is fit for no other trial: Tune starts it again in a new one
                raise
            report = failure(self._run.directory, error, self._last)
        self._last = report
        done = report["status"] != "running"
        if done:  # now, and not when the next trial comes: others may wait for this one's memory
            self.cleanup()
        return {**report, "done": done}

    def _begin(self, config: dict[str, Any]) -> None:
        self._last = {}
        self._run = run_of(config)
        reports = attempted(self._run, attempt_of(config))
        self._reports = _with_threads(config[PLAN].cpus, reports)


def _import_for_good(trainer: str) -> None:
    """Imports a trainer with garbage collection off, and keeps what that made out of later collections.

    Half a million objects that stay are looked at again and again while they are imported (a fifth of the time), and
    once after every trial. An error is raised again, and told, where the trainer is used.
    """
    gc.disable()
    with contextlib.suppress(Exception):
        load_trainer(trainer)
    gc.freeze()
    gc.enable()


def _trim_heap() -> None:
    """Gives freed memory back to the system, where the C library is GNU's."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _with_threads(cpus: float, reports: Iterator[dict[str, Any]]) -> Generator[dict[str, Any]]:
    """Passes reports on from a process that keeps to its share of the machine's cores."""
    import torch

    torch.set_num_threads(max(1, math.floor(cpus)))
    yield from reports


def ray_train_trial(config: dict[str, Any]) -> None:
    """Tune function of one trial: fits a Ray Train trainer whose workers follow the run in step."""
    from t5vqvae.runs.ray_train import fit, ran_out

    plan: TrialPlan = config[PLAN]
    run = run_of(config)
    try:
        fit(run, attempt_of(config), workers=plan.workers, cpus=plan.cpus)
    except Exception as error:
        ray.tune.report(failure(run.directory, hopeless(run.spec, error) if ran_out(error) else error))


def release(plan: TrialPlan, wait: float = 0.0) -> None:
    """Gives back what stopped trials still hold in the cluster; nothing with `process`.

    Args:
        plan: What the trials share.
        wait: Seconds to wait for those that are just being stopped.
    """
    if plan.runner != "ray_train":
        return
    from t5vqvae.runs.ray_train import free_orphans

    deadline = time.monotonic() + wait
    while free_orphans() and time.monotonic() < deadline:
        time.sleep(0.2)
