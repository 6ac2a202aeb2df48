"""The sections of a study's spec: its budget, its scheduler, its machines, its disk and its tracking."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import PlainValidator, model_validator

from t5vqvae.config import Config, setting
from t5vqvae.config.base import Address
from t5vqvae.errors import SettingError
from t5vqvae.redaction import redacted


class StudyBudget(Config):
    """Limits of every study: runs at once, and hours."""

    concurrent: int | None = setting(None, ge=1, description="runs at once; None: as many as the machines hold")
    hours: float | None = setting(None, gt=0, description="wall time of one start of the study; None: unlimited")
    step_seconds: float | None = setting(
        None, gt=0, description="estimate of a training step's seconds, evaluation shared out; for dry runs"
    )


class Budget(StudyBudget):
    """The end of a search: whichever limit comes first."""

    trials: int = setting(20, ge=1, description="trials, the baseline included")
    max_failures: int = setting(3, ge=0, description="failed trials that a search accepts; one more ends it")

    def extended(self, word: str, num_ended: int) -> int:
        """Returns the number of trials for `--trials WORD`: `30`, or `+10` for ten more than a finished study had.

        `+10` on an unfinished study resumes it: the same command, sent again after a kill, adds nothing.

        Args:
            word: The word of the command line.
            num_ended: Trials of the study that have ended.

        Raises:
            SettingError: If the word is no number.
        """
        if not re.fullmatch(r"\+?[0-9]+", word) or int(word) == 0:
            raise SettingError(f"--trials {word} must be a number of trials, or +N for N more than before")
        if not word.startswith("+"):
            return int(word)
        return self.trials + int(word) if num_ended >= self.trials else self.trials


class SchedulerConfig(Config):
    """Decides which running trials are stopped early."""

    name: Literal["asha", "none"] = setting("asha", description="asynchronous successive halving, or none")
    metric: str | None = setting(None, description="metric by which trials are stopped; None: the only objective")
    grace_steps: int | None = setting(
        None, ge=1, description="steps that every trial takes; None: half a trial's, at least one evaluation"
    )
    reduction_factor: float = setting(3, gt=1, description="one in so many trials passes a rung")


def _database(value: Any) -> str:
    scheme, separator, rest = str(value).partition("://")
    if scheme not in ("postgresql", "postgresql+psycopg") or not separator or not rest.strip("/"):
        raise SettingError(
            f"storage={redacted(str(value))} must be postgresql://user@host/database, with a password in the address,"
            " PGPASSWORD or ~/.pgpass; leave it out to keep trials in the study's folder"
        )
    return str(value)


DatabaseAddress = Annotated[str, PlainValidator(_database)]
"""The address of a PostgreSQL database."""


def _gpus(value: Any) -> float | str:
    if value == "auto":
        return "auto"
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise SettingError(f"resources.gpus={value!r} must be a number of GPUs, 0 or more, or auto")
    return float(value)


class Resources(Config):
    """The workers of a trial, with the CPUs and GPUs of each."""

    workers: int = setting(1, ge=1, description="data-parallel workers a trial")
    cpus: float = setting(1, gt=0, description="CPUs a worker")
    gpus: Annotated[float | Literal["auto"], PlainValidator(_gpus)] = setting(
        0, description="GPUs a worker; 0.25: four trials share one; auto: by the memory of the first one"
    )

    @property
    def first_gpus(self) -> float:
        """GPUs of a worker of the first trial: a whole one with `auto`, which measures its memory."""
        return 1.0 if isinstance(self.gpus, str) else self.gpus

    @property
    def packed(self) -> bool:
        """Whether measured memory decides how many trials share a GPU."""
        return self.gpus == "auto"

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.packed and self.workers > 1:
            raise SettingError(
                f"resources.gpus=auto packs trials of one worker, not of resources.workers={self.workers}, which need a"
                " GPU each; set resources.gpus=1"
            )
        if self.first_gpus > 1 and self.first_gpus % 1:
            raise SettingError(f"resources.gpus={self.gpus} must be a whole number or less than 1")
        return self


class Retention(Config):
    """Decides which checkpoints stay on the disk."""

    keep_best: int | None = setting(3, ge=1, description="trials that keep their last checkpoint; None: all that count")
    copy_to: Address | None = setting(
        None,
        min_length=1,
        description="folder or address (s3://, gs://) to copy ended trials to, for other machines; None: nowhere",
    )
    keep_steps: int = setting(2, ge=1, description="checkpoints of a running trial")


class Tracking(Config):
    """The MLflow server and experiment of a study."""

    uri: str | None = setting(None, description="None: $MLFLOW_TRACKING_URI, or a database under the state folder")
    experiment: str | None = setting(None, description="None: the study's name")
