"""The record of an ended trial: one JSON file, written once, whole or not at all.

Resuming, judging, promoting and reporting read the records; Optuna's storage and MLflow repeat them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from pydantic import ConfigDict, TypeAdapter, ValidationError

from t5vqvae.errors import DamagedFileError
from t5vqvae.files import read_mapping, set_aside, write_json

Status = Literal["completed", "pruned", "failed", "diverged"]
ENDED: tuple[Status, ...] = get_args(Status)
FILE = "record.json"
WAY_OUT = "start its study again, which gives the trial a new record"


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
        history: The metrics that judge it, by the step of their milestone; Optuna's storage can be made anew from it.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

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
    history: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

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
            DamagedFileError: If the file is damaged, or is the record of another trial.
        """
        path = directory / FILE
        values = read_mapping(path, WAY_OUT)
        try:
            record = _adapter().validate_python(values)
        except ValidationError as error:
            place = ".".join(str(part) for part in error.errors()[0]["loc"])
            raise DamagedFileError(f"{path} is damaged: {place} is no part of a record; {WAY_OUT}") from None
        if directory.name.isdigit() and int(directory.name) != record.number:
            raise DamagedFileError(f"{path} is damaged: it is the record of trial {record.number}; {WAY_OUT}")
        if record.checkpoint is None:
            return record
        return cls(**{**asdict(record), "checkpoint": str(directory / record.checkpoint)})


@cache
def _adapter() -> TypeAdapter[TrialRecord]:
    return TypeAdapter(TrialRecord)


def read_records(trials: Path) -> list[TrialRecord]:
    """Returns the records of all ended trials under a study's folder `trials`, by number.

    Raises:
        DamagedFileError: If one is damaged.
    """
    found = [TrialRecord.read(path.parent) for path in trials.glob(f"*/{FILE}")]
    return sorted(found, key=lambda record: record.number)


def intact_records(trials: Path) -> dict[int, TrialRecord]:
    """Returns the records by number, for the driver that holds the study; sets damaged ones aside, with a line each.

    A trial whose record is gone gets a new one in the same start of its study.
    """
    found: dict[int, TrialRecord] = {}
    for path in sorted(trials.glob(f"*/{FILE}")):
        try:
            record = TrialRecord.read(path.parent)
        except DamagedFileError as error:
            reason = str(error).removesuffix(f"; {WAY_OUT}")
            print(f"{reason}; kept as {set_aside(path).name}, and its trial gets a new record", file=sys.stderr)
        else:
            found[record.number] = record
    return dict(sorted(found.items()))
