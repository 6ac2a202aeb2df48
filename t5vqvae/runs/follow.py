"""One run that is tracked, checkpointed and resumable: what every runner (a process, Ray Train, the CLI) follows.

`follow` puts `train`'s milestones into MLflow and onto the disk and yields one flat report each. Killed at any moment
and followed again, it goes on from the newest intact checkpoint. A resumed run first repeats the milestone of that
checkpoint: whoever was killed before hearing of it (the driver, the storage, the tracking server) hears of it now, and
whoever knows it already ignores it, since every listener is idempotent by step. So a run that had finished when its
driver died ends at once with its true result instead of training on.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t5vqvae.errors import CheckpointError
from t5vqvae.training import checkpoint

if TYPE_CHECKING:
    pass
from t5vqvae.runs.ownership import FolderOwner
from t5vqvae.runs.trace import RunTrace
from t5vqvae.runs.tracked_run import TrackedRun, load_trainer


def follow(run: TrackedRun, *, writes: bool = True) -> Iterator[dict[str, Any]]:
    """Trains and yields one report a milestone, the last of status `completed` or `diverged`.

    A report is flat: the metrics as they are, and `status`, `tags`, `run_id`, `mlflow_id`, `checkpoint` (a path) and
    `seconds` (spent on the run so far, all starts together).

    Args:
        run: What to follow.
        writes: False on all workers but the first, which then log and save nothing, but yield in step with it.
    """
    newest = checkpoint.latest(run.directory, run.spec)
    owner = FolderOwner(run.directory) if writes else None
    with ExitStack() as stack:
        trace = stack.enter_context(RunTrace(run)) if writes else None
        if newest is not None:
            stored = checkpoint.read_milestone(newest)
            yield _report(stored, newest, trace)
            if stored["status"] != "running":
                return
        for milestone in load_trainer(run.trainer)(run.spec, cache_dir=run.cache_dir, resume_from=newest):
            stored = dict(milestone.state.milestone)
            if owner is not None:
                owner.check()
                newest = _save(milestone.state, run, stored) or newest
            yield _report(stored, newest, trace)


def _save(state: Any, run: TrackedRun, stored: dict[str, Any]) -> Path | None:
    """Saves a checkpoint and deletes old ones; a full disk costs checkpoints and leaves a tag, never the run."""
    try:
        path = state.save(run.directory)
    except CheckpointError as error:
        stored["tags"] = {**stored["tags"], "checkpoint/failed": f"step {stored['step']}: {error}"}
        return None
    if run.keep_steps is not None:
        checkpoint.keep_newest(run.directory, run.keep_steps)
    return path


def _report(stored: Mapping[str, Any], newest: Path | None, trace: RunTrace | None) -> dict[str, Any]:
    """Returns what listeners hear of a milestone, after the trace has noted it."""
    report = {
        **stored["metrics"],
        "status": stored["status"],
        "tags": stored["tags"],
        "run_id": stored.get("run_id"),
        "checkpoint": str(newest) if newest else None,
    }
    if trace is not None:
        trace.note(stored)
        report |= {"mlflow_id": trace.wait_mlflow_id(), "seconds": trace.seconds}
    return report


def failure(directory: Path, error: Exception, last: Mapping[str, Any] = {}) -> dict[str, Any]:
    """Returns the last report of a run that raised, and leaves the traceback in its folder.

    Args:
        directory: The run's folder.
        error: What it raised.
        last: Its last report, whose metrics stay.
    """
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "error.txt").write_text("".join(traceback.format_exception(error)))
    line = f"{type(error).__name__}: {error}".splitlines()[0][:300]
    tags = {**last.get("tags", {}), "error": line}
    if "OutOfMemoryError" in (type(error).__name__, type(error.__cause__).__name__):
        tags["signature/out_of_memory"] = line
    return {**last, "status": "failed", "tags": tags}
