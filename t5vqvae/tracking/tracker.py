"""The tracker: opens and closes the runs of a study in MLflow; a run is found by its key or created.

It is a small picklable handle, because it travels to the process that trains. The package describes how logging works.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from t5vqvae.errors import TrackingError
from t5vqvae.redaction import redacted, redacted_values
from t5vqvae.tracking import provenance
from t5vqvae.tracking.identity import Identity, identity_of, stored_identity
from t5vqvae.tracking.logger import RunLogger
from t5vqvae.tracking.outbox.delivery import JOINED, Delivery
from t5vqvae.tracking.outbox.journal import Entry
from t5vqvae.tracking.outbox.replay import replay
from t5vqvae.tracking.run_finder import RunFinder
from t5vqvae.tracking.server.addresses import sqlite_file
from t5vqvae.tracking.server.connection import translated
from t5vqvae.tracking.server.destination import KIND, MODEL_TRAINING, NOTE
from t5vqvae.tracking.server.limits import split_finite
from t5vqvae.tracking.server.model_registry import Registry
from t5vqvae.tracking.server.runs import MLFLOW_STATUS, Kind, Opening, now


class Tracker(RunFinder):
    """Opens, closes and finds the MLflow runs of one study.

    Args:
        uri: Any MLFLOW_TRACKING_URI except a folder; a relative SQLite file is resolved at once.
        experiment: The study; its experiment is created when missing.
        artifacts: Where a new experiment's artifacts go; None: next to the database file with SQLite, else the
            server's default.
        home: The folder of the study or run, which holds its identity; None: runs are found by their names alone.

    Raises:
        TrackingError: If no server can have this URI.
    """

    def __init__(self, uri: str, experiment: str, artifacts: str | None = None, home: Path | None = None) -> None:
        super().__init__(uri, experiment, artifacts)
        self.home = home
        if home is not None:
            self.destination.identity = stored_identity(home, sqlite_file(self.uri))
        # Read here, because the trials of a Ray job run in an unpacked copy of the code, which is no repository.
        self._provenance = provenance.tags()

    def open_study(self, params: Mapping[str, object], tags: Mapping[str, object]) -> str:
        """Opens the study's run, and returns its MLflow id; creates schema, experiment and run when missing.

        Call it before the trials start: they would race to create the schema. The tag `t5vqvae.study` gives the study's
        name when the experiment has another name.

        Raises:
            TrackingError: If the server cannot be reached.
        """
        study = str(tags.get("t5vqvae.study", self.experiment))
        return self._open(self._opening("study", study, study, None, params, tags))

    def describe(self, question: str, tags: Mapping[str, str]) -> None:
        """Describes the experiment on its page: opened for model training, a question above it, and tags.

        Raises:
            TrackingError: If the server cannot be reached.
        """
        described = {
            KIND: MODEL_TRAINING,
            **redacted_values(dict(tags)),
            **({NOTE: redacted(question)} if question else {}),
        }
        with translated(self.uri):
            self.destination.describe(described)

    def open_trial(
        self, parent_id: str | None, key: str, name: str, params: Mapping[str, object], tags: Mapping[str, object]
    ) -> str:
        """Opens the run of a trial, sets it to running, and returns its MLflow id.

        Raises:
            TrackingError: If the server cannot be reached. Use `open_logger` to wait for the server in the background.
        """
        return self._open(self._opening("trial", key, name, parent_id, params, tags))

    def open_logger(
        self,
        parent_id: str | None,
        key: str,
        name: str,
        params: Mapping[str, object],
        tags: Mapping[str, object],
        spool: Path,
        wait: float = 0.0,
    ) -> RunLogger:
        """Opens a trial's run in the background and returns its logger; never raises for an absent server.

        Args:
            parent_id: MLflow's id of the study's run; None: the run has no parent.
            key: The trial's permanent name.
            name: The name in the UI.
            params: Flat settings.
            tags: Further tags.
            spool: The trial's folder for unsent entries.
            wait: Seconds to wait for the run's id; in a new process the import of MLflow alone takes some seconds.
        """
        opening = self._opening("trial", key, name, parent_id, params, tags)
        logger = RunLogger(self.destination, spool, _header(opening))
        logger.params(opening.params)
        logger.tags(opening.tags)
        logger.wait_opened(wait)
        return logger

    def logger(self, mlflow_id: str, spool: Path) -> RunLogger:
        """Returns a logger for a run that is open already."""
        return RunLogger(self.destination, spool, self._header(mlflow_id))

    def close(
        self,
        mlflow_id: str | None,
        status: str,
        tags: Mapping[str, object] | None = None,
        metrics: Mapping[str, float] | None = None,
        *,
        key: str | None = None,
        spool: Path | None = None,
    ) -> bool:
        """Ends a run; it may be called repeatedly and from any process.

        Args:
            mlflow_id: MLflow's id of the run; None: the run of the trial `key`.
            status: `completed`, `pruned`, `interrupted`, `failed` or `diverged`.
            tags: Last tags.
            metrics: Last metrics, such as the best value of a study.
            key: The trial's key, for a run that may not exist yet.
            spool: The trial's spool. With it an absent server is no error: unsent entries wait in the spool.

        Returns:
            Whether the server has received everything.

        Raises:
            TrackingError: If the status is unknown; without `spool`, also if the server cannot be reached.
        """
        if status not in MLFLOW_STATUS:
            raise TrackingError(f"status={status!r} must be one of {', '.join(MLFLOW_STATUS)}")
        if mlflow_id is None and key is None:
            raise TrackingError("both mlflow_id and key are None; pass one of them to close a run")
        header = self._header(mlflow_id, key)
        finite, others = split_finite(metrics or {})
        all_tags = {
            **redacted_values(dict(tags or {})),
            **{f"not_finite/{name}": value for name, value in others.items()},
        }
        last: Entry = {"kind": "close", "status": status, "tags": all_tags, "metrics": finite, "time": now()}
        if spool is None:
            self._send([header, last])
            return True
        logger = RunLogger(self.destination, spool, header)
        logger.write(**last)
        return logger.close(timeout=5)

    def attach(self, mlflow_id: str, parent_id: str) -> None:
        """Makes a run a child of the study's run.

        Raises:
            TrackingError: If the server cannot be reached.
        """
        self._send([self._header(mlflow_id), {"kind": "tags", "tags": {"mlflow.parentRunId": parent_id}}])

    def replay(self, directory: Path) -> int:
        """Sends the journals under `directory` that dead processes or absent servers left.

        Args:
            directory: A spool, a run's folder with a `spool`, or a folder of such folders.

        Returns:
            Number of journals still unsent, because the server is unreachable or their writers are alive.
        """
        return replay(self.destination, directory)

    def log_model(self, mlflow_id: str, checkpoint: Path) -> str:
        """Logs a checkpoint as an MLflow model of a run, only once; returns its URI `models:/...`.

        Raises:
            TrackingError: If the server cannot be reached.
            DataError: If it reads roles that new texts cannot be given.
        """
        from t5vqvae.tracking.mlflow_model import log_model, require_roles  # here, because it loads PyTorch

        require_roles(checkpoint)
        with translated(self.uri):
            return log_model(self.destination, mlflow_id, checkpoint)

    def add_final(self, mlflow_id: str, metrics: Mapping[str, float], model_uri: str | None = None) -> None:
        """Adds metrics to a run after its end, such as those of the test split; the run keeps its status.

        Args:
            mlflow_id: MLflow's id of the run.
            metrics: Finite values. A value that is already the metric's last one is not added again.
            model_uri: The logged model that the metrics belong to.

        Raises:
            TrackingError: If the server cannot be reached.
        """
        finite, _ = split_finite(metrics)
        model_id = model_uri.rpartition("/")[2] if model_uri else None
        header = self._header(mlflow_id)
        self._send([header, {"kind": "final", "metrics": finite, "time": now(), "model_id": model_id}])

    def log_file(self, mlflow_id: str, path: Path, folder: str) -> None:
        """Copies a file into a folder of a run's artifacts, also after the run's end.

        Raises:
            TrackingError: If the server cannot be reached.
        """
        with translated(self.uri):
            self.destination.client.log_artifact(mlflow_id, str(path), folder)

    def registry(self, name: str) -> Registry:
        """Returns the registered model `name`."""
        return Registry(self.destination, name)

    def link_model(self, mlflow_id: str, model_uri: str) -> None:
        """Shows a logged model on the page of another run, such as the best trial's on that of its study.

        Raises:
            TrackingError: If the server cannot be reached.
        """
        from t5vqvae.tracking.mlflow_model import link  # here, because it loads PyTorch

        with translated(self.uri):
            link(self.destination, mlflow_id, model_uri.rpartition("/")[2])

    def _opening(
        self,
        kind: Kind,
        key: str,
        name: str,
        parent_id: str | None,
        params: Mapping[str, object],
        tags: Mapping[str, object],
    ) -> Opening:
        if self.home is not None:
            self.destination.identity = self._identity or identity_of(self.home, sqlite_file(self.uri))
        merged = {name: str(value) for name, value in {**self._provenance, **tags}.items() if value is not None}
        texts = {name: str(value) for name, value in params.items()}
        identity = self.destination.identity
        return Opening(kind, key, name, parent_id, redacted_values(texts), redacted_values(merged), identity=identity)

    @property
    def _identity(self) -> Identity | None:
        """Whose the runs are; None before the study's first start."""
        return self.destination.identity

    def _header(self, mlflow_id: str | None, key: str | None = None) -> Entry:
        """Returns the entry that names a run by its id, by the key of a trial, or by both."""
        identity = self._identity
        return {"kind": "run", "mlflow_id": mlflow_id, "key": key, "identity": asdict(identity) if identity else None}

    def _open(self, opening: Opening) -> str:
        delivery = self._send(
            [_header(opening), {"kind": "params", "params": opening.params}, {"kind": "tags", "tags": opening.tags}]
        )
        return delivery.run_id

    def _send(self, entries: list[Entry]) -> Delivery:
        delivery = Delivery(self.destination)
        joined = [entry for entry in entries if entry["kind"] in JOINED]
        others = [[entry] for entry in entries if entry["kind"] not in JOINED]
        with translated(self.uri):
            for group in [*others[:1], *([joined] if joined else []), *others[1:]]:
                delivery.send(group)
            delivery.confirm()
        return delivery


def _header(opening: Opening) -> Entry:
    return {"kind": "run", "opening": asdict(opening)}
