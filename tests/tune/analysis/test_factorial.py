"""Factorial designs: planted effects come back, and aliasing is stated."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tune.analysis import Fraction, Question, factorial_effects, fraction_contrasts, full_contrasts, smallest_fraction
from tune.analysis.fraction import Alias
from tune.report.sentences import alias_in_words

SEEDS = range(8)


def planted(cells, value, noise=0.0):
    rng = np.random.default_rng(0)
    return {cell: {s: 10 * s + value(*cell) + noise * rng.normal() for s in SEEDS} for cell in cells}


def by_name(effects):
    return {(e.factors, e.levels): e for e in effects}


def test_main_effects_and_interactions_of_a_two_by_three_factorial():
    cells = list(itertools.product(range(2), range(3)))
    values = planted(cells, lambda a, b: 2 * a + 5 * (b == 2) + 3 * a * (b == 1))
    found = by_name(factorial_effects(values, full_contrasts({"a": 2, "b": 3})))
    assert {key: round(e.effect.mean, 9) for key, e in found.items()} == {
        (("a",), (1,)): 3.0,  # 2, 5 and 2, averaged over the levels of b
        (("b",), (1,)): 1.5,
        (("b",), (2,)): 5.0,
        (("a", "b"), (1, 1)): 3.0,
        (("a", "b"), (1, 2)): 0.0,
    }


def test_intervals_come_from_the_spread_over_seeds():
    cells = list(itertools.product(range(2), range(2)))
    values = planted(cells, lambda a, b: 2 * a, noise=0.5)
    question = Question("objective", "minimize", test="t")
    found = by_name(factorial_effects(values, full_contrasts({"a": 2, "b": 2}), question=question))
    main, interaction = found[("a",), (1,)].effect, found[("a", "b"), (1, 1)]
    assert main.low < 2 < main.high and main.low > 0
    per_seed = [(values[1, 0][s] + values[1, 1][s] - values[0, 0][s] - values[0, 1][s]) / 2 for s in SEEDS]
    assert main.sd == pytest.approx(np.std(per_seed, ddof=1))
    assert interaction.effect.low < 0 < interaction.effect.high


def test_a_seed_with_a_missing_cell_drops_out():
    cells = list(itertools.product(range(2), range(2)))
    values = planted(cells, lambda a, b: a)
    del values[1, 1][3]
    found = factorial_effects(values, full_contrasts({"a": 2, "b": 2}))
    assert all(3 not in e.effect.seeds and e.effect.num_seeds == 7 for e in found)


@pytest.mark.parametrize(
    ("num", "resolution", "cells"), [(3, 3, 4), (4, 4, 8), (5, 5, 16), (5, 3, 8), (7, 3, 8), (6, 4, 16)]
)
def test_the_smallest_fractions_of_the_textbook(num, resolution, cells):
    design = smallest_fraction([f"f{i}" for i in range(num)], resolution)
    assert design.signs.shape == (cells, num)
    assert design.resolution >= resolution
    assert (design.signs[0] == -1).all(), "the baseline is a cell of the design"
    assert len({tuple(row) for row in design.signs}) == cells
    assert (design.signs.sum(0) == 0).all(), "each factor is on in half of the cells"
    assert (design.signs.T @ design.signs == cells * np.eye(num)).all(), "main effects are orthogonal"


def test_aliases_share_their_column():
    design = smallest_fraction("abcdef", 4)
    signs = dict(zip(design.factors, design.signs.T, strict=True))
    for pair in itertools.combinations("abcdef", 2):
        column = np.prod([signs[f] for f in pair], axis=0)
        for alias in design.aliases(pair):
            other = np.prod([signs[f] for f in alias.factors], axis=0)
            assert (column == np.sign(alias.weight) * other).all()


def test_a_planted_interaction_is_in_its_alias_with_its_weight():
    """Resolution III: the column of c is the negative product of those of a and b."""
    design = smallest_fraction("abc", 3)
    cells = [tuple(int(s > 0) for s in row) for row in design.signs]
    values = planted(cells, lambda a, b, c: (2 * a - 1) * (2 * b - 1) / 4)  # the interaction is 1
    found = by_name(factorial_effects(values, fraction_contrasts(design), design))[("c",), (1,)]
    assert found.aliases == (Alias(("a", "b"), -0.5),) and alias_in_words(found.aliases[0]) == "-a x b / 2"
    assert found.effect.mean == pytest.approx(-0.5)


def test_nothing_is_claimed_of_an_effect_with_a_diverged_cell():
    """The third level of b diverges, so of b's second level and its interaction all is known."""
    cells = list(itertools.product(range(2), range(3)))
    values = planted(cells, lambda a, b: a + 3 * b, noise=0.1)
    lost = {(1, 2): [0, 1]}
    values = {cell: {s: v for s, v in by.items() if s not in lost.get(cell, ())} for cell, by in values.items()}
    found = by_name(factorial_effects(values, full_contrasts({"a": 2, "b": 3}), diverged=lost))
    unstable = {key for key, effect in found.items() if effect.verdict == "unstable"}
    assert unstable == {(("a",), (1,)), (("b",), (2,)), (("a", "b"), (1, 2))}
    assert all(found[key].diverged == (0, 1) and not {0, 1} & set(found[key].effect.seeds) for key in unstable)
    assert found[("b",), (1,)].verdict != "undecided" and found[("b",), (1,)].diverged == ()


def test_a_fraction_finds_planted_main_effects_and_names_what_it_cannot_tell_apart():
    design = smallest_fraction("abcd", 4)
    contrasts = fraction_contrasts(design)
    assert len(contrasts) == 4 + 3
    cells = [tuple(int(s > 0) for s in row) for row in design.signs]
    values = planted(cells, lambda a, b, c, d: 2 * a - d + 4 * a * b)
    found = by_name(factorial_effects(values, contrasts, design))
    means = {key[0]: round(e.effect.mean, 9) for key, e in found.items()}
    assert means == {("a",): 4, ("b",): 2, ("c",): 0, ("d",): -1, ("a", "b"): 4, ("a", "c"): 0, ("a", "d"): 0}
    assert found[("a", "b"), (1, 1)].aliases == (Alias(("c", "d"), 1.0),)
    assert found[("a",), (1,)].aliases == ()


def test_a_full_factorial_agrees_with_the_fraction_of_nothing():
    cells = list(itertools.product(range(2), repeat=3))
    values = planted(cells, lambda a, b, c: a + 2 * b * c, noise=0.3)
    full = by_name(factorial_effects(values, full_contrasts({"a": 2, "b": 2, "c": 2})))
    signs = by_name(factorial_effects(values, fraction_contrasts(Fraction(("a", "b", "c")))))
    assert full.keys() == signs.keys()
    assert all(full[key].effect.mean == pytest.approx(signs[key].effect.mean) for key in full)


def test_bad_designs_are_refused():
    with pytest.raises(ValueError, match=r"generators.c=\['z'\] must name at least two of \['a', 'b'\]"):
        Fraction(("a", "b", "c"), {"c": ("z",)})
    with pytest.raises(ValueError, match="9 factors must be 2 to 8"):
        smallest_fraction("abcdefghi", 3)
