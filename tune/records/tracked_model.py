"""Finds the MLflow run of a trained model, and adds what was measured of it later."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tune.records.models import FoundModel
from tune.records.record import FILE, TrialRecord
from tune.records.study_paths import StudyPaths, trial_key
from tune.records.study_tracker import VARIABLE, stored_tracking, tracking_uri

if TYPE_CHECKING:
    from t5vqvae.tracking import Tracker

PROBE = "probe"
"""Folder of a run's artifacts, and first part of its metrics, that come from a probe."""


def add_probe(
    found: FoundModel, state: Path, metrics: Mapping[str, float], files: Sequence[Path], on_test: bool
) -> str | None:
    """Adds a probe's metrics and files to the MLflow run of a model; returns where, None if it has no run.

    Args:
        found: The model.
        state: The state folder.
        metrics: What was measured; a run gets it under `probe`, and that of the test split under `test`, then `probe`.
        files: Goes to the run's artifacts.
        on_test: Whether it was measured on the test split.

    Raises:
        TrackingError: If the server cannot be reached.
    """
    run = tracked_run(found, state)
    if run is None:
        return None
    tracker, mlflow_id = run
    before = f"test/{PROBE}" if on_test else PROBE
    tracker.add_final(mlflow_id, {f"{before}/{key}": value for key, value in metrics.items()})
    for file in files:
        tracker.log_file(mlflow_id, file, before)
    return tracker.url(mlflow_id) or f"MLflow run {mlflow_id}"


def tracked_run(found: FoundModel, state: Path) -> tuple[Tracker, str] | None:
    """Returns the tracker and the MLflow id of a model's run; None if the model has none that MLflow still has.

    Raises:
        TrackingError: If the server cannot be reached.
    """
    where = _registered(found, state) or _of_trial(found) or _of_run(found)
    if where is None:
        return None
    tracker, mlflow_id, key = where
    if _is_lost(tracker):
        return None
    tracker.check()
    known = tracker.known(mlflow_id) or (tracker.find_trial(key) if key else None)
    return None if known is None else (tracker, known)


def _is_lost(tracker: Tracker) -> bool:
    """Returns whether the tracker's database is a file that does not exist: a check would make a new one."""
    from t5vqvae.tracking.server.addresses import sqlite_file

    file = sqlite_file(tracker.uri)
    return file is not None and not file.exists()


def _registered(found: FoundModel, state: Path) -> tuple[Tracker, str | None, str | None] | None:
    if not found.mlflow_id:
        return None
    from t5vqvae.tracking import Tracker

    return Tracker(tracking_uri(state), "t5vqvae"), found.mlflow_id, None


def _of_trial(found: FoundModel) -> tuple[Tracker, str | None, str | None] | None:
    """Returns the run of a study's trial, in whose folder the checkpoint lies."""
    folder = found.folder.parents[1]
    if not (folder / FILE).is_file() or folder.parent.name != "trials":
        return None
    from t5vqvae.tracking import Tracker

    record, root = TrialRecord.read(folder), folder.parents[1]
    paths = StudyPaths(root.parents[1], root.name)
    tracking = stored_tracking(paths)
    uri = tracking_uri(paths.state, tracking.get("uri"))
    tracker = Tracker(uri, tracking.get("experiment") or record.study, home=paths.root)
    return tracker, record.mlflow_id, trial_key(record.study, record.number)


def _of_run(found: FoundModel) -> tuple[Tracker, str | None, str | None] | None:
    """Returns the run of `t5vqvae train`, which is tracked where MLFLOW_TRACKING_URI says."""
    uri, folder = os.environ.get(VARIABLE, "").strip(), found.folder.parents[1]
    if not uri or not (folder / "identity.json").is_file():
        return None
    from t5vqvae.tracking import Tracker

    return Tracker(uri, "runs", home=folder), None, f"runs/{folder.name}"
