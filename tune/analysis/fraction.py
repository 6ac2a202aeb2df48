"""Builds two-level fractional factorial designs: the cells to run, and the effects that they cannot separate.

A design 2^(k-p) runs k - p factors in full; each of the p others follows a *generator*, a product of those. Effects
with equal or opposite columns are *aliased*: the data show only their sum (`Alias.weight`). *Resolution* is the length
of the shortest product of factors that is constant:

    III: main effects are aliased with two-factor interactions.
    IV: two-factor interactions are aliased with each other, main effects with neither.
    V: neither are aliased with each other.

Source: Box, Hunter and Hunter, Statistics for Experimenters, chapter 6.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import NamedTuple

import numpy as np


class Alias(NamedTuple):
    """An effect that a design cannot separate from another one.

    Attributes:
        factors: Names of its factors.
        weight: How much of it is in the other effect's estimate: 1 or -1 of an effect of as many factors. A main effect
            (a difference) has half of an interaction (a difference of differences), with its sign.
    """

    factors: tuple[str, ...]
    weight: float


@dataclass(frozen=True)
class Fraction:
    """A two-level design over named factors.

    Attributes:
        factors: Names of the factors, in the order of the columns.
        generators: `{factor: the factors whose product it follows}` for the factors that are not run in full.
    """

    factors: tuple[str, ...]
    generators: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        basic = [name for name in self.factors if name not in self.generators]
        for name, product in self.generators.items():
            if name not in self.factors or len(product) < 2 or not set(product) <= set(basic):
                raise ValueError(f"generators.{name}={list(product)} must name at least two of {basic}")

    @property
    def signs(self) -> np.ndarray:
        """Levels of all cells, shape (cells, factors): -1 is the baseline's level, +1 the other.

        The first cell is the baseline, all -1.
        """
        basic = [name for name in self.factors if name not in self.generators]
        columns = dict(zip(basic, np.array(list(itertools.product((-1, 1), repeat=len(basic)))).T, strict=True))
        for name, product in self.generators.items():
            # Minus for an even number of factors, so that the baseline is a cell of the design.
            columns[name] = -((-1) ** len(product)) * np.prod([columns[part] for part in product], axis=0)
        return np.stack([columns[name] for name in self.factors], axis=1)

    @property
    def words(self) -> list[frozenset[str]]:
        """The defining relation: every product of factors that is constant over the design."""
        bases = [frozenset({name, *product}) for name, product in self.generators.items()]
        chosen = (itertools.combinations(bases, size) for size in range(1, len(bases) + 1))
        return [reduce(frozenset.symmetric_difference, words) for words in itertools.chain.from_iterable(chosen)]

    @property
    def resolution(self) -> int | None:
        """The length of the shortest word; None for a full factorial, which has no aliases."""
        return min((len(word) for word in self.words), default=None)

    def aliases(self, effect: Sequence[str]) -> list[Alias]:
        """Returns the effects, of any order, that are aliased with `effect`, shortest first."""
        others = (frozenset(effect) ^ word for word in self.words)
        names = sorted((tuple(f for f in self.factors if f in other) for other in others), key=lambda e: (len(e), e))
        return [Alias(other, self._sign(effect, other) * 2.0 ** (len(effect) - len(other))) for other in names]

    def _sign(self, effect: Sequence[str], other: Sequence[str]) -> int:
        """Returns 1 if two aliased effects have equal columns, -1 if they have opposite ones."""
        places = [self.factors.index(name) for name in (*effect, *other)]
        return int(np.prod(self.signs[0, places]))


def smallest_fraction(factors: Sequence[str], resolution: int) -> Fraction:
    """Returns the design of the fewest cells with at least this resolution; if none has it, the full factorial.

    Args:
        factors: Two to eight names.
        resolution: 3, 4 or 5, written III, IV or V in textbooks.

    Raises:
        ValueError: If there are fewer or more factors.
    """
    names = tuple(factors)
    if not 2 <= len(names) <= 8:  # every choice of generators is tried, so the time grows fast with factors
        raise ValueError(f"{len(names)} factors must be 2 to 8")
    for num_basic in range(2, len(names)):
        basic, rest = names[:num_basic], names[num_basic:]
        products = [p for size in range(2, num_basic + 1) for p in itertools.combinations(basic, size)]
        products = [p for p in products if len(p) + 1 >= resolution]
        for chosen in itertools.combinations(sorted(products, key=len, reverse=True), len(rest)):
            design = Fraction(names, dict(zip(rest, chosen, strict=True)))
            if (design.resolution or 0) >= resolution:
                return design
    return Fraction(names)
