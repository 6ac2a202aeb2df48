"""What the tests of the search share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from survival import TRIALS, start

from tune.records.record import TrialRecord, read_records
from tune.records.study_paths import StudyPaths


@pytest.fixture(scope="session")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Mapping[int, TrialRecord]:
    """The records of the study `night`, which nobody interrupted."""
    state = tmp_path_factory.mktemp("twin")
    assert start(state, "night", str(TRIALS)).wait(timeout=600) == 0, (state / "driver.log").read_text()
    return {record.number: record for record in read_records(StudyPaths(state, "night").trials)}


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder, with a cluster of two CPUs up."""
    from tune.execution.ray_cluster import connect

    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", "local")
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        with connect():
            yield folder
