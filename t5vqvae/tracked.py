"""One run that is tracked, checkpointed and resumable: what every runner (a process, Ray Train, the CLI) follows.

`follow` puts `train`'s milestones into MLflow and onto the disk and yields one flat report each. Killed at any moment
and followed again, it goes on from the newest intact checkpoint. A resumed run first repeats the milestone of that
checkpoint: whoever was killed before hearing of it (the driver, the storage, the tracking server) hears of it now, and
whoever knows it already ignores it, since every listener is idempotent by step. So a run that had finished when its
driver died ends at once with its true result instead of training on.
"""

from __future__ import annotations

import importlib
import json
import os
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t5vqvae import checkpoint
from t5vqvae.errors import CheckpointError, SettingError, UserError
from t5vqvae.spec import RunSpec

if TYPE_CHECKING:
    from t5vqvae.tracking import RunLogger, Tracker

TRAINER = "t5vqvae.train:train"
"""The generator of milestones, as `module:function`; tests and simulations name another of the same signature."""

OPEN_SECONDS = 0.5
"""How long after its start a run's reports wait for its id, while MLflow is asked for the first time."""

OWNER = "owner"
"""The file of a run's folder that says who writes there: host, process id and a random word."""


@dataclass(frozen=True)
class TrackedRun:
    """A run and where its traces go. Small and picklable: it travels to whichever process trains.

    Attributes:
        spec: What to train.
        directory: Holds the checkpoints `step-%08d`, the tracking spool and the log of errors.
        cache_dir: Tokenized data, shared by all runs of a node.
        key: Names the run in its experiment for good, as `quickstart/00003`; a second start finds the first's traces.
        tracker: Where to log; None: nowhere.
        parent_id: The MLflow run of the study.
        tags: MLflow tags.
        keep_steps: Checkpoints kept while training; None: all.
        trainer: See `TRAINER`.
    """

    spec: RunSpec
    directory: Path
    cache_dir: Path
    key: str
    tracker: Tracker | None = None
    parent_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    keep_steps: int | None = 2
    trainer: str = TRAINER


def follow(run: TrackedRun, *, writes: bool = True) -> Iterator[dict[str, Any]]:
    """Trains and yields one report a milestone, the last of status `completed` or `diverged`.

    A report is flat: the metrics as they are, and `status`, `tags`, `run_id`, `mlflow_id`, `checkpoint` (a path) and
    `seconds` (spent on the run so far, all starts together).

    Args:
        run: What to follow.
        writes: False on all workers but the first, which then log and save nothing, but yield in step with it.
    """
    newest = checkpoint.latest(run.directory, run.spec)
    claim = _Claim(run.directory) if writes else None
    with ExitStack() as stack:
        journal = stack.enter_context(_Journal(run)) if writes else None
        if newest is not None:
            stored = checkpoint.read_milestone(newest)
            yield _report(stored, newest, journal)
            if stored["status"] != "running":
                return
        for milestone in load_trainer(run.trainer)(run.spec, cache_dir=run.cache_dir, resume_from=newest):
            stored = dict(milestone.state.milestone)
            if claim is not None:
                claim.check()
                newest = _save(milestone.state, run, stored) or newest
            yield _report(stored, newest, journal)


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


def _report(stored: Mapping[str, Any], newest: Path | None, journal: _Journal | None) -> dict[str, Any]:
    """Returns what listeners hear of a milestone, after the journal has noted it."""
    report = {
        **stored["metrics"],
        "status": stored["status"],
        "tags": stored["tags"],
        "run_id": stored.get("run_id"),
        "checkpoint": str(newest) if newest else None,
    }
    if journal is not None:
        journal.note(stored)
        report |= {"mlflow_id": journal.wait_mlflow_id(), "seconds": journal.seconds}
    return report


def load_trainer(name: str) -> Callable[..., Iterator[Any]]:
    """Returns the function behind `module:function`."""
    module, colon, function = name.partition(":")
    if not colon:
        raise SettingError(f"trainer={name!r} must be module:function, as in {TRAINER}")
    return getattr(importlib.import_module(module), function)


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


class _Claim:
    """Who may write into a run's folder: whoever claimed it last.

    A process that the cluster has given up may train on: its node is cut off, its driver or its head was killed. By
    then the run goes on elsewhere, and two writers would log steps twice and take each other's checkpoints away.
    """

    def __init__(self, directory: Path) -> None:
        self._path, self._token = directory / OWNER, f"{os.uname().nodename} {os.getpid()} {uuid.uuid4().hex}"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._path.write_text(self._token)
        except OSError:  # a full disk costs the claim, not the run
            self._path = Path(os.devnull)

    def check(self) -> None:
        """Raises UserError if another process has claimed the folder since."""
        owner = self._path.read_text() if self._path.is_file() else self._token
        if owner and owner != self._token:
            raise UserError(f"the run in {self._path.parent} goes on in another process; this one ends")


class _Journal:
    """The traces of one run outside its checkpoints: MLflow, and the seconds spent.

    A tracking server that is away never stops training: what cannot be sent is spooled in the run's folder.
    """

    def __init__(self, run: TrackedRun) -> None:
        self.run = run
        self._logger: RunLogger | None = None
        self._clock = run.directory / "seconds.json"
        self._before = json.loads(self._clock.read_text())["seconds"] if self._clock.exists() else 0.0
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds spent on the run, those of earlier starts up to their last milestone included."""
        return self._before + time.monotonic() - self._started

    def wait_mlflow_id(self) -> str | None:
        """Returns the run's id in MLflow; None as long as the server does not answer."""
        left = self._started + OPEN_SECONDS - time.monotonic()
        return None if self._logger is None else self._logger.wait_opened(max(0.0, left))

    def __enter__(self) -> _Journal:
        run = self.run
        run.directory.mkdir(parents=True, exist_ok=True)
        if run.tracker is not None:
            params, tags = run.spec.as_flat_dict(), dict(run.tags)
            spool = run.directory / "spool"
            self._logger = run.tracker.open_logger(run.parent_id, run.key, run.key, params, tags, spool)
        return self

    def note(self, stored: Mapping[str, Any]) -> None:
        """Writes one milestone down, as a checkpoint stores it: `step`, `status`, `metrics`, `tags`, `samples`."""
        partial = self._clock.with_suffix(".partial")
        partial.write_text(json.dumps({"seconds": self.seconds}))
        os.replace(partial, self._clock)
        if self._logger is None:
            return
        tokens = stored["metrics"].get("progress/tokens")
        self._logger.log(stored["metrics"], stored["step"], None if tokens is None else int(tokens))
        tags = {name: stored[name] for name in ("run_id", "data_fingerprint") if stored.get(name)} | stored["tags"]
        if tags:
            self._logger.tags(tags)
        if stored["status"] != "running":
            self._finish(self._logger, stored)

    def _finish(self, logger: RunLogger, stored: Mapping[str, Any]) -> None:
        """Logs what only the end of a run has: its spec, its data, its reconstructions and its use of the codes."""
        resolved = self.run.directory / "spec.json"
        resolved.write_text(json.dumps(self.run.spec.as_dict(), indent=2))
        logger.artifact(resolved)
        if stored.get("data_fingerprint"):
            data = self.run.spec.data
            logger.data(data.corpus.name, stored["data_fingerprint"], source=data.as_flat_dict())
        if stored.get("samples"):
            logger.table(stored["samples"], "reconstructions")
        if stored.get("code_counts"):
            logger.codebook_usage(stored["code_counts"])

    def __exit__(self, *_: object) -> None:
        if self._logger is not None:
            self._logger.close()
