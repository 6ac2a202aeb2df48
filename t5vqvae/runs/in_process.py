"""Runs one training in this process and prints its milestones; see `t5vqvae.stages` for what is shown between them.

It does without Ray, and uses MLflow only if MLFLOW_TRACKING_URI names a server.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from t5vqvae.evaluation.metrics import METRICS, STEP
from t5vqvae.runs.follow import follow
from t5vqvae.runs.tracked_run import TrackedRun
from t5vqvae.spec.run import RunSpec
from t5vqvae.training.progress_bars import without_progress_bars
from t5vqvae.training.threads import THREADS, run_threads, use_threads

if TYPE_CHECKING:
    from t5vqvae.tracking import Tracker


def run_here(spec: RunSpec, into: Path | None, state: Path, console: Console | None = None) -> bool:
    """Trains a run, or resumes it after an interruption, and prints one line per milestone.

    Args:
        spec: The run.
        into: Folder of its checkpoints; None: one under `state` that depends on the spec alone.
        state: State folder; see `tune.records.study_paths`.
        console: The console to draw on; None: stderr.

    Returns:
        False if the run diverged.
    """
    console = console or Console(stderr=True)
    into = into or state / "runs" / short_name(spec)
    threads = run_threads(into)
    use_threads(threads)
    facts = {THREADS: str(threads)}
    run = TrackedRun(spec, into, state / "cache", key=f"runs/{into.name}", tracker=_tracker(), tags=facts)
    console.print(f"threads: {threads}", highlight=False)
    with without_progress_bars():
        for last in follow(run):
            console.print(_line(last.metrics), highlight=False, soft_wrap=True)
    for signature, evidence in last.tags.items():
        console.print(f"{signature}: {evidence}", highlight=False, soft_wrap=True)
    console.print(f"{last.status}; checkpoint: {last.checkpoint}", highlight=False, soft_wrap=True)
    return last.status == "completed"


def _line(metrics: Mapping[str, float]) -> str:
    """Returns a milestone in one line: its step, and those of its metrics that have a `brief` form."""
    shown = [metric.brief.format(metrics[key]) for key, metric in METRICS.items() if metric.brief and key in metrics]
    return "  ".join([f"step {int(metrics[STEP]):>6}", *shown])


def short_name(spec: RunSpec) -> str:
    """Returns 12 hex digits of a hash over the settings that decide a run's result."""
    return hashlib.sha256(json.dumps(spec.as_dict(only_results=True), sort_keys=True).encode()).hexdigest()[:12]


def _tracker() -> Tracker | None:
    """Returns a tracker if MLFLOW_TRACKING_URI is set, else None."""
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        return None
    from t5vqvae.tracking import Tracker

    return Tracker(uri, "runs")
