"""Arms against a baseline, on worked examples."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tune.analysis import Question, RunRow, SequentialPlan, compare_arms

SEEDS = (1, 2, 3, 4, 5, 6)
QUESTION = Question(objective="validation/bleu", direction="maximize", margin=0.5)
NOISE = (0.1, -0.1, 0.2, -0.2, 0.05, -0.05)


def rows_with(arm: str, shift: float, instead: dict | None = None, without: tuple = ()) -> list[RunRow]:
    """One run a seed; the seed itself matters much more than the arm, as in real life."""
    found = []
    for seed, noise in zip(SEEDS, NOISE, strict=True):
        bleu = 50 + 10 * seed + shift + (noise if shift else 0)
        metrics = {"validation/bleu": bleu, "rate/bits_per_token": 8 + shift}
        found.append(RunRow(arm, seed, "completed", metrics, run_id=f"{arm}-{seed}"))
    return [(instead or {}).get(row.seed, row) for row in found if row.seed not in without]


def compare(arms: dict[str, list[RunRow]], baseline: list[RunRow] | None = None, question: Question = QUESTION):
    everything = [*(baseline or rows_with("baseline", 0)), *(row for found in arms.values() for row in found)]
    return compare_arms(everything, "baseline", list(arms), SEEDS, question)


def test_seeds_cancel_and_verdicts_follow_the_direction():
    arms = {"good": rows_with("good", 3.0), "bad": rows_with("bad", -3.0), "copy": rows_with("copy", 0.0)}
    found = compare(arms)
    assert [result.verdict for result in found.arms] == ["undecided", "undecided", "equivalent"]
    assert found.arm("good").p_adjusted == pytest.approx(3 / 32), "six pairs cannot carry three arms"
    assert found.arm("good").effect.mean == pytest.approx(3.0)
    assert found.arm("good").effect.high < 3.21
    by_t = compare(arms, question=Question("validation/bleu", "maximize", margin=0.5, test="t"))
    assert [result.verdict for result in by_t.arms] == ["better", "worse", "equivalent"]
    flipped = compare(arms, question=Question("validation/bleu", "minimize", margin=0.5, test="t"))
    assert [result.verdict for result in flipped.arms] == ["worse", "better", "equivalent"]


def test_rate_is_compared_wherever_both_sides_have_one():
    leak = [RunRow("leak", row.seed, "completed", {"validation/bleu": 99.0}) for row in rows_with("leak", 0)]
    found = compare({"good": rows_with("good", 3.0), "leak": leak})
    assert found.arm("good").secondary["rate/bits_per_token"].mean == pytest.approx(3.0)
    assert "rate/bits_per_token" not in found.arm("leak").secondary


def test_a_diverged_run_is_shown_and_never_averaged_away():
    broken = RunRow("good", 3, "diverged", {"validation/bleu": 0.0})
    result = compare({"good": rows_with("good", 3.0, {3: broken})}).arm("good")
    assert (result.diverged, result.verdict) == ((3,), "unstable")
    assert result.effect.seeds == (1, 2, 4, 5, 6)
    assert result.effect.mean == pytest.approx(3 - 0.2 / 5)
    assert broken in result.rows


def test_a_baseline_that_diverged_makes_every_arm_unstable():
    broken = RunRow("baseline", 2, "diverged", {"validation/bleu": math.nan})
    result = compare({"good": rows_with("good", 3.0)}, rows_with("baseline", 0, {2: broken})).arm("good")
    assert (result.baseline_diverged, result.verdict, result.effect.num_seeds) == ((2,), "unstable", 5)


def test_missing_and_crashed_runs_are_missing_data():
    crashed = RunRow("good", 5, "failed", {})
    result = compare({"good": rows_with("good", 3.0, {5: crashed}, without=(6,))}).arm("good")
    assert (result.missing, result.diverged, result.effect.seeds) == ((5, 6), (), (1, 2, 3, 4))


def test_an_arm_without_a_run_still_counts_for_holm():
    found = compare({"good": rows_with("good", 3.0), "absent": []})
    assert found.arm("good").p_adjusted == pytest.approx(2 / 32)
    assert (found.arm("absent").effect, found.arm("absent").verdict) == (None, "undecided")
    assert found.arm("absent").missing == SEEDS


def test_a_difference_within_the_margin_does_not_matter():
    shifted = compare({"near": rows_with("near", 0.25)}, question=Question("validation/bleu", "maximize", margin=0.5))
    assert shifted.arm("near").effect.low > 0
    assert shifted.arm("near").verdict == "equivalent"
    strict = compare({"near": rows_with("near", 0.25)}, question=Question("validation/bleu", "maximize", margin=0.3))
    assert strict.arm("near").verdict == "better"


def test_an_arm_that_a_sequential_plan_stopped_is_no_arm_with_missing_runs():
    plan = SequentialPlan((3, 6), alpha=0.05 / 2, futility=0.5)
    question = Question("validation/bleu", "maximize", plan=plan)
    arms = {"huge": rows_with("huge", 90.0, without=(4, 5, 6)), "null": rows_with("null", 0.001)}
    found = compare(arms, question=question)
    huge, null = found.arm("huge"), found.arm("null")
    assert (huge.verdict, huge.stopped_at, huge.missing) == ("better", 3, ())
    assert 0 < huge.p_adjusted <= 0.05
    assert (null.verdict, null.p_adjusted) == ("undecided", 1.0)


def test_a_crashed_run_takes_no_finding_away():
    """The last look is at the pairs that there are, once all runs have ended."""
    plan, seeds = SequentialPlan((4, 12)), tuple(range(12))
    rng = np.random.default_rng(4)
    rows = [RunRow("baseline", seed, "completed", {"validation/bleu": 0.0}) for seed in seeds]
    rows += [
        RunRow("arm", seed, "completed", {"validation/bleu": value}) for seed, value in enumerate(rng.normal(1, 1, 12))
    ]
    question = Question("validation/bleu", "maximize", plan=plan)
    assert compare_arms(rows, "baseline", ["arm"], seeds, question).arm("arm").verdict == "better"
    without = compare_arms(rows[:-1], "baseline", ["arm"], seeds, question).arm("arm")
    assert (without.verdict, without.p_adjusted, without.missing) == ("undecided", 1.0, (11,)), "the run may still come"
    crashed = [*rows[:-1], RunRow("arm", 11, "failed", {})]
    found = compare_arms(crashed, "baseline", ["arm"], seeds, question).arm("arm")
    assert (found.verdict, found.p_adjusted, found.missing) == ("better", 0.05, (11,))


def test_the_last_look_at_fewer_pairs_keeps_the_error():
    rng, plan, claims = np.random.default_rng(5), SequentialPlan((4, 12)), 0
    for _ in range(2_000):
        values = rng.normal(size=10)
        claims += plan.decide(values[:4]) == "effect" or plan.closes_with_effect(values)
    assert 0.035 <= claims / 2_000 <= 0.065


def test_looks_are_taken_in_the_order_of_the_seeds():
    """In the order of their numbers, seeds 1, 2, 3 would have stopped the arm, which the study never did."""
    plan, seeds = SequentialPlan((3, 6)), (9, 8, 7, 1, 2, 3)
    differences = dict(zip(seeds, (-3.0, 4.0, -1.0, 5.0, 5.1, 4.9), strict=True))
    assert plan.decide(list(differences.values())[:3]) == "continue"
    rows = [RunRow("baseline", seed, "completed", {"validation/bleu": 0.0}) for seed in seeds]
    rows += [RunRow("arm", seed, "completed", {"validation/bleu": value}) for seed, value in differences.items()]
    found = compare_arms(rows, "baseline", ["arm"], seeds, Question("validation/bleu", "maximize", plan=plan))
    assert found.arm("arm").stopped_at is None
    assert plan.decide([differences[seed] for seed in sorted(seeds)[:3]]) == "effect"


@pytest.mark.parametrize(("num_arms", "alpha"), [(1, 0.05), (4, 0.05), (9, 0.05), (15, 0.05), (8, 0.1), (17, 0.1)])
def test_what_the_last_look_shows_no_rounding_error_takes_back(num_arms: int, alpha: float):
    """The alpha spent by all arms adds up to a little more than alpha with some numbers of arms."""
    plan = SequentialPlan((3, 6), alpha=alpha / num_arms)
    names = [f"arm {number}" for number in range(num_arms)]
    shift = next(s for s in (0.5, 0.6, 0.7, 0.8, 1.0) if plan.decide([s + n for n in NOISE]) == "effect")
    if plan.decide([shift + n for n in NOISE[:3]]) == "effect":
        pytest.fail("the first look decides already")
    question = Question("validation/bleu", "maximize", alpha=alpha, plan=plan)
    found = compare({name: rows_with(name, shift) for name in names}, question=question)
    assert {arm.verdict for arm in found.arms} == {"better"} and found.arms[0].p_adjusted == pytest.approx(alpha)
