"""Texts as HTML, with the words marked that another text does not have."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from t5vqvae.data.texts import kept_places
from tune.monitor.formats import html_text
from tune.report.page import table

if TYPE_CHECKING:
    from t5vqvae.measures.base import Row


STEPS = "Marked: words that the row above does not have; dropped words are not marked."
EDITS = "Marked: words that the source does not have; dropped words are not marked."
"""What stands above the tables with marks."""


def marked(text: str, before: str) -> str:
    """Returns a text as HTML, with the words marked that another text does not have at their place.

    Words that the text lacks have no place in it, so they are not marked.
    """
    words = text.split()
    kept = kept_places(words, before.split())
    shown = [
        html_text(word) if place in kept else f"<mark>{html_text(word)}</mark>" for place, word in enumerate(words)
    ]
    return " ".join(shown)


def side_by_side(rows: Sequence[Row]) -> str:
    """Returns paths as an HTML table: a column for each, a row a step, words marked that the step before lacks.

    Args:
        rows: One a step, with `path`, `step`, `decoded`, `IS` and `counts`.
    """
    paths: dict[object, dict[object, Row]] = defaultdict(dict)
    for row in rows:
        paths[row["path"]][row["step"]] = row
    steps = list(dict.fromkeys(row["step"] for row in rows))
    columns = [_column(path, steps) for path in paths.values()]
    head = ["step", *(_heading(next(iter(path.values()))) for path in paths.values())]
    body = [[html_text(step), *(column[place] for column in columns)] for place, step in enumerate(steps)]
    return f'<div class="paths">{table(head, body, numeric_from=len(head))}</div>'


def _column(path: dict[object, Row], steps: Sequence[object]) -> list[str]:
    """Returns the text of every step of a path; empty where the path has no such step."""
    texts = [str(path[step]["decoded"]) if step in path else "" for step in steps]
    return [html_text(texts[0]), *(marked(text, before) for before, text in itertools.pairwise(texts))]


def _heading(row: Row) -> str:
    smoothness = "undefined" if row["IS"] is None else f"{float(row['IS']):.2f}"
    return f"path {row['path']}: IS {smoothness}{'' if row['counts'] == 'True' else ', does not count'}"
