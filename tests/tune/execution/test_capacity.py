"""How many trials nodes hold, which ones may come, and what no node will ever hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from t5vqvae.errors import EnvironmentFault, SettingError, UserError
from t5vqvae.spec.run import RunSpec
from tune.execution import capacity
from tune.execution.capacity import Node, Room, trials_on
from tune.execution.trial import TrialPlan
from tune.records.study_paths import StudyPaths


def plan(cpus: float = 1, gpus: float = 0, workers: int = 1) -> TrialPlan:
    paths = StudyPaths(Path("/nowhere"), "s")
    return TrialPlan("s", RunSpec(), paths, cpus=cpus, gpus=gpus, workers=workers)


@pytest.mark.parametrize(
    ("nodes", "needs", "trials"),
    [
        ([Node(2, 0), Node(2, 0)], plan(1), 4),
        ([Node(2, 0), Node(2, 0)], plan(3), 0),  # four CPUs in all, and never three in one place
        ([Node(3, 0), Node(3, 0)], plan(2), 2),
        ([Node(2, 0), Node(2, 0)], plan(1, workers=3), 1),  # a trial's workers may lie on two nodes
        ([Node(8, 1), Node(8, 0)], plan(1, gpus=1), 1),
        ([Node(8, 2)], plan(1, gpus=0.5), 4),
        ([Node(8, 1), Node(8, 1)], plan(1, gpus=2), 0),
        ([Node(0, 0)], plan(1), 0),
    ],
)
def test_a_worker_lies_within_one_node(nodes: list[Node], needs: TrialPlan, trials: int) -> None:
    assert trials_on(nodes, needs) == trials


def waited(needs: TrialPlan, *living: list[Node], types: list[Node] | None = None) -> int:
    """Returns the room after a wait during which the living nodes are those given, one list a look."""
    looks = list(living)
    room = Room(needs, None, lambda: looks.pop(0) if len(looks) > 1 else looks[0], types or [])
    room._request_nodes = lambda wanted: None  # type: ignore[method-assign]
    room.wait()
    return room()


@pytest.fixture(autouse=True)
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "LOOK_SECONDS", 0.0)


def test_a_head_without_cpus_waits_for_its_first_worker(capsys: pytest.CaptureFixture[str]) -> None:
    assert waited(plan(), [Node(0, 0)], [Node(0, 0)], [Node(0, 0), Node(2, 0)]) == 2
    line = "no node holds a trial yet (1 x 1 CPUs, 0 GPUs); waiting for workers that can come\n"
    assert capsys.readouterr().out == line


def test_a_late_worker_that_is_too_small_ends_the_wait_in_one_line() -> None:
    with pytest.raises(UserError, match=r"resources\.gpus=1 x resources\.workers=1 is more than the cluster's 0 GPUs"):
        waited(plan(gpus=1), [Node(0, 0)], [Node(0, 0), Node(2, 0)])


def test_nodes_that_are_all_too_small_are_named() -> None:
    with pytest.raises(UserError) as caught:
        waited(plan(3), [Node(0, 0), Node(2, 0), Node(2, 0)])
    assert str(caught.value) == (
        "resources.cpus=3 with resources.gpus=0, x resources.workers=1, fit no node of this cluster, whose nodes have"
        " 2 CPUs and 0 GPUs; set them lower"
    )


def test_an_autoscaler_s_node_types_decide() -> None:
    types = [Node(8, 1)] * 4
    assert waited(plan(8, gpus=1), [Node(2, 0)], [Node(2, 0), Node(8, 1)], types=types) == 2, (
        "asks for as many again as there are"
    )
    with pytest.raises(UserError, match="fit no node of this cluster, whose nodes have 2 CPUs and 0 GPUs, or 8 CPUs"):
        waited(plan(9, gpus=1), [Node(2, 0)], types=types)


def test_a_search_that_waits_requests_the_nodes_of_one_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    requested: list[list[dict[str, float]]] = []
    monkeypatch.setattr("ray.autoscaler.sdk.request_resources", lambda bundles: requested.append(bundles))
    looks = [[Node(0, 0)], [Node(0, 0), Node(8, 2)]]
    Room(plan(2, gpus=1, workers=2), None, lambda: looks.pop(0) if len(looks) > 1 else looks[0], []).wait()
    assert requested == [[{"CPU": 2, "GPU": 1}] * 2, []], "and withdraws it when they are there"


def test_the_room_follows_the_nodes_and_says_when_none_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    nodes = [Node(2, 0)]
    room = Room(plan(), 3, lambda: list(nodes), [])
    assert room() == 2
    nodes.append(Node(2, 0))
    assert room() == 3, "no more than wanted"
    nodes.clear()
    assert (room(), room()) == (1, 1)
    assert capsys.readouterr().out == "no node holds a trial any more (1 x 1 CPUs, 0 GPUs); waiting for workers\n"


def test_a_cluster_of_its_own_that_has_lost_its_node_gets_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    nodes = [Node(2, 0)]
    rooms = [Room(plan(), 3, lambda: list(nodes), [], is_own=is_own) for is_own in (True, False)]
    assert [(room(), room.lost()) for room in rooms] == [(2, None), (2, None)]
    nodes.clear()
    reasons = [(room(), room.lost())[1] for room in rooms]
    ended = "Ray's only node has ended (its raylet was killed, or memory ran out); run the same command again"
    assert reasons == [ended, None]
    assert capsys.readouterr().out.count("waiting for workers") == 1, "for the cluster that others may join"


def test_a_wait_on_a_cluster_of_its_own_ends_with_its_node() -> None:
    room = Room(plan(), None, lambda: [], [], is_own=True)
    room._request_nodes = lambda wanted: None  # type: ignore[method-assign]
    with pytest.raises(EnvironmentFault, match=r"Ray's only node has ended .*; run the same command again"):
        room.wait()


def test_types_are_read_from_the_variable_of_the_manifests(monkeypatch: pytest.MonkeyPatch) -> None:
    found = capacity._said_by_variable('[{"CPU": 8, "GPU": 1, "max": 2}, {"CPU": 4}]')
    assert found == [Node(8, 1), Node(8, 1), Node(4, 0)]
    assert capacity._said_by_variable(" ") == []
    for wrong in ("8", "[8]", '{"CPU"', '[{"CPU": "x"}]'):
        with pytest.raises(SettingError, match="lists no node types; write it as"):
            capacity._said_by_variable(wrong)


def test_shares_of_a_packed_gpu_count() -> None:
    packed = replace(plan(1, gpus=1), packed=True)
    assert trials_on([Node(4, 1)], packed) == 4, "four CPUs, and many shares of one GPU"
    assert trials_on([Node(4, 0)], packed) == 0
