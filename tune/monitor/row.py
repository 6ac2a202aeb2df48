"""One trial as the board shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from t5vqvae.evaluation.metric import STEP
from tune.records.running import noted_metrics, steps_of


@dataclass
class Row:
    """One trial as the board shows it.

    Attributes:
        number: Its number in the study.
        overrides: Its settings.
        status: As in `TrialRecord`, or `running`, or `interrupted`.
        metrics: Its last metrics.
        seconds: Time spent on it so far, the sum over all its starts.
        url: Its page in MLflow.
        step: Optimizer steps done.
        steps: Optimizer steps in all; None: unknown.
    """

    number: int
    overrides: Mapping[str, object]
    status: str = "running"
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    url: str | None = None

    @property
    def step(self) -> int | None:
        found = self.metrics.get(STEP)
        return None if found is None else int(found)

    @property
    def steps(self) -> int | None:
        return steps_of(self.metrics)

    @property
    def share(self) -> float:
        """The share of it that is done; 1 for a trial that has ended, whatever its last step."""
        if self.status == "running":
            return self.step / self.steps if self.step and self.steps else 0.0
        return 0.0 if self.status == "interrupted" else 1.0

    def at(self, live: Mapping[str, Any]) -> Row:
        """Returns this row at the step that its process has noted since its last report."""
        return replace(self, metrics=noted_metrics(self.metrics, live)) if self.status == "running" else self
