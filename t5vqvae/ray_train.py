"""A run on Ray Train: one or several workers that follow it in step, the first of which writes.

`fit` is called inside a Tune function (or alone); its workers' reports reach Tune through `TuneReportCallback`.
Checkpoints are this project's own, in the run's folder: a new worker group (after a lost worker or node) and a new
driver go on from them alike.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import ray.train
import ray.train.torch

from t5vqvae.errors import UserError
from t5vqvae.tracked import TrackedRun, failure, follow

PLACEMENT_GROUP = "placement_group"
"""The file in a run's folder that names the placement group of its workers, for `free`."""

MAX_WORKER_FAILURES = 2


def fit(run: TrackedRun, *, workers: int, cpus: float, gpus: float) -> None:
    """Trains a run on Ray Train and returns at its end.

    Args:
        run: What to train; its folder must be the same on all nodes.
        workers: Number of workers; the global batch does not depend on it.
        cpus: CPUs a worker.
        gpus: GPUs a worker; a fraction is allowed.

    Raises:
        ray.train.TrainingFailedError: If the training function raised, or workers died more than twice.
    """
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
    resources = {"CPU": cpus} | ({"GPU": gpus} if gpus else {})
    _Trainer(
        train_function,
        train_loop_config={"run": run},
        torch_config=ray.train.torch.TorchConfig(backend="nccl" if gpus else "gloo"),
        scaling_config=ray.train.ScalingConfig(num_workers=workers, use_gpu=gpus > 0, resources_per_worker=resources),
        run_config=ray.train.RunConfig(
            name=run.key.replace("/", "-"),
            storage_path=str(run.directory / "ray_train"),
            failure_config=ray.train.FailureConfig(max_failures=MAX_WORKER_FAILURES),
            callbacks=_callbacks(),
        ),
    ).fit()


def train_function(config: dict[str, Any]) -> None:
    """What every worker runs: it follows the run; Ray Train's `report` waits for all of them."""
    import ray.train

    run: TrackedRun = config["run"]
    first = ray.train.get_context().get_world_rank() == 0
    if first:
        _note_placement_group(run.directory)
    try:
        for report in follow(run, writes=first):
            ray.train.report(report)
    except UserError as error:  # every worker raises it alike, and a second start would raise it again
        ray.train.report(failure(run.directory, error) if first else {"status": "failed"})


def free(directory: Path) -> bool:
    """Gives back the resources of a run whose driver was stopped; returns False when there was nothing to free.

    Ray Train frees its workers' placement group when its controller ends, not when Tune stops the trial: the group
    then holds its CPUs and GPUs until the job ends, and later trials starve (ray#54305, ray#65443). Ray's own cleaner
    needs the dashboard; this needs only the group's id, which the first worker leaves in the run's folder.
    """
    from ray._raylet import PlacementGroupID
    from ray.util.placement_group import PlacementGroup, remove_placement_group

    file = directory / PLACEMENT_GROUP
    if not file.exists():
        return False
    group = PlacementGroupID(bytes.fromhex(file.read_text()))
    file.unlink()
    remove_placement_group(PlacementGroup(group))
    return True


class _Trainer(ray.train.torch.TorchTrainer):
    """Ray's trainer without its detached cleaner actor, one more process a trial that outlives a stopped one.

    `free` does its work.
    """

    def _create_default_callbacks(self) -> list[Any]:
        callbacks = super()._create_default_callbacks()
        return [callback for callback in callbacks if type(callback).__name__ != "PlacementGroupCleanerCallback"]


def _callbacks() -> list[Any]:
    """Returns the callback that passes reports to Tune, inside a Tune trial."""
    from ray.tune.integration.ray_train import TuneReportCallback
    from ray.tune.trainable.trainable_fn_utils import _in_tune_session

    return [TuneReportCallback()] if _in_tune_session() else []


def _note_placement_group(directory: Path) -> None:
    """Writes the id of this worker's placement group down for `free`."""
    from ray.util.placement_group import get_current_placement_group

    group = get_current_placement_group()
    if group is not None:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / PLACEMENT_GROUP).write_text(group.id.hex())
