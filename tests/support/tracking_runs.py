"""Shared by the tests of tracking: a trial, its run in the store, and the address of an absent server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from t5vqvae.tracking import RunLogger, Tracker

DEAD = "http://127.0.0.1:9"  # the discard port: nothing listens, connections are refused at once
METRICS = {"validation/nll": 1.5, "train/nll": 2.0, "cost/step_seconds": 0.1}


def run_of(tracker: Tracker, mlflow_id: str | None) -> Any:
    assert mlflow_id is not None
    return tracker.destination.client.get_run(mlflow_id)


def history(tracker: Tracker, mlflow_id: str | None, name: str) -> list[tuple[int, float]]:
    assert mlflow_id is not None
    return [(point.step, point.value) for point in tracker.destination.client.get_metric_history(mlflow_id, name)]


def open_trial(tracker: Tracker, spool: Path, wait: float = 20) -> RunLogger:
    return tracker.open_logger("parent", "study/00000", "00000", {"quantizer.name": "ema"}, {"a": "b"}, spool, wait)


def find_trial(tracker: Tracker) -> Any:
    """Returns the only trial of the experiment; fails when there are two."""
    (run,) = tracker.destination.client.search_runs(
        [tracker.destination.find_or_create()], "tags.`t5vqvae.kind` = 'trial'"
    )
    return run
