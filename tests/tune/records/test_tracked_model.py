"""A probe goes into the MLflow run of the model it is of, wherever that is, and into no other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tracking_runs import run_of

from t5vqvae.spec.run import RunSpec
from t5vqvae.tracking import Tracker
from t5vqvae.tracking.server.addresses import sqlite_uri
from tune.records.models import FoundModel
from tune.records.record import TrialRecord
from tune.records.tracked_model import add_probe


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


def trial(state: Path) -> tuple[FoundModel, Tracker, str]:
    """A completed trial with its run in the state folder's database."""
    root = state / "studies" / "mine"
    folder = root / "trials" / "00003" / "step-00000002" / "model"
    folder.mkdir(parents=True)
    (root / "study.json").write_text(json.dumps({"name": "mine", "tracking": {"uri": None, "experiment": None}}))
    tracker = Tracker(sqlite_uri(state / "mlflow.db"), "mine", home=root)
    mlflow_id = tracker.open_trial(tracker.open_study({}, {}), "mine/00003", "mine/00003", {}, {})
    record = TrialRecord("mine", 3, {}, "0" * 16, mlflow_id, "completed", 2, {}, str(folder.parent), {}, 1.0)
    record.write(folder.parents[1])
    tracker.close(mlflow_id, "completed")
    return FoundModel(folder, RunSpec(), "trial 3"), tracker, mlflow_id


def test_a_trial_gets_its_probe_once_and_stays_completed(state: Path) -> None:
    found, tracker, mlflow_id = trial(state)
    (page := state / "probe.html").write_text("<p>")
    for _ in range(2):
        where = add_probe(found, state, {"control/locality": 0.5}, [page], on_test=False)
    assert where == f"MLflow run {mlflow_id}"
    add_probe(found, state, {"control/locality": 0.25}, [], on_test=True)
    run = run_of(tracker, mlflow_id)
    assert run.data.metrics["probe/control/locality"] == 0.5
    assert run.data.metrics["test/probe/control/locality"] == 0.25
    assert run.info.status == "FINISHED"
    history = tracker.destination.client.get_metric_history(mlflow_id, "probe/control/locality")
    assert len(history) == 1, "the same probe adds nothing"
    assert [each.path for each in tracker.destination.client.list_artifacts(mlflow_id, "probe")] == ["probe/probe.html"]


def test_a_model_without_a_run_is_tracked_nowhere_and_no_database_is_made(state: Path) -> None:
    folder = state / "elsewhere" / "step-00000002" / "model"
    folder.mkdir(parents=True)
    assert add_probe(FoundModel(folder, RunSpec(), "a folder"), state, {"control/locality": 0.5}, [], False) is None
    assert not (state / "mlflow.db").exists()


@pytest.mark.slow
def test_a_lost_database_is_not_made_anew(state: Path) -> None:
    found, _, _ = trial(state)
    (state / "mlflow.db").unlink()
    assert add_probe(found, state, {"control/locality": 0.5}, [], False) is None
    assert not (state / "mlflow.db").exists()
