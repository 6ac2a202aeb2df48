"""Draws what edits changed: factors by roles of words, each cell with how often the words differ and should differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tune.monitor.formats import plotly_text
from tune.report.figures import NAMES
from tune.report.page import Figure

if TYPE_CHECKING:
    from t5vqvae.measures.base import Row

CAPTION = (
    "Of 100 edits of a factor: those after which a word of the role differs / those after which one should. Edited"
    " words are those whose codes the edit replaced. White: as often as it should be. Amber: not often enough."
    " Violet: too often. Grey: no such words. Below the line: factors whose edits should change other words, too."
)
_LOWEST, _SAME, _HIGHEST = "#d98e04", "#ffffff", "#7d5ba6"
_ABSENT = "#e3e8ec"


def edit_changes_figure(rows: Sequence[Row]) -> Figure:
    """Returns the figure of the rows of `changes_by_role`, in their order of factors; edited words stand first."""
    factors = list(dict.fromkeys(str(row["factor"]) for row in rows))
    first = str(rows[0]["words"])
    roles = [first, *sorted({str(row["words"]) for row in rows} - {first})]
    cells = {(row["factor"], row["words"]): row for row in rows}
    found = [[cells.get((factor, role)) for role in roles] for factor in factors]
    trace = {
        "type": "heatmap",
        "x": [plotly_text(role) for role in roles],
        "y": [plotly_text(factor) for factor in factors],
        "z": [[None if row is None else _excess(row) for row in line] for line in found],
        "text": [["" if row is None else _shares(row) for row in line] for line in found],
        "hovertext": [["" if row is None else _sentence(row) for row in line] for line in found],
        "texttemplate": "%{text}",
        "hovertemplate": "%{hovertext}<extra></extra>",
        "hoverongaps": False,
        "colorscale": [[0, _LOWEST], [0.5, _SAME], [1, _HIGHEST]],
        "zmin": -1,
        "zmax": 1,
        "xgap": 2,
        "ygap": 2,
        "showscale": False,
    }  # fmt: skip
    local = sum(any(row is not None and row["kind"] == "local" for row in line) for line in found)
    height = {"y0": local - 0.5, "y1": local - 0.5}
    rule = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, **height, "line": {"width": 2}}
    axis = {"side": "top", "type": "category", "tickangle": -40, "automargin": True, "showgrid": False}
    layout = {"height": 110 + 27 * len(factors), "margin": {"l": 60, "r": 10, "t": 60, "b": 10}}
    layout |= {"xaxis": axis, "yaxis": NAMES | {"showgrid": False}, "plot_bgcolor": _ABSENT}
    return {"data": [trace], "layout": layout | {"shapes": [rule] if 0 < local < len(factors) else []}}


def _number(row: Row, name: str) -> float:
    return float(row[name] or 0)


def _excess(row: Row) -> float:
    return _number(row, "changed") - _number(row, "should")


def _shares(row: Row) -> str:
    return f"{100 * _number(row, 'changed'):.0f} / {100 * _number(row, 'should'):.0f}"


def _sentence(row: Row) -> str:
    changed, should = (f"{100 * _number(row, name):.0f}" for name in ("changed", "should"))
    what = plotly_text(f"{row['factor']} ({row['kind']}), {row['words']}")
    return f"{what}:<br>changed by {changed} of 100 edits, should by {should}; {row['edits']} edits"
