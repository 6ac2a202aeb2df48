"""Searches on the embedded Ray head and MLflow server: jobs are stopped, the head is killed, the server goes away."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from drive import killed_study
from places import SUPPORT
from ray.job_submission import JobSubmissionClient
from survival import TRIALS, as_words, assert_survived, ended, halfway, kill_family, outcome, wait_for

from cluster import local, service
from tune.records.record import read_records
from tune.records.study_paths import StudyPaths

pytestmark = [pytest.mark.ray, pytest.mark.slow]
LONGER = {"base": {"optim.warmup_steps": 600}}
"""The search outlasts a server that is away for `AWAY_SECONDS` and as long as it takes to start."""
AWAY_SECONDS = 60


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


def jobs(state: Path) -> JobSubmissionClient:
    facts = service.running(state, "ray")
    return JobSubmissionClient(facts["url"], headers={"Authorization": f"Bearer {Path(facts['token']).read_text()}"})


def submit(state: Path, study: str, **settings: Any) -> str:
    """Submits a search as `ray job submit` does; returns the job's id."""
    words = ["python", str(SUPPORT / "drive.py"), str(state), study, str(TRIALS), as_words(settings)]
    return jobs(state).submit_job(entrypoint=shlex.join(words))


def ended_as(state: Path, job: str) -> str:
    """Waits for the end of a job; returns its last status."""
    wait_for(lambda: jobs(state).get_job_status(job).is_terminal(), None, f"end of job {job}", seconds=300)
    return str(jobs(state).get_job_status(job).value)


def test_a_stopped_job_and_a_killed_head_go_on(state, twin):
    paths = StudyPaths(state, "night")
    job = submit(state, "night")
    wait_for(lambda: halfway(paths, TRIALS), None, "half way")
    jobs(state).stop_job(job)
    assert ended_as(state, job) == "STOPPED"
    logs = jobs(state).get_job_logs(job)
    assert "stopping gently" in logs, "a stopped job ends gently"
    # On a busy machine the trial under way may have reached its last milestone before the signal; it has ended then.
    assert "interrupted" in logs or len(ended(paths)) > 1, logs

    before = ended(paths)
    submit(state, "night")
    wait_for(lambda: halfway(paths, TRIALS, before), None, "half way again")
    kill(state, "ray")
    up(state)
    job = submit(state, "night")
    assert ended_as(state, job) == "SUCCEEDED", jobs(state).get_job_logs(job)
    assert_survived(killed_study("night", TRIALS), state, twin, repeated=2 * 2)


def test_a_tracking_server_that_is_away_for_a_while_hears_everything(state, twin):
    paths = StudyPaths(state, "while")
    job = submit(state, "while", **LONGER)
    wait_for(lambda: halfway(paths, TRIALS), None, "half way")
    kill(state, "mlflow")
    time.sleep(AWAY_SECONDS)
    assert not jobs(state).get_job_status(job).is_terminal()
    up(state)
    assert ended_as(state, job) == "SUCCEEDED"
    assert_survived(killed_study("while", TRIALS, **LONGER), state, twin)


def test_a_tracking_server_that_is_away_for_good_hears_it_from_the_next_start(state, twin):
    paths = StudyPaths(state, "good")
    job = submit(state, "good")
    wait_for(lambda: halfway(paths, TRIALS), None, "half way")
    kill(state, "mlflow")
    assert ended_as(state, job) == "SUCCEEDED"
    records = read_records(paths.trials)
    for record in records:
        assert outcome(record) == outcome(twin[record.number])
        assert (paths.trial(record.number) / "spec.json").is_file()
    assert len(records) == TRIALS
    assert any(record.mlflow_id is None for record in records), "it went away too late to test anything"
    trained = (state / "starts.log").read_text()
    up(state)
    assert ended_as(state, submit(state, "good")) == "SUCCEEDED"
    assert (state / "starts.log").read_text() == trained
    assert_survived(killed_study("good", TRIALS), state, twin)
