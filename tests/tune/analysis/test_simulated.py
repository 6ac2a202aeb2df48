"""Hundreds of simulated studies: a planted effect is found, a planted null is not, at the stated rates.

A simulated trainer gives a run of one arm and seed: the seed's own level (large, shared by all arms), the arm's true
effect, and noise. Bounds are three standard errors of a binomial share around the stated rate.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest

from tests.benchmarks.error_rates import equivalence_error, sequential_error
from tune.analysis import (
    PowerTarget,
    Question,
    RunRow,
    SequentialPlan,
    compare_arms,
    detectable,
    equivalence,
    factorial_effects,
    full_contrasts,
    paired_effect,
    power,
)

STUDIES, SEEDS = 400, tuple(range(10))
NOISE = 0.3
SD = NOISE * math.sqrt(2)
"""Of a paired difference: both sides are noisy."""
NULLS = ("null1", "null2", "null3")


def allowed(rate: float, num: int = STUDIES) -> float:
    return rate + 3 * math.sqrt(rate * (1 - rate) / num)


@cache
def verdicts(planted: float, margin: float | None, test: str) -> dict[str, list[str]]:
    """Returns the verdicts of each arm over all studies."""
    rng = np.random.default_rng(20)
    arms = {"baseline": 0.0, "planted": planted, **dict.fromkeys(NULLS, 0.0)}
    question = Question("validation/bleu", "maximize", margin=margin, test=test, secondary=())
    found: dict[str, list[str]] = {arm: [] for arm in arms if arm != "baseline"}
    for _ in range(STUDIES):
        levels = rng.normal(50, 5, len(SEEDS))
        rows = [
            RunRow(arm, seed, "completed", {"validation/bleu": level + effect + NOISE * rng.normal()})
            for arm, effect in arms.items()
            for seed, level in zip(SEEDS, levels, strict=True)
        ]
        for result in compare_arms(rows, "baseline", list(found), SEEDS, question).arms:
            found[result.arm].append(result.verdict)
    return found


@pytest.mark.parametrize("test", ["permutation", "t"])
def test_false_claims_stay_within_alpha_over_all_arms(test):
    found = verdicts(0.0, None, test)
    claims = np.mean([any(v != "undecided" for v in study) for study in zip(*found.values(), strict=True)])
    assert claims <= allowed(0.05)
    assert claims >= 0.01, "a test that never claims anything is broken too"


@pytest.mark.parametrize("test", ["permutation", "t"])
def test_a_planted_effect_is_found_with_the_stated_power(test):
    target = PowerTarget(num_tests=4, test=test)
    planted = detectable(SD, len(SEEDS), target)
    found = np.mean([verdict == "better" for verdict in verdicts(planted, None, test)["planted"]])
    assert power(planted, SD, len(SEEDS), target) == pytest.approx(0.8, abs=1e-3)
    slack = 0.05 if test == "permutation" else 0.0
    assert found >= 0.8 - 3 * math.sqrt(0.16 / STUDIES) - slack
    assert found <= 0.95


def test_claims_point_the_right_way():
    planted = verdicts(detectable(SD, len(SEEDS), PowerTarget(num_tests=4, test="t")), None, "t")["planted"]
    assert "worse" not in planted


def test_equivalence_is_claimed_of_a_copy_and_not_at_the_margin():
    rng = np.random.default_rng(4)
    margin, claims = 0.5, {0.0: 0.0, 0.5: 0.0, -0.5: 0.0}
    for true in claims:
        values = rng.normal(true, SD, (STUDIES, len(SEEDS)))
        claims[true] = float(np.mean([equivalence(v, margin).p_value <= 0.05 for v in values]))
    assert claims[0.5] <= allowed(0.05) and claims[-0.5] <= allowed(0.05)
    assert claims[0.5] >= 0.01
    assert claims[0.0] >= 0.9


def test_intervals_cover_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(5)
    effects = [paired_effect(rng.normal(1.0, 1.0, 6), 0.9, test="t") for _ in range(600)]
    covered = np.mean([e.low <= 1.0 <= e.high for e in effects])
    assert 1 - allowed(0.1, 600) <= covered <= 1 - 0.1 + 3 * math.sqrt(0.09 / 600)


def test_interactions_have_the_stated_error_rate():
    rng, hits = np.random.default_rng(6), []
    contrasts = full_contrasts({"a": 2, "b": 2})
    for _ in range(300):
        cells = {(a, b): {s: 2.0 * a + NOISE * rng.normal() for s in SEEDS} for a in range(2) for b in range(2)}
        effects = {e.factors: e for e in factorial_effects(cells, contrasts)}
        hits.append((effects["a",].p_adjusted <= 0.05, effects["a", "b"].p_adjusted <= 0.05))
    main, interaction = np.mean(hits, axis=0)
    assert main == 1.0
    assert interaction <= allowed(0.05, 300)


@pytest.mark.parametrize("spending", ["obrien_fleming", "pocock"])
def test_looking_early_keeps_the_error_rate(spending):
    plan = SequentialPlan((4, 8, 12), spending=spending)
    rng = np.random.default_rng(7)
    studies = rng.normal(0.0, 1.0, (2000, 12))
    claims = np.mean([any(plan.decide(s[:n]) == "effect" for n in plan.looks) for s in studies])
    naive = np.mean([any(paired_effect(s[:n], test="t").p_value <= 0.05 for n in plan.looks) for s in studies[:1000]])
    assert claims <= allowed(0.05, 2000)
    assert claims >= 0.03
    assert naive > allowed(0.05, 1000), "looking three times at .05 would not have kept it"


def test_looking_early_saves_runs_where_the_effect_is_large_and_where_there_is_none():
    plan, patient = SequentialPlan((4, 8, 12), futility=0.1), SequentialPlan((4, 8, 12))
    rng = np.random.default_rng(8)

    def ends(true: float) -> tuple[float, float, float]:
        """Mean pairs used, and the share of claims with and without giving up early."""
        used, claims, patient_claims = [], [], []
        for study in rng.normal(true, 1.0, (300, 12)):
            decisions = [(n, plan.decide(study[:n])) for n in plan.looks]
            end = next(((n, d) for n, d in decisions if d != "continue"), decisions[-1])
            used.append(end[0])
            claims.append(end[1] == "effect")
            patient_claims.append(any(patient.decide(study[:n]) == "effect" for n in plan.looks))
        return float(np.mean(used)), float(np.mean(claims)), float(np.mean(patient_claims))

    assert ends(3.0)[0] < 9
    assert ends(0.0)[0] < 9
    _, claims, patient_claims = ends(1.0)
    assert claims >= patient_claims - 0.06


def test_the_errors_that_reports_quote_are_those_of_the_table():
    """A few cells of `tests/benchmarks/error_rates.py`, with fewer studies."""
    assert 0.03 < sequential_error((4, 8), "pocock", 1500) < allowed(0.058, 1500)
    upper, lower = equivalence_error("skewed", 8, "permutation", 1500)
    assert 0.11 < upper < 0.17 and lower < 0.03
    assert max(equivalence_error("normal", 8, "permutation", 1500)) < allowed(0.05, 1500)
