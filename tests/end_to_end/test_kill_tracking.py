"""A search that is killed, and whose MLflow data are lost before it resumes: its database, or its experiment."""

from __future__ import annotations

from pathlib import Path

import pytest
from drive import killed_study
from searches import assert_all_agree
from survival import TRIALS, assert_survived, ended, halfway, kill_family, outcome, start, wait_for

from tune.records.study_paths import StudyPaths
from tune.records.study_tracker import tracker_of
from tune.spec.search_spec import SearchSpec

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def killed_half_way(state: Path) -> tuple[SearchSpec, StudyPaths]:
    spec, paths = killed_study("night", TRIALS), StudyPaths(state, "night")
    driver = start(state, "night", str(TRIALS))
    try:
        wait_for(lambda: halfway(paths, TRIALS), driver, "half way")
    finally:
        kill_family(driver.pid)
    return spec, paths


def resume(state: Path) -> None:
    assert start(state, "night", str(TRIALS)).wait(timeout=240) == 0
    assert "Traceback" not in (state / "driver.log").read_text()


def test_a_lost_database_costs_no_trial_and_every_run_is_made_anew(tmp_path, twin):
    spec, paths = killed_half_way(tmp_path)
    before = ended(paths)
    files = list(tmp_path.glob("mlflow.db*"))
    assert before and files
    for file in files:
        file.unlink()
    resume(tmp_path)
    records = assert_all_agree(spec, tmp_path)  # each trial has one run, of its own parent, with its status
    assert sorted(records) == list(range(TRIALS))
    for number, record in records.items():
        assert outcome(record) == outcome(twin[number]), f"trial {number} differs from its twin"


def test_a_deleted_experiment_is_restored_with_every_milestone(tmp_path, twin):
    from mlflow import MlflowClient

    spec, paths = killed_half_way(tmp_path)
    client = MlflowClient(tracker_of(spec, paths).uri)
    client.delete_experiment(client.get_experiment_by_name(spec.name).experiment_id)
    resume(tmp_path)
    assert_survived(spec, tmp_path, twin, repeated=2)
