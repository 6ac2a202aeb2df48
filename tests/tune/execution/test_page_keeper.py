"""What is sent to the page of a running study, and how often."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kept_studies import record
from searches import stub_study

from t5vqvae.config import read_yaml
from t5vqvae.tracking.server.destination import NOTE
from tune.execution import page_keeper
from tune.execution.page_keeper import SECONDS, PageKeeper
from tune.records.ranking import contenders
from tune.records.study_page import StudyPage
from tune.spec.search_spec import SearchSpec

SPEC = stub_study("kept", 8, question="Which rate learns?")


class Logger:
    """Keeps what it is given to send."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.files: list[Path] = []

    def tags(self, tags: dict[str, str]) -> None:
        self.notes.append(tags[NOTE])

    def artifact(self, path: Path) -> None:
        self.files.append(path)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    time = [100.0]
    monkeypatch.setattr(page_keeper.time, "monotonic", lambda: time[0])
    return time


def keeper_in(folder: Path, logger: Any) -> PageKeeper:
    def settings(found: Any) -> dict[str, object]:
        return SPEC.run_spec(found.overrides).as_flat_dict()

    page = StudyPage(SPEC, 8, lambda found: contenders(found, SPEC), settings, str)
    return PageKeeper(page, logger, folder, [record("kept", 0)])


def test_a_changed_description_is_sent_at_most_once_in_ten_seconds_and_the_last_at_once(
    tmp_path: Path, clock: list[float]
) -> None:
    logger = Logger()
    keeper = keeper_in(tmp_path, logger)
    assert len(logger.notes) == 1 and "1 of 8 trials" in logger.notes[0], "the trials of an earlier start count"
    keeper.page.add(record("kept", 1))
    clock[0] += SECONDS - 1
    keeper.update(running=1)
    assert len(logger.notes) == 1, "too early"
    clock[0] += 2
    keeper.update(running=1)
    clock[0] += SECONDS + 1
    keeper.update(running=1)
    assert len(logger.notes) == 2, "an unchanged one is not sent"
    assert "2 of 8 trials have ended (2 completed), 1 running." in logger.notes[1]
    keeper.update(last=True)
    keeper.update(last=True, more=["Found."])
    assert len(logger.notes) == 4 and "Found." in logger.notes[3]


def test_the_study_s_file_is_sent_and_reads_back_as_the_study(tmp_path: Path) -> None:
    logger = Logger()
    keeper_in(tmp_path, logger)
    assert logger.files == [tmp_path / "study.yaml"]
    assert SearchSpec.parse(read_yaml(logger.files[0], "a study")) == SPEC
