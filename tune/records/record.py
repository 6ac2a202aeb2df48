"""The record of an ended trial: one JSON file, written once, whole or not at all.

Resuming, judging, promoting and reporting read the records; Optuna's storage and MLflow repeat them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from t5vqvae.errors import UserError
from t5vqvae.files import read_json, write_json

Status = Literal["completed", "pruned", "failed", "diverged"]
FILE = "record.json"


@dataclass(frozen=True)
class TrialRecord:
    """A trial that has ended.

    Attributes:
        study: Name of the study.
        number: Its number in the study, from 0; evidence from another study (`--from`) takes numbers too.
        overrides: `{dotted.path: value}` over the study's base.
        run_id: `RunSpec.run_id` of its run; None if it failed before the id was known.
        mlflow_id: Its MLflow run; None without one.
        status: How it ended.
        steps: Optimizer steps done.
        metrics: Its last metrics.
        checkpoint: Its newest checkpoint; None if none was written or kept.
        tags: Failure signatures and errors, with their evidence.
        seconds: Seconds of all its starts.
    """

    study: str
    number: int
    overrides: Mapping[str, Any]
    run_id: str | None
    mlflow_id: str | None
    status: Status
    steps: int
    metrics: Mapping[str, float]
    checkpoint: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def write(self, directory: Path) -> Path:
        """Writes `record.json` into the trial's folder, durably; returns its path.

        A checkpoint inside the folder is written relative to it, so that the state folder can move.
        """
        values = asdict(self)
        if self.checkpoint is not None and Path(self.checkpoint).is_relative_to(directory):
            values["checkpoint"] = str(Path(self.checkpoint).relative_to(directory))
        path = directory / FILE
        write_json(path, values, indent=1)
        return path

    @classmethod
    def read(cls, directory: Path) -> TrialRecord:
        """Reads the record of the trial in `directory`.

        Raises:
            FileNotFoundError: If the trial has not ended.
            UserError: If the file is no record.
        """
        path = directory / FILE
        try:
            record = cls(**read_json(path))
        except (TypeError, ValueError) as error:
            raise UserError(f"{path} is no trial record ({error}); delete it to run the trial again") from None
        if record.checkpoint is None:
            return record
        return cls(**{**asdict(record), "checkpoint": str(directory / record.checkpoint)})


def read_records(trials: Path) -> list[TrialRecord]:
    """Returns the records of all ended trials under a study's folder `trials`, by number."""
    found = [TrialRecord.read(path.parent) for path in trials.glob(f"*/{FILE}")]
    return sorted(found, key=lambda record: record.number)
