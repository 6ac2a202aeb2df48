"""Chooses the axes of figures: titles with units, ticks that read as whole numbers, levels in few digits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from t5vqvae.evaluation.metrics import find, label
from tune.monitor.formats import plotly_text, shortened

LONG_SCALE = 20
"""The ratio of largest to smallest value above which an axis is logarithmic."""
MOST_TICKS = 5
"""The most whole numbers that an axis of parallel coordinates marks one by one."""


def axis_title(metric: str) -> str:
    """Returns the name of a metric with its unit, such as `nll, nats a token`."""
    found, name = find(metric), label(metric)
    plain = found is None or bool(found.words) or found.units in ("1", "share")
    return name if plain or found is None else f"{name}, {found.units}"


def scale(values: Sequence[float]) -> dict[str, Any]:
    """Returns a logarithmic axis for positive values that span a long range: losses, whose best would lie on zero."""
    if not values or min(values) <= 0 or max(values) / min(values) <= LONG_SCALE:
        return {}
    first, last = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    digits = (1, 2, 5) if last - first < 4 else (1,)
    ticks = [float(f"{digit}e{power}") for power in range(first, last + 1) for digit in digits]
    return {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}


def level_text(level: str) -> str:
    """Returns a level of a setting in few digits: a number that was drawn has fifteen of them."""
    try:
        number = float(level)
    except ValueError:
        return plotly_text(level)
    if "e" in level and 1e-4 <= abs(number) < 1e6:  # 2e+02, the median of a bin in two digits
        return f"{number:g}"
    return plotly_text(level if len(level) < 6 else f"{number:.3g}")


def dimension(name: str, values: Sequence[object]) -> dict[str, Any]:
    """Returns one axis of parallel coordinates: a scale for numbers, equal steps for words; absent values lie below."""
    known = [float(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if not known or len(known) < sum(value is not None for value in values):
        return _of_words(name, [_word(value) for value in values])
    log = min(known) > 0 and max(known) / min(known) > LONG_SCALE
    scaled = [math.log10(value) if log else value for value in known]
    low, high = min(scaled), max(scaled)
    ticks = _ticks(scaled)
    text = [f"{10**tick if log else tick:.3g}" for tick in ticks]
    if len(known) == len(values):
        return {"label": name, "values": scaled, "tickvals": ticks, "ticktext": text}
    below, numbers = low - 0.2 * ((high - low) or 1.0), iter(scaled)
    heights = [below if value is None else next(numbers) for value in values]
    return {"label": name, "values": heights, "tickvals": [below, *ticks], "ticktext": ["absent", *text]}


def _ticks(values: Sequence[float]) -> list[float]:
    """Returns the values themselves where they are few whole numbers, else five steps."""
    whole = sorted(set(values))
    if len(whole) <= MOST_TICKS and all(value == round(value) for value in whole):
        return whole
    low, high = min(values), max(values)
    return [low + (high - low) * i / 4 for i in range(5)]


def _of_words(name: str, words: Sequence[str]) -> dict[str, Any]:
    levels = sorted(set(words))
    places = [levels.index(word) for word in words]
    text = [shortened(word, 20) for word in levels]
    return {"label": name, "values": places, "tickvals": list(range(len(levels))), "ticktext": text}


def _word(value: object) -> str:
    return "-" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
