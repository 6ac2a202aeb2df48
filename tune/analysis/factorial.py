"""Estimates main effects and two-factor interactions of factorial designs, with intervals.

Every seed runs every cell, so a contrast (a weighted sum over cells) has one value per seed. Its interval and test are
those of paired differences (`effect.py`), which do not assume equal variances of the cells.

A *main effect* is level minus base level, averaged over the cells of the other factors. An *interaction* is a
difference of differences: the change of one factor's effect when the other factor leaves its base level.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tune.analysis.comparison import Question, Verdict, verdict
from tune.analysis.effect import Effect, paired_effect
from tune.analysis.equivalence import equivalence
from tune.analysis.fraction import Alias, Fraction
from tune.analysis.holm import holm

Cell = tuple[int, ...]
"""Index of each factor's level; 0 is the base level."""

Cells = Mapping[Cell, Mapping[int, float]]
"""One metric of the completed runs: `{cell: {seed: value}}`."""

_DEFAULT = Question("objective", "minimize")


@dataclass(frozen=True)
class FactorialEffect:
    """A main effect or an interaction, with its verdict.

    Attributes:
        factors: Names of one or two factors.
        levels: Level of each factor that is compared with its base level.
        effect: Effect over the seeds that completed every cell; None if no seed did.
        p_adjusted: P-value of the effect after Holm over all effects of the design.
        p_equivalence: P-value of the equivalence test after Holm over all effects; 1 without a margin.
        verdict: The claim that the data support; `better` for an interaction means that the two levels improve each
            other.
        secondary: The same contrast of the secondary metrics.
        aliases: Effects of up to two factors that the design cannot separate from this one.
        diverged: Seeds on which a cell of this effect diverged; with any, nothing is claimed.
    """

    factors: tuple[str, ...]
    levels: tuple[int, ...]
    effect: Effect | None
    p_adjusted: float
    p_equivalence: float = 1.0
    verdict: Verdict = "undecided"
    secondary: Mapping[str, Effect] = field(default_factory=dict)
    aliases: tuple[Alias, ...] = ()
    diverged: tuple[int, ...] = ()

    @property
    def is_main(self) -> bool:
        """Whether this is a main effect."""
        return len(self.factors) == 1


@dataclass(frozen=True)
class Contrast:
    """Weights over cells: the weighted sum of the cells' values is the effect.

    Attributes:
        factors: Names of one or two factors.
        levels: Level of each factor that is compared with its base level.
        weights: Weight of each cell.
    """

    factors: tuple[str, ...]
    levels: tuple[int, ...]
    weights: Mapping[Cell, float]


def full_contrasts(num_levels: Mapping[str, int]) -> list[Contrast]:
    """Returns every main effect and two-factor interaction of a full factorial design.

    Args:
        num_levels: Number of levels of each factor, at least 2.
    """
    names, cells = list(num_levels), list(itertools.product(*(range(n) for n in num_levels.values())))
    contrasts = []
    for chosen in [*itertools.combinations(range(len(names)), 1), *itertools.combinations(range(len(names)), 2)]:
        for levels in itertools.product(*(range(1, num_levels[names[i]]) for i in chosen)):
            num_others = len(cells) // math.prod(num_levels[names[i]] for i in chosen)
            weights = {cell: _sign([cell[i] for i in chosen], levels) / num_others for cell in cells}
            contrasts.append(Contrast(tuple(names[i] for i in chosen), levels, weights))
    return contrasts


def fraction_contrasts(design: Fraction) -> list[Contrast]:
    """Returns every main effect, and one two-factor interaction from each set of aliased ones."""
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


def _sign(levels: Sequence[int], compared: Sequence[int]) -> int:
    """Returns the product over factors of +1 at the compared level, -1 at the base level, 0 at any other."""
    return math.prod(1 if have == want else -1 if have == 0 else 0 for have, want in zip(levels, compared, strict=True))


def factorial_effects(
    values: Cells,
    contrasts: Sequence[Contrast],
    design: Fraction | None = None,
    question: Question = _DEFAULT,
    secondary: Mapping[str, Cells] | None = None,
    diverged: Mapping[Cell, Collection[int]] | None = None,
) -> list[FactorialEffect]:
    """Returns the effect of every contrast.

    Args:
        values: The objective. A contrast covers the seeds that completed all its cells of nonzero weight; the effect's
            `seeds` lists them, so a seed with a diverged cell is absent.
        contrasts: From `full_contrasts` or `fraction_contrasts`.
        design: The source of aliases; None for a full factorial.
        question: The objective and the rules.
        secondary: Secondary metrics by name.
        diverged: Seeds on which each cell diverged. The effect is over the others, which favours what diverged.
    """
    per_seed = [_per_seed(values, contrast) for contrast in contrasts]
    effects = [_effect(differences, question) for differences in per_seed]
    p_values = holm([1.0 if effect is None else effect.p_value for effect in effects])
    p_same = holm([_p_equivalence(differences, question) for differences in per_seed])
    found = []
    for contrast, effect, p, same in zip(contrasts, effects, p_values, p_same, strict=True):
        lost = {seed for cell, weight in contrast.weights.items() if weight for seed in (diverged or {}).get(cell, ())}
        claim = verdict(effect, p, same, bool(lost), question)
        others = {name: _effect(_per_seed(cells, contrast), question) for name, cells in (secondary or {}).items()}
        known = {name: other for name, other in others.items() if other is not None}
        aliases = _short_aliases(design, contrast.factors)
        levels, seeds = contrast.levels, tuple(sorted(lost))
        found.append(FactorialEffect(contrast.factors, levels, effect, p, same, claim, known, aliases, seeds))
    return found


def _effect(per_seed: Mapping[int, float], question: Question) -> Effect | None:
    return paired_effect(per_seed, 1 - question.alpha, question.test, question.interval) if per_seed else None


def _p_equivalence(per_seed: Mapping[int, float], question: Question) -> float:
    if question.margin is None or not per_seed:
        return 1.0
    return equivalence(per_seed, question.margin, question.alpha, question.test).p_value


def _per_seed(values: Cells, contrast: Contrast) -> dict[int, float]:
    needed = [cell for cell, weight in contrast.weights.items() if weight]
    seeds = set.intersection(*(set(values.get(cell, {})) for cell in needed))
    return {seed: sum(contrast.weights[cell] * values[cell][seed] for cell in needed) for seed in sorted(seeds)}


def _short_aliases(design: Fraction | None, effect: tuple[str, ...]) -> tuple[Alias, ...]:
    return () if design is None else tuple(alias for alias in design.aliases(effect) if 0 < len(alias.factors) <= 2)
