"""The table of systems: every registered variant has a whole row, and the file says what the docstrings say."""

from __future__ import annotations

import importlib

import pytest

from tests.systems import FIELDS, TABLE, fields, systems, table


@pytest.mark.parametrize("name", systems())
def test_every_registered_system_says_its_source_what_is_the_same_and_what_differs(name: str) -> None:
    said = fields(importlib.import_module(systems()[name]).__doc__ or "")
    assert [field for field in FIELDS if not said.get(field)] == [], f"{systems()[name]} lacks these paragraphs"


def test_the_table_is_made_from_the_docstrings() -> None:
    assert TABLE.read_text(encoding="utf-8") == table(), "run: python -m tests.systems"


def test_paragraphs_are_read_by_their_label() -> None:
    text = "`x`: a thing.\n\nSource: A 2020,\nB: 2021.\n\nSame: all.\n\nDifferent: no | bars.\n\nLetters: N things."
    assert fields(text) == {"Source": "A 2020, B: 2021.", "Same": "all.", "Different": "no | bars."}
