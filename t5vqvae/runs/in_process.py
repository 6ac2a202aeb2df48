"""Runs one training in this process and prints its milestones; see `t5vqvae.stages` for what is shown between them.

It does without Ray, and uses MLflow only if MLFLOW_TRACKING_URI names a server.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from t5vqvae.errors import DiskError, UserError
from t5vqvae.evaluation.metric import STEP
from t5vqvae.evaluation.metrics import METRICS
from t5vqvae.files import digest, held
from t5vqvae.machine_errors import environment_fault
from t5vqvae.redaction import redacted
from t5vqvae.runs.attempt import UNFIT
from t5vqvae.runs.fingerprint import changed_source, sources_of
from t5vqvae.runs.follow import Report, failure, follow
from t5vqvae.runs.ownership import OWNER
from t5vqvae.runs.tracked_run import TRAINER, TrackedRun
from t5vqvae.spec.run import RunSpec
from t5vqvae.tracking.logger import AWAY
from t5vqvae.training import checkpoint
from t5vqvae.training.progress_bars import without_progress_bars
from t5vqvae.training.threads import THREADS, run_threads, use_threads
from t5vqvae.training.unfit import refuse_new

if TYPE_CHECKING:
    from t5vqvae.tracking import Tracker

log = logging.getLogger("t5vqvae.tracking")


def run_here(
    spec: RunSpec, into: Path | None, state: Path, console: Console | None = None, trainer: str = TRAINER
) -> bool:
    """Trains a run, or resumes it after an interruption, and prints one line per milestone.

    Args:
        spec: The run.
        into: Folder of its checkpoints; None: one under `state` that depends on the spec alone.
        state: State folder; see `tune.records.study_paths`.
        console: The console to draw on; None: stderr.
        trainer: See `t5vqvae.runs.tracked_run.TRAINER`.

    Returns:
        False if the run diverged.
    """
    console = console or Console(stderr=True)
    into = into or _own_folder(spec, state, console, trainer)
    if checkpoint.latest(into, spec) is None:
        refuse_new(spec)
    run = TrackedRun(
        spec,
        into,
        state / "cache",
        key=f"runs/{into.name}",
        tracker=_tracker(into),
        trainer=trainer,
        starts_anew=False,
    )
    return followed_here(run, console, "wait for it, stop it, or name another folder by --into").status == "completed"


def followed_here(run: TrackedRun, console: Console, way_out: str, *, raises: bool = True) -> Report:
    """Trains a tracked run in this process, or resumes it; prints its milestones and returns its last report.

    Args:
        run: The run; a tag with the threads it computes with is added.
        console: The console to draw on.
        way_out: What to do where another process trains it.
        raises: False: what the run itself raises is its last report, with the status `failed`, as in a search.

    Raises:
        UserError: If another process trains it.
    """
    threads = run_threads(run.directory)
    use_threads(threads)
    run = replace(run, tags={**run.tags, THREADS: str(threads)})
    console.print(f"threads: {threads}", highlight=False)
    taken = held(run.directory / "lock", f"the run in {run.directory} is trained", way_out)
    with taken, without_progress_bars(), _said_once(console):
        for last in _closed_in_mlflow(run, raises):
            if last.status != "failed":  # the last milestone is printed already, if there was one
                console.print(_line(last.metrics), highlight=False, soft_wrap=True)
    for signature, evidence in last.tags.items():
        console.print(f"{signature}: {evidence}", highlight=False, soft_wrap=True)
    console.print(f"{last.status}; checkpoint: {last.checkpoint}", highlight=False, soft_wrap=True)
    return last


def _closed_in_mlflow(run: TrackedRun, raises: bool) -> Generator[Report]:
    """Follows a run, and ends its MLflow run: completed, failed or interrupted."""
    last = Report("running")
    try:
        for last in follow(run):
            yield last
    except Exception as error:
        if not _is_anothers(run.directory):
            _close(run, last, "failed", {"error": f"{type(error).__name__}: {error}".splitlines()[0][:300]})
        if raises or not _is_its_own(error):
            raise
        last = failure(run.directory, error, last)
    except BaseException:  # Ctrl-C, or a signal that ends the process
        _close(run, last, "interrupted", {})
        raise
    else:
        _close(run, last, last.status, {})
        return
    yield last  # outside `except`: the error is gone, and with it the tensors in the frames of its traceback


def _is_its_own(error: Exception) -> bool:
    """Returns whether a run failed by itself: not by what it was given, its disk, or a GPU that this process lost."""
    from t5vqvae.training.memory import is_out_of_memory

    if isinstance(error, UserError) or isinstance(environment_fault(error), DiskError):
        return False
    return is_out_of_memory(error) or UNFIT not in str(error)


def _close(run: TrackedRun, last: Report, status: str, tags: Mapping[str, str]) -> None:
    """Ends the MLflow run; where the server is away, the next command that trains into the folder does."""
    if run.tracker is None:
        return
    spool = run.directory / "spool"
    try:
        sent = run.tracker.close(last.mlflow_id, status, tags, key=run.key, spool=spool)
        if sent:
            _open_tracker(run.tracker.uri, run.tracker.experiment).replay(run.directory.parent)  # left by earlier runs
    except UserError as error:
        log.warning("%s", error)
        return
    if not sent:
        log.warning(AWAY, redacted(run.tracker.uri), "no answer", spool)


def _is_anothers(directory: Path) -> bool:
    """Returns whether another process has taken over the run, whose MLflow run is then not ours to end."""
    try:
        owner = (directory / OWNER).read_text()
    except OSError:
        return False
    return bool(owner) and owner.split()[:2] != [os.uname().nodename, str(os.getpid())]


class _Once(logging.Handler):
    """Prints each kind of message of the tracking logger once."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.WARNING)
        self._console = console
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg not in self._said:
            self._said.add(record.msg)
            self._console.print(redacted(record.getMessage()), highlight=False, soft_wrap=True, markup=False)


