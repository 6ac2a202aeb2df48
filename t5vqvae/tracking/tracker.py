"""The tracker: opens and closes the runs of a study in MLflow, each looked up by its key or created.

A small picklable handle that travels to whichever process trains; see the package for how logging works.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

from t5vqvae.errors import TrackingError
from t5vqvae.tracking import provenance
from t5vqvae.tracking.logger import RunLogger
from t5vqvae.tracking.outbox.delivery import JOINED, Delivery
from t5vqvae.tracking.outbox.journal import Entry
from t5vqvae.tracking.outbox.replay import replay
from t5vqvae.tracking.server.connection import probe, resolve, translated, without_password
from t5vqvae.tracking.server.limits import split_finite
from t5vqvae.tracking.server.model_registry import Registry
from t5vqvae.tracking.server.results import StoredResult, find_result, stored_spec
from t5vqvae.tracking.server.runs import MLFLOW_STATUS, Destination, Kind, Opening, children, find, now


class Tracker:
    """Knows where a study is tracked.

    Args:
        uri: Any MLFLOW_TRACKING_URI but a folder; a relative SQLite file is resolved at once.
        experiment: The study; its experiment is created when missing.
        artifacts: Where a new experiment's artifacts go; None: beside SQLite's file, the server's choice elsewhere.

    Raises:
        TrackingError: If the URI is a folder.
    """

    def __init__(self, uri: str, experiment: str, artifacts: str | None = None) -> None:
        self.destination = Destination(resolve(uri), experiment, artifacts)
        self._provenance = provenance.tags()  # here, since a job's unpacked copy is no repository

    @property
    def uri(self) -> str:
        """The tracking URI."""
        return self.destination.uri

    @property
    def experiment(self) -> str:
        """The experiment's name."""
        return self.destination.experiment

    def check(self, timeout: float = 5) -> None:
        """Asks the server for an answer.

        Raises:
            TrackingError: In one line, if it cannot be reached within `timeout` seconds.
        """
        probe(self.uri, timeout)

    def open_study(self, params: Mapping[str, Any], tags: Mapping[str, Any]) -> str:
        """Returns the MLflow id of the study's run; creates schema, experiment and run when missing.

        The tag `t5vqvae.study` names the study where the experiment has another name.

        Call it before trials fan out: they would race to create the schema.

        Raises:
            TrackingError: If the server cannot be reached.
        """
        study = tags.get("t5vqvae.study", self.experiment)
        return self._open(self._opening("study", study, study, None, params, tags))

    def open_trial(
        self, parent_id: str | None, key: str, name: str, params: Mapping[str, Any], tags: Mapping[str, Any]
    ) -> str:
        """Returns the MLflow id of the trial called `key`, set running.

        Raises:
            TrackingError: If the server cannot be reached; `open_logger` does not mind.
        """
        return self._open(self._opening("trial", key, name, parent_id, params, tags))

    def open_logger(
        self,
        parent_id: str | None,
        key: str,
        name: str,
        params: Mapping[str, Any],
        tags: Mapping[str, Any],
        spool: Path,
        wait: float = 0.0,
    ) -> RunLogger:
        """Opens a trial's run in the background and returns its logger; never raises for an absent server.

        Args:
            parent_id: MLflow's id of the study's run; None: a run of its own.
            key: Names the trial for good.
            name: What the UI shows.
            params: Flat settings.
            tags: Further tags.
            spool: The trial's folder for what is not sent yet.
            wait: Seconds to wait for the run's id; in a new process the import of MLflow alone takes some.
        """
        opening = self._opening("trial", key, name, parent_id, params, tags)
        logger = RunLogger(self.destination, spool, _header(opening))
        logger.params(opening.params)
        logger.tags(opening.tags)
        logger.wait_opened(wait)
        return logger

    def logger(self, mlflow_id: str, spool: Path) -> RunLogger:
        """Returns a logger of a run that is open already."""
        return RunLogger(self.destination, spool, {"kind": "run", "mlflow_id": mlflow_id})

    def close(
        self,
        mlflow_id: str | None,
        status: str,
        tags: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
        *,
        key: str | None = None,
        spool: Path | None = None,
    ) -> bool:
        """Ends a run; again and from any process, if need be.

        Args:
            mlflow_id: The run; None: the trial called `key`.
            status: `completed`, `pruned`, `interrupted`, `failed` or `diverged`.
            tags: Last tags.
            metrics: Last metrics, as the best value of a study.
            key: The trial's key, where its run may not exist yet.
            spool: The trial's spool; with it, an absent server is no error: what cannot be sent waits there.

        Returns:
            Whether the server knows.

        Raises:
            TrackingError: If the status is unknown; without `spool`, also if the server cannot be reached.
        """
        if status not in MLFLOW_STATUS:
            raise TrackingError(f"status={status!r} must be one of {', '.join(MLFLOW_STATUS)}")
        if mlflow_id is None and key is None:
            raise TrackingError("a run is closed by its MLflow id or by its key; both are None")
        header: Entry = {"kind": "run", "mlflow_id": mlflow_id, "key": key}
        finite, others = split_finite(metrics or {})
        all_tags = {**(tags or {}), **{f"not_finite/{name}": value for name, value in others.items()}}
        last: Entry = {"kind": "close", "status": status, "tags": all_tags, "metrics": finite, "time": now()}
        if spool is None:
            self._send([header, last])
            return True
        logger = RunLogger(self.destination, spool, header)
        logger.write(**last)
        return logger.close(timeout=5)

    def find_trial(self, key: str) -> str | None:
        """Returns the MLflow id of the trial called `key`, or None.

        Raises:
            TrackingError: If the server cannot be reached.
        """
        with translated(self.uri):
            run = find(self.destination, "trial", key)
        return None if run is None else run.info.run_id

    def trials(self, parent_id: str) -> dict[str, str]:
        """Returns `{key: MLflow id}` of the study's trials.

        Raises:
            TrackingError: If the server cannot be reached.
        """
        with translated(self.uri):
            return children(self.destination, parent_id)

    def running(self, parent_id: str) -> dict[str, str]:
        """Returns `{key: MLflow id}` of the study's trials that MLflow calls RUNNING."""
        with translated(self.uri):
            return children(self.destination, parent_id, "RUNNING")

    def replay(self, directory: Path) -> int:
        """Sends what dead processes and absent servers left under `directory`.

        Args:
            directory: A spool, a run's folder with a `spool`, or a folder of such folders.

        Returns:
            Number of journals still unsent: the server is away, or their writers live.
        """
        return replay(self.destination, directory)

    def log_model(self, mlflow_id: str, checkpoint: Path) -> str:
        """Logs a checkpoint as an MLflow model of a run, once; returns its URI `models:/...`.

        Raises:
            TrackingError: If the server cannot be reached.
        """
        from t5vqvae.tracking.mlflow_model import log_model  # needs the model's code, which a driver never loads

        with translated(self.uri):
            return log_model(self.destination, mlflow_id, checkpoint)

    def add_final(self, mlflow_id: str, metrics: Mapping[str, float], model_uri: str | None = None) -> None:
        """Adds metrics that a run, whatever its status, has got after its end, such as those of the test split.

        Args:
            mlflow_id: The run.
            metrics: Finite values; one the run already ends with is not added again.
            model_uri: The logged model they belong to.

        Raises:
            TrackingError: If the server cannot be reached.
        """
        finite, _ = split_finite(metrics)
        model_id = model_uri.rpartition("/")[2] if model_uri else None
        header: Entry = {"kind": "run", "mlflow_id": mlflow_id}
        self._send([header, {"kind": "final", "metrics": finite, "time": now(), "model_id": model_id}])

    def find_result(self, run_id: str) -> StoredResult | None:
        """Returns how a run of this run id ended, whichever study it was part of; None if none has.

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

    def registry(self, name: str) -> Registry:
        """Returns the registered model called `name`."""
        return Registry(self.destination, name)

    def url(self, mlflow_id: str) -> str | None:
        """Returns where a browser shows the run; None when no server does."""
        experiment_id = self.destination.experiment_id
        if not self.uri.startswith("http") or experiment_id is None:
            return None
        return f"{without_password(self.uri).rstrip('/')}/#/experiments/{experiment_id}/runs/{quote(mlflow_id)}"

    def _opening(
        self,
        kind: Kind,
        key: str,
        name: str,
        parent_id: str | None,
        params: Mapping[str, Any],
        tags: Mapping[str, Any],
    ) -> Opening:
        merged = {name: str(value) for name, value in {**self._provenance, **tags}.items() if value is not None}
        return Opening(kind, key, name, parent_id, {name: str(value) for name, value in params.items()}, merged)

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
        return delivery


def _header(opening: Opening) -> Entry:
    return {"kind": "run", "opening": asdict(opening)}
