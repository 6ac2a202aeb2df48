"""A search on a machine that is short of memory: Ray's memory monitor kills its workers, for real, and it goes on."""

from __future__ import annotations

import time

import pytest
from drive import killed_study
from mounts import Memory
from searches import assert_all_agree
from survival import as_words, owner_of, start, under_way, wait_for

from tune.execution.deaths import TAG
from tune.records.study_paths import StudyPaths

pytestmark = [pytest.mark.ray, pytest.mark.slow]
TRIALS = 4
SETTINGS = {"base": {"optim.warmup_steps": 150}, "budget": {"concurrent": 2}}
"""A second and a half a milestone: two that were killed run at the same time again, also on a busy machine."""


def test_workers_killed_for_memory_resume_and_fewer_run_at_once(tmp_path, twin):
    """Two trials run and are killed together, twice; then one runs at a time."""
    memory, paths = Memory.of(tmp_path / "meminfo"), StudyPaths(tmp_path, "night")

    def owners() -> set[int]:
        return {pid for number in under_way(paths) if (pid := owner_of(paths, number)) is not None}

    driver = start(
        tmp_path,
        *("night", str(TRIALS), as_words(SETTINGS)),
        within=memory.within,
        RAY_memory_monitor_refresh_ms="100",
    )
    seen: set[int] = set()
    try:
        for _ in range(2):
            wait_for(lambda: len(owners() - seen) == 2, driver, "two trials under way")  # noqa: B023
            seen = owners() | seen
            memory.short(True)
            time.sleep(0.5)
            memory.short(False)
        assert driver.wait(timeout=240) == 0
    finally:
        driver.kill()
    log = (tmp_path / "driver.log").read_text()
    assert log.count("from now on at most 1 trial at once") == 1 and "Traceback" not in log
    records = assert_all_agree(killed_study("night", TRIALS, **SETTINGS), tmp_path)
    assert sorted(records) == list(range(TRIALS)) and {record.status for record in records.values()} == {"completed"}
    for number, record in records.items():  # the twin is longer and keeps other checkpoints
        assert record.metrics["validation/nll"] == twin[number].metrics["validation/nll"]
    told = [record.tags.get(TAG, "") for record in records.values()]
    assert sum("Ray's memory monitor killed its process" in line for line in told) == 2
    assert sum("then at most 1 trial at once" in line for line in told) == 1
