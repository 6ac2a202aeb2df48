"""The tracker of a study, and its ended trials that MLflow does not have."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t5vqvae.errors import SettingError
from t5vqvae.files import read_twice
from t5vqvae.redaction import redacted, redacted_values
from tune.records.fresh_runs import key_of
from tune.records.record import TrialRecord
from tune.records.study_paths import StudyPaths, is_there, trial_key
from tune.records.trial_names import PRUNED, trial_name

if TYPE_CHECKING:
    from t5vqvae.spec.run import RunSpec
    from t5vqvae.tracking import Tracker
    from tune.spec.study_spec import StudySpec

VARIABLE = "MLFLOW_TRACKING_URI"


def tracker_of(spec: StudySpec, paths: StudyPaths) -> Tracker:
    """Returns the tracker of a study: by its spec, by MLFLOW_TRACKING_URI, or on a database in the state folder."""
    from t5vqvae.tracking import Tracker

    uri = tracking_uri(paths.state, spec.tracking.uri)
    return Tracker(uri, spec.tracking.experiment or spec.name, home=paths.root)


def tracking_uri(state: Path, configured: str | None = None) -> str:
    """Returns the configured tracking URI, MLFLOW_TRACKING_URI, or a database under the state folder.

    A study's file holds its URI without user and password; the same URI in MLFLOW_TRACKING_URI has them.

    Raises:
        SettingError: If the configured URI is empty.
    """
    from t5vqvae.tracking.server.addresses import sqlite_uri

    given = os.environ.get(VARIABLE, "").strip()
    if configured is None:
        return given or sqlite_uri(state / "mlflow.db")
    if not configured.strip():
        raise SettingError(
            f"tracking.uri='' is empty; leave it out, or give one such as http://127.0.0.1:5000; {VARIABLE}"
        )
    return given if given and redacted(given) == configured else configured


def stored_tracking(paths: StudyPaths) -> Mapping[str, Any]:
    """Returns the section `tracking` in the file of a search or an ablation; empty where there is none.

    Raises:
        DamagedFileError: If the file is damaged.
    """
    values: Mapping[str, Any] = {}
    if is_there(paths.spec):
        values = read_twice(paths.spec)
    elif is_there(paths.ablation):
        values = (read_twice(paths.ablation).get("specs") or [{}])[-1]
    return values.get("tracking") or {}


def track_lost(
    tracker: Tracker,
    parent_id: str,
    records: Iterable[TrialRecord],
    run_of: Callable[[TrialRecord], tuple[RunSpec, Mapping[str, str]]],
) -> list[TrialRecord]:
    """Makes the runs of ended trials anew that MLflow has lost; returns the records with their new MLflow ids.

    A run is lost when it was deleted in MLflow, when the database was lost, when it was never received, and when the
    study's folder is a copy of another's, whose runs they are.

    Args:
        tracker: The study's tracker.
        parent_id: The MLflow run of the study.
        records: The ended trials.
        run_of: Returns the resolved spec of a record, and the tags of its run.

    Raises:
        TrackingError: If the server cannot be reached.
    """
    ended = list(records)
    there = tracker.trials(parent_id) if ended else {}
    lost = [record for record in ended if trial_key(record.study, record.number) not in there]
    return [replace(record, mlflow_id=tracked_anew(tracker, parent_id, record, *run_of(record))) for record in lost]


def tracked_anew(tracker: Tracker, parent_id: str, record: TrialRecord, spec: RunSpec, tags: Mapping[str, str]) -> str:
    """Finds or makes the run of an ended trial, as a child of the study's run; returns its MLflow id.

    Raises:
        TrackingError: If the server cannot be reached.
    """
    from t5vqvae.runs.rerun import rerun_note  # torch, which no list of trials needs
    from t5vqvae.tracking.server.destination import NOTE

    key = key_of(record)
    mlflow_id = tracker.find_trial(key)
    if mlflow_id is not None:
        tracker.attach(mlflow_id, parent_id)
        return mlflow_id
    known = {"t5vqvae.study": record.study, "t5vqvae.number": record.number, "run_id": record.run_id}
    settings = spec.as_flat_dict()
    name = trial_name(record.number, settings, record.overrides, str(tags.get("arm", "")))
    note = rerun_note(spec, f"Trial {record.number} of study [{record.study}]({tracker.link(parent_id)}).")
    name = f"{name}{PRUNED}" if record.status == "pruned" else name
    all_tags = {**known, NOTE: note, **tags, **record.tags}
    mlflow_id = tracker.open_trial(parent_id, key, name, settings, all_tags)
    _log_spec(tracker, mlflow_id, spec)
    tracker.close(mlflow_id, record.status, record.tags, record.metrics)
    return mlflow_id


def _log_spec(tracker: Tracker, mlflow_id: str, spec: RunSpec) -> None:
    """Adds the resolved spec to a run's artifacts, as the run itself does when it starts."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "spec.json"
        file.write_text(json.dumps(redacted_values(spec.as_dict()), indent=2), encoding="utf-8")
        tracker.log_file(mlflow_id, file, "")
