"""The table of faults is whole: every row names tests that exist."""

from __future__ import annotations

import ast
import re

import pytest
from places import ROOT

TABLE = ROOT / "tests" / "faults.md"
ROWS = dict(
    re.findall(r"^\| ([A-Z]\d+|\+ [^|]+?) \| [^|]* \| (.+?) \|$", TABLE.read_text(encoding="utf-8"), re.MULTILINE)
)
ELSEWHERE = {"W22", "S6", "M3"}
"""Rows that are mended with other parts of the project."""
NAMES = {"W": 25, "T": 12, "M": 13, "S": 6, "P": 4}


def names_of(file: str) -> set[str]:
    """The test functions of a file."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_fault_has_a_row() -> None:
    known = {f"{letter}{number}" for letter, last in NAMES.items() for number in range(1, last + 1)} - {"W2"}
    assert known - set(ROWS) - ELSEWHERE == set()


@pytest.mark.parametrize("row", ROWS)
def test_every_test_of_a_row_exists(row: str) -> None:
    tests = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", ROWS[row])
    assert len(tests) == ROWS[row].count(", ") + 1
    missing = [f"{file}::{name}" for file, name in tests if name and name not in names_of(file)]
    assert not missing and all((ROOT / file).is_file() for file, _ in tests)
