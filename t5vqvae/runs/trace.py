"""The traces of a run outside its checkpoints: its MLflow run and the time it took."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from t5vqvae.errors import DamagedFileError
from t5vqvae.evaluation.marked_errors import marked
from t5vqvae.files import atomic_write, read_mapping, write_json
from t5vqvae.redaction import redacted_values
from t5vqvae.runs.rerun import rerun_note
from t5vqvae.runs.tracked_run import TrackedRun
from t5vqvae.tracking.server.destination import NOTE

if TYPE_CHECKING:
    from t5vqvae.tracking import RunLogger
    from t5vqvae.training.checkpoint import StoredMilestone


OPEN_SECONDS = 0.5
"""Seconds after its start during which a run's reports wait for its MLflow id."""


class RunTrace:
    """Logs one run to MLflow and counts the seconds spent on it; a context manager.

    An absent tracking server never stops training: unsent entries wait in the spool of the run's folder.
    """

    def __init__(self, run: TrackedRun) -> None:
        self.run = run
        self._logger: RunLogger | None = None
        self._has_data = False
        self._clock = run.directory / "seconds.json"
        self._before = _seconds_in(self._clock)
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds spent on the run, including earlier starts up to their last milestone."""
        return self._before + time.monotonic() - self._started

    def wait_mlflow_id(self) -> str | None:
        """Returns the run's id in MLflow; None while the server has not answered."""
        left = self._started + OPEN_SECONDS - time.monotonic()
        return None if self._logger is None else self._logger.wait_opened(max(0.0, left))

    def __enter__(self) -> RunTrace:
        run = self.run
        run.directory.mkdir(parents=True, exist_ok=True)
        if run.tracker is not None:
            params, tags = run.spec.as_flat_dict(), {**run.tags, NOTE: rerun_note(run.spec, run.note)}
            spool = run.directory / "spool"
            self._logger = run.tracker.open_logger(run.parent_id, run.key, run.name or run.key, params, tags, spool)
            self._log_spec(self._logger)  # now: a trial that is pruned or that fails has it, too
        return self

    def _log_spec(self, logger: RunLogger) -> None:
        resolved = self.run.directory / "spec.json"
        with atomic_write(resolved) as scratch:  # without a checksum: it is for readers of MLflow
            values = redacted_values(self.run.spec.as_dict())
            scratch.write_text(json.dumps(values, indent=2), encoding="utf-8")
        logger.artifact(resolved)

    def note(self, stored: StoredMilestone) -> None:
        """Logs one milestone in the form in which a checkpoint stores it."""
        write_json(self._clock, {"seconds": self.seconds})
        if self._logger is None:
            return
        tokens = stored["metrics"].get("progress/tokens")
        self._logger.log(stored["metrics"], stored["step"], None if tokens is None else int(tokens))
        identity = {"run_id": stored.get("run_id"), "data_fingerprint": stored.get("data_fingerprint")}
        tags = {name: value for name, value in identity.items() if value} | stored["tags"]
        if tags:
            self._logger.tags(tags)
        if (fingerprint := stored.get("data_fingerprint")) and not self._has_data:
            data, self._has_data = self.run.spec.data, True
            self._logger.data(data.corpus.name, fingerprint, source=data.as_flat_dict())
        if stored["status"] != "running":
            self._finish(self._logger, stored)

    def _finish(self, logger: RunLogger, stored: StoredMilestone) -> None:
        """Logs what only a finished run has: its reconstructions and its codebook usage."""
        if samples := stored.get("samples"):
            logger.table(marked(samples), "reconstructions")
        if code_counts := stored.get("code_counts"):
            logger.codebook_usage(code_counts)

    def __exit__(self, *_: object) -> None:
        if self._logger is not None:
            self._logger.close()


def _seconds_in(clock: Path) -> float:
    """Returns the seconds of earlier starts; 0 where their file is missing or damaged, which costs no result."""
    try:
        return float(read_mapping(clock).get("seconds", 0.0))
    except (FileNotFoundError, DamagedFileError, TypeError, ValueError):
        return 0.0
