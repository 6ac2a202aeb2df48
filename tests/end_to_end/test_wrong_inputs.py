"""Every wrong input of `wrong_inputs.py` ends in one line: the wrong value, its place, and the way out."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from wrong_inputs import EVERY, Case, write_files

from tune.cli import main

CASES = [case for cases in EVERY.values() for case in cases]
COMMANDS = {"train", "config", "search", "ablate", "promote", "report", "trials", "data"}
LATER = {"status", "trial", "diff", "stop", "remove", "rerun", "compare", "up"}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of wrong files, and an empty state folder."""
    folder = tmp_path_factory.mktemp("wrong")
    (folder / "files").mkdir()
    write_files(folder / "files")
    return {"files": folder / "files", "state": folder / "state"}


def test_there_are_many_and_few_of_a_kind() -> None:
    assert len({words for words, _ in CASES}) >= 150
    assert max(Counter(kind for kind, cases in EVERY.items() for _ in cases).values()) <= 5
    assert {words.split("  ")[0] for words, _ in CASES} >= COMMANDS | LATER


@pytest.mark.parametrize("case", CASES, ids=[words[:60] for words, _ in CASES])
def test_a_wrong_input_is_refused_in_one_line(
    case: Case, places: dict[str, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words, said = case
    monkeypatch.setenv("XDG_CACHE_HOME", str(places["state"].parent / "cache"))
    status = main([word.format(**places) for word in words.split("  ")])
    progress = re.compile(r"threads: \d+|.* so far|.*: \d.*/s\b.*|")
    shown = [line for line in capsys.readouterr().err.splitlines() if not progress.fullmatch(line)]
    assert (status, len(shown)) == (2, 1), shown
    missing = [part for part in said if part.format(**places) not in shown[0]]
    assert not missing, f"{shown[0]} does not contain {missing}"
