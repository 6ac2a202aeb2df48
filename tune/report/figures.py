"""Builds the figures of reports as Plotly's plain dictionaries; `customdata` of a point is the address of its run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from t5vqvae.config import short_names
from t5vqvae.evaluation.metrics import label
from tune.analysis import Comparison, Importance, LevelMean, Surface
from tune.analysis.trial_values import Trial
from tune.monitor.formats import plotly_text, shortened
from tune.report.page import Figure, anchor

COLOURS = {
    "better": "#0b6e99",
    "worse": "#c23b4f",
    "equivalent": "#4c956c",
    "undecided": "#7b8794",
    "unstable": "#b7791f",
}
STATUS = {"completed": "#0b6e99", "pruned": "#b8c4cd", "failed": "#c23b4f", "diverged": "#b7791f"}
GRID = {"gridcolor": "#e6ebef", "zerolinecolor": "#9aa7b2", "automargin": True}
NAMES = GRID | {"autorange": "reversed", "type": "category"}
"""An axis of names from top to bottom; by itself Plotly would take names such as 1 or 2024-01-01 for a scale."""
LEGEND = {"showlegend": True, "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}}
LEGEND |= {"margin": {"l": 50, "r": 20, "t": 40, "b": 45}}
LONG_SCALE = 20
"""The ratio of largest to smallest value above which an axis is logarithmic."""


def pairs(comparison: Comparison) -> Figure:
    """Draws every paired difference, one dot per seed: it shows whether all seeds carry an effect, or one."""
    metric, traces = comparison.question.objective, []
    baseline = {row.seed: row.value(metric) for row in comparison.baseline_rows}
    for arm in comparison.arms:
        values = [(row, row.value(metric), baseline.get(row.seed)) for row in arm.rows]
        found = [(row, mine - other) for row, mine, other in values if mine is not None and other is not None]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": plotly_text(arm.arm),
                "x": [difference for _, difference in found],
                "y": [plotly_text(arm.arm)] * len(found),
                "text": [f"seed {row.seed}" for row, _ in found],
                "customdata": [row.url or f"#runs-{anchor(row.arm)}" for row, _ in found],
                "marker": {"size": 9, "color": COLOURS[arm.verdict], "opacity": 0.65},
                "hovertemplate": "%{text}: %{x:.4g}<extra></extra>",
            }
        )
    axis = GRID | _titled(label(metric)) | {"zeroline": True}
    return {"data": traces, "layout": _layout(axis, NAMES, 90 + 34 * len(traces))}


def price(comparison: Comparison, beside: str) -> Figure:
    """Draws the effect on a further metric, such as the rate, with its interval: the price of the quality."""
    arms = [arm for arm in comparison.arms if beside in arm.secondary]
    effects = [arm.secondary[beside] for arm in arms]
    means = [effect.mean for effect in effects]
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": means,
        "y": [plotly_text(arm.arm) for arm in arms],
        "error_x": _errors(means, [effect.low for effect in effects], [effect.high for effect in effects]),
        "customdata": [f"#runs-{anchor(arm.arm)}" for arm in arms],
        "marker": {"size": 10, "color": [COLOURS[arm.verdict] for arm in arms]},
        "hovertemplate": "%{y}: %{x:.4g}<extra></extra>",
    }
    axis = GRID | _titled(label(beside)) | {"zeroline": True}
    return {"data": [trace], "layout": _layout(axis, NAMES, 90 + 30 * len(arms))}


def importances(found: Sequence[Importance]) -> Figure:
    """Draws shares of importance, one bar per setting and method."""
    names = list(dict.fromkeys(name for one in found for name in one.values))
    labels = short_names(names)
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "name": one.method,
            "y": [plotly_text(labels[name]) for name in names],
            "x": [one.values.get(name, math.nan) for name in names],
            "hovertemplate": "%{y}: %{x:.0%}<extra></extra>",
        }
        for one in found
    ]
    axis = GRID | {"tickformat": ".0%", "rangemode": "tozero"}
    layout = _layout(axis, NAMES, 110 + 40 * len(names))
    return {"data": traces, "layout": layout | LEGEND}


def history(trials: Sequence[Trial], metric: str, urls: Mapping[int, str]) -> Figure:
    """Draws the objective of every trial in order, one colour per status."""
    traces = []
    for status, colour in STATUS.items():
        chosen = [t for t in trials if t["status"] == status and math.isfinite(t["metrics"].get(metric, math.nan))]
        if chosen:
            traces.append(_points(chosen, [t["number"] for t in chosen], metric, urls, status, colour))
    layout = _layout(GRID | _titled("trial"), GRID | _titled(label(metric)), 340)
    return {"data": traces, "layout": layout | LEGEND}


def front(trials: Sequence[Trial], best: Sequence[Trial], metric: str, against: str, urls: Mapping[int, str]) -> Figure:
    """Draws quality against its price; the line joins the trials that no other beats in both."""
    chosen = [t for t in trials if all(math.isfinite(t["metrics"].get(m, math.nan)) for m in (metric, against))]
    cloud = _points(chosen, [t["metrics"][against] for t in chosen], metric, urls, "completed", "#b8c4cd")
    best = sorted(best, key=lambda t: t["metrics"][against])
    edge = _points(best, [t["metrics"][against] for t in best], metric, urls, "Pareto front", "#0b6e99")
    edge |= {"mode": "lines+markers", "line": {"shape": "hv", "width": 1.5}}
    layout = _layout(GRID | _titled(label(against)), GRID | _titled(label(metric)), 340)
    return {"data": [cloud, edge], "layout": layout | LEGEND}


def coordinates(trials: Sequence[Trial], names: Sequence[str], metric: str) -> Figure:
    """Draws parallel coordinates of completed trials; drag along an axis to select some."""
    labels = short_names(list(names))
    dimensions = [_dimension(plotly_text(labels[name]), [t["overrides"].get(name) for t in trials]) for name in names]
    values = [t["metrics"][metric] for t in trials]
    dimensions.append({"label": plotly_text(label(metric)), "values": values})
    line = {"color": values, "colorscale": "Viridis", "showscale": False}
    trace = {"type": "parcoords", "line": line, "dimensions": dimensions, "labelangle": -18, "labelside": "top"}
    return {"data": [trace], "layout": {"height": 380, "margin": {"l": 60, "r": 60, "t": 90, "b": 30}}}


def responses(effects: Mapping[str, Sequence[LevelMean]], metric: str) -> Figure:
    """Draws main effects side by side: the mean of the objective at each level, with its interval."""
    traces, layout = [], {"grid": {"rows": -(-len(effects) // 2), "columns": 2, "pattern": "independent", "ygap": 0.45}}
    labels = short_names(list(effects))
    for i, (name, levels) in enumerate(effects.items(), start=1):
        suffix = "" if i == 1 else str(i)
        means = [level.mean for level in levels]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [plotly_text(level.level) for level in levels],
                "y": means,
                "xaxis": f"x{suffix}",
                "yaxis": f"y{suffix}",
                "text": [f"{level.num_trials} trials" for level in levels],
                "error_y": _errors(means, [level.low for level in levels], [level.high for level in levels]),
                "marker": {"size": 9, "color": "#0b6e99"},
                "hovertemplate": "%{x}: %{y:.4g} (%{text})<extra></extra>",
            }
        )
        layout[f"xaxis{suffix}"] = GRID | _titled(labels[name]) | {"type": "category"}
        layout[f"yaxis{suffix}"] = dict(GRID)
    rows = -(-len(effects) // 2)
    return {"data": traces, "layout": _layout({}, {}, 60 + 250 * rows) | layout}


def landscape(found: Surface, metric: str) -> Figure:
    """Draws a response surface with the trials behind it."""
    labels = short_names([found.x_name, found.y_name])
    contour = {
        "type": "contour",
        "x": found.x,
        "y": found.y,
        "z": found.z,
        "colorscale": "Viridis",
        "contours": {"coloring": "heatmap"},
        "line": {"width": 0.4},
        "colorbar": _titled(label(metric)) | {"thickness": 12},
    }
    dots = {
        "type": "scatter",
        "mode": "markers",
        "x": [point[0] for point in found.points],
        "y": [point[1] for point in found.points],
        "text": [f"{point[2]:.4g}" for point in found.points],
        "marker": {"size": 7, "color": "#fff", "line": {"color": "#1c2733", "width": 1}},
        "hovertemplate": "%{x:.3g}, %{y:.3g}: %{text}<extra></extra>",
    }
    axes = [_titled(labels[name]) | {"automargin": True} for name in (found.x_name, found.y_name)]
    axes = [axis | ({"type": "log"} if log else {}) for axis, log in zip(axes, found.log, strict=True)]
    return {"data": [contour, dots], "layout": _layout(axes[0], axes[1], 400)}


def _layout(x_axis: Mapping[str, Any], y_axis: Mapping[str, Any], height: int) -> dict[str, Any]:
    margin = {"l": 50, "r": 20, "t": 10, "b": 45}
    return {"xaxis": x_axis, "yaxis": y_axis, "height": height, "margin": margin, "showlegend": False}


def _titled(text: str) -> dict[str, Any]:
    return {"title": {"text": plotly_text(text)}}


def _errors(means: Sequence[float], lows: Sequence[float], highs: Sequence[float]) -> dict[str, Any]:
    """Returns error bars; an infinite end gets none."""
    above = [high - mean if math.isfinite(high) else 0.0 for mean, high in zip(means, highs, strict=True)]
    below = [mean - low if math.isfinite(low) else 0.0 for mean, low in zip(means, lows, strict=True)]
    return {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "thickness": 1.2}


def _points(
    trials: Sequence[Trial], x: Sequence[float], metric: str, urls: Mapping[int, str], name: str, colour: str
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": list(x),
        "y": [t["metrics"][metric] for t in trials],
        "text": [f"trial {t['number']}" for t in trials],
        "customdata": [urls.get(t["number"]) or f"#trial-{t['number']}" for t in trials],
        "marker": {"size": 8, "color": colour},
        "hovertemplate": "%{text}: %{x:.4g}, %{y:.4g}<extra></extra>",
    }


def _dimension(name: str, values: Sequence[object]) -> dict[str, Any]:
    """Returns one axis of parallel coordinates: a scale for numbers, equal steps for words; absent values lie below."""
    known = [float(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if not known or len(known) < sum(value is not None for value in values):
        words = sorted({_word(value) for value in values})
        places = [words.index(_word(value)) for value in values]
        return {
            "label": name,
            "values": places,
            "tickvals": list(range(len(words))),
            "ticktext": [shortened(word, 20) for word in words],
        }
    log = min(known) > 0 and max(known) / min(known) > LONG_SCALE
    scaled = [math.log10(value) if log else value for value in known]
    low, high = min(scaled), max(scaled)
    ticks = [low + (high - low) * i / 4 for i in range(5)]
    text = [f"{10**tick if log else tick:.3g}" for tick in ticks]
    if len(known) == len(values):
        return {"label": name, "values": scaled, "tickvals": ticks, "ticktext": text}
    below, numbers = low - 0.2 * ((high - low) or 1.0), iter(scaled)
    heights = [below if value is None else next(numbers) for value in values]
    return {"label": name, "values": heights, "tickvals": [below, *ticks], "ticktext": ["absent", *text]}


def _word(value: object) -> str:
    return "-" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
