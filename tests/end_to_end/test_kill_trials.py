"""Parts of a search that die while it runs: a trial's process, its driver, one of its workers, a whole node.

Three nodes on this machine: a head that holds the drivers of trials and two that train. The search goes on by itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
from drive import drive, killed_study
from ray_clusters import connected_cluster
from survival import assert_survived, halfway, process_of, under_way, wait_for

from tune.records.study_paths import StudyPaths

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without CPUs and two nodes with two each, connected to."""
    with connected_cluster(2, 2) as nodes:
        yield nodes


def process_called(title: str) -> psutil.Process:
    """Returns a living process of this session's Ray whose title begins so."""
    ours = psutil.Process().children(recursive=True)
    return next(process for process in ours if "".join(process.cmdline()[:1]).startswith(title))


def lose_node_of(cluster: Any, process: psutil.Process) -> None:
    """Kills the node that a process runs on."""
    raylets = {node.all_processes["raylet"][0].process.pid: node for node in cluster.worker_nodes}
    cluster.remove_node(raylets[process.ppid()], allow_graceful=False)


class Saboteur(threading.Thread):
    """Does one deed after the other, each when the search is half way and another trial is under way than before.

    Args:
        paths: Of the study.
        trials: Of the study.
        deeds: Take the number of a trial that is past its first checkpoint.
    """

    def __init__(self, paths: StudyPaths, trials: int, deeds: list[Callable[[int], object]]) -> None:
        super().__init__(daemon=True)
        self.paths, self.trials, self.deeds = paths, trials, deeds
        self.done: list[int] = []

    def run(self) -> None:
        for deed in self.deeds:
            wait_for(lambda: halfway(self.paths, self.trials) and self.targets(), None, "half way", seconds=400)
            number = self.targets()[0]
            deed(number)
            self.done.append(number)

    def targets(self) -> list[int]:
        return sorted(under_way(self.paths) - set(self.done))


def test_a_killed_trial_and_a_lost_node_cost_an_interval_each(cluster, tmp_path, twin):
    trials, paths = 8, StudyPaths(tmp_path, "warm")
    saboteur = Saboteur(
        paths,
        trials,
        [
            lambda number: process_of(paths, number).kill(),
            lambda number: lose_node_of(cluster, process_of(paths, number)),
        ],
    )
    saboteur.start()
    settings = {"budget": {"concurrent": 2}}
    drive(tmp_path, "warm", trials, **settings)
    cluster.add_node(num_cpus=2)
    assert len(saboteur.done) == 2
    assert_survived(killed_study("warm", trials, **settings), tmp_path, twin, repeated=1 + 2)


def test_ray_train_outlives_a_worker_a_driver_and_a_node(cluster, tmp_path, twin):
    trials, paths = 5, StudyPaths(tmp_path, "train")
    saboteur = Saboteur(
        paths,
        trials,
        [
            lambda number: process_called("ray::RayTrainWorker").kill(),
            lambda number: process_called("ray::ImplicitFunc").kill(),
            lambda number: lose_node_of(cluster, process_of(paths, number)),
        ],
    )
    saboteur.start()
    settings = {"runner": "ray_train", "resources": {"workers": 2, "cpus": 1}, "budget": {"concurrent": 1}}
    drive(tmp_path, "train", trials, **settings)
    assert saboteur.done == [1, 2, 3]
    assert_survived(killed_study("train", trials, **settings), tmp_path, twin, repeated=3)
