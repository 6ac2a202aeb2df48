"""Results that a user brings in a report's `runs.parquet`: which are taken, what says so, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from t5vqvae.errors import SettingError
from tune.ablation.brought_runs import BroughtRuns
from tune.ablation.findings import ANOTHER_VERSION, TAKEN, write_parquet

ROW: dict[str, Any] = {
    "study": "planted",
    "arm": "worse",
    "number": 7,
    "status": "completed",
    "run_id": "aaaa",
    "settings_id": "ssss",
    "steps": 40,
    TAKEN: None,
    "overrides": json.dumps({"seed": 3}),
    "validation/nll_per_char": 0.25,
    "soft/nll": None,
    "rate/joint_bits_per_token": float("nan"),
}


def brought(folder: Path, *rows: dict[str, Any]) -> BroughtRuns:
    return BroughtRuns(write_parquet([{**ROW, **row} for row in rows], folder / "runs.parquet"))


def test_a_run_id_is_the_same_run_and_a_settings_id_one_of_another_version(tmp_path: Path) -> None:
    find = brought(tmp_path, {})
    same, other = find("aaaa", "ssss"), find("bbbb", "ssss")
    assert same is not None and other is not None
    assert same.tags == {TAKEN: "study planted, run 7 of runs.parquet"}
    assert other.tags == {TAKEN: f"study planted, run 7 of runs.parquet, {ANOTHER_VERSION}"}
    assert same.metrics == other.metrics == {"validation/nll_per_char": 0.25}, "what was not measured is not there"
    assert (other.status, other.steps, dict(other.overrides)) == ("completed", 40, {"seed": 3})
    assert find("bbbb", "tttt") is None


def test_what_was_of_another_version_stays_so_when_it_is_brought_on(tmp_path: Path) -> None:
    find = brought(tmp_path, {TAKEN: f"study planted, run 2 of runs.parquet, {ANOTHER_VERSION}"})
    found = find("aaaa", "")
    assert found is not None and found.tags[TAKEN] == f"study planted, run 7 of runs.parquet, {ANOTHER_VERSION}"


@pytest.mark.parametrize(("status", "taken"), [("completed", True), ("diverged", True), ("failed", False)])
def test_only_a_run_that_ended_by_itself_is_a_result(tmp_path: Path, status: str, taken: bool) -> None:
    assert (brought(tmp_path, {"status": status})("aaaa", "ssss") is not None) is taken


def test_a_file_of_an_older_version_has_no_settings_ids_and_is_read_by_run_ids(tmp_path: Path) -> None:
    find = brought(tmp_path, {"settings_id": None}, {"settings_id": None, "run_id": None})
    assert find("aaaa", "") is not None and find("bbbb", "") is None
    assert find.note.startswith("--from runs.parquet: 1 results; an older version wrote it")


def test_what_is_no_such_file_is_refused_in_one_line(tmp_path: Path) -> None:
    way_out = "; give runs.parquet of an ablation's report$"
    for path in (tmp_path / "none.parquet", tmp_path):
        with pytest.raises(SettingError, match=rf"^--from {re.escape(str(path))} is no file{way_out}"):
            BroughtRuns(path)
    (tmp_path / "text.parquet").write_text("no table")
    with pytest.raises(SettingError, match=rf"cannot be read: [^\n]*{way_out}"):
        BroughtRuns(tmp_path / "text.parquet")
    other = write_parquet([{"a": 1}], tmp_path / "other.parquet")
    with pytest.raises(SettingError, match=rf"has no column study{way_out}"):
        BroughtRuns(other)
    for damage in ({"overrides": "{x"}, {"overrides": None}, {"steps": None}):
        with pytest.raises(SettingError, match=rf"run 7 is damaged: [^\n]*{way_out}"):
            brought(tmp_path, damage)
