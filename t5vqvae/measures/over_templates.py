"""Averages a measure of latents and factors over the templates of a corpus; see `slots.py`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping

from t5vqvae.measures.base import Found, Probed, Row
from t5vqvae.measures.slots import Slots
from t5vqvae.stages import stage

Scores = Mapping[str, float | None]
"""Scores by name; None where one is not defined."""


def over_templates(probed: Probed, title: str, scores: Callable[[Slots], Scores]) -> Found:
    """Returns the mean of every score over templates as `disentanglement/` metrics, and a table of all values."""
    values: dict[str, list[float]] = defaultdict(list)
    rows: list[Row] = []
    with stage(f"fitting: {title.lower()}", len(probed.slots), "templates") as now:
        for slots in probed.slots:
            found = scores(slots)
            for name, value in found.items():
                values[name] += [] if value is None else [value]
            rows.append({"template": slots.template, "sentences": len(slots.factors_NF), **found})
            now.advance(1)
    metrics = {f"disentanglement/{name}": sum(each) / len(each) for name, each in values.items() if each}
    return Found(metrics, {title: rows})
