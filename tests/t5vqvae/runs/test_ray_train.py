"""Placement groups of stopped trainers are released once their controllers are gone, on a simulated head."""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any

import pytest
import ray
import ray._private.state
from ray.core.generated.gcs_pb2 import PlacementGroupTableData

from t5vqvae.runs import ray_train

JOB = "01000000"


class Head:
    """The tables of a head: placement groups with the actor that created them, and the states of actors."""

    def __init__(self) -> None:
        self.now = 100.0
        self.actors: dict[str, str] = {}
        self.groups: dict[int, PlacementGroupTableData] = {}

    def add(self, number: int, actor: str, job: str = JOB) -> None:
        self.groups[number] = PlacementGroupTableData(
            placement_group_id=bytes([number]) * 18,
            creator_actor_id=bytes.fromhex(actor),
            creator_job_id=bytes.fromhex(job),
            state=PlacementGroupTableData.CREATED,
        )

    def remove(self, group: Any) -> None:
        self.groups[group.id.binary()[0]].state = PlacementGroupTableData.REMOVED

    def removed(self) -> set[int]:
        return {number for number, group in self.groups.items() if group.state == PlacementGroupTableData.REMOVED}

    def get_placement_group_table(self) -> list[bytes]:
        return [group.SerializeToString() for group in self.groups.values()]


@pytest.fixture
def head(monkeypatch) -> Head:
    head = Head()
    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(get_job_id=lambda: JOB))
    monkeypatch.setattr(
        ray._private.state,
        "state",
        SimpleNamespace(
            _connect_and_get_accessor=lambda: head,
            actor_table=lambda actor: {"State": head.actors[actor]} if actor in head.actors else {},
        ),
    )
    module = importlib.import_module("ray.util.placement_group")  # `ray.util` has a function of that name
    monkeypatch.setattr(module, "remove_placement_group", head.remove)
    monkeypatch.setattr(ray_train, "time", SimpleNamespace(monotonic=lambda: head.now))
    return head


def test_the_group_of_a_dead_trainer_is_released_after_a_grace_period(head):
    head.actors = {"a1" * 16: "ALIVE"}
    head.add(1, "a1" * 16)
    assert ray_train.free_orphans() == 1
    head.actors["a1" * 16] = "DEAD"
    assert ray_train.free_orphans() == 1 and head.removed() == set(), "its process may still create another group"
    head.now += ray_train.GRACE_SECONDS
    assert ray_train.free_orphans() == 0 and head.removed() == {1}


def test_a_group_created_by_a_dying_trainer_is_released_although_ray_lists_its_creator_as_alive(head):
    head.actors = {"a1" * 16: "DEAD"}
    head.add(1, "a1" * 16)
    assert not head.groups[1].creator_actor_dead
    ray_train.free_orphans()
    head.now += ray_train.GRACE_SECONDS
    head.add(2, "a1" * 16)
    assert ray_train.free_orphans() == 1 and head.removed() == {1}
    head.now += ray_train.GRACE_SECONDS
    assert ray_train.free_orphans() == 0 and head.removed() == {1, 2}


def test_an_unlisted_trainer_is_dead_and_groups_of_others_are_kept(head):
    head.add(1, "a1" * 16)
    head.add(2, "ff" * 16)  # created by a driver
    head.add(3, "a2" * 16, job="02000000")
    assert ray_train.free_orphans() == 1
    head.now += ray_train.GRACE_SECONDS
    assert ray_train.free_orphans() == 0 and head.removed() == {1}
