"""The experiment of a server that runs are sent to: found by its name or created, described on its page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from t5vqvae.tracking.identity import Identity
from t5vqvae.tracking.server.addresses import sqlite_file
from t5vqvae.tracking.server.connection import connect, is_permanent, known_id
from t5vqvae.tracking.server.limits import MAX_TAG, as_tags

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

NOTE = "mlflow.note.content"
"""The tag that MLflow shows as a description, in Markdown: of experiments and of runs."""
KIND, MODEL_TRAINING = "mlflow.experimentKind", "custom_model_development"
"""An experiment without this tag opens in MLflow's mode for language-model traces, and shows no run."""


@dataclass
class Destination:
    """An experiment on a server; small and picklable.

    Attributes:
        uri: A resolved tracking URI.
        experiment: The experiment's name; the experiment is created when missing.
        artifacts: Where a new experiment's artifacts go; None: next to the database file with SQLite, else the
            server's default.
        experiment_id: MLflow's id of the experiment; None before the first use.
        identity: Whose runs these are; None: they are found by their names alone.
    """

    uri: str
    experiment: str
    artifacts: str | None = None
    experiment_id: str | None = None
    identity: Identity | None = None

    @property
    def client(self) -> MlflowClient:
        return connect(self.uri)

    def describe(self, tags: Mapping[str, str]) -> None:
        """Adds tags to the experiment; what another study of it has said in a tag stays in front.

        Args:
            tags: By name; `KIND` has one value and is replaced.
        """
        experiment_id = self.find_or_create()
        present = self.client.get_experiment(experiment_id).tags
        for name, value in as_tags(tags).items():
            before = "" if name == KIND else present.get(name, "")
            joined = _joined(before, value, "\n\n" if name == NOTE else ", ")
            if joined != present.get(name):
                self.client.set_experiment_tag(experiment_id, name, joined)

    @property
    def remote(self) -> bool:
        """Whether a proxy may answer in the server's place."""
        return self.uri.startswith("http")

    def run(self, mlflow_id: str) -> Run:
        """Returns a run of the server, also a deleted one."""
        run = self.client.get_run(mlflow_id)
        known_id(run.info.run_id)
        return run

    def has(self, mlflow_id: str) -> bool:
        """Returns whether the server has a run that is not deleted."""
        try:
            return self.run(mlflow_id).info.lifecycle_stage == "active"
        except Exception as error:
            if is_permanent(error):
                return False
            raise

    def find_or_create(self) -> str:
        """Returns the experiment's id; the first call creates the database schema if it is missing."""
        if self.experiment_id is None:
            self.experiment_id = self._find() or self._create()
        return self.experiment_id

    def forget(self) -> None:
        """Forgets the experiment's id, after it or a run of it was deleted."""
        self.experiment_id = None

    def _find(self) -> str | None:
        found = self.client.get_experiment_by_name(self.experiment)
        if found is None:
            return None
        experiment_id = known_id(found.experiment_id)
        if found.lifecycle_stage == "deleted":
            self.client.restore_experiment(experiment_id)
        return experiment_id

    def _create(self) -> str:
        from mlflow.exceptions import MlflowException

        try:
            place = self._artifact_location()
            tags, create = {KIND: MODEL_TRAINING}, self.client.create_experiment
            created = create(self.experiment, artifact_location=place, tags=tags)
            return known_id(created)
        except MlflowException as error:
            found = self._find() if error.error_code == "RESOURCE_ALREADY_EXISTS" else None
            if found is None:
                raise
            return found

    def _artifact_location(self) -> str | None:
        file = sqlite_file(self.uri)
        if self.artifacts is None and file is not None:  # MLflow's default is the working directory of each process
            return (file.parent / "artifacts" / self.experiment.replace("/", "_")).as_uri()
        return self.artifacts


def _joined(before: str, added: str, separator: str) -> str:
    """Returns what a tag says of several studies; what does not fit into it is left out."""
    if not before or f"{separator}{added}{separator}" in f"{separator}{before}{separator}":
        return before or added
    both = f"{before}{separator}{added}"
    return both if len(both) <= MAX_TAG else before
