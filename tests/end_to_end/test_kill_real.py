"""Real training, killed twice: its numbers are those of an uninterrupted twin, bit for bit."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from drive import killed_study
from searches import REAL
from survival import as_words, assert_survived, halfway, owner_of, start, under_way, wait_for

from t5vqvae.runs.tracked_run import TRAINER
from tune.records.record import read_records
from tune.records.study_paths import StudyPaths

pytestmark = [pytest.mark.ray, pytest.mark.slow]
TRIALS = 3
SETTINGS = {"base": {**REAL, "train.max_steps": 8}, "budget": {"concurrent": 1}}


def begin(state: Path):
    state.mkdir(exist_ok=True)
    return start(state, "real", str(TRIALS), as_words({**SETTINGS, "trainer": TRAINER}))


def test_killed_training_ends_with_the_numbers_of_its_twin(tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    assert begin(whole).wait(timeout=400) == 0
    twin = {record.number: record for record in read_records(StudyPaths(whole, "real").trials)}

    paths = StudyPaths(killed, "real")
    driver = begin(killed)
    try:
        wait_for(lambda: halfway(paths, TRIALS), driver, "half way")
        (number,) = under_way(paths)
        first = owner_of(paths, number)
        psutil.Process(first).kill()
        wait_for(lambda: owner_of(paths, number) not in (None, first), driver, "another process for the trial")
        driver.kill()
        driver.wait()
        driver = begin(killed)
        assert driver.wait(timeout=400) == 0
    finally:
        driver.kill()
    assert_survived(killed_study("real", TRIALS, **SETTINGS), killed, twin)
