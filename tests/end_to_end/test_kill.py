"""A search that is killed, stopped gently, stopped at once, and started again: nothing is lost or done twice."""

from __future__ import annotations

import signal

import psutil
import pytest
from drive import killed_study
from searches import mlflow_runs
from survival import TRIALS, assert_survived, ended, halfway, start, wait_for

from tune.records.study_paths import StudyPaths

pytestmark = pytest.mark.ray


def test_killed_then_stopped_gently_then_at_once_then_finished(tmp_path, twin):
    spec, paths = killed_study("night", TRIALS), StudyPaths(tmp_path, "night")
    before: set[int] = set()
    statuses = {}
    for how in ("killed", "gently", "at once", "finished"):
        driver = start(tmp_path, "night", str(TRIALS))
        try:
            if how != "finished":
                wait_for(lambda: halfway(paths, TRIALS, before), driver, f"moment to be {how}")  # noqa: B023
                cluster = psutil.Process(driver.pid).children(recursive=True)
            if how == "killed":
                driver.kill()
                killed = cluster
            elif how != "finished":
                driver.send_signal(signal.SIGINT if how == "gently" else signal.SIGTERM)
            if how == "at once":
                wait_for(lambda: log(tmp_path).count("stopping gently") == 2, driver, "gentle stop")
                driver.send_signal(signal.SIGTERM)
            statuses[how] = driver.wait(timeout=240)
            before = ended(paths)  # also what ended after the signal, or the next moment would come before Ray runs
        finally:
            driver.kill()
        if how == "gently":
            assert "it received SIGINT" in log(tmp_path)
            assert {run.info.status for run in mlflow_runs(spec, paths).values()} <= {"FINISHED", "KILLED"}
    assert statuses == {"killed": -signal.SIGKILL, "gently": 0, "at once": 130, "finished": 0}
    _, alive = psutil.wait_procs(killed, timeout=120)  # Ray's agents look a minute for the dead head
    assert not alive, f"left behind: {[process.cmdline()[:2] for process in alive]}"
    assert_survived(spec, tmp_path, twin, repeated=3 * 2)


def test_a_search_whose_only_node_ends_says_so_and_resumes(tmp_path, twin):
    """It would wait for ever: no other node can come to a cluster that it started."""
    spec, paths = killed_study("night", TRIALS), StudyPaths(tmp_path, "night")
    for how in ("lost", "finished"):
        driver = start(tmp_path, "night", str(TRIALS))
        try:
            if how == "lost":
                wait_for(lambda: halfway(paths, TRIALS), driver, "half way")
                ours = psutil.Process(driver.pid).children(recursive=True)
                [raylet] = [process for process in ours if process.name() == "raylet"]
                raylet.terminate()  # it takes its workers along, as it does when it loses its agents
            assert driver.wait(timeout=240) == (1 if how == "lost" else 0)
        finally:
            driver.kill()
        if how == "lost":
            assert log(tmp_path).splitlines()[-1].startswith("Ray's only node has ended"), log(tmp_path)
            assert "waiting for workers" not in log(tmp_path)
    assert_survived(spec, tmp_path, twin)


def log(state) -> str:
    return (state / "driver.log").read_text()
