"""One training run in this process, with a progress bar; no Ray, and MLflow only where MLFLOW_TRACKING_URI names it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from t5vqvae.runs.follow import follow
from t5vqvae.runs.tracked_run import TrackedRun
from t5vqvae.spec.run import RunSpec

SHOWN = {
    "validation/nll": "nll {:.3f}",
    "validation/exact_match": "exact {:.3f}",
    "validation/bleu": "BLEU {:.1f}",
    "codebook/usage": "usage {:.2f}",
    "rate/bits_per_token": "{:.2f} bits/token",
}


def run_here(spec: RunSpec, into: Path | None, state: Path, console: Console | None = None) -> bool:
    """Trains `spec`, or goes on where it was interrupted, and prints a line a milestone.

    Args:
        spec: What to train.
        into: Folder of its checkpoints; None: one under `state` that the spec alone decides.
        state: State folder; see `tune.records.study_paths`.
        console: Where to draw; None: stderr.

    Returns:
        False if the run diverged.
    """
    import transformers

    transformers.utils.logging.disable_progress_bar()
    console = console or Console(stderr=True)
    into = into or state / "runs" / short_name(spec)
    run = TrackedRun(spec, into, state / "cache", key=f"runs/{into.name}", tracker=_tracker())
    with _bar(console) as bar:
        task = bar.add_task("training", total=spec.train.max_steps)
        for last in follow(run):
            bar.update(task, completed=int(last.metrics["progress/step"]))
            bar.console.print(line(last.metrics), highlight=False, soft_wrap=True)
    for signature, evidence in last.tags.items():
        console.print(f"{signature}: {evidence}", highlight=False, soft_wrap=True)
    console.print(f"{last.status}; checkpoint: {last.checkpoint}", highlight=False, soft_wrap=True)
    return last.status == "completed"


def line(metrics: Mapping[str, float]) -> str:
    """Returns a milestone in one line: its step and the metrics that are there."""
    shown = [text.format(metrics[key]) for key, text in SHOWN.items() if key in metrics]
    return "  ".join([f"step {int(metrics['progress/step']):>6}", *shown])


def short_name(spec: RunSpec) -> str:
    """Returns 12 hex digits that the spec's result-bearing settings decide."""
    return hashlib.sha256(json.dumps(spec.as_dict(only_results=True), sort_keys=True).encode()).hexdigest()[:12]


def _bar(console: Console) -> Progress:
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()]
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console)


def _tracker() -> Any:
    """Returns a tracker if MLFLOW_TRACKING_URI is set, else None."""
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        return None
    from t5vqvae.tracking import Tracker

    return Tracker(uri, "runs")
