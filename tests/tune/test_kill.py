"""A search that is killed and started again: nothing is lost, nothing is done twice, everything agrees."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from t5vqvae import checkpoint
from tests.tune import stub
from tests.tune.drive import killed_study
from tests.tune.searches import assert_all_agree, mlflow_runs
from tune.record import FILE
from tune.state import CODE_ROOT, StudyPaths

pytestmark = pytest.mark.ray
TRIALS = 6


def start(state: Path) -> subprocess.Popen:
    environment = {**os.environ, "RAY_ADDRESS": "local", "RAY_AUTH_MODE": "disabled", "OMP_NUM_THREADS": "1"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    command = [sys.executable, "-m", "tests.tune.drive", str(state), "night", str(TRIALS)]
    with (state / "driver.log").open("a") as log:
        return subprocess.Popen(command, cwd=CODE_ROOT, env=environment, stdout=log, stderr=log)


def wait_for(happened: Callable[[], bool], driver: subprocess.Popen, what: str, seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert driver.poll() is None, f"the driver ended before {what}"
        assert time.monotonic() < deadline, f"no {what} in {seconds} s"
        time.sleep(0.05)


def ended(paths: StudyPaths) -> set[int]:
    return {int(file.parent.name) for file in paths.trials.glob(f"*/{FILE}")}


def under_way(paths: StudyPaths) -> set[int]:
    """Trials past their first checkpoint that have not ended."""
    return {int(path.parent.name) for path in paths.trials.glob(f"*/{checkpoint.PREFIX}*")} - ended(paths)


def test_killed_then_stopped_gently_then_finished(tmp_path):
    paths = StudyPaths(tmp_path, "night")
    driver = start(tmp_path)
    try:
        wait_for(lambda: bool(ended(paths) and under_way(paths)), driver, "trial ended and another under way")
        cluster = psutil.Process(driver.pid).children(recursive=True)
        first = ended(paths)
        driver.kill()
        driver.wait()
        assert 0 < len(first) < TRIALS - 1, "something must be left to do"

        driver = start(tmp_path)
        wait_for(lambda: ended(paths) > first and bool(under_way(paths)), driver, "further trial ended")
        driver.send_signal(signal.SIGINT)
        assert driver.wait(timeout=120) == 0
        assert "SIGINT asked for it" in (tmp_path / "driver.log").read_text()
        spec = killed_study("night", TRIALS)
        assert {run.info.status for run in mlflow_runs(spec, paths).values()} <= {"FINISHED", "KILLED"}

        driver = start(tmp_path)
        assert driver.wait(timeout=240) == 0
    finally:
        driver.kill()
    _, alive = psutil.wait_procs(cluster, timeout=120)  # Ray's agents look a minute for the dead head
    assert not alive, f"left behind: {[process.cmdline()[:2] for process in alive]}"
    records = assert_all_agree(spec, tmp_path)
    assert sorted(records) == list(range(TRIALS)) and {r.status for r in records.values()} == {"completed"}
    for record in records.values():
        expected = stub.milestone(spec.run_spec(record.overrides), 40, "completed").metrics
        assert record.metrics == pytest.approx(expected)
    trained = Counter((tmp_path / "starts.log").read_text().splitlines())
    assert len(trained) == TRIALS * 4 and max(trained.values()) <= 3
    again = sum(times - 1 for times in trained.values())
    assert again <= 2 * 2, "two stops cost at most one interval of each of two running trials"
