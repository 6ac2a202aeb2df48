"""An ablation killed half way and started again gives the same report as one that was left alone."""

from __future__ import annotations

import csv
import io

import psutil
import pytest
from survival import ended, start, wait_for

from tune.records.study_paths import StudyPaths

pytestmark = [pytest.mark.ray, pytest.mark.slow]
ABLATIONS = "ablations"
MEASURED = ("cost/", "mlflow_id", "url")
"""What no two starts have in common."""


def rows(paths: StudyPaths) -> list[dict[str, str]]:
    """The runs of a report, but for what was measured."""
    found = csv.DictReader(io.StringIO((paths.root / "report" / "runs.csv").read_text()))
    return [{name: value for name, value in row.items() if not name.startswith(MEASURED)} for row in found]


def test_killed_half_way_and_started_again_it_gives_the_same_report(tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    killed.mkdir()
    whole.mkdir()
    paths, reference = StudyPaths(killed, "night"), StudyPaths(whole, "night")
    driver = start(killed, "night", "20", module=ABLATIONS)
    try:
        wait_for(lambda: len(ended(paths)) >= 8, driver, "eight runs")
        cluster = psutil.Process(driver.pid).children(recursive=True)
        driver.kill()
        driver.wait()
        half = ended(paths)
        assert len(half) < 3 * (2 + 1) * 7, "something must be left to do"
        psutil.wait_procs(cluster, timeout=60)  # `test_kill` holds that nothing stays; here it only must not train on
        driver = start(killed, "night", "20", module=ABLATIONS)
        assert driver.wait(timeout=300) == 0
    finally:
        driver.kill()
    driver = start(whole, "night", "20", module=ABLATIONS)
    try:
        assert driver.wait(timeout=300) == 0
    finally:
        driver.kill()

    assert rows(paths) == rows(reference) and len(rows(paths)) == 3 * 7
    effects = [(each.root / "report" / "effects.csv").read_text() for each in (paths, reference)]
    assert effects[0] == effects[1]
    assert ended(paths) == set(range(3 * (2 + 1) * 7)), "nothing was done under two numbers"
