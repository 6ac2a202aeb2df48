"""The measure of control in a probe: all its metrics, the share by factor, and what became of each word.

See `control.py` for the definitions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from t5vqvae.measures.base import Found, Probed, Row, measure
from t5vqvae.measures.control import Outcome, by_factor, scores

NUM_SHOWN = 20


@measure("control")
def control(probed: Probed) -> Found:
    """Measures whether edits of the codes change what they should, and only that."""
    outcomes = probed.outcomes
    if not outcomes:
        return Found()
    kinds = {outcome.edit.factor: outcome.edit.kind for outcome in outcomes}
    factors: list[Row] = [
        {"factor": factor, "kind": kinds[factor], "answers": share, "edits": number}
        for factor, (share, number) in by_factor(outcomes).items()
    ]
    tables: dict[str, Sequence[Row]] = {
        "Control by factor": factors,
        "What edits changed": _changes(outcomes),
        "Edits": [_shown(outcome) for outcome in outcomes[:NUM_SHOWN]],
    }
    return Found(scores(outcomes), tables)


def _changes(outcomes: Sequence[Outcome]) -> list[Row]:
    """Returns, for every factor, how often an edit that changed the text did so rightly, wrongly, or invalidly."""
    groups: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        groups[outcome.edit.factor].append(outcome)
    return [
        {
            "factor": factor,
            "answer": sum(outcome.is_answer for outcome in group) / len(group),
            "valid, another": sum(_is_other(outcome) and outcome.valid for outcome in group) / len(group),
            "invalid": sum(_is_other(outcome) and not outcome.valid for outcome in group) / len(group),
            "unchanged": sum(not outcome.changed and not outcome.is_answer for outcome in group) / len(group),
        }
        for factor, group in sorted(groups.items())
    ]


def _is_other(outcome: Outcome) -> bool:
    return outcome.changed and not outcome.is_answer


def _shown(outcome: Outcome) -> Row:
    edit = outcome.edit
    return {
        "factor": edit.factor,
        "source": edit.source,
        "donor": edit.donor,
        "answer": edit.answer,
        "decoded": outcome.decoded,
        "right": "yes" if outcome.is_answer else "no",
    }
