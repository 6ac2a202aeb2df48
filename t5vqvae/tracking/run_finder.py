"""What is read of the runs of a study in MLflow: their ids, results, specs and addresses."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import quote

from t5vqvae.redaction import redacted
from t5vqvae.tracking.server.addresses import resolve
from t5vqvae.tracking.server.connection import probe, translated
from t5vqvae.tracking.server.destination import Destination
from t5vqvae.tracking.server.results import StoredResult, find_result, stored_spec
from t5vqvae.tracking.server.runs import TRAINING_PAGES, children, find


class RunFinder:
    """Finds the MLflow runs of one study.

    Args:
        uri: Any MLFLOW_TRACKING_URI except a folder; a relative SQLite file is resolved at once.
        experiment: The study; its experiment is created when missing.
        artifacts: Where a new experiment's artifacts go; None: next to the database file with SQLite, else the
            server's default.

    Raises:
        TrackingError: If no server can have this URI.
    """

    def __init__(self, uri: str, experiment: str, artifacts: str | None = None) -> None:
        self.destination = Destination(resolve(uri), experiment, artifacts)

    @property
    def uri(self) -> str:
        """The tracking URI."""
        return self.destination.uri

    @property
    def experiment(self) -> str:
        """The experiment's name."""
        return self.destination.experiment

    def check(self, timeout: float = 5) -> None:
        """Checks that the server answers within `timeout` seconds.

        Raises:
            TrackingError: In one line, if it does not.
        """
        probe(self.uri, timeout)

    def find_trial(self, key: str) -> str | None:
        """Returns the MLflow id of the trial `key`, or None.

        Raises:
            TrackingError: If the server cannot be reached.
        """
        return self._found("trial", key)

    def find_study(self, key: str) -> str | None:
        """Returns the MLflow id of the study `key`; see `find_trial`."""
        return self._found("study", key)

    def _found(self, kind: Literal["trial", "study"], key: str) -> str | None:
        with translated(self.uri):
            run = find(self.destination, kind, key, self.destination.identity)
        return None if run is None else run.info.run_id

    def known(self, mlflow_id: str | None) -> str | None:
        """Returns a run's id if MLflow has the run; None if it was deleted there or its database was lost.

        Raises:
            TrackingError: If the server cannot be reached.
        """
        with translated(self.uri):
            self.destination.find_or_create()  # restores a deleted experiment with its runs
            return mlflow_id if mlflow_id is not None and self.destination.has(mlflow_id) else None

    def trials(self, parent_id: str) -> dict[str, str]:
        """Returns `{key: MLflow id}` of the study's trials.

        Raises:
            TrackingError: If the server cannot be reached.
        """
        with translated(self.uri):
            return children(self.destination, parent_id)

    def running(self, parent_id: str) -> dict[str, str]:
        """Returns `{key: MLflow id}` of the study's trials with MLflow's status RUNNING.

        Raises:
            TrackingError: If the server cannot be reached.
        """
        with translated(self.uri):
            return children(self.destination, parent_id, "RUNNING")

    def find_result(self, run_id: str) -> StoredResult | None:
        """Returns the result of a finished run with this run id, from any study; None without one.

        Raises:
            TrackingError: If the server cannot be reached.
        """
        with translated(self.uri):
            return find_result(self.destination, run_id)

    def stored_spec(self, mlflow_id: str) -> dict[str, Any]:
        """Returns the resolved spec that a run logged.

        Raises:
            TrackingError: If the server cannot be reached, or the run logged none.
        """
        with translated(self.uri):
            return stored_spec(self.destination, mlflow_id)

    def url(self, mlflow_id: str) -> str | None:
        """Returns the address of the run's page in MLflow's UI; None without an HTTP server."""
        experiment_id = self.destination.experiment_id
        if not self.uri.startswith("http") or experiment_id is None:
            return None
        return f"{redacted(self.uri).rstrip('/')}/{self.link(mlflow_id)}"

    def link(self, mlflow_id: str) -> str:
        """Returns a link to a run that works inside MLflow's own pages, at whichever address they are served."""
        return f"#/experiments/{self.destination.experiment_id}/runs/{quote(mlflow_id)}?{TRAINING_PAGES}"
