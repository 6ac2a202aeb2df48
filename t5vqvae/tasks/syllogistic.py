"""The task `syllogisms`: what follows between the ends of a chain of quantified premises.

Two idle answerers look as if they reasoned: they take the first subject and the last object of the text, and the
strongest (all > no > some > not all) or the weakest quantifier that they find.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

from t5vqvae.data.corpora.syllogism_chains import QUANTIFIERS
from t5vqvae.tasks.base import Task, asks
from t5vqvae.tasks.idle import COMMON, most_frequent, of_each, whole
from t5vqvae.tasks.scores import exact

_STATEMENT = re.compile(rf"({'|'.join(sorted(QUANTIFIERS, reverse=True))}) (\S+) are (\S+) \.")


def ends_with_quantifier(pick: Callable[[list[int]], int]) -> Callable[[str], str]:
    """Returns an answerer: first subject, last object, and a quantifier picked by its rank from 0, the strongest."""

    def answer(question: str) -> str:
        said = _STATEMENT.findall(question)
        if not said:
            return ""
        rank = pick([QUANTIFIERS.index(quantifier) for quantifier, _, _ in said])
        return f"{QUANTIFIERS[rank]} {said[0][1]} are {said[-1][2]}"

    return answer


def num_hops(question: str) -> str:
    """Returns how many hops a chain has: its premises, less one; a premise that shares no noun is outside of it."""
    premises = [(subject, other) for _, subject, other in _STATEMENT.findall(whole(question))]
    number = Counter(noun for premise in premises for noun in premise)
    linked = sum(any(number[noun] > 1 for noun in premise) for premise in premises)
    return "1 hop" if linked == 2 else f"{linked - 1} hops"


TASK = Task(
    name="syllogisms",
    question="What follows between the ends of a chain of quantified premises?",
    fits=asks("syllogisms"),
    scores={"exact_match": exact},
    idle={
        "first subject, last object, strongest quantifier": of_each(ends_with_quantifier(min)),
        "first subject, last object, weakest quantifier": of_each(ends_with_quantifier(max)),
        "majority": most_frequent,
        **COMMON,
    },
    of_all={},
    kind_of=num_hops,
)
