"""A run or an experiment that was deleted in MLflow is made anew; no point is dropped, no store stops the rest."""

from __future__ import annotations

import sqlite3
import sys
import time
from collections import OrderedDict
from pathlib import Path

import pytest
from mlflow.tracking._tracking_service import utils
from tracking_runs import METRICS, find_trial, history, open_trial, run_of

from t5vqvae.evaluation.metric import STEP
from t5vqvae.tracking import Tracker
from t5vqvae.tracking.outbox import replay


def erase(tracker: Tracker, mlflow_id: str) -> None:
    """Deletes a run for good, as `mlflow gc` does."""
    tracker.destination.client.delete_run(mlflow_id)
    store = tracker.destination.client._tracking_client.store
    store._hard_delete_run(mlflow_id)


@pytest.mark.parametrize("gone", ["deleted", "erased", "experiment"])
def test_a_run_that_is_deleted_while_it_trains_is_made_anew(tracker: Tracker, spool: Path, gone: str) -> None:
    with open_trial(tracker, spool) as logger:
        logger.log(METRICS, 50)
        first = logger.mlflow_id
        _wait_for(tracker, first, [50])
        assert first is not None
        client = tracker.destination.client
        if gone == "deleted":
            client.delete_run(first)
        elif gone == "erased":
            erase(tracker, first)
        else:
            client.delete_experiment(tracker.destination.find_or_create())
        logger.log(METRICS, 100)
        logger.table([{"source": "a"}], "reconstructions")
        logger.tags({"last": "tag"})
    assert logger.close()
    run = find_trial(tracker)
    steps = [step for step, _ in history(tracker, run.info.run_id, STEP)]
    assert (run.info.run_id == first, steps) == ((True, [50, 100]) if gone == "experiment" else (False, [100]))
    assert run.data.tags["last"] == "tag" and run.data.tags["mlflow.parentRunId"] == "parent"
    names = [file.path for file in client.list_artifacts(run.info.run_id)]
    assert names == ["reconstructions.json"]
    assert not (spool / "rejected.txt").exists()


def test_an_experiment_that_is_deleted_is_restored_with_its_runs(tracker: Tracker) -> None:
    parent = tracker.open_study({}, {})
    tracker.destination.client.delete_experiment(tracker.destination.find_or_create())
    assert tracker.known(parent) is None or tracker.known(parent) == parent
    again = Tracker(tracker.uri, "study")
    assert again.known(parent) == parent and again.open_study({}, {}) == parent
    assert tracker.open_trial(parent, "study/0", "0", {}, {}) is not None, "with the id that it read before, too"


@pytest.mark.parametrize("store", ["s3://bucket/x", "file:///proc/x", "nosuch://x"])
def test_an_artifact_store_that_takes_nothing_is_said_once_and_the_rest_arrives(
    tracker: Tracker, spool: Path, store: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "_BROKEN", set())
    monkeypatch.setitem(sys.modules, "boto3", None)
    tracker.destination.artifacts = store
    with open_trial(tracker, spool) as logger:
        logger.table([{"source": "a"}], "one")
        logger.table([{"source": "a"}], "two")
        logger.tags({"last": "tag"})
        logger.log(METRICS, 50)
    assert tracker.close(logger.mlflow_id, "completed", key="study/00000", spool=spool)
    run = run_of(tracker, logger.mlflow_id)
    assert (run.info.status, run.data.tags["last"], run.data.metrics[STEP]) == ("FINISHED", "tag", 50)
    messages = [record.getMessage() for record in caplog.records if record.name == "t5vqvae.tracking"]
    assert len(messages) == 1 and "takes no artifacts" in messages[0] and "\n" not in messages[0]
    assert tracker.replay(spool) == 0, "nothing waits for the server"
    _mend(tracker, str(logger.mlflow_id), spool)
    again = Tracker(tracker.uri, "study")
    monkeypatch.setattr(utils, "_artifact_repos_cache", OrderedDict())  # as in a new process
    assert again.replay(spool) == 0
    names = {file.path for file in again.destination.client.list_artifacts(run.info.run_id)}
    assert names == {"one.json", "two.json"}, "they were kept"


def _mend(tracker: Tracker, mlflow_id: str, spool: Path) -> None:
    database = tracker.uri.removeprefix("sqlite:///")
    with sqlite3.connect(database) as connection:
        place = (spool.parent / "artifacts").as_uri()
        connection.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", (place, mlflow_id))
    connection.close()


def _wait_for(tracker: Tracker, mlflow_id: str | None, steps: list[int]) -> None:
    deadline = time.monotonic() + 30
    while [step for step, _ in history(tracker, mlflow_id, STEP)] != steps and time.monotonic() < deadline:
        time.sleep(0.05)
