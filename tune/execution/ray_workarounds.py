"""Workarounds for Ray, each with where it was seen and the test that fails once it may be deleted."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError, RayError, RayTaskError

LOGGERS = ("ray.tune", "ray.train", "ray.air")
"""Ray's loggers: the board shows what happens, `error.txt` why."""


class LostWorkerError(RayActorError):
    """A worker that is gone, for a reason that Ray Tune does not know, as the error that Tune knows."""


class MemoryKillError(LostWorkerError):
    """A worker that Ray's memory monitor killed."""


def as_dead_worker(error: Exception) -> Exception:
    """Returns an error of Ray's core as the death of a worker; other errors as they are."""
    if not isinstance(error, RayError) or isinstance(error, RayActorError | RayTaskError):
        return error
    kind = MemoryKillError if isinstance(error, OutOfMemoryError) else LostWorkerError
    return kind(error_msg=f"{type(error).__name__}: {error}")


@contextmanager
def every_death_is_known() -> Iterator[None]:
    """Makes Ray Tune recover from every death of a worker in the block.

    Tune knows `RayActorError` and `RayTaskError`. A worker that the memory monitor kills raises `OutOfMemoryError`,
    which is neither, and `RayActorManager._actor_task_failed` ends the whole search with it (Ray 2.60).
    Delete it when `test_tune_knows_every_death_by_itself` fails.
    """
    in_task, at_start = RayActorManager._actor_task_failed, RayActorManager._actor_start_failed

    def task_failed(self: RayActorManager, *, exception: Exception, **known: Any) -> None:
        in_task(self, exception=as_dead_worker(exception), **known)

    def start_failed(self: RayActorManager, *, exception: Exception, **known: Any) -> None:
        at_start(self, exception=as_dead_worker(exception), **known)

    with (
        patch.object(RayActorManager, "_actor_task_failed", task_failed),
        patch.object(RayActorManager, "_actor_start_failed", start_failed),
    ):
        yield


@contextmanager
def quiet_loggers() -> Iterator[None]:
    """Silences Ray's loggers."""
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    for name in levels:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
