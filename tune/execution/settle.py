"""Brings the MLflow runs of a study to their end."""

from __future__ import annotations

import time
from dataclasses import replace

from tune.execution.trial import TrialPlan
from tune.records.record import TrialRecord

SETTLE_SECONDS = 20
"""How long the end of a search waits for the last trials' processes to let go of what they logged."""


def settle_tracking(plan: TrialPlan, records: dict[int, TrialRecord]) -> None:
    """Sends what waits, completes records with the MLflow ids that came late, and leaves no run RUNNING."""
    tracker, trials = plan.tracker, plan.paths.trials
    deadline = time.monotonic() + SETTLE_SECONDS
    while (
        tracker.replay(trials) and time.monotonic() < deadline
    ):  # a process that was just killed may still hold its log
        tracker.check()
        time.sleep(0.5)
    late = [number for number, record in records.items() if record.mlflow_id is None]
    mlflow_ids = tracker.trials(plan.parent_id) if late else {}  # at once: each by its key takes as long
    for number in late:
        if (mlflow_id := mlflow_ids.get(plan.key(number))) is not None:
            records[number] = replace(records[number], mlflow_id=mlflow_id)
            records[number].write(plan.paths.trial(number))
    by_key = {plan.key(number): record.status for number, record in records.items()}
    for key, mlflow_id in tracker.running(plan.parent_id).items():
        tracker.close(mlflow_id, by_key.get(key, "interrupted"))
