"""Selects what a search's trials can be analysed by: those that completed, and the settings that differ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

Trial = Mapping[str, Any]
"""A `TrialRecord` as a dictionary."""
MAX_LEVEL = 1e300
"""The largest number on a scale: its square and its ratios would overflow."""
_ABSENT = object()


def comparable(trials: Sequence[Trial]) -> list[Trial]:
    """Returns trials whose settings are texts, truth values, None, or numbers that a float can hold.

    A list, a mapping, NaN and an infinity become their text: a level like any other, which has no place on a scale.
    """
    return [{**t, "overrides": {path: _level(value) for path, value in t["overrides"].items()}} for t in trials]


def _level(value: object) -> object:
    if value is None or isinstance(value, str | bool):
        return value
    return value if isinstance(value, int | float) and abs(value) <= MAX_LEVEL else str(value)


def completed(trials: Sequence[Trial], metric: str) -> list[Trial]:
    """Returns the trials that completed with a finite metric; pruned trials have no final value."""
    return [t for t in trials if t["status"] == "completed" and math.isfinite(t["metrics"].get(metric, math.nan))]


def searched(trials: Sequence[Trial]) -> list[str]:
    """Returns the settings that differ between trials or are absent from some of them."""
    names = sorted({name for trial in trials for name in trial["overrides"]})
    return [name for name in names if len({repr(t["overrides"].get(name, _ABSENT)) for t in trials}) > 1]
