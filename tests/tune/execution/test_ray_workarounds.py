"""Ray's own behaviour and what this project makes of it; a test that fails says which workaround to delete."""

from __future__ import annotations

import pickle
from types import SimpleNamespace
from typing import Any

import pytest
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import NodeDiedError, OutOfMemoryError, RayActorError, RayTaskError, WorkerCrashedError

from tune.execution.ray_workarounds import LostWorkerError, MemoryKillError, as_dead_worker, every_death_is_known

ERRORS = {
    OutOfMemoryError("low on memory"): MemoryKillError,
    WorkerCrashedError(): LostWorkerError,
    NodeDiedError("gone"): LostWorkerError,
}


def caught(error: Exception) -> list[Exception]:
    """Lets a step of an actor fail and returns what Ray hands to Tune."""
    told: list[Exception] = []

    def hear(_: Any, exception: Exception) -> None:
        told.append(exception)

    manager: Any = SimpleNamespace(_failed_actor_ids=set(), _cleanup_actor=lambda tracked_actor: None)
    actor = SimpleNamespace(actor_id=1, _on_error=None)
    task: Any = SimpleNamespace(_tracked_actor=actor, _on_error=hear)
    RayActorManager._actor_task_failed(manager, tracked_actor_task=task, exception=error)
    return told


@pytest.mark.parametrize("error", ERRORS)
def test_tune_knows_every_death_by_itself(error: Exception) -> None:
    with pytest.raises(RuntimeError, match="unexpected exception"):
        caught(error)


@pytest.mark.parametrize("error", ERRORS)
def test_every_death_reaches_tune_as_a_dead_worker(error: Exception) -> None:
    with every_death_is_known():
        (told,) = caught(error)
    assert type(told) is ERRORS[error] and isinstance(told, RayActorError)
    assert str(error) in str(told)
    again = pickle.loads(pickle.dumps(told))  # as Tune stores it
    assert type(again) is type(told) and str(again) == str(told)


@pytest.mark.parametrize("error", [ValueError("x"), RayActorError(), RayTaskError("f", "t", ValueError())])
def test_other_errors_stay_as_they_are(error: Exception) -> None:
    assert as_dead_worker(error) is error
