"""Laws of ranges: draws lie in the range, and Optuna agrees."""

from __future__ import annotations

import random

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5vqvae.errors import SettingError
from tune.space.ranges import parse_range

number_ranges = st.one_of(
    st.builds(
        lambda low, width, log: {"type": "float", "low": low, "high": low + width, "log": log},
        st.floats(1e-6, 1e3),
        st.floats(1e-3, 1e3),
        st.booleans(),
    ),
    st.builds(
        lambda low, steps, step: {"type": "int", "low": low, "high": low + steps * step, "step": step},
        st.integers(-50, 50),
        st.integers(1, 50),
        st.integers(1, 7),
    ),
    st.builds(
        lambda low, steps, step: {"type": "float", "low": low, "high": round(low + steps * step, 6), "step": step},
        st.integers(-5, 5).map(float),
        st.integers(1, 50),
        st.sampled_from([0.1, 0.25, 0.3]),
    ),
)


@settings(max_examples=100, deadline=None)
@given(number_ranges, st.integers(0, 2**32 - 1))
def test_draws_lie_in_the_range_and_optuna_agrees(values, seed):
    range_ = parse_range("x", values)
    drawn = range_.draw(random.Random(seed))
    suggested = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed)).ask({"x": range_.distribution})
    for value in (drawn, suggested.params["x"], *range_.ends()):
        assert range_.contains(value)
        assert range_.distribution._contains(range_.distribution.to_internal_repr(value))
    assert not range_.contains(range_.high * 1.5 + 1e3) and not range_.contains(True) and not range_.contains("1")


def test_grids_meet_where_they_share_a_point():
    first, second = (
        {"type": "int", "low": low, "high": high, "step": step} for low, high, step in ((0, 6, 3), (1, 5, 2))
    )
    assert parse_range("x", first).meets(parse_range("x", second)), "3"
    assert not parse_range("x", first).meets(parse_range("x", {"type": "int", "low": 1, "high": 5, "step": 4}))


def test_a_grid_meets_a_range_between_its_ends_from_both_sides():
    grid = parse_range("x", {"type": "float", "low": 0.0, "high": 0.3, "step": 0.1})
    plain = parse_range("x", {"type": "float", "low": 0.15, "high": 0.25})
    assert grid.meets(plain) and plain.meets(grid)


def test_a_logarithm_has_no_grid():
    with pytest.raises(SettingError, match=r"step=1\.0 cannot be combined with log"):
        parse_range("x", {"type": "float", "low": 1.0, "high": 4.0, "log": True, "step": 1})
    parse_range("x", {"type": "int", "low": 1, "high": 4, "log": True, "step": 1})


def test_a_grid_contains_its_points_alone():
    grid = parse_range("x", {"type": "float", "low": 0.0, "high": 0.3, "step": 0.1})
    assert grid.contains(0.1) and grid.contains(0.3) and not grid.contains(0.15)
    assert {round(grid.draw(random.Random(seed)), 6) for seed in range(40)} == {0.0, 0.1, 0.2, 0.3}
    assert parse_range("x", {"type": "choice", "choices": [1, "a", None]}).contains(None)
    assert not parse_range("x", {"type": "choice", "choices": [1, 2]}).contains(True)
