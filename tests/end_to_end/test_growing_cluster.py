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
from survival import ended, process_of, under_way, wait_for

from t5vqvae.errors import UserError
from tune.records.study_paths import StudyPaths

pytestmark = [pytest.mark.ray, pytest.mark.slow]
TRIALS = 9


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


def raylet(node: Any) -> int:
    return int(node.all_processes["raylet"][0].process.pid)


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
        first = self.cluster.add_node(num_cpus=1)
        self.done.append("a worker that came late")
        wait_for(lambda: ended(self.paths), None, "a trial's end")
        second = self.cluster.add_node(num_cpus=1)
        wait_for(lambda: raylet(second) in self.nodes_in_use(), None, "a trial on the second node")
        self.done.append("a node added in the middle was used")
        self.cluster.remove_node(first, allow_graceful=False)
        self.done.append("a node was lost")

    def nodes_in_use(self) -> set[int]:
        """Returns the raylets whose processes train a trial now."""
        found = set()
        for number in under_way(self.paths):
            try:
                found.add(process_of(self.paths, number).ppid())
            except (psutil.Error, TypeError, AttributeError, StopIteration, OSError):
                continue
        return found


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
