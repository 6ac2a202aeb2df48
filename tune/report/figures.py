"""Builds the figures of reports as Plotly's plain dictionaries; `customdata` of a point is the address of its run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from t5vqvae.config import short_names
from t5vqvae.evaluation.metrics import label
from tune.analysis import Comparison, Importance, LevelMean, Surface
from tune.analysis.trial_values import Trial
from tune.monitor.formats import plotly_text, plotly_title
from tune.report.page import Figure, anchor
from tune.report.scales import axis_title, dimension, level_text

COLOURS = {
    "better": "#0b6e99",
    "worse": "#c23b4f",
    "equivalent": "#3a7d56",
    "undecided": "#66727e",
    "unstable": "#9a6516",
}
STATUS = {"completed": "#0b6e99", "pruned": "#a9b7c2", "failed": "#c23b4f", "diverged": "#b7791f"}
METHODS = ("#0b6e99", "#edae49")
GRID = {"gridcolor": "#e6ebef", "zerolinecolor": "#9aa7b2", "automargin": True}
NAMES = GRID | {"autorange": "reversed", "type": "category"}
"""An axis of names from top to bottom; by itself Plotly would take names such as 1 or 2024-01-01 for a scale."""
LEGEND = {"showlegend": True, "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}}
LEGEND |= {"margin": {"l": 50, "r": 20, "t": 40, "b": 45}}


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
    axis = GRID | titled(axis_title(metric)) | {"zeroline": True}
    return {"data": traces, "layout": layout_of(axis, NAMES, 90 + 34 * len(traces))}


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
    axis = GRID | titled(axis_title(beside)) | {"zeroline": True}
    return {"data": [trace], "layout": layout_of(axis, NAMES, 90 + 30 * len(arms))}


def importances(found: Sequence[Importance]) -> Figure:
    """Draws shares of importance, one bar per setting and method, and for each method a line where chance ends."""
    names = list(dict.fromkeys(name for one in found for name in one.values))
    labels = short_names(names)
    shown = [plotly_text(labels[name]) for name in names]
    traces = []
    for one, colour in zip(found, METHODS, strict=False):
        values = [one.values.get(name, math.nan) for name in names]
        hover, marker = "%{y}: %{x:.0%}<extra></extra>", {"color": colour}
        bar = {"type": "bar", "orientation": "h", "name": one.method, "y": shown, "x": values}
        traces.append(bar | {"marker": marker, "hovertemplate": hover})
        traces.append(_null(one, shown, colour))
    axis = GRID | titled("share of importance") | {"tickformat": ".0%", "rangemode": "tozero"}
    layout = layout_of(axis, NAMES, 130 + 40 * len(names))
    return {"data": traces, "layout": layout | LEGEND}


def _null(found: Importance, names: Sequence[str], colour: str) -> dict[str, Any]:
    """Returns the line of the largest share when the objective is shuffled."""
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": f"{found.method}, objective shuffled",
        "x": [found.null] * len(names),
        "y": list(names),
        "line": {"color": colour, "dash": "dot", "width": 2},
        "marker": {"size": 5, "color": colour, "symbol": "line-ns-open"},
        "hovertemplate": "largest share when shuffled: %{x:.0%}<extra></extra>",
    }


def front(
    trials: Sequence[Trial], best: Sequence[Trial], metric: str, against: str, urls: Mapping[int, str], shape: str
) -> Figure:
    """Draws quality against its price; the line joins the trials that no other beats in both.

    Args:
        trials: Those that completed.
        best: The front.
        metric: The quality.
        against: The price.
        urls: The page of each trial's run.
        shape: Of the steps between two trials of the front: `hv` where little of the price is good, else `vh`.
    """
    chosen = [t for t in trials if all(math.isfinite(t["metrics"].get(m, math.nan)) for m in (metric, against))]
    cloud = points(chosen, [t["metrics"][against] for t in chosen], metric, urls, "completed", "#b8c4cd")
    best = sorted(best, key=lambda t: t["metrics"][against])
    edge = points(best, [t["metrics"][against] for t in best], metric, urls, "Pareto front", "#0b6e99")
    edge |= {"mode": "lines+markers", "line": {"shape": shape, "width": 1.5}}
    layout = layout_of(GRID | titled(axis_title(against)), GRID | titled(axis_title(metric)), 340)
    return {"data": [cloud, edge], "layout": layout | LEGEND}


def coordinates(trials: Sequence[Trial], names: Sequence[str], metric: str) -> Figure:
    """Draws parallel coordinates of completed trials; drag along an axis to select some."""
    labels = short_names(list(names))
    dimensions = [dimension(plotly_text(labels[name]), [t["overrides"].get(name) for t in trials]) for name in names]
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
                "x": [level_text(level.level) for level in levels],
                "y": means,
                "xaxis": f"x{suffix}",
                "yaxis": f"y{suffix}",
                "text": [f"{level.num_trials} trials" for level in levels],
                "error_y": _errors(means, [level.low for level in levels], [level.high for level in levels]),
                "marker": {"size": 9, "color": "#0b6e99"},
                "hovertemplate": "%{x}: %{y:.4g} (%{text})<extra></extra>",
            }
        )
        layout[f"xaxis{suffix}"] = GRID | titled(labels[name]) | {"type": "category"}
        layout[f"yaxis{suffix}"] = GRID | (titled(label(metric)) if i % 2 else {})
    rows = -(-len(effects) // 2)
    return {"data": traces, "layout": layout_of({}, {}, 60 + 250 * rows) | layout}


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
        "colorbar": titled(axis_title(metric)) | {"thickness": 12},
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
    axes = [titled(labels[name]) | {"automargin": True} for name in (found.x_name, found.y_name)]
    axes = [axis | ({"type": "log"} if log else {}) for axis, log in zip(axes, found.log, strict=True)]
    return {"data": [contour, dots], "layout": layout_of(axes[0], axes[1], 400)}


def layout_of(x_axis: Mapping[str, Any], y_axis: Mapping[str, Any], height: int) -> dict[str, Any]:
    """Returns the layout of a figure with two axes."""
    margin = {"l": 50, "r": 20, "t": 10, "b": 45}
    return {"xaxis": x_axis, "yaxis": y_axis, "height": height, "margin": margin, "showlegend": False}


def titled(text: str) -> dict[str, Any]:
    """Returns the title of an axis."""
    return {"title": {"text": plotly_title(text)}}


def _errors(means: Sequence[float], lows: Sequence[float], highs: Sequence[float]) -> dict[str, Any]:
    """Returns error bars; an infinite end gets none."""
    above = [high - mean if math.isfinite(high) else 0.0 for mean, high in zip(means, highs, strict=True)]
    below = [mean - low if math.isfinite(low) else 0.0 for mean, low in zip(means, lows, strict=True)]
    return {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "thickness": 1.2}


def points(
    trials: Sequence[Trial], x: Sequence[float], metric: str, urls: Mapping[int, str], name: str, colour: str
) -> dict[str, Any]:
    """Returns a dot for each trial, which leads to its run."""
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
