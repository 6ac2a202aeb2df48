"""What runs of a study: its trials that have not ended, and how far it is."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from t5vqvae.evaluation.metric import STEP
from t5vqvae.stages import PROGRESS, read_note
from tune.records.record import ENDED

FRACTION = "progress/fraction"
"""The metric with the share of a trial's steps that is done."""
ALIVE = ("running", "interrupted")
"""The statuses of a trial that has not ended."""
STATUSES: tuple[str, ...] = (*ALIVE, *ENDED)


def steps_of(metrics: Mapping[str, float]) -> int | None:
    """Returns the optimizer steps of a trial in all, by its last metrics; None while unknown."""
    share = metrics.get(FRACTION)
    return round(metrics[STEP] / share) if share and STEP in metrics else None


def noted_metrics(metrics: Mapping[str, float], live: Mapping[str, Any]) -> Mapping[str, float]:
    """Returns the last metrics of a running trial, at the step that its process has noted since."""
    step, steps = live.get("done"), live.get("total")
    if live.get("name") != "training" or not step or not steps or step <= metrics.get(STEP, 0):
        return metrics
    return {**metrics, STEP: float(step), FRACTION: step / steps}


@dataclass(frozen=True)
class RunningTrial:
    """A trial that has not ended, as its study's events and its process note it.

    Attributes:
        number: Its number in the study.
        overrides: Its settings; those of an ablation's run are its arm, seed and phase.
        metrics: Its last metrics that judge it, at its latest step.
        seconds: Time spent on it up to its last milestone.
        status: `running`; `interrupted` when its study's driver has ended.
        url: Its page in MLflow.
        left: Seconds to its last step at its own pace; None while unknown. It may be stopped before.
    """

    number: int
    overrides: Mapping[str, Any]
    metrics: Mapping[str, float]
    seconds: float
    status: Literal["running", "interrupted"]
    url: str | None = None
    left: float | None = None

    @classmethod
    def of(cls, number: int, facts: Mapping[str, Any], folder: Path, locked: bool, began: float | None) -> RunningTrial:
        """Returns a trial by the facts of its events and by what its process notes between two milestones.

        Args:
            number: Its number.
            facts: The values of its events, the newest of each.
            folder: Its folder.
            locked: Whether a driver holds its study.
            began: When it began, in seconds since 1970; None if that was in an earlier start.
        """
        reported = facts.get("metrics", {})
        metrics = noted_metrics(reported, read_note(folder / PROGRESS))
        status: Literal["running", "interrupted"] = "running" if locked else "interrupted"
        seconds, url = facts.get("seconds") or 0.0, facts.get("url")
        left = _seconds_left(metrics, reported, seconds, began) if locked else None
        return cls(number, facts.get("overrides", {}), metrics, seconds, status, url, left)

    @property
    def step(self) -> int:
        """Optimizer steps done."""
        return int(self.metrics.get(STEP, 0))

    @property
    def steps(self) -> int | None:
        """Optimizer steps in all; None while unknown."""
        return steps_of(self.metrics)


def _seconds_left(
    metrics: Mapping[str, float], reported: Mapping[str, float], seconds: float, began: float | None
) -> float | None:
    """Returns the seconds to a trial's last step, at the pace of its milestones; before the first, of its start."""
    steps, done = steps_of(metrics), metrics.get(STEP, 0)
    if steps is None:
        return None
    if reported.get(STEP) and seconds:
        return (steps - done) * seconds / reported[STEP]
    return None if began is None else (steps - done) * (time.time() - began) / done


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
