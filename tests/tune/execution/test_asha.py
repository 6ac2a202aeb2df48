from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tune.execution.asha import PATIENCE_SECONDS, Rungs, RunToCompletion


def test_worked_example_of_halving():
    rungs = Rungs(grace_steps=10, max_steps=40, reduction_factor=2, direction="maximize")
    assert list(rungs.values) == [20, 10]
    assert rungs.survives(0, 10, 2.0)  # nobody to compare with
    assert rungs.survives(1, 10, 4.0)  # above the median 2
    assert not rungs.survives(2, 10, 1.0)  # below the median 3
    assert rungs.survives(3, 10, 2.0)  # the median of 2, 4, 1 is 2: a tie goes on
    assert rungs.survives(0, 20, 0.1)  # first at its rung


def test_minimizing_mirrors_maximizing():
    rungs = Rungs(10, 40, 2, "minimize")
    assert rungs.survives(0, 10, 1.0)
    assert not rungs.survives(1, 10, 2.0)
    assert rungs.survives(2, 10, 0.5)


def test_a_trial_is_judged_once_a_rung_and_at_the_highest_reached():
    rungs = Rungs(10, 100, 2, "maximize")
    rungs.survives(0, 10, 5.0)
    assert not rungs.survives(1, 12, 1.0)
    assert rungs.survives(1, 13, -9.0), "the verdict of a rung is final, also for a repeated step"
    assert rungs.survives(2, 45, 0.0)
    assert 2 in rungs.values[40] and 2 not in rungs.values[10]


def test_nothing_is_cut_at_the_last_step():
    assert 40 not in Rungs(10, 40, 2, "maximize").values
    assert Rungs(10, 10, 2, "maximize").values == {}


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_values_that_are_not_finite_are_the_worst_and_poison_nobody(direction):
    rungs = Rungs(10, 40, 2, direction)
    assert rungs.survives(0, 10, 1.0)
    assert not rungs.survives(1, 10, math.nan)
    assert rungs.survives(2, 10, 1.0)


def test_a_trial_that_breaks_a_constraint_later_takes_its_values_back():
    rungs = Rungs(10, 40, 2, "minimize")
    assert rungs.survives(0, 10, 0.1)
    assert not rungs.survives(1, 10, 0.5)
    rungs.survives(0, 15, math.nan)
    assert rungs.survives(2, 10, 0.5), "only trial 1's 0.5 is left to compare with"


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(1, 6), st.floats(-5, 5) | st.just(math.nan)), max_size=40))
def test_rungs_rebuilt_from_stored_values_equal_the_lost_ones(reports):
    """Law: a driver that replays what was stored judges as the dead one would have."""
    stored: dict[int, dict[int, float]] = {}
    live = Rungs(10, 60, 2, "minimize")
    for number, tens, value in sorted(reports, key=lambda report: report[1]):
        if tens * 10 not in stored.get(number, {}):
            stored.setdefault(number, {})[tens * 10] = value
            live.survives(number, tens * 10, value)
    rebuilt = Rungs(10, 60, 2, "minimize")
    rebuilt.replay(stored)
    assert rebuilt.values == live.values


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 6), st.integers(-5, 5) | st.just(math.nan)), max_size=80),
    st.sampled_from([1.5, 2, 3, 4]),
)
@example([(1, 4, -5), (2, 4, 4), (0, 4, -2)], 1.5)  # -2 is the quantile, which rounding puts at -1.9999999999999996
def test_a_trial_goes_on_where_it_reaches_the_quantile_of_those_before(reports, factor):
    """Oracle: NumPy's quantile of the finite scores at its rung, as they stand when it is judged."""
    rungs = Rungs(10, 60, factor, "maximize")
    for number, tens, value in reports:
        before = {rung: dict(scores) for rung, scores in rungs.values.items()}
        survives = rungs.survives(number, tens * 10, value)
        rung = next(rung for rung in before if rung <= tens * 10)
        if number in before[rung]:
            assert survives
            continue
        others = [score for other, score in before[rung].items() if other != number and math.isfinite(score)]
        cutoff = np.quantile(others, 1 - 1 / factor) if others else -math.inf
        score = value if math.isfinite(value) else -math.inf
        assert survives == (score >= cutoff - 1e-9)


def test_a_trial_waits_for_its_own_process_before_it_takes_another_s(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("tune.execution.asha.time.monotonic", lambda: now)
    scheduler, live = RunToCompletion(), []

    def add(number: int, status: str = "PENDING") -> None:
        live.append(SimpleNamespace(config={"number": number}, status=status, trial_id=str(number)))
        scheduler.on_trial_add(None, live[-1])

    def chosen() -> int | None:
        trial = scheduler.choose_trial_to_run(SimpleNamespace(get_live_trials=lambda: live))
        return None if trial is None else trial.config["number"]

    add(4)
    add(1, "RUNNING")
    add(3)
    assert chosen() is None, "each has just asked for a process"
    now += PATIENCE_SECONDS + 1
    add(2)
    assert chosen() == 3, "the first of those that have waited long"
    add(0, "PAUSED")
    assert chosen() == 3
    live[:] = [trial for trial in live if trial.config["number"] in (0, 2)]
    assert chosen() == 0, "a paused trial has no process to wait for"


def test_a_process_that_starts_is_not_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("tune.execution.asha.time.monotonic", lambda: now)
    scheduler, begun = RunToCompletion(), {"3": True, "4": False}
    live = [SimpleNamespace(config={"number": int(name)}, status="PENDING", trial_id=name) for name in begun]
    for trial in live:
        scheduler.on_trial_add(None, trial)
    manager = SimpleNamespace(is_actor_started=lambda actor: begun[actor])
    actors = SimpleNamespace(items=lambda: [(trial, trial.trial_id) for trial in live])
    inner = SimpleNamespace(_trial_to_actor=actors, _actor_manager=manager)
    controller = SimpleNamespace(_tune_controller=inner, get_live_trials=lambda: live)
    now += PATIENCE_SECONDS + 1
    assert scheduler.choose_trial_to_run(controller) is live[1], "trial 3's own process starts already"
