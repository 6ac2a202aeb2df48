"""What decides which trials a study runs, as the searcher on Ray asks for it.

A search has Optuna behind it (`Suggestions`), an ablation its plan (`tune/ablation/run_queue.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol


@dataclass(frozen=True)
class NextTrial:
    """A trial to start.

    Attributes:
        number: Its number in the study.
        overrides: `{dotted.path: value}` over the study's base.
        tags: Tags of its MLflow run.
    """

    number: int
    overrides: Mapping[str, Any]
    tags: Mapping[str, str] | None = None


class Wait(Enum):
    """The type of `WAIT`."""

    WAIT = "wait"


WAIT = Wait.WAIT
"""No trial can start before another one ends."""


class Source(Protocol):
    """Decides which trials a study runs."""

    def next(self) -> NextTrial | Wait | None:
        """Returns the next trial, WAIT while none can start, or None when none is left."""

    def report(self, number: int, metrics: Mapping[str, float]) -> None:
        """Receives the metrics of a milestone, `progress/step` among them."""

    def end(self, number: int, status: str, metrics: Mapping[str, float]) -> None:
        """Receives the last status and metrics of a trial, once for all its attempts."""
