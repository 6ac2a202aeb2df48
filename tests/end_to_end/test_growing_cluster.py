"""A cluster that grows and shrinks while a search runs on it: three nodes on this machine, one at a time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from drive import SLOW, drive, killed_study
from searches import assert_all_agree
from survival import ended, under_way, wait_for

from t5vqvae.errors import UserError
from tune.records.study_paths import StudyPaths

pytestmark = [pytest.mark.ray, pytest.mark.slow]
TRIALS = 20


@pytest.fixture(scope="module")
def head() -> Iterator[Any]:
    """A head without CPUs, connected to; no worker yet."""
    import ray
    from ray.cluster_utils import Cluster

    from tune.execution.ray_cluster import DRIVER_SETTINGS

    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**DRIVER_SETTINGS, "RAY_AUTH_MODE": "disabled"}.items():
            patch.setenv(name, value)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        try:
            patch.setattr("ray._private.utils.set_sigterm_handler", lambda handler: None)  # nodes come from a thread
            ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()


def alive() -> dict[str, str]:
    """Returns the socket of each living node's raylet, by the node's id."""
    import ray

    return {node["NodeID"]: node["RayletSocketName"] for node in ray.nodes() if node["Alive"]}


def kill_node(socket: str) -> None:
    """Kills a node's raylet, whose workers end with it."""
    ours = psutil.Process().children(recursive=True)
    [raylet] = [one for one in ours if one.name() == "raylet" and socket in " ".join(one.cmdline())]
    raylet.kill()


def is_in_use(node: str) -> bool:
    from ray._private.state import available_resources_per_node

    return not available_resources_per_node().get(node, {}).get("CPU")


class Operator(threading.Thread):
    """Adds a first worker late, a second in the middle, and takes the first away when the second trains."""

    def __init__(self, cluster: Any, paths: StudyPaths) -> None:
        super().__init__(daemon=True)
        self.cluster, self.paths = cluster, paths
        self.done: list[str] = []

    def run(self) -> None:
        wait_for((self.paths.root / "lock").exists, None, "a search")
        wait_for(lambda: not threading.Event().wait(3), None, "three seconds without a worker")
        assert not under_way(self.paths) and not ended(self.paths)
        first = self.add_node()
        self.done.append("a worker that came late")
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


def test_a_search_waits_grows_and_outlives_a_node(head: Any, tmp_path: Any, capsys: Any) -> None:
    paths = StudyPaths(tmp_path, "grows")
    operator = Operator(head, paths)
    operator.start()
    drive(tmp_path, "grows", TRIALS, base=SLOW)
    operator.join(timeout=5)
    assert operator.done == [
        "a worker that came late", "a node added in the middle was used", "a node was lost",
    ]  # fmt: skip
    assert "no node holds a trial yet (1 x 1 CPUs, 0 GPUs); waiting for workers" in capsys.readouterr().out
    records = assert_all_agree(killed_study("grows", TRIALS, base=SLOW), tmp_path)
    assert [record.status for record in records.values()] == ["completed"] * TRIALS


def test_nodes_that_are_all_too_small_are_refused_in_one_line(head: Any, tmp_path: Any) -> None:
    head.add_node(num_cpus=1)  # next to the one that the search before left
    head.add_node(num_cpus=1)
    words = r"resources\.cpus=2 .*fit no node of this cluster, whose nodes have 1 CPUs"
    with pytest.raises(UserError, match=words) as caught:
        drive(tmp_path, "small", 2, resources={"cpus": 2})
    assert "\n" not in str(caught.value)
