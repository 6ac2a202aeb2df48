"""Follows one run: trains it, logs it, saves checkpoints, resumes it and reports every milestone.

Every runner (a process, Ray Train, the command line) follows its run with `follow`. A run that was killed at any moment
resumes from its newest intact checkpoint when it is followed again.
"""

from __future__ import annotations

import traceback
from collections.abc import Generator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t5vqvae.disk import disk_error, disk_errors, need_room, size_of
from t5vqvae.errors import CheckpointError, DiskError
from t5vqvae.redaction import redacted
from t5vqvae.runs.fingerprint import changed_source, sources_of
from t5vqvae.runs.ownership import FolderOwner
from t5vqvae.runs.trace import RunTrace
from t5vqvae.runs.tracked_run import TRAINER, TrackedRun, load_trainer
from t5vqvae.stages import PROGRESS, noted, stage
from t5vqvae.training import checkpoint

if TYPE_CHECKING:
    from t5vqvae.training.checkpoint import StoredMilestone
    from t5vqvae.training.trainer import TrainingState

NO_DISK = "no_disk"
"""The status of an attempt that a full or read-only disk has ended; no run ends with it."""


@dataclass(frozen=True)
class Report:
    """The state of a run at one milestone, or at its end.

    Attributes:
        status: `running`; at the end of the run `completed`, `diverged` or `failed`; at the end of an attempt that
            another one follows `out_of_memory`, or `no_disk` where the same command resumes the run.
        metrics: `split/name` to value.
        tags: Failure signatures with their evidence, and the attempt's history.
        run_id: See `RunSpec.run_id`; None before the first milestone.
        checkpoint: Path of the newest checkpoint; None without one.
        mlflow_id: MLflow's id of the run; None while the server has not answered.
        seconds: Time spent on the run so far, over all starts; None on workers that write nothing.
    """

    status: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    run_id: str | None = None
    checkpoint: str | None = None
    mlflow_id: str | None = None
    seconds: float | None = None

    def flat(self) -> dict[str, Any]:
        """Returns the report as Ray receives it: the metrics by name, next to the other fields that are not None."""
        others = {name: value for name, value in vars(self).items() if name != "metrics" and value is not None}
        return {**self.metrics, **others}


def follow(run: TrackedRun, *, writes: bool = True) -> Generator[Report]:
    """Trains a run and yields one report per milestone; the last has the status `completed` or `diverged`.

    Args:
        run: What to follow.
        writes: False on every worker but the first: they log and save nothing, but yield in step with the first.
    """
    newest = _resumable(run, writes)
    owner = FolderOwner(run.directory) if writes else None
    with ExitStack() as stack:
        stack.enter_context(disk_errors(run.directory))
        trace = stack.enter_context(RunTrace(run)) if writes else None
        if writes:
            checkpoint.remove_partial(run.directory)  # a process that still writes there has lost the folder
            stack.enter_context(noted(run.directory / PROGRESS))
        if newest is not None:
            # A resumed run repeats the milestone of its checkpoint, because the driver, the storage or the tracking
            # server may have been killed before it received it. Each of them ignores a step that it has already. A run
            # that had finished when its driver died thus ends at once with its result, instead of training on.
            stored = checkpoint.read_milestone(newest)
            yield _report(stored, newest, trace)
            if stored["status"] != "running":
                return
        for milestone in load_trainer(run.trainer)(run.spec, cache_dir=run.cache_dir, resume_from=newest):
            stored = milestone.state.milestone.copy()
            if owner is not None:
                owner.check()
                newest = _save(milestone.state, run, stored, newest) or newest
            yield _report(stored, newest, trace)


def _resumable(run: TrackedRun, writes: bool) -> Path | None:
    """Returns the checkpoint to resume from: the newest intact one, of the same settings, data and backbone.

    Raises:
        CheckpointError: If it is of other settings, or of another content of the data or the backbone.
    """
    newest = checkpoint.latest(run.directory, run.spec)
    if newest is None or run.trainer != TRAINER:
        return newest
    changed = changed_source(checkpoint.read_milestone(newest), sources_of(run.spec, run.cache_dir), run.spec)
    if changed is None:
        return newest
    if not run.starts_anew:
        raise CheckpointError(
            f"checkpoint {newest} belongs to another content of {changed}; bring that back, or use another folder"
        )
    if writes:
        checkpoint.keep_newest(run.directory, 0)
    return None


def _save(state: TrainingState, run: TrackedRun, stored: StoredMilestone, newest: Path | None) -> Path | None:
    """Saves a checkpoint and deletes old ones; where that fails it adds a tag instead, and the run continues.

    Raises:
        DiskError: If the disk has no room for another checkpoint like the newest, or refuses it.
    """
    need_room(run.directory, 0 if newest is None else size_of(newest))
    try:
        with stage("writing the checkpoint"):
            path = state.save(run.directory)
    except CheckpointError as error:
        if (refused := disk_error(error, run.directory)) is not None:
            raise refused from error
        stored["tags"] = {**stored["tags"], "checkpoint/failed": f"step {stored['step']}: {error}"}
        return None
    if run.keep_steps is not None:
        checkpoint.keep_newest(run.directory, run.keep_steps, saved=path)
    return path


def _report(stored: StoredMilestone, newest: Path | None, trace: RunTrace | None) -> Report:
    """Returns the report of a milestone, after the trace has logged it."""
    report = Report(
        status=stored["status"],
        metrics=stored["metrics"],
        tags=stored["tags"],
        run_id=stored.get("run_id"),
        checkpoint=str(newest) if newest else None,
    )
    if trace is None:
        return report
    trace.note(stored)
    return replace(report, mlflow_id=trace.wait_mlflow_id(), seconds=trace.seconds)


def stopped_by_disk(error: DiskError, last: Report | None = None) -> Report:
    """Returns the last report of a run that its disk has stopped; it has not ended."""
    last = last or Report("running")
    return replace(last, status=NO_DISK, tags={**last.tags, "error": str(error)})


def failure(directory: Path, error: Exception, last: Report | None = None) -> Report:
    """Returns the last report of a run that raised, and writes the traceback to `error.txt` in its folder.

    Args:
        directory: The run's folder.
        error: What the run raised.
        last: The run's last report, whose metrics are kept.
    """
    directory.mkdir(parents=True, exist_ok=True)
    text = directory / "error.txt"
    text.touch(0o600)
    text.write_text(redacted("".join(traceback.format_exception(error))))
    line = redacted(f"{type(error).__name__}: {error}".splitlines()[0])[:300]
    last = last or Report("running")
    tags = {**last.tags, "error": line}
    if "OutOfMemoryError" in (type(error).__name__, type(error.__cause__).__name__):
        tags["signature/out_of_memory"] = line
    return replace(last, status="failed", tags=tags)
