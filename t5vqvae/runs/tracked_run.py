"""A tracked run as plain, picklable values, and the trainer that it names."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t5vqvae.errors import SettingError
from t5vqvae.spec.run import RunSpec

if TYPE_CHECKING:
    from t5vqvae.tracking import Tracker


TRAINER = "t5vqvae.training.trainer:train"
"""The generator of milestones, as `module:function`; tests and simulations name another of the same signature."""


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


def load_trainer(name: str) -> Callable[..., Iterator[Any]]:
    """Returns the function behind `module:function`."""
    module, colon, function = name.partition(":")
    if not colon:
        raise SettingError(f"trainer={name!r} must be module:function, as in {TRAINER}")
    return getattr(importlib.import_module(module), function)
