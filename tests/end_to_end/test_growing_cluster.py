"""A cluster that grows and shrinks while a search runs on it: three nodes on this machine, one at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from drive import drive, killed_study
from ray_clusters import connected_cluster
from searches import assert_all_agree
from survival import ended, kill_family, under_way, wait_for

from t5vqvae.errors import UserError
from tune.execution.capacity import Room
from tune.execution.deaths import TAG
from tune.records.study_paths import StudyPaths

pytestmark = [pytest.mark.ray, pytest.mark.slow]
TRIALS = 16


@pytest.fixture(scope="module")
def head() -> Iterator[Any]:
    """A head without CPUs, connected to; no worker yet."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ray._private.utils.set_sigterm_handler", lambda handler: None)  # nodes come from a thread
        with connected_cluster() as cluster:
            yield cluster


def alive() -> dict[str, str]:
    """Returns the socket of each living node's raylet, by the node's id."""
    import ray

    return {node["NodeID"]: node["RayletSocketName"] for node in ray.nodes() if node["Alive"]}


def kill_node(socket: str) -> None:
    """Kills a node's raylet and its workers, as a machine that is switched off."""
    ours = psutil.Process().children(recursive=True)
    [raylet] = [one for one in ours if one.name() == "raylet" and socket in " ".join(one.cmdline())]
    kill_family(raylet.pid)


def is_in_use(node: str) -> bool:
    from ray._private.state import available_resources_per_node

    return not available_resources_per_node().get(node, {}).get("CPU")


class Operator(threading.Thread):
    """Adds a first worker late, a second in the middle, and takes the first away when the second trains.

    Attributes:
        done: What it has done.
        search_waits: Set when the search waits for workers.
        search_ended: Lets it end. The kernel kills a node with the thread that started it (Ray's PR_SET_PDEATHSIG).
    """

    def __init__(self, cluster: Any, paths: StudyPaths) -> None:
        super().__init__(daemon=True)
        self.cluster, self.paths = cluster, paths
        self.done: list[str] = []
        self.search_waits, self.search_ended = threading.Event(), threading.Event()

    def run(self) -> None:
        try:
            self._add_and_lose()
        finally:
            self.search_ended.wait()

    def _add_and_lose(self) -> None:
        wait_for(self.search_waits.is_set, None, "a search that waits")
        first = self.add_node()
        self.done.append("a worker came late")
        wait_for(lambda: ended(self.paths), None, "a trial's end")
        second = self.add_node()
        wait_for(lambda: is_in_use(second) and len(under_way(self.paths)) > 1, None, "trials on both nodes")
        self.done.append("a node added in the middle was used")
        kill_node(alive()[first])
        self.done.append("a node was lost")

    def add_node(self) -> str:
        """Adds a node of one CPU and returns its id."""
        before = alive().keys()
        self.cluster.add_node(num_cpus=1)
        [new] = alive().keys() - before
        return new


def test_a_search_waits_grows_and_outlives_a_node(
    head: Any, tmp_path: Any, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = StudyPaths(tmp_path, "grows")
    assert drive(tmp_path, "grows", TRIALS, budget={"hours": 5e-4}).stopped == "its hours are used up"
    assert "no node holds a trial yet (1 x 1 CPUs, 0 GPUs); waiting for workers" in capsys.readouterr().out
    assert not list(paths.trials.glob("*")), "no trial has begun"
    operator = Operator(head, paths)
    monkeypatch.setattr(
        Room, "_request_nodes", lambda room, wanted: operator.search_waits.set()
    )  # of an autoscaler; none here
    operator.start()
    try:
        stopped = drive(tmp_path, "grows", TRIALS, budget={"hours": 0.06}).stopped
    finally:
        operator.search_ended.set()
    assert operator.done == ["a worker came late", "a node added in the middle was used", "a node was lost"]
    assert stopped is None
    records = assert_all_agree(killed_study("grows", TRIALS), tmp_path)
    assert [record.status for record in records.values()] == ["completed"] * TRIALS
    deaths = [record.tags[TAG] for record in records.values() if TAG in record.tags]
    assert len(deaths) == 1 and deaths[0].startswith("its process"), deaths


def test_nodes_that_are_all_too_small_are_refused_in_one_line(head: Any, tmp_path: Any) -> None:
    head.add_node(num_cpus=1)
    head.add_node(num_cpus=1)
    words = r"resources\.cpus=2 .*fit no node of this cluster, whose nodes have 1 CPUs"
    with pytest.raises(UserError, match=words) as caught:
        drive(tmp_path, "small", 2, resources={"cpus": 2})
    assert "\n" not in str(caught.value)
