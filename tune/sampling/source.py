"""Declares the interface between the Ray searcher and the code that chooses the trials of a study.

A search implements it with Optuna (`Suggestions`), an ablation with its plan (`tune/ablation/run_queue.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from t5vqvae.config import Overrides


@dataclass(frozen=True)
class NextTrial:
    """A trial to start.

    Attributes:
        number: Number of the trial in the study.
        overrides: `{dotted.path: value}` over the study's base.
        tags: Tags of the trial's MLflow run.
    """

    number: int
    overrides: Overrides
    tags: Mapping[str, str] | None = None


class Wait(Enum):
    """The type of `WAIT`."""

    WAIT = "wait"


WAIT = Wait.WAIT
"""No trial can start before another one ends."""


class Source(Protocol):
    """Chooses the trials of a study."""

    def next(self) -> NextTrial | Wait | None:
        """Returns the next trial, WAIT while none can start, or None when none is left."""

    def report(self, number: int, metrics: Mapping[str, float]) -> None:
        """Stores the metrics of a milestone, with `progress/step`."""

    def end(self, number: int, status: str, metrics: Mapping[str, float]) -> None:
        """Stores the last status and metrics of a trial, once for all its attempts."""