@contextmanager
def _said_once(console: Console) -> Iterator[None]:
    """Prints on the console, once, that the tracking server is away."""
    handler, before = _Once(console), log.propagate
    log.addHandler(handler)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.propagate = before


def _line(metrics: Mapping[str, float]) -> str:
    """Returns a milestone in one line: its step, and those of its metrics that have a `brief` form."""
    shown = [metric.brief.format(metrics[key]) for key, metric in METRICS.items() if metric.brief and key in metrics]
    return "  ".join([f"step {int(metrics[STEP]):>6}", *shown])


def short_name(spec: RunSpec) -> str:
    """Returns 12 hex digits of a hash over the settings that decide a run's result."""
    return hashlib.sha256(json.dumps(spec.as_dict(only_results=True), sort_keys=True).encode()).hexdigest()[:12]


def _own_folder(spec: RunSpec, state: Path, console: Console, trainer: str) -> Path:
    """Returns a run's folder: by its settings; where that holds another content of the data, by its content, too."""
    folder = state / "runs" / short_name(spec)
    newest = checkpoint.latest(folder, spec)
    if newest is None or trainer != TRAINER:
        return folder
    sources = sources_of(spec, state / "cache")
    changed = changed_source(checkpoint.read_milestone(newest), sources, spec)
    if changed is None:
        return folder
    own = folder.with_name(f"{folder.name}-{digest(sources)[:8]}")
    said = f"{folder} was trained on another content of {changed}; the run of this one is in {own}"
    console.print(said, highlight=False, soft_wrap=True)
    return own


def _tracker(into: Path) -> Tracker | None:
    """Returns a tracker of the run in a folder if MLFLOW_TRACKING_URI is set, else None."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "").strip()
    return _open_tracker(uri, "runs", into) if uri else None


def _open_tracker(uri: str, experiment: str, home: Path | None = None) -> Tracker:
    from t5vqvae.tracking import Tracker

    return Tracker(uri, experiment, home=home)
