"""What the tests of whole searches share."""

from __future__ import annotations

from collections.abc import Mapping

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
