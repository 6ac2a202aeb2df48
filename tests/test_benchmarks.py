"""Benchmarks start with the command lines that their documentation gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks import results_table


def test_the_results_table_goes_to_the_present_folder_unless_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(results_table, "prepared", lambda device, state: [])
    results_table.add(tmp_path / "results_table.csv", ("math, end", 0), {"test/exact_match": 0.25, "seconds": 3.0})
    monkeypatch.setattr(results_table, "_table", lambda rows, *_: [f"{name}: {seeds}" for name, seeds in rows.items()])
    monkeypatch.setattr("sys.argv", ["results_table", "--state", str(tmp_path)])
    results_table.main()
    assert "math, end: [{'seconds': 3.0, 'test/exact_match': 0.25}]" in (tmp_path / "results_table.md").read_text()
