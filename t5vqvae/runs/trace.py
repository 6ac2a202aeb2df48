"""The traces of a run outside its checkpoints: its MLflow run and its seconds."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from t5vqvae.files import read_json, write_json
from t5vqvae.runs.tracked_run import TrackedRun

if TYPE_CHECKING:
    from t5vqvae.tracking import RunLogger


OPEN_SECONDS = 0.5
"""How long after its start a run's reports wait for its id, while MLflow is asked for the first time."""


class RunTrace:
    """The traces of one run outside its checkpoints: MLflow, and the seconds spent.

    A tracking server that is away never stops training: what cannot be sent is spooled in the run's folder.
    """

    def __init__(self, run: TrackedRun) -> None:
        self.run = run
        self._logger: RunLogger | None = None
        self._clock = run.directory / "seconds.json"
        self._before = read_json(self._clock)["seconds"] if self._clock.exists() else 0.0
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds spent on the run, those of earlier starts up to their last milestone included."""
        return self._before + time.monotonic() - self._started

    def wait_mlflow_id(self) -> str | None:
        """Returns the run's id in MLflow; None as long as the server does not answer."""
        left = self._started + OPEN_SECONDS - time.monotonic()
        return None if self._logger is None else self._logger.wait_opened(max(0.0, left))

    def __enter__(self) -> RunTrace:
        run = self.run
        run.directory.mkdir(parents=True, exist_ok=True)
        if run.tracker is not None:
            params, tags = run.spec.as_flat_dict(), dict(run.tags)
            spool = run.directory / "spool"
            self._logger = run.tracker.open_logger(run.parent_id, run.key, run.key, params, tags, spool)
        return self

    def note(self, stored: Mapping[str, Any]) -> None:
        """Writes one milestone down, as a checkpoint stores it: `step`, `status`, `metrics`, `tags`, `samples`."""
        write_json(self._clock, {"seconds": self.seconds})
        if self._logger is None:
            return
        tokens = stored["metrics"].get("progress/tokens")
        self._logger.log(stored["metrics"], stored["step"], None if tokens is None else int(tokens))
        tags = {name: stored[name] for name in ("run_id", "data_fingerprint") if stored.get(name)} | stored["tags"]
        if tags:
            self._logger.tags(tags)
        if stored["status"] != "running":
            self._finish(self._logger, stored)

    def _finish(self, logger: RunLogger, stored: Mapping[str, Any]) -> None:
        """Logs what only the end of a run has: its spec, its data, its reconstructions and its use of the codes."""
        resolved = self.run.directory / "spec.json"
        write_json(resolved, self.run.spec.as_dict(), indent=2)
        logger.artifact(resolved)
        if stored.get("data_fingerprint"):
            data = self.run.spec.data
            logger.data(data.corpus.name, stored["data_fingerprint"], source=data.as_flat_dict())
        if stored.get("samples"):
            logger.table(stored["samples"], "reconstructions")
        if stored.get("code_counts"):
            logger.codebook_usage(stored["code_counts"])

    def __exit__(self, *_: object) -> None:
        if self._logger is not None:
            self._logger.close()
