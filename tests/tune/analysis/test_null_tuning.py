"""Null studies with tuned arms claim nothing more often than alpha; the whole table is a benchmark."""

from __future__ import annotations

import pytest

from tests.benchmarks.null_tuning import CELLS, Cell, Rates, simulate
from tune.analysis import PowerTarget, detectable

NAMES = """
spread 0.005, curvature 0.0, 3 candidates, arms 1
spread 0.005, curvature 0.0, 3 candidates, arms 4
spread 0.005, curvature 0.0, 8 candidates, arms 1
spread 0.005, curvature 0.0, 8 candidates, arms 4
spread 0.005, curvature 0.1, 3 candidates, arms 1
spread 0.005, curvature 0.1, 3 candidates, arms 4
spread 0.005, curvature 0.1, 8 candidates, arms 1
spread 0.005, curvature 0.1, 8 candidates, arms 4
spread 0.005, curvature 0.5, 3 candidates, arms 1
spread 0.005, curvature 0.5, 3 candidates, arms 4
spread 0.005, curvature 0.5, 8 candidates, arms 1
spread 0.005, curvature 0.5, 8 candidates, arms 4
spread 0.02, curvature 0.0, 3 candidates, arms 1
spread 0.02, curvature 0.0, 3 candidates, arms 4
spread 0.02, curvature 0.0, 8 candidates, arms 1
spread 0.02, curvature 0.0, 8 candidates, arms 4
spread 0.02, curvature 0.1, 3 candidates, arms 1
spread 0.02, curvature 0.1, 3 candidates, arms 4
spread 0.02, curvature 0.1, 8 candidates, arms 1
spread 0.02, curvature 0.1, 8 candidates, arms 4
spread 0.02, curvature 0.5, 3 candidates, arms 1
spread 0.02, curvature 0.5, 3 candidates, arms 4
spread 0.02, curvature 0.5, 8 candidates, arms 1
spread 0.02, curvature 0.5, 8 candidates, arms 4
"""
STEEP, FLAT = Cell(0.02, 0.5, 8, 1), Cell(0.005, 0.0, 3, 4)


def test_the_cells_are_these():
    assert [cell.name for cell in CELLS] == NAMES.strip().splitlines()


@pytest.mark.parametrize("cell", [STEEP, Cell(0.02, 0.5, 3, 4)], ids=lambda cell: cell.name)
def test_a_tuning_for_each_seed_keeps_the_stated_error(cell):
    rates = simulate(cell, "per_seed", 500)
    assert not rates.fails, rates
    assert rates.claims > 0, "a test that never claims anything is broken too"


def test_a_shared_tuning_does_not_where_the_learning_rate_matters():
    rates = simulate(STEEP, "shared", 500)
    assert rates.fails and rates.claims / rates.studies > 0.08 and rates.covered / rates.studies < 0.92
    assert not simulate(FLAT, "shared", 300).fails, "where it does not matter, tuning is no luck"


def test_a_planted_effect_is_found_with_about_the_stated_power():
    null = simulate(STEEP, "per_seed", 300)
    planted = detectable(null.sd, 10, PowerTarget(num_tests=1))
    rates = simulate(STEEP, "per_seed", 400, effect=planted)
    assert 0.7 < rates.found / rates.studies < 0.9
    assert rates.covered / rates.studies > 0.91


def test_a_cell_fails_by_its_claims_or_by_its_coverage():
    assert not Rates(4000, 200, 3800, 0, 1.0).fails and not Rates(4000, 100, 3800, 0, 1.0).fails
    assert Rates(4000, 250, 3800, 0, 1.0).fails and Rates(4000, 200, 3750, 0, 1.0).fails
