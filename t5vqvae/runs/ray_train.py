"""A run on Ray Train: one or several workers follow it in step, and the first one writes.

`fit` is called inside a Tune function (or alone); its workers' reports reach Tune through `TuneReportCallback`.
Checkpoints are this project's own and lie in the run's folder: a new worker group (after a lost worker or node) resumes
from them, and so does a new driver.
"""

from __future__ import annotations

import os
import time
from typing import Any

import ray.train
import ray.train.torch

from t5vqvae.errors import DiskError, UserError
from t5vqvae.runs.attempt import Attempt, attempted
from t5vqvae.runs.follow import Report, failure, stopped_by_disk
from t5vqvae.runs.tracked_run import TrackedRun
from t5vqvae.training.threads import use_threads

MAX_WORKER_FAILURES = 2
GRACE_SECONDS = 1.0
"""How long a dead trainer keeps its workers' placement group; see `free_orphans`."""

_dead_since: dict[bytes, float] = {}  # by id of the placement group


def fit(run: TrackedRun, attempt: Attempt, *, workers: int, cpus: float, threads: int) -> None:
    """Trains a run on Ray Train and returns when the run has ended.

    Args:
        run: What to train; its folder must be the same on all nodes.
        attempt: How each worker is fitted onto its GPU.
        workers: Number of workers; the global batch does not depend on it.
        cpus: CPUs per worker.
        threads: Threads with which a worker computes.

    Raises:
        ray.train.TrainingFailedError: If the training function raised, or workers died more than twice.
    """
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
    gpus = attempt.gpus
    resources = {"CPU": cpus} | ({"GPU": gpus} if gpus else {})
    _Trainer(
        _train_function,
        train_loop_config={"run": run, "attempt": attempt, "threads": threads},
        torch_config=ray.train.torch.TorchConfig(backend="nccl" if gpus else "gloo"),
        scaling_config=ray.train.ScalingConfig(num_workers=workers, use_gpu=gpus > 0, resources_per_worker=resources),
        run_config=ray.train.RunConfig(
            name=run.key.replace("/", "-"),
            storage_path=str(run.directory / "ray_train"),
            failure_config=ray.train.FailureConfig(max_failures=MAX_WORKER_FAILURES),
            callbacks=_callbacks(),
        ),
    ).fit()


def _train_function(config: dict[str, Any]) -> None:
    """Follows the run on every worker; Ray Train's `report` waits for all of them."""
    import ray.train

    run: TrackedRun = config["run"]
    context = ray.train.get_context()
    use_threads(config["threads"])
    first, alone = context.get_world_rank() == 0, context.get_world_size() == 1
    try:
        for report in attempted(run, config["attempt"], writes=first, alone=alone):
            ray.train.report(report.flat())
    except DiskError as error:  # of the first, which writes; Tune ends the others
        ray.train.report(stopped_by_disk(error).flat())
    except UserError as error:  # every worker raises the same one, and a restart would raise it again
        report = failure(run.directory, error) if first else Report("failed")
        ray.train.report(report.flat())


def ran_out(error: Exception) -> bool:
    """Returns whether `fit` raised because a worker's GPU had no memory for it, which no further attempt cures."""
    failures = getattr(error, "worker_failures", {}).values()
    return any("OutOfMemoryError" in str(failure) for failure in failures)


def free_orphans() -> int:
    """Releases the placement groups of this job's stopped trainers; returns how many groups are still held.

    When Tune stops a trial, the controller of its trainer dies without releasing the placement group of its workers.
    Ray keeps the group until the job ends: its CPUs and GPUs are lost, and later trials starve (ray#54305, ray#65443).
    """
    import ray
    from ray._private.state import state
    from ray._raylet import PlacementGroupID
    from ray.core.generated.gcs_pb2 import PlacementGroupTableData  # type: ignore[attr-defined]
    from ray.util.placement_group import PlacementGroup, remove_placement_group

    # Ray's own cleaner uses the State API, which needs the dashboard; the head's tables of groups and actors do not.
    job, now = ray.get_runtime_context().get_job_id(), time.monotonic()
    held = 0
    for line in state._connect_and_get_accessor().get_placement_group_table():
        group = PlacementGroupTableData.FromString(line)
        removed = group.state == PlacementGroupTableData.REMOVED
        if removed or not group.creator_actor_id.strip(b"\xff") or group.creator_job_id.hex() != job:
            continue
        # The actor's state decides, not the group's `creator_actor_dead`: a controller's process lives a moment longer
        # than its entry in the table. If its group were removed in that moment, it would create another one, which Ray
        # never marks as orphaned and which would outlive even the job. `GRACE_SECONDS` waits for its end.
        alive = state.actor_table(group.creator_actor_id.hex()).get("State", "DEAD") != "DEAD"
        if alive or now < _dead_since.setdefault(group.placement_group_id, now) + GRACE_SECONDS:
            held += 1
        else:
            remove_placement_group(PlacementGroup(PlacementGroupID(group.placement_group_id)))
            del _dead_since[group.placement_group_id]
    return held


class _Trainer(ray.train.torch.TorchTrainer):
    """Ray's trainer without its detached cleaner actor, which costs a process per trial and outlives a stopped trial.

    `free_orphans` does the cleaner's work.
    """

    def _create_default_callbacks(self) -> list[Any]:
        callbacks = super()._create_default_callbacks()  # type: ignore[misc]
        return [callback for callback in callbacks if type(callback).__name__ != "PlacementGroupCleanerCallback"]


def _callbacks() -> list[Any]:
    """Returns the callback that passes reports to Tune, inside a Tune trial."""
    from ray.tune.integration.ray_train import TuneReportCallback
    from ray.tune.trainable.trainable_fn_utils import _in_tune_session

    return [TuneReportCallback()] if _in_tune_session() else []
