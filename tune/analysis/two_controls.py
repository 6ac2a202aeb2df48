"""Compares the control of two models: the same edits, paired, by a bootstrap over source sentences.

Edits of one sentence succeed and fail together, so whole sentences are resampled, with all of their edits. The claim is
about these two models on edits like these; other seeds were not drawn.

- `local` and `distributed`: right answers an edit.
- `locality` and `validity`: over edits that changed the text of *both* models, so the same edits are judged; the values
  differ from each model's own, which are over all that it changed itself.

P-values are adjusted by Holm's method over what is compared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from t5vqvae.measures.control import KINDS, Outcome
from tune.analysis.bootstrap import SentenceComparison, compare_ratios
from tune.analysis.holm import holm

_Pair = tuple[Outcome, Outcome]


@dataclass(frozen=True)
class ControlDifference:
    """One part of control, compared.

    Attributes:
        name: `local intervention`, `distributed intervention`, `locality` or `validity`.
        scores: Both values, their difference with its interval, and the p-value; its sentences are the sources.
        num_edits: Edits that were compared.
        p_adjusted: The p-value after Holm's adjustment.
    """

    name: str
    scores: SentenceComparison
    num_edits: int
    p_adjusted: float

    @property
    def verdict(self) -> str:
        """`better`, `worse` or `undecided`: the adjusted p-value and the interval must agree."""
        if self.p_adjusted > 0.05 or self.scores.low <= 0 <= self.scores.high:
            return "undecided"
        return "better" if self.scores.difference > 0 else "worse"


def compare_controls(a: Sequence[Outcome], b: Sequence[Outcome], seed: int = 0) -> list[ControlDifference]:
    """Returns the difference of two models in every part of control that has edits.

    Args:
        a: What came of the edits with the first model.
        b: The same with the second one, in the same order.
        seed: Seed of the resampling.

    Raises:
        ValueError: If they are not of the same edits.
    """
    if [outcome.edit for outcome in a] != [outcome.edit for outcome in b]:
        raise ValueError("two models can be compared on the same edits in the same order only")
    found = [
        (name, _compared(pairs, value, seed), len(pairs)) for name, pairs, value in _parts(list(zip(a, b, strict=True)))
    ]
    adjusted = holm([scores.p_value for _, scores, _ in found])
    return [
        ControlDifference(name, scores, number, p) for (name, scores, number), p in zip(found, adjusted, strict=True)
    ]


def _parts(pairs: Sequence[_Pair]) -> Iterator[tuple[str, list[_Pair], Callable[[Outcome], float]]]:
    """Yields what is compared: its name, its edits if there are any, and the value of one."""
    both_changed = [pair for pair in pairs if pair[0].changed and pair[1].changed]
    parts: list[tuple[str, list[_Pair], Callable[[Outcome], float]]] = [
        (f"{kind} intervention", [pair for pair in pairs if pair[0].edit.kind == kind], lambda each: each.is_answer)
        for kind in KINDS
    ]
    parts += [("locality", both_changed, lambda each: each.kept), ("validity", both_changed, lambda each: each.valid)]
    return (part for part in parts if part[1])


def _compared(pairs: Sequence[_Pair], value: Callable[[Outcome], float], seed: int) -> SentenceComparison:
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for one, other in pairs:
        for place, more in enumerate((value(one), value(other), 1.0)):
            sums[one.edit.source][place] += more
    first, second, edits = zip(*sums.values(), strict=True)
    return compare_ratios((first, edits), (second, edits), seed=seed)
