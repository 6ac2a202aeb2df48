"""A tracked run as plain, picklable values, and the trainer that it names."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from t5vqvae.errors import SettingError
from t5vqvae.spec.run import RunSpec

if TYPE_CHECKING:
    from t5vqvae.tracking import Tracker
    from t5vqvae.training.trainer import Milestone


TRAINER = "t5vqvae.training.trainer:train"
"""The generator of milestones, as `module:function`; tests and simulations name another with the same signature."""


@dataclass(frozen=True)
class TrackedRun:
    """A run and where its results go; small and picklable, because it travels to the process that trains.

    Attributes:
        spec: What to train.
        directory: Holds the checkpoints `step-%08d`, the tracking spool and the log of errors.
        cache_dir: Tokenized data, shared by all runs of a node.
        key: The run's permanent name in its experiment, as `quickstart/00003`; a resumed run is found by it.
        tracker: Where to log; None: the run is not logged.
        parent_id: The MLflow run of the study.
        tags: MLflow tags.
        keep_steps: Number of checkpoints kept during training; None: all.
        trainer: See `TRAINER`.
        name: Its name in MLflow's pages; empty: its key.
        note: Its description there, in Markdown; the command that reruns it is added.
        starts_anew: Whether a run whose data or backbone changed starts anew in its folder; False: it is refused.
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
    starts_anew: bool = True
    name: str = ""
    note: str = ""


def load_trainer(name: str) -> Callable[..., Iterator[Milestone]]:
    """Returns the function that `module:function` names.

    Raises:
        SettingError: If the name has no colon.
    """
    module, colon, function = name.partition(":")
    if not colon:
        raise SettingError(f"trainer={name!r} must be module:function, as in {TRAINER}")
    return getattr(importlib.import_module(module), function)
