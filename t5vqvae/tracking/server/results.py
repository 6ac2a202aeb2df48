"""Results stored in MLflow: the result of a run by its run id, and the spec of a run by its MLflow id."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from t5vqvae.files import read_json
from t5vqvae.tracking.server.destination import Destination

SECOND_SERIES = ("tokens/", "system/", "best/", "test/", "test_ood/", "not_finite/")
"""Prefixes of the metrics in MLflow that are not part of a run's final result."""


@dataclass(frozen=True)
class StoredResult:
    """The final result of a completed or diverged run: its MLflow id, status and metrics."""

    mlflow_id: str
    status: Literal["completed", "diverged"]
    metrics: Mapping[str, float]


def find_result(destination: Destination, run_id: str) -> StoredResult | None:
    """Returns the oldest completed or diverged run with a run id, from any experiment; None without one.

    Args:
        destination: The server.
        run_id: 16 hex digits, `RunSpec.run_id`.
    """
    client = destination.client
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    condition = f"tags.run_id = '{run_id}' AND tags.`t5vqvae.kind` = 'trial'"
    found = client.search_runs(experiments, condition, max_results=50, order_by=["attributes.start_time ASC"])
    for run in found:
        status = run.data.tags.get("status")
        if status in ("completed", "diverged") and "taken_from" not in run.data.tags:
            metrics = {k: v for k, v in run.data.metrics.items() if not k.startswith(SECOND_SERIES)}
            return StoredResult(run.info.run_id, cast(Literal["completed", "diverged"], status), metrics)
    return None


def stored_spec(destination: Destination, mlflow_id: str) -> dict[str, Any]:
    """Returns the resolved spec that a run logged, as plain nested values."""
    with tempfile.TemporaryDirectory() as folder:
        path = destination.client.download_artifacts(mlflow_id, "spec.json", folder)
        return read_json(Path(path))
