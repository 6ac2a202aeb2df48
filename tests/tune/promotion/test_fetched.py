"""A promotion and a report from the address that a study was copied to, on a machine that has nothing of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from promotions import STUDY, add_trial

from t5vqvae.evaluation.final_test import FinalTest
from tune.cli import main
from tune.promotion import candidate
from tune.promotion.candidate import TEST_FILE
from tune.records.copies import StudyCopies
from tune.records.fetching import fetch
from tune.records.study_paths import StudyPaths
from tune.spec.search_spec import SearchSpec


@pytest.fixture
def address(paths: StudyPaths, tmp_path: Path) -> Path:
    """Where two trials were copied to; what they were copied from is gone."""
    address = tmp_path / "there"
    spec = SearchSpec.parse({**STUDY, "retention": {"copy_to": str(address)}})
    spec.write(paths.spec)
    add_trial(paths, 0, nll=2.0)
    add_trial(paths, 1, nll=1.0)
    copies = StudyCopies.of(spec, paths)
    assert copies is not None
    copies.finish([0, 1])
    paths.state.rename(tmp_path / "gone")
    return address


def test_the_best_trial_is_promoted_from_an_empty_state_folder(
    address: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = {"test/nll": 2.0, "test/rate/bits_per_token": 3.0}
    monkeypatch.setattr(candidate, "_evaluate", lambda run, folder, cache, half: FinalTest(scores, []))
    state = tmp_path / "another"
    assert main(["promote", "tiny", "--fetch", str(address), "--state", str(state)]) == 0
    assert "run run1 is version 1, alias champion" in capsys.readouterr().out
    new = StudyPaths(state, "tiny")
    assert list(new.trial(1).glob("step-*/model")) and not list(new.trial(0).glob("step-*"))
    third = StudyPaths(tmp_path / "third", "tiny")
    fetch(third, str(address))
    assert (third.trial(1) / TEST_FILE).read_bytes() == (new.trial(1) / TEST_FILE).read_bytes(), "tested once"


def test_a_report_is_written_here_and_copied_there(address: Path, tmp_path: Path) -> None:
    state = tmp_path / "another"
    assert not main(["report", "tiny", "--fetch", str(address), "--state", str(state)])
    [page] = (state / "studies" / "tiny" / "report").glob("*.html")
    assert (address / "tiny" / "report" / page.name).read_bytes() == page.read_bytes()


def test_a_path_for_a_study_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["promote", "../x", "--fetch", "/tmp", "--state", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "STUDY: '../x' is no study's name; give the name, and the address to --fetch\n"
