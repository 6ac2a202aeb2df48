"""Averages a measure of latents and factors over the templates of a corpus; see `slots.py`.

Next to each value stands how far it spreads over five disjoint sets of sentences (`Probed.fifths`), all as large as the
one that the value is of, because these measures move with their number of sentences: fifths of the same 220 sentences
of a template all have a lower explicitness and a higher z-diff than the whole. Sentences drawn with replacement would
not do either: the forest is then judged by sentences that it was fitted to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from t5vqvae.measures.base import NUM_FIFTHS, Found, Probed, Row
from t5vqvae.measures.slots import Slots
from t5vqvae.stages import stage

Scores = Mapping[str, float | None]
"""Scores by name; None where one is not defined."""
CONTROL = "_shuffled"
"""The end of the name of a control, whose spread is not measured."""
TOO_FEW = "too few sentences"


def over_templates(
    probed: Probed,
    title: str,
    scores: Callable[[Slots], Scores],
    controls: Callable[[Slots], Scores] | None = None,
) -> Found:
    """Returns the mean of every score over templates as `disentanglement/` metrics, and a table of all values.

    Args:
        probed: The model.
        title: The title of the table.
        scores: Returns the scores of the sentences of a template.
        controls: Returns further scores, whose spread is not measured. None: there are none.
    """
    parts = probed.fifths or [probed.slots]
    found: list[dict[str, Scores]] = []
    with stage(f"fitting: {title.lower()}", sum(map(len, parts)), "templates") as now:
        for part in parts:
            found.append({})
            for slots in part:
                found[-1][slots.template] = scores(slots)
                now.advance(1)
    of_controls = {slots.template: {} if controls is None else controls(slots) for slots in probed.slots}
    rows: list[Row] = [
        {
            "template": slots.template,
            "sentences": len(slots.factors_NF),
            **_cells([part[slots.template] for part in found if slots.template in part], of_controls[slots.template]),
        }
        for slots in probed.slots
    ]
    if not rows:
        return Found()
    means, mean_controls = [_means(list(part.values())) for part in found], _means(list(of_controls.values()))
    total = sum(len(slots.factors_NF) for slots in probed.slots)
    rows.append({"template": "mean", "sentences": total, **_cells(means, mean_controls)})
    metrics = {f"disentanglement/{name}": value for name, value in {**means[0], **mean_controls}.items()}
    return Found({name: value for name, value in metrics.items() if value is not None}, {title: rows})


def _cells(of_parts: Sequence[Scores], controls: Scores) -> dict[str, float | str | None]:
    """Returns the scores of the first part, controls, and how far the scores spread over all parts."""
    names = [name for name in of_parts[0] if not name.endswith(CONTROL)]
    spreads = {f"{name}, over fifths": _spread([part.get(name) for part in of_parts]) for name in names}
    return {**of_parts[0], **controls, **spreads}


def _spread(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if len(values) < NUM_FIFTHS:
        return TOO_FEW
    if len(known) < len(values):
        return f"not defined in {len(values) - len(known)} of {len(values)}"
    return f"{min(known):.3f} to {max(known):.3f}"


def _means(of_templates: Sequence[Scores]) -> dict[str, float | None]:
    """Returns the mean of every score over the templates in which it is defined; None if there are none."""
    names = dict.fromkeys(name for each in of_templates for name in each)
    known = {name: [value for each in of_templates if (value := each.get(name)) is not None] for name in names}
    return {name: sum(values) / len(values) if values else None for name, values in known.items()}
