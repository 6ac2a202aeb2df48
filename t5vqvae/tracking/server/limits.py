"""MLflow's limits for names, values and lengths, and the metrics with a second series against tokens seen."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

MAX_NAME, MAX_PARAM, MAX_TAG = 250, 6000, 8000


def clean_name(name: str) -> str:
    """Returns the nearest name that MLflow accepts for a metric, a parameter or a tag.

    Letters, digits and `_-. :/` are kept, others become `_`. Parts of dots (`.`, `..`) and empty parts are left out,
    because MLflow rejects a name that resolves to another path; for the same reason two dots in front become `__`. At
    most 250 characters are kept.
    """
    cut = _without_dots(re.sub(r"[^/\w.\- :]", "_", name))[:MAX_NAME]
    return re.sub(r"^\.\.", "__", _without_dots(cut)) or "_"  # twice: the cut may leave dots or a slash at the end


def _without_dots(name: str) -> str:
    """Returns a name without empty parts and without parts of dots."""
    return "/".join(part for part in name.split("/") if part.strip("."))


def split_finite(metrics: Mapping[str, float]) -> tuple[dict[str, float], dict[str, str]]:
    """Returns the finite metrics under clean names, and the others as text.

    MLflow stores an infinity as 1.797e308, which makes a plot unreadable.
    """
    finite, others = {}, {}
    for name, value in metrics.items():
        if math.isfinite(value):
            finite[clean_name(name)] = float(value)
        else:
            others[clean_name(name)] = str(float(value))
    return finite, others


def against_tokens(metrics: Mapping[str, float]) -> dict[str, float]:
    """Returns the second series `tokens/...`, which is logged with the tokens seen as its step.

    MLflow draws a metric against its step, so runs with different batch sizes are comparable only in a separate series.
    Costs and progress have none, because every series adds a chart.
    """
    chosen = {name: value for name, value in metrics.items() if name.startswith("validation/") or name == "train/nll"}
    return {f"tokens/{name}": value for name, value in chosen.items()}


def as_param(value: object) -> str:
    """Returns a parameter's value as text of at most 6000 characters, MLflow's limit."""
    return str(value)[:MAX_PARAM]


def as_tags(tags: Mapping[str, object]) -> dict[str, str]:
    """Returns tags under clean names, without None, each value of at most 8000 characters, MLflow's limit."""
    return {clean_name(name): str(value)[:MAX_TAG] for name, value in tags.items() if value is not None}
