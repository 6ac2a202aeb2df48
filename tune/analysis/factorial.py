"""Factorial designs: main effects and two-factor interactions, with intervals.

Every seed ran every cell, so a contrast (a weighted sum over cells) has one value a seed, and its interval and test
are those of paired differences (`effect.py`); nothing is assumed about how the cells' variances relate.

A *main effect* is level minus base level, averaged over the other factors' cells. An *interaction* is a difference
of differences: by how much the one factor's effect changes when the other leaves its base level.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tune.analysis.effect import Effect, Interval, Test, paired_effect
from tune.analysis.fraction import Fraction
from tune.analysis.holm import holm

Cell = tuple[int, ...]
"""The index of each factor's level; 0 is the base level."""


@dataclass(frozen=True)
class FactorialEffect:
    """A main effect or an interaction.

    Attributes:
        factors: One or two factor names.
        levels: The level of each that is compared with its base level.
        effect: Over seeds that completed every cell; None if none did.
        p_adjusted: After Holm over all effects of the design.
        aliases: Effects up to two factors that cannot be told from it.
    """

    factors: tuple[str, ...]
    levels: tuple[int, ...]
    effect: Effect | None
    p_adjusted: float
    aliases: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Contrast:
    """Weights over cells; their sum with the cells' values is the effect."""

    factors: tuple[str, ...]
    levels: tuple[int, ...]
    weights: Mapping[Cell, float]


def full_contrasts(num_levels: Mapping[str, int]) -> list[Contrast]:
    """Returns every main effect and two-factor interaction of a full factorial with these numbers of levels (>= 2)."""
    names, cells = list(num_levels), list(itertools.product(*(range(n) for n in num_levels.values())))
    contrasts = []
    for chosen in [*itertools.combinations(range(len(names)), 1), *itertools.combinations(range(len(names)), 2)]:
        for levels in itertools.product(*(range(1, num_levels[names[i]]) for i in chosen)):
            num_others = len(cells) // math.prod(num_levels[names[i]] for i in chosen)
            weights = {cell: _sign([cell[i] for i in chosen], levels) / num_others for cell in cells}
            contrasts.append(Contrast(tuple(names[i] for i in chosen), levels, weights))
    return contrasts


def fraction_contrasts(design: Fraction) -> list[Contrast]:
    """Returns every main effect and one two-factor interaction of each set of aliased ones."""
    signs, names = design.signs, design.factors
    cells = [tuple(int(s > 0) for s in row) for row in signs]
    contrasts, seen = [], set()
    for chosen in [*itertools.combinations(range(len(names)), 1), *itertools.combinations(range(len(names)), 2)]:
        column = np.prod(signs[:, chosen], axis=1)
        key = tuple(column * column[0])
        if len(chosen) == 2 and (key in seen or abs(column.sum()) == len(column)):
            continue
        seen.add(key)
        scale = 2 ** len(chosen) / len(cells)
        weights = {cell: float(sign * scale) for cell, sign in zip(cells, column, strict=True)}
        contrasts.append(Contrast(tuple(names[i] for i in chosen), (1,) * len(chosen), weights))
    return contrasts


def _sign(levels: Sequence[int], asked: Sequence[int]) -> int:
    """Returns the product over factors of +1 at the asked level, -1 at the base, 0 elsewhere."""
    return math.prod(1 if have == want else -1 if have == 0 else 0 for have, want in zip(levels, asked, strict=True))


def factorial_effects(
    values: Mapping[Cell, Mapping[int, float]],
    contrasts: Sequence[Contrast],
    design: Fraction | None = None,
    alpha: float = 0.05,
    test: Test = "permutation",
    interval: Interval = "t",
) -> list[FactorialEffect]:
    """Returns the effect of every contrast.

    Args:
        values: `{cell: {seed: objective}}` of completed runs. A contrast is over the seeds that completed all cells
            with a weight: a seed with a diverged cell drops out of it, which the effect's `seeds` show.
        contrasts: From `full_contrasts` or `fraction_contrasts`.
        design: For the aliases; None for a full factorial.
        alpha: 1 - confidence of the intervals.
        test: As in `paired_effect`.
        interval: As in `paired_effect`.
    """
    effects = []
    for contrast in contrasts:
        per_seed = _per_seed(values, contrast)
        effects.append(paired_effect(per_seed, 1 - alpha, test, interval) if per_seed else None)
    adjusted = holm([1.0 if effect is None else effect.p_value for effect in effects])
    return [
        FactorialEffect(contrast.factors, contrast.levels, effect, p, _short_aliases(design, contrast.factors))
        for contrast, effect, p in zip(contrasts, effects, adjusted, strict=True)
    ]


def _per_seed(values: Mapping[Cell, Mapping[int, float]], contrast: Contrast) -> dict[int, float]:
    needed = [cell for cell, weight in contrast.weights.items() if weight]
    seeds = set.intersection(*(set(values.get(cell, {})) for cell in needed))
    return {seed: sum(contrast.weights[cell] * values[cell][seed] for cell in needed) for seed in sorted(seeds)}


def _short_aliases(design: Fraction | None, effect: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    return () if design is None else tuple(alias for alias in design.aliases(effect) if 0 < len(alias) <= 2)
