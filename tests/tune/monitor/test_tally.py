"""Counts by hand, and the bound on the number of series."""

from __future__ import annotations

from tune.monitor.row import Row
from tune.monitor.tally import Tally
from tune.spec.judging import Judging

JUDGING = Judging.parse({"objectives": [{"metric": "validation/nll"}], "constraints": ["rate/bits_per_token <= 10"]})


def row(number: int, status: str, nll: float = 1.0, step: int = 10, rate: float = 8.0) -> Row:
    metrics = {"validation/nll": nll, "progress/step": float(step), "rate/bits_per_token": rate}
    return Row(number, {}, status, metrics, 2.0)


def numbers(tally: Tally) -> dict[tuple[str, ...], float]:
    return {(s.name.removeprefix("t5vqvae_"), *list(s.labels.values())[1:]): s.value for s in tally.samples()}


def test_four_trials_counted_by_hand():
    tally = Tally("s", JUDGING, [10, 20])
    for one in (row(0, "completed", 0.5, 40), row(1, "pruned", 2.0, 20), row(2, "completed", 0.1, 40, rate=11.0)):
        tally.put(one)
        tally.put(one)
    tally.put(row(3, "running", 0.7, 30))
    found = numbers(tally)
    assert found["trials", "completed"] == 2 and found["trials", "pruned"] == 1 and found["trials", "running"] == 1
    assert found["best_objective", "validation/nll"] == 0.5, "the better one breaks a constraint"
    assert found["trials_counting",] == 1 and found["trial_seconds_total",] == 6.0
    assert found["rung_survivors", "10"] == 4 and found["rung_survivors", "20"] == 3
    assert found["trial_step", "3"] == 30 and found["trial_objective", "3", "validation/nll"] == 0.7


def test_the_rate_of_the_best_trial_is_the_one_that_reports_name():
    tally = Tally("s", JUDGING)
    one = row(0, "completed")
    tally.put(one)
    assert numbers(tally)["best_rate_bits",] == 8.0
    tally.put(Row(1, {}, "completed", {**one.metrics, "validation/nll": 0.5, "rate/joint_bits_per_token": 6.5}))
    assert numbers(tally)["best_rate_bits",] == 6.5


def test_ten_thousand_trials_leave_the_series_of_those_that_run():
    tally = Tally("s", JUDGING)
    tally.put(row(0, "completed"))
    before = len(numbers(tally))
    for number in range(1, 10_000):
        tally.put(row(number, "running"))
        tally.put(row(number, "completed"))
    assert len(numbers(tally)) == before
    tally.put(row(10_000, "running"))
    assert len(numbers(tally)) == before + 2
    tally.put(row(10_000, "pruned"))
    assert len(numbers(tally)) == before


def test_arms_and_seeds_of_an_ablation():
    tally = Tally("s", JUDGING)
    for number, (arm, phase, seed) in enumerate([("a", "tuning", 0), ("a", "comparison", 1), ("a", "comparison", 2)]):
        one = row(number, "completed")
        tally.put(Row(number, {"arm": arm, "phase": phase, "seed": seed}, "completed", one.metrics))
    found = numbers(tally)
    assert found["arm_seeds", "a"] == 2 and found["arm_runs", "a", "comparison"] == 2
