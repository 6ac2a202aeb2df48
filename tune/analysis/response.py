"""Estimates how the objective depends on the settings of a search: main effects, and surfaces over two settings.

Only completed trials count. A search samples good regions more often, so a mean over the trials at one level is not a
controlled comparison: the other settings differ as well. Use these results to choose an ablation, not as a claim.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tune.analysis.effect import t_interval
from tune.analysis.trial_values import Trial, completed

MAX_LEVELS = 8
"""Most levels of a number that are shown one by one; more are put into bins."""
NUM_BINS = 6


@dataclass(frozen=True)
class LevelMean:
    """The mean objective of the trials at one level of a setting, or in one quantile bin.

    Attributes:
        level: The level as text; of a bin, its median.
        mean: Mean of the objective.
        low: Lower end of the interval of the mean; -inf with one trial.
        high: Upper end; inf with one trial.
        num_trials: Number of trials.
    """

    level: str
    mean: float
    low: float
    high: float
    num_trials: int


@dataclass(frozen=True)
class Surface:
    """The smoothed objective over two settings.

    Attributes:
        x_name: First setting.
        y_name: Second setting.
        x: Grid over the first setting, increasing, evenly spaced on a linear or logarithmic scale (`log`).
        y: Grid over the second setting.
        z: Predicted objective, shape (len(y), len(x)); NaN where no trial is near.
        points: The completed trials as (x, y, objective).
        log: Whether the x axis and the y axis are logarithmic.
    """

    x_name: str
    y_name: str
    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    points: tuple[tuple[float, float, float], ...]
    log: tuple[bool, bool]


def main_effect(trials: Sequence[Trial], name: str, metric: str, confidence: float = 0.95) -> list[LevelMean]:
    """Returns the mean objective at each level of a setting, in order of the levels.

    A number with more than eight levels is divided into bins at its quantiles.

    Args:
        trials: Records of the study.
        name: Dotted path of the setting; trials without it do not count.
        metric: The objective.
        confidence: Confidence of the t intervals, in (0, 1).
    """
    pairs = [
        (t["overrides"][name], float(t["metrics"][metric])) for t in completed(trials, metric) if name in t["overrides"]
    ]
    levels: dict[str, list[float]] = {}
    for label, values in _binned(pairs):
        levels.setdefault(label, []).extend(values)
    means = []
    for label, values in levels.items():
        low, high = t_interval(np.asarray(values), confidence)
        means.append(LevelMean(label, float(np.mean(values)), low, high, len(values)))
    return means


def _binned(pairs: Sequence[tuple[Any, float]]) -> list[tuple[str, list[float]]]:
    """Groups objectives by level; with many levels, by quantile bins of about equally many trials."""
    levels = sorted({level for level, _ in pairs}, key=lambda v: (not _is_number(v), v if _is_number(v) else repr(v)))
    if len(levels) <= MAX_LEVELS or not all(map(_is_number, levels)):
        return [(f"{level}", [value for at, value in pairs if at == level]) for level in levels]
    num_bins = max(2, min(NUM_BINS, len(pairs) // 4))
    edges = np.quantile([at for at, _ in pairs], np.linspace(0, 1, num_bins + 1))[1:-1]
    bins = [[pair for pair in pairs if np.searchsorted(edges, pair[0], side="right") == i] for i in range(num_bins)]
    return [(f"{np.median([at for at, _ in b]):.2g}", [value for _, value in b]) for b in bins if b]


def surface(trials: Sequence[Trial], x_name: str, y_name: str, metric: str, size: int = 24) -> Surface | None:
    """Returns the response surface over two numeric settings: a seeded random forest fitted on these two alone.

    Args:
        trials: Records of the study.
        x_name: Dotted path of a number.
        y_name: Dotted path of another number.
        metric: The objective.
        size: Grid points on each axis.

    Returns:
        The surface; None with fewer than eight trials, or where one of the settings is constant.
    """
    done = [
        t
        for t in completed(trials, metric)
        if _is_number(t["overrides"].get(x_name)) and _is_number(t["overrides"].get(y_name))
    ]
    points = [(float(t["overrides"][x_name]), float(t["overrides"][y_name]), float(t["metrics"][metric])) for t in done]
    if len(points) < 8 or any(len({point[axis] for point in points}) < 2 for axis in (0, 1)):
        return None
    from sklearn.ensemble import RandomForestRegressor

    log = tuple(_is_log([point[axis] for point in points]) for axis in (0, 1))
    scaled = np.stack([_unit([p[axis] for p in points], log[axis]) for axis in (0, 1)], axis=1)
    forest = RandomForestRegressor(200, min_samples_leaf=2, random_state=0).fit(scaled, [p[2] for p in points])
    steps = np.linspace(0, 1, size)
    plane = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    nearest = np.sqrt(((plane[:, None] - scaled[None]) ** 2).sum(-1)).min(1)
    # Blank where the nearest trial is farther than a fifth of the plane's diagonal.
    z = np.where(nearest <= math.sqrt(2) / 5, forest.predict(plane), np.nan).reshape(size, size)
    axes = [_grid([p[axis] for p in points], log[axis], size) for axis in (0, 1)]
    return Surface(x_name, y_name, axes[0], axes[1], z, tuple(points), (log[0], log[1]))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_log(values: Sequence[float]) -> bool:
    return min(values) > 0 and max(values) / min(values) > 20


def _unit(values: Sequence[float], log: bool) -> np.ndarray:
    array = np.log(values) if log else np.asarray(values)
    return (array - array.min()) / np.ptp(array)


def _grid(values: Sequence[float], log: bool, size: int) -> np.ndarray:
    spaced = np.geomspace if log else np.linspace
    return spaced(min(values), max(values), size)
