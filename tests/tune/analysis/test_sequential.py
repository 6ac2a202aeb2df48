"""Bounds of group-sequential plans against published tables, and the decisions of a plan."""

from __future__ import annotations

import math

import pytest

from tune.analysis import SequentialPlan


def test_bounds_as_published_for_five_looks():
    # Lan-DeMets bounds, two-sided .05, five equal looks (Jennison and Turnbull 2000; also gsDesign, ldbounds)
    brien = SequentialPlan((2, 4, 6, 8, 10)).bounds
    assert brien == pytest.approx([4.877, 3.357, 2.680, 2.290, 2.031], abs=2e-3)
    pocock = SequentialPlan((2, 4, 6, 8, 10), spending="pocock").bounds
    assert pocock == pytest.approx([2.438, 2.427, 2.410, 2.397, 2.386], abs=2e-3)


def test_one_look_is_the_ordinary_test():
    assert SequentialPlan((12,)).bounds == pytest.approx([1.959964], abs=1e-5)


def test_decisions():
    plan = SequentialPlan((4, 8), futility=0.2)
    assert plan.decide([1.0, 1.01, 0.99, 1.0]) == "effect"
    assert plan.decide([-1.0, -1.01, -0.99, -1.0]) == "effect"
    assert plan.decide([1.0, -0.2, 1.2, 0.1]) == "continue"
    assert plan.decide([0.1 + 0.2 - 0.3] * 8) == "continue", "rounding is no effect"
    assert plan.decide([1.0, -1.0, 1.2, -1.2]) == "futile"
    assert plan.decide([0.1, -0.1, 0.12, -0.12, 0.1, -0.1, 0.12, -0.12]) == "continue", "nothing is left to save"
    assert SequentialPlan((4, 8)).decide([0.1, -0.1, 0.12, -0.12]) == "continue"


@pytest.mark.parametrize("looks", [(), (1, 4), (4, 4), (8, 4)])
def test_looks_must_increase(looks):
    with pytest.raises(ValueError, match="must increase and begin at 2 pairs"):
        SequentialPlan(looks)


def test_an_unplanned_look_is_refused():
    with pytest.raises(ValueError, match="3 pairs are no planned look"):
        SequentialPlan((4, 8)).decide([1.0, 2.0, 3.0])
    assert math.isfinite(SequentialPlan((4, 8)).bounds[0])
