"""The measure of control in a probe: all its metrics, the share by factor, and which words each edit changed.

See `control.py` and `edit_changes.py` for the definitions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from t5vqvae.measures.base import Found, Probed, Row, measure
from t5vqvae.measures.control import KINDS, Edited, Outcome, by_factor, ceiling_scores, scores, sparse_scores
from t5vqvae.measures.edit_changes import changes_by_role
from t5vqvae.spec.probe import EDIT_CHANGES

NUM_SHOWN = 20


@measure("control")
def control(probed: Probed) -> Found:
    """Measures whether edits of the codes change what they should, and only that."""
    edited = probed.edited()
    if not edited.whole:
        return Found()
    metrics = scores(edited.whole) | sparse_scores(edited.sparse) | ceiling_scores(edited.ceiling)
    tables = {"Control": _overall(edited), "Control by factor": _by_factor(edited.whole)}
    if edited.sparse:
        tables["Control by factor, sparse codes"] = _by_factor(edited.sparse)
    outcomes = edited.sparse or edited.whole
    tables |= {
        EDIT_CHANGES: changes_by_role(outcomes, probed.spec.data.corpus),
        "What became of edits": _ends(outcomes),
        "Edits": [_shown(each) for each in outcomes[:NUM_SHOWN]],
    }
    return Found(metrics, tables)


def _overall(edited: Edited) -> list[Row]:
    """Returns the share of right answers by kind, with Wilson's interval over edits, and what each is a share of."""
    rows: list[Row] = []
    for codes, outcomes in (("all", edited.whole), ("sparse", edited.sparse), ("of the answer", edited.ceiling)):
        for kind in KINDS:
            right = [each.is_answer for each in outcomes if each.edit.kind == kind]
            if right:
                low, high = _wilson(sum(right), len(right))
                rows.append({"codes": codes, "factors": kind, "answers": sum(right) / len(right), "low": low,
                             "high": high, "edits": len(right)})  # fmt: skip
    return rows


def _by_factor(outcomes: Sequence[Outcome]) -> list[Row]:
    """Returns the share of right answers by factor, with Wilson's interval over edits."""
    kinds = {outcome.edit.factor: outcome.edit.kind for outcome in outcomes}
    rows: list[Row] = []
    for factor, (share, number) in by_factor(outcomes).items():
        low, high = _wilson(round(share * number), number)
        rows.append({"factor": factor, "kind": kinds[factor], "answers": share, "low": low, "high": high,
                     "edits": number})  # fmt: skip
    return rows


def _wilson(right: int, number: int) -> tuple[float, float]:
    """Returns the ends of Wilson's 95% interval of a share."""
    from scipy.stats import binomtest

    interval = binomtest(right, number).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def _ends(outcomes: Sequence[Outcome]) -> list[Row]:
    """Returns, for every factor, how many edits gave the answer, another valid text, an invalid one, or no change."""
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
