"""What MLflow accepts: names, finite values, lengths; and which metrics get a second series against tokens seen."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

MAX_NAME, MAX_PARAM, MAX_TAG = 250, 6000, 8000


def clean_name(name: str) -> str:
    """Returns the nearest name MLflow accepts for a metric, a parameter or a tag.

    Letters, digits, `_-. :/` are kept and others become `_`; a name must also be no path that resolves to another.
    """
    parts = re.sub(r"[^/\w.\- :]", "_", name).split("/")
    kept = [part for part in parts if part.strip(".")]
    return "/".join(kept)[:MAX_NAME] or "_"


def split_finite(metrics: Mapping[str, float]) -> tuple[dict[str, float], dict[str, str]]:
    """Returns the finite metrics under clean names, and the others as text.

    MLflow stores an infinity as 1.797e308, which no plot survives.
    """
    finite, others = {}, {}
    for name, value in metrics.items():
        if math.isfinite(value):
            finite[clean_name(name)] = float(value)
        else:
            others[clean_name(name)] = str(float(value))
    return finite, others


def against_tokens(metrics: Mapping[str, float]) -> dict[str, float]:
    """Returns the second series `tokens/...`, to be logged with the tokens seen as its step.

    MLflow draws a metric against its step, so runs of different batch sizes compare only in a series of their own; of
    what is worth comparing so, not of costs and progress: every series is a chart more.
    """
    chosen = {name: value for name, value in metrics.items() if name.startswith("validation/") or name == "train/nll"}
    return {f"tokens/{name}": value for name, value in chosen.items()}


def as_param(value: Any) -> str:
    """Returns a parameter's value as MLflow stores it."""
    return str(value)[:MAX_PARAM]


def as_tags(tags: Mapping[str, Any]) -> dict[str, str]:
    """Returns tags under clean names, None left out, each of a length that MLflow takes."""
    return {clean_name(name): str(value)[:MAX_TAG] for name, value in tags.items() if value is not None}
