"""Draws the map of a codebook: a point for every code in use, coloured by the role of its most frequent word."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tune.monitor.formats import plotly_text
from tune.report.figures import GRID, LEGEND, titled
from tune.report.page import Figure

if TYPE_CHECKING:
    from t5vqvae.measures.base import Row

MOST_ROLES = 9
"""Further ones share a colour."""
OTHERS = "other roles"
COLOURS = (
    "#0b6e99", "#c23b4f", "#4c956c", "#b7791f", "#7d5ba6", "#2f4858", "#d1729f", "#8a9a2b", "#1fa3a3", "#9aa7b2",
)  # fmt: skip


def code_map_figure(rows: Sequence[Row]) -> Figure:
    """Returns the figure of a map's rows; a point's area grows with the uses of its code."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[str(row["role"] or "codes")].append(row)
    ordered = sorted(groups, key=lambda role: -len(groups[role]))
    shown = {role: groups[role] for role in ordered[:MOST_ROLES]}
    rest = [row for role in ordered[MOST_ROLES:] for row in groups[role]]
    shown |= {OTHERS: rest} if rest else {}
    most = max((float(row["uses"] or 1) for row in rows), default=1.0)
    traces = [_trace(role, some, colour, most) for (role, some), colour in zip(shown.items(), COLOURS, strict=False)]
    axis = GRID | {"zeroline": False, "showticklabels": False}
    x, y = (axis | titled(f"{which} main direction") for which in ("first", "second"))
    return {"data": traces, "layout": {"height": 560, "xaxis": x, "yaxis": y, **LEGEND}}


def _trace(role: str, rows: Sequence[Row], colour: str, most: float) -> dict[str, object]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": plotly_text(role),
        "x": [row["x"] for row in rows],
        "y": [row["y"] for row in rows],
        "text": [plotly_text(_words(row)) for row in rows],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {"size": [6 + 14 * (float(row["uses"] or 0) / most) ** 0.5 for row in rows], "color": colour,
                   "opacity": 0.7},
    }  # fmt: skip


def _words(row: Row) -> str:
    role, purity = row["role"] or "no role", float(row["purity"] or 0)
    return f"{row['word']} ({role}): code {row['code']}, {row['uses']} uses, purity {purity:.2f}"
