"""Searches on the embedded Ray head and MLflow server: jobs are stopped, the head is killed, the server goes away."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import local, service
from tests.tune.drive import killed_study
from tests.tune.survival import TRIALS, as_words, assert_survived, ended, halfway, kill_family, outcome, start, wait_for
from tune.record import read_records
from tune.state import CODE_ROOT, StudyPaths

pytestmark = [pytest.mark.ray, pytest.mark.slow]
RAY = str(Path(sys.executable).parent / "ray")
LONGER = {"base": {"optim.warmup_steps": 100}}
AWAY_SECONDS = 15


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The state folder of both services, which are up."""
    folder = tmp_path_factory.mktemp("services")
    ports = [str(service.pick_port(None)), str(service.pick_port(None))]
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("RAY_", "MLFLOW_"))]:
            patch.delenv(name)
        try:
            words = ["start", "--state", str(folder), "--dashboard-port", ports[0], "--mlflow-port", ports[1]]
            assert local.main(words) == 0
            patch.setenv("MLFLOW_TRACKING_URI", service.running(folder, "mlflow")["url"])  # for those who judge
            yield folder
        finally:
            local.stop(folder)


def up(state: Path) -> None:
    """Starts whatever of the services does not run."""
    assert local.main(["start", "--state", str(state)]) == 0


def kill(state: Path, name: str) -> None:
    kill_family(service.read_record(state, name)["pid"])


def job(state: Path, verb: str, *words: str) -> str:
    """Runs `ray job`; returns what it says."""
    command = [RAY, "job", verb, "--address", service.running(state, "ray")["url"], *words]
    done = subprocess.run(command, cwd=CODE_ROOT, capture_output=True, text=True, timeout=300)
    return done.stdout + done.stderr


def submit(state: Path, name: str, study: str) -> None:
    driver = ["python", "-m", "tests.tune.drive", str(state), study, str(TRIALS)]
    assert "submitted successfully" in job(state, "submit", "--no-wait", "--submission-id", name, "--", *driver)


def ended_as(state: Path, name: str) -> str:
    """Waits for the end of a job; returns its last state."""
    said = ""
    deadline = time.monotonic() + 240
    while not any(word in said for word in ("SUCCEEDED", "FAILED", "STOPPED")):
        assert time.monotonic() < deadline, f"job {name}: {said}"
        said = job(state, "status", name)
    return said


def test_a_stopped_job_and_a_killed_head_go_on(state, twin):
    paths = StudyPaths(state, "night")
    submit(state, "first", "night")
    wait_for(lambda: halfway(paths, TRIALS), None, "half way")
    job(state, "stop", "first")
    assert "STOPPED" in ended_as(state, "first")
    logs = job(state, "logs", "first")
    assert "stopping gently" in logs and "interrupted" in logs, "a stopped job ends gently"

    before = ended(paths)
    submit(state, "second", "night")
    wait_for(lambda: halfway(paths, TRIALS, before), None, "half way again")
    kill(state, "ray")
    up(state)
    submit(state, "third", "night")
    assert "SUCCEEDED" in ended_as(state, "third")
    assert_survived(killed_study("night", TRIALS), state, twin, repeated=2 * 2)


def driver_of(state: Path, study: str) -> subprocess.Popen:
    facts = {name: service.running(state, name) for name in local.NAMES}
    where = {"RAY_ADDRESS": facts["ray"]["address"], "MLFLOW_TRACKING_URI": os.environ["MLFLOW_TRACKING_URI"]}
    return start(state, study, str(TRIALS), as_words(LONGER), **where)


def test_a_tracking_server_that_is_away_for_a_while_hears_everything(state, twin):
    paths = StudyPaths(state, "while")
    driver = driver_of(state, "while")
    wait_for(lambda: halfway(paths, TRIALS), driver, "half way")
    kill(state, "mlflow")
    time.sleep(AWAY_SECONDS)
    assert driver.poll() is None
    up(state)
    assert driver.wait(timeout=240) == 0
    assert_survived(killed_study("while", TRIALS, **LONGER), state, twin)


def test_a_tracking_server_that_is_away_for_good_hears_it_from_the_next_start(state, twin):
    paths = StudyPaths(state, "good")
    driver = driver_of(state, "good")
    wait_for(lambda: halfway(paths, TRIALS), driver, "half way")
    kill(state, "mlflow")
    assert driver.wait(timeout=240) == 0
    records = read_records(paths.trials)
    for record in records:
        assert outcome(record) == outcome(twin[record.number])
        assert (paths.trial(record.number) / "spec.json").is_file()
    assert len(records) == TRIALS
    assert any(record.mlflow_id is None for record in records), "it went away too late to test anything"
    trained = (state / "starts.log").read_text()
    up(state)
    assert driver_of(state, "good").wait(timeout=240) == 0
    assert (state / "starts.log").read_text() == trained
    assert_survived(killed_study("good", TRIALS, **LONGER), state, twin)
