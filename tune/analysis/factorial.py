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
from dataclasses import dataclass, field

import numpy as np

from tune.analysis.comparison import Question, Verdict, verdict
from tune.analysis.effect import Effect, paired_effect
from tune.analysis.equivalence import equivalence
from tune.analysis.fraction import Fraction
from tune.analysis.holm import holm

Cell = tuple[int, ...]
"""The index of each factor's level; 0 is the base level."""

Cells = Mapping[Cell, Mapping[int, float]]
"""A metric of completed runs: `{cell: {seed: value}}`."""

DEFAULT = Question("objective", "minimize")


@dataclass(frozen=True)
class FactorialEffect:
    """A main effect or an interaction.

    Attributes:
        factors: One or two factor names.
        levels: The level of each that is compared with its base level.
        effect: Over seeds that completed every cell; None if none did.
        p_adjusted: After Holm over all effects of the design.
        p_equivalence: Of its being within the margin, after Holm over all effects; 1 where no margin is asked about.
        verdict: What may be claimed; of an interaction, `better` says that the two levels do better together.
        beside: The same contrast of the metrics beside the objective.
        aliases: Effects up to two factors that cannot be told from it.
    """

    factors: tuple[str, ...]
    levels: tuple[int, ...]
    effect: Effect | None
    p_adjusted: float
    p_equivalence: float = 1.0
    verdict: Verdict = "undecided"
    beside: Mapping[str, Effect] = field(default_factory=dict)
    aliases: tuple[tuple[str, ...], ...] = ()

    @property
    def is_main(self) -> bool:
        """Whether it is a main effect."""
        return len(self.factors) == 1


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
    values: Cells,
    contrasts: Sequence[Contrast],
    design: Fraction | None = None,
    question: Question = DEFAULT,
    beside: Mapping[str, Cells] | None = None,
) -> list[FactorialEffect]:
    """Returns the effect of every contrast.

    Args:
        values: The objective. A contrast is over the seeds that completed all cells with a weight: a seed with a
            diverged cell drops out of it, which the effect's `seeds` show.
        contrasts: From `full_contrasts` or `fraction_contrasts`.
        design: For the aliases; None for a full factorial.
        question: What decides.
        beside: Further metrics, by name.
    """
    per_seed = [_per_seed(values, contrast) for contrast in contrasts]
    effects = [_effect(differences, question) for differences in per_seed]
    p_values = holm([1.0 if effect is None else effect.p_value for effect in effects])
    p_same = holm([_p_equivalence(differences, question) for differences in per_seed])
    found = []
    for contrast, effect, p, same in zip(contrasts, effects, p_values, p_same, strict=True):
        claim = verdict(effect, p, same, False, question)
        others = {name: _effect(_per_seed(cells, contrast), question) for name, cells in (beside or {}).items()}
        known = {name: other for name, other in others.items() if other is not None}
        aliases = _short_aliases(design, contrast.factors)
        found.append(FactorialEffect(contrast.factors, contrast.levels, effect, p, same, claim, known, aliases))
    return found


def _effect(per_seed: Mapping[int, float], question: Question) -> Effect | None:
    return paired_effect(per_seed, 1 - question.alpha, question.test, question.interval) if per_seed else None


def _p_equivalence(per_seed: Mapping[int, float], question: Question) -> float:
    if question.margin is None or not per_seed:
        return 1.0
    return equivalence(per_seed, question.margin, question.alpha).p_value


def _per_seed(values: Cells, contrast: Contrast) -> dict[int, float]:
    needed = [cell for cell, weight in contrast.weights.items() if weight]
    seeds = set.intersection(*(set(values.get(cell, {})) for cell in needed))
    return {seed: sum(contrast.weights[cell] * values[cell][seed] for cell in needed) for seed in sorted(seeds)}


def _short_aliases(design: Fraction | None, effect: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    return () if design is None else tuple(alias for alias in design.aliases(effect) if 0 < len(alias) <= 2)
