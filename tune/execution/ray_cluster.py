"""The Ray cluster of a study: the job's, the one named by RAY_ADDRESS, a running one here, or one that it starts.

Only `connect` starts Ray. How many trials the cluster holds is the matter of `capacity.py`.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import ray

from t5vqvae.spec.run import RunSpec
from tune.execution.ray_address import VARIABLE, one_line_for_refusals, usable_address
from tune.process import skip_last_collection
from tune.records.study_paths import CODE_ROOT

DRIVER_SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # records and MLflow instead of CSV, JSON and TensorBoard files
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",  # a search is resumed from its own records, never from Tune's snapshots
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # `stopping.py` stops gently
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # tracebacks are in each trial's error.txt
    "TUNE_WARN_THRESHOLD_S": "5",
    "TUNE_MAX_PENDING_TRIALS_PG": "10000",  # the searcher itself keeps to the room that nodes have, or will have
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
}


_RAY = ("ray::", "raylet", "gcs_server")
"""How names of Ray's processes begin."""
_FOLDER = str(Path(ray.__file__).parent) + os.sep
"""What the command lines of those that have no name yet hold."""


@contextlib.contextmanager
def connect() -> Iterator[None]:
    """Connects to Ray; a cluster that was started here ends with the block.

    Such a cluster has no dashboard: one process less, and nothing listens on a known port.
    """
    for name, value in DRIVER_SETTINGS.items():
        os.environ.setdefault(name, value)
    skip_last_collection()
    if ray.is_initialized():
        yield
        return
    with contextlib.chdir(CODE_ROOT):  # Ray lets its workers import from the driver's directory
        options: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
        try:
            try:
                _init(**options)
            except SystemExit as end:  # Ray handles SIGTERM while it starts, until `Stop.listen`
                raise KeyboardInterrupt from end
            yield
        finally:
            own = _processes_of_ray()
            ray.shutdown()  # also of a cluster that a signal stopped while it started
            for process in psutil.wait_procs(own, timeout=5)[1]:  # agents outlive a raylet that had only begun
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()


def is_own() -> bool:
    """Returns whether this process started the cluster that it is connected to."""
    return bool(_processes_of_ray())


def _processes_of_ray() -> list[psutil.Process]:
    """Returns the processes of a cluster that this process started; none of another cluster."""
    return [each for each in psutil.Process().children(recursive=True) if _is_ray_s(each)]


def _is_ray_s(process: psutil.Process) -> bool:
    """Returns whether a process is one of Ray's; an agent that has just begun has no name but Python's yet."""
    with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        return process.name().startswith(_RAY) or any(_FOLDER in word for word in process.cmdline()[:4])
    return False


def _init(**options: Any) -> None:
    """Connects to the cluster, or starts one; says in one line why it cannot.

    Raises:
        EnvironmentFault: If the cluster answers and refuses.
    """
    with one_line_for_refusals():
        try:
            ray.init(address=usable_address(), **options)
        except ConnectionError:
            if os.environ.get(VARIABLE):
                raise
            ray.init(address="local", **options)


def precision_on_cluster(gpus: float, spec: RunSpec) -> str:
    """Returns the precision that a run resolves to on the cluster; where it has GPUs, one of them decides.

    Args:
        gpus: GPUs a worker.
        spec: The run.
    """
    if spec.train.precision != "auto" or spec.train.device == "cpu" or not ray.cluster_resources().get("GPU"):
        return spec.train.precision if spec.train.precision != "auto" else "float32"
    remote: Any = ray.remote(num_cpus=0, num_gpus=gpus, max_calls=1)(_resolve)
    return str(ray.get(remote.remote(spec)))


def _resolve(spec: RunSpec) -> str:
    from t5vqvae.training.device import choose_device, resolve_precision

    return resolve_precision(spec, choose_device(spec))
