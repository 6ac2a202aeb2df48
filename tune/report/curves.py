"""Builds the figures of a search over time: how each trial learned, and how the best result came down."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from t5vqvae.evaluation.metric import Direction
from tune.analysis.trial_values import Trial
from tune.monitor.formats import plotly_text
from tune.report.figures import GRID, LEGEND, STATUS, layout_of, points, titled
from tune.report.page import Figure
from tune.report.scales import axis_title, scale

Curve = Sequence[tuple[int, float]]


def history(
    trials: Sequence[Trial],
    metric: str,
    direction: Direction,
    counting: Collection[int],
    urls: Mapping[int, str],
) -> Figure | None:
    """Draws the objective of every trial in order, one colour per status, and the best so far.

    Args:
        trials: Of every status.
        metric: The objective.
        direction: Its direction.
        counting: The numbers of the trials that may count as best.
        urls: The page of each trial's run.

    Returns:
        The figure; None if no trial has a finite objective.
    """
    traces = []
    known = [t for t in trials if math.isfinite(t["metrics"].get(metric, math.nan))]
    for status, colour in STATUS.items():
        chosen = [t for t in known if t["status"] == status]
        if chosen:
            traces.append(points(chosen, [t["number"] for t in chosen], metric, urls, status, colour))
    steps = best_so_far([t for t in known if t["number"] in counting], metric, direction)
    if steps:
        steps.append((max(t["number"] for t in trials), steps[-1][1]))
        traces.append(_best(steps))
    values = [t["metrics"][metric] for t in known]
    axis = GRID | titled(axis_title(metric)) | scale(values)
    layout = layout_of(GRID | titled("trial") | {"tickformat": "d", "zeroline": False}, axis, 340)
    return {"data": traces, "layout": layout | LEGEND} if traces else None


def best_so_far(trials: Sequence[Trial], metric: str, direction: Direction) -> list[tuple[int, float]]:
    """Returns each trial that was better than all before it: its number and its objective."""
    steps: list[tuple[int, float]] = []
    for trial in sorted(trials, key=lambda t: t["number"]):
        value = trial["metrics"][metric]
        if not steps or (value < steps[-1][1] if direction == "minimize" else value > steps[-1][1]):
            steps.append((trial["number"], value))
    return steps


def _best(steps: Curve) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "best so far, within the constraints",
        "x": [number for number, _ in steps],
        "y": [value for _, value in steps],
        "line": {"shape": "hv", "width": 2, "color": "#1c2733", "dash": "dot"},
        "hoverinfo": "skip",
    }


def learning(trials: Sequence[Trial], metric: str, best: int | None, urls: Mapping[int, str]) -> Figure | None:
    """Draws the objective of every trial over its steps; None if no trial kept two milestones.

    Args:
        trials: Of every status.
        metric: The objective.
        best: Number of the trial that stands out.
        urls: The page of each trial's run.
    """
    curves = {trial["number"]: milestones(trial, metric) for trial in trials}
    if not any(len(curve) > 1 for curve in curves.values()):
        return None
    traces, named = [], set()
    for trial in sorted(trials, key=lambda t: t["number"] == best):  # the best one on top
        curve = curves[trial["number"]]
        if curve:
            name = f"trial {best}, the best" if trial["number"] == best else trial["status"]
            traces.append(_curve(trial, curve, name, name not in named, trial["number"] == best, urls))
            named.add(name)
    values = [value for curve in curves.values() for _, value in curve]
    axis = GRID | titled(axis_title(metric)) | scale(values)
    return {"data": traces, "layout": layout_of(GRID | titled("step"), axis, 360) | LEGEND}


def milestones(trial: Trial, metric: str) -> Curve:
    """Returns the finite values of a metric at a trial's milestones, by step."""
    found = sorted((int(step), values.get(metric, math.nan)) for step, values in trial.get("history", {}).items())
    return [(step, value) for step, value in found if math.isfinite(value)]


def _curve(
    trial: Trial, curve: Curve, name: str, in_legend: bool, best: bool, urls: Mapping[int, str]
) -> dict[str, Any]:
    number = trial["number"]
    colour = "#1c2733" if best else STATUS.get(trial["status"], "#7b8794")
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": plotly_text(name),
        "legendgroup": plotly_text(name),
        "showlegend": in_legend,
        "x": [step for step, _ in curve],
        "y": [value for _, value in curve],
        "text": [f"trial {number}"] * len(curve),
        "customdata": [urls.get(number) or f"#trial-{number}"] * len(curve),
        "line": {"color": colour, "width": 3 if best else 1.4},
        "marker": {"size": 7 if best else 5, "color": colour},
        "opacity": 1 if best or trial["status"] != "pruned" else 0.8,
        "hovertemplate": "%{text}, step %{x}: %{y:.4g}<extra></extra>",
    }
