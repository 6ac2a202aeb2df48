"""What the tests of the search share."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.tune.survival import TRIALS, start
from tune.record import TrialRecord, read_records
from tune.state import StudyPaths


@pytest.fixture(scope="session")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Mapping[int, TrialRecord]:
    """The records of the study `night`, which nobody interrupted."""
    state = tmp_path_factory.mktemp("twin")
    assert start(state, "night", str(TRIALS)).wait(timeout=240) == 0, (state / "driver.log").read_text()
    return {record.number: record for record in read_records(StudyPaths(state, "night").trials)}
