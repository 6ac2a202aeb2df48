"""What follows from a chain, compared with an enumeration of set models that knows nothing of composition.

A model of n classes says which of the 2^n kinds of things exist (a kind: in which classes a thing is). None need exist:
there is no existential import. Up to four classes every one of the 2^(2^n) models is tried. For more: a statement of
the form "there is none" only removes kinds, so the model of all kinds that remain is the richest, and premises can all
be true exactly if they are true in it.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np
import pytest

from t5vqvae.data.corpora.syllogism_chains import (
    LINKS,
    RELATIONS,
    Link,
    Relation,
    conclusion,
    count_chains,
    draw_chain,
)

Statement = tuple[str, int, int]
"""A quantifier, the subject's number and the other class's number."""
NEGATION = {"all": "not all", "not all": "all", "some": "no", "no": "some"}


def kinds_said(statement: Statement, num_classes: int) -> int:
    """The kinds of things, as bits, that an `all` or `no` forbids, and that a `not all` or `some` wants one of."""
    quantifier, subject, other = statement
    wanted = quantifier in ("some", "no")
    kinds = range(2**num_classes)
    return sum(1 << kind for kind in kinds if kind >> subject & 1 and bool(kind >> other & 1) == wanted)


@cache
def every_model(num_classes: int) -> np.ndarray:
    return np.arange(2 ** (2**num_classes), dtype=np.int64)


def models_of(statement: Statement, num_classes: int) -> np.ndarray:
    """Whether each model makes a statement true."""
    touched = (every_model(num_classes) & kinds_said(statement, num_classes)) != 0
    return ~touched if statement[0] in ("all", "no") else touched


def follows_in_all_models(premises: Iterable[Statement], claim: Statement, num_classes: int) -> bool:
    true = np.logical_and.reduce([models_of(premise, num_classes) for premise in premises])
    return bool((models_of(claim, num_classes) | ~true).all())


def follows_in_the_richest(premises: Sequence[Statement], claim: Statement, num_classes: int) -> bool:
    """Whether premises and the claim's negation cannot all be true."""
    said = [*premises, (NEGATION[claim[0]], *claim[1:])]
    universal = [statement for statement in said if statement[0] in ("all", "no")]
    left = 2 ** (2**num_classes) - 1
    for statement in universal:
        left &= ~kinds_said(statement, num_classes)
    return not all(left & kinds_said(statement, num_classes) for statement in said if statement not in universal)


def premises_of(links: Sequence[Link]) -> list[Statement]:
    return [(q, i + 1, i) if back else (q, i, i + 1) for i, (q, back) in enumerate(links)]


def claims(last: int) -> dict[str, Statement]:
    """Every statement about the two ends, by the relation's name; `no` and `some` are symmetric."""
    return {
        "all": ("all", 0, last),
        "all back": ("all", last, 0),
        "no": ("no", 0, last),
        "some": ("some", 0, last),
        "not all": ("not all", 0, last),
        "not all back": ("not all", last, 0),
    }


def answers(links: Sequence[Link], follows: object) -> list[str]:
    """Every statement about the ends that follows from a chain."""
    last, premises = len(links), premises_of(links)
    assert callable(follows)
    return [name for name, claim in claims(last).items() if follows(premises, claim, last + 1)]


def expected(links: Sequence[Link]) -> list[str]:
    return [] if conclusion(links) == "nothing" else [conclusion(links)]


def test_no_thing_need_exist() -> None:
    assert not follows_in_all_models([("all", 0, 1)], ("some", 0, 1), 2)
    assert follows_in_all_models([("all", 0, 1), ("some", 0, 1)], ("some", 1, 0), 2)
    assert not follows_in_all_models([("all", 1, 2), ("all", 1, 0)], ("some", 0, 2), 3)  # Darapti needs import
    assert follows_in_all_models([("not all", 1, 2), ("all", 1, 0)], ("not all", 0, 2), 3)  # Bocardo


@pytest.mark.parametrize("length", [1, 2, 3])
def test_every_short_chain_has_exactly_the_answer_of_all_its_models(length: int) -> None:
    for links in itertools.product(LINKS, repeat=length):
        assert answers(links, follows_in_all_models) == expected(links), links


@pytest.mark.parametrize("length", [2, 3])
def test_the_richest_model_decides_as_all_models_do(length: int) -> None:
    for links in itertools.product(LINKS, repeat=length):
        assert answers(links, follows_in_the_richest) == answers(links, follows_in_all_models), links


@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.parametrize("length", [4, 5, 6])
def test_long_chains_have_the_answer_of_the_richest_model(length: int, relation: Relation) -> None:
    rng = random.Random(f"{length} {relation}")
    for _ in range(20):
        links = draw_chain(length, relation, rng)
        assert conclusion(links) == relation and len(links) == length
        assert answers(links, follows_in_the_richest) == ([] if relation == "nothing" else [relation]), links


def test_chains_are_counted_and_drawn_uniformly() -> None:
    by_hand = Counter(conclusion(links) for links in itertools.product(LINKS, repeat=3))
    assert {relation: count_chains(3, relation) for relation in RELATIONS} == dict(by_hand)
    some = Counter(tuple(draw_chain(2, "no", random.Random(seed))) for seed in range(2000))
    assert len(some) == count_chains(2, "no") and max(some.values()) < 2 * min(some.values())


def test_a_conclusion_that_no_chain_has_is_refused() -> None:
    with pytest.raises(ValueError, match="no chain of 1 links gives 'nothing'"):
        draw_chain(1, "nothing", random.Random(0))
