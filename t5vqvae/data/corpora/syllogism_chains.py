"""Chains of quantified statements, and what follows between their ends.

A statement relates two classes: all, some, no, not all. Classes may be empty (no existential import), so "all a are b"
does not give "some a are b". A chain links X0 to X1, X1 to X2, and so on, each link written either way round. What
follows between X0 and the last class is computed from left to right: nothing that matters is lost, because all that
premises say of X0 and Xi passes through one relation. The test compares it with an enumeration of all models.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache
from typing import Literal

Quantifier = Literal["all", "some", "no", "not all"]
Link = tuple[Quantifier, bool]
"""A quantifier, and whether the statement is written backwards: its subject is the later class."""
Relation = Literal["all", "all back", "no", "some", "not all", "not all back", "nothing"]
"""What is known of two classes; "back": with the second one as the subject."""

QUANTIFIERS: tuple[Quantifier, ...] = ("all", "no", "some", "not all")
"""From the strongest to the weakest."""
LINKS: tuple[Link, ...] = tuple((quantifier, back) for quantifier in QUANTIFIERS for back in (False, True))
_SAID: dict[Link, Relation] = {
    ("all", False): "all",
    ("all", True): "all back",
    ("no", False): "no",
    ("no", True): "no",
    ("some", False): "some",
    ("some", True): "some",
    ("not all", False): "not all",
    ("not all", True): "not all back",
}
_COMPOSED: dict[tuple[Relation, Relation], Relation] = {
    ("all", "all"): "all",
    ("all", "no"): "no",
    ("all", "not all back"): "not all back",
    ("all back", "all back"): "all back",
    ("all back", "some"): "some",
    ("all back", "not all"): "not all",
    ("no", "all back"): "no",
    ("no", "some"): "not all back",
    ("some", "all"): "some",
    ("some", "no"): "not all",
    ("not all", "all back"): "not all",
    ("not all back", "all"): "not all back",
}
"""What follows of X and Z from a relation of X and Y and one of Y and Z; absent: nothing."""
RELATIONS: tuple[Relation, ...] = ("all", "all back", "no", "some", "not all", "not all back", "nothing")


def conclusion(links: Sequence[Link]) -> Relation:
    """Returns what follows between the ends of a chain."""
    relation = _SAID[links[0]]
    for link in links[1:]:
        relation = _composed(relation, link)
    return relation


def draw_chain(length: int, relation: Relation, rng: random.Random) -> list[Link]:
    """Draws a chain with a given conclusion, uniformly among all of its length.

    Raises:
        ValueError: If there is none.
    """
    if not count_chains(length, relation):
        raise ValueError(f"no chain of {length} links gives {relation!r}")
    links: list[Link] = []
    for left in range(length - 1, 0, -1):
        steps = [(before, link) for before in RELATIONS for link in LINKS if _composed(before, link) == relation]
        weights = [count_chains(left, before) for before, _ in steps]
        relation, link = rng.choices(steps, weights)[0]
        links.append(link)
    links.append(rng.choice([link for link in LINKS if _SAID[link] == relation]))
    return links[::-1]


@cache
def count_chains(length: int, relation: Relation) -> int:
    """Returns the number of chains of a length with a given conclusion."""
    if length == 1:
        return sum(_SAID[link] == relation for link in LINKS)
    steps = [before for before in RELATIONS for link in LINKS if _composed(before, link) == relation]
    return sum(count_chains(length - 1, before) for before in steps)


def _composed(relation: Relation, link: Link) -> Relation:
    return _COMPOSED.get((relation, _SAID[link]), "nothing")
