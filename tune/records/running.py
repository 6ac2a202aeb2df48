"""What runs of a study: its trials that have not ended, and how far it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from t5vqvae.evaluation.metrics import STEP
from t5vqvae.stages import PROGRESS, read_note

FRACTION = "progress/fraction"


@dataclass(frozen=True)
class RunningTrial:
    """A trial that has not ended, as its study's events and its process note it.

    Attributes:
        number: Its number in the study.
        overrides: Its settings; those of an ablation's run are its arm, seed and phase.
        metrics: Its last metrics that judge it.
        step: Optimizer steps done.
        steps: Optimizer steps in all; None: unknown.
        seconds: Time spent on it up to its last milestone.
        status: `running`; `interrupted` when its study's driver has ended.
        url: Its page in MLflow.
    """

    number: int
    overrides: Mapping[str, Any]
    metrics: Mapping[str, float]
    step: int
    steps: int | None
    seconds: float
    status: Literal["running", "interrupted"]
    url: str | None = None

    @classmethod
    def of(cls, number: int, facts: Mapping[str, Any], folder: Path, locked: bool) -> RunningTrial:
        """Returns a trial by the facts of its events and by what its process notes between two milestones.

        Args:
            number: Its number.
            facts: The values of its events, the newest of each.
            folder: Its folder.
            locked: Whether a driver holds its study.
        """
        metrics, live = facts.get("metrics", {}), read_note(folder / PROGRESS)
        step, share = int(metrics.get(STEP, 0)), metrics.get(FRACTION)
        steps = round(step / share) if share else None
        if live.get("name") == "training" and live.get("done") and live.get("total"):
            step, steps = max(step, int(live["done"])), int(live["total"])
        status: Literal["running", "interrupted"] = "running" if locked else "interrupted"
        seconds, url = facts.get("seconds") or 0.0, facts.get("url")
        return cls(number, facts.get("overrides", {}), metrics, step, steps, seconds, status, url)


@dataclass(frozen=True)
class Progress:
    """How far a study is.

    Attributes:
        state: `running`; `finished`: nothing is left; `interrupted`: its command resumes it.
        done: Trials that have ended.
        planned: Trials in all; None: unknown.
        seconds: Seconds since the driver started; None when none runs.
        left: Seconds to the end at the pace of this start; None while unknown.
    """

    state: Literal["running", "finished", "interrupted"]
    done: int
    planned: int | None
    seconds: float | None = None
    left: float | None = None
