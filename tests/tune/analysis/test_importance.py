"""Importance, response, front and cost of a search whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution

from tune.analysis import cost, fanova, main_effect, pareto_front, ped_anova, surface

METRIC = "validation/nll_per_char"
SPACE = {"optim.learning_rate": FloatDistribution(1e-4, 1e-1, log=True), "quantizer.decay": FloatDistribution(0.8, 1.0)}


def trials(num: int = 60, seed: int = 0) -> list[dict]:
    """The learning rate matters most, the decay (of `ema` alone) little, the width not at all."""
    rng, found = np.random.default_rng(seed), []
    for number in range(num):
        rate, width, name = 10 ** rng.uniform(-4, -1), int(rng.integers(2, 9)), str(rng.choice(["ema", "vq"]))
        overrides = {"optim.learning_rate": rate, "model.num_heads": width, "quantizer.name": name}
        nll = (math.log10(rate) + 2.5) ** 2 + 0.02 * rng.normal()
        if name == "ema":
            overrides["quantizer.decay"] = rng.uniform(0.8, 1.0)
            nll += 0.3 * (1 - overrides["quantizer.decay"])
        metrics = {METRIC: nll, "rate/bits_per_token": float(width)}
        found.append(
            {"number": number, "overrides": overrides, "status": "completed", "metrics": metrics, "seconds": 36.0}
        )
    return found


def test_both_methods_name_the_setting_that_matters():
    for method in (ped_anova, fanova):
        found = method(trials(), METRIC, "minimize", SPACE)
        assert next(iter(found.values)) == "optim.learning_rate"
        assert sum(found.values.values()) == pytest.approx(1)
        assert found.values["model.num_heads"] < 0.25
        assert found.num_trials == 60


def test_the_direction_counts():
    upside = [t | {"metrics": {METRIC: -t["metrics"][METRIC]}} for t in trials()]
    assert ped_anova(upside, METRIC, "maximize").values == pytest.approx(ped_anova(trials(), METRIC, "minimize").values)
    assert ped_anova(upside, METRIC, "minimize").values != pytest.approx(ped_anova(trials(), METRIC, "minimize").values)


def test_fanova_says_what_it_drops_and_ped_anova_keeps_it():
    found = fanova(trials(), METRIC, "minimize")
    assert found.dropped == ("quantizer.decay",)
    assert "quantizer.decay" not in found.values
    assert "fANOVA drops conditional settings: quantizer.decay" in found.caveats
    assert "quantizer.decay" in ped_anova(trials(), METRIC, "minimize").values


def test_fanova_leaves_out_the_trials_that_lack_what_all_others_have():
    """One trial without overrides, such as the baseline, made every setting a conditional one."""
    some = trials(40)
    bare = some[0] | {"number": 77, "overrides": {}}
    outside = some[1] | {"number": 78, "overrides": {**some[1]["overrides"], "optim.learning_rate": 5.0}}
    found = fanova([*some, bare, outside], METRIC, "minimize", SPACE)
    assert found.values == pytest.approx(fanova(some, METRIC, "minimize", SPACE).values)
    assert found.dropped == ("quantizer.decay",) and found.num_trials == 40
    assert any(caveat.endswith("of what all others have: 77, 78") for caveat in found.caveats)
    assert fanova([*some[:9], bare], METRIC, "minimize").num_trials == 9, "also one of ten"


def test_shares_are_printed_beside_those_of_a_shuffled_objective():
    rng = np.random.default_rng(9)
    nothing = [t | {"metrics": {METRIC: float(rng.normal())}} for t in trials(40)]
    found = ped_anova(nothing, METRIC, "minimize", SPACE)
    assert 0.3 < found.null < 0.8, "one of four settings is first by a wide margin, and none matters"
    assert any(f"the largest share is {found.null:.0%} on average" in caveat for caveat in found.caveats)
    real = ped_anova(trials(), METRIC, "minimize", SPACE)
    assert max(real.values.values()) > 1.3 * real.null
    assert fanova(trials(20), METRIC, "minimize").null > 0.3
    assert math.isnan(ped_anova(trials(5), METRIC, "minimize").null)


def test_pruned_and_diverged_trials_do_not_count_and_the_bias_is_stated():
    poison = [
        t | {"status": status, "metrics": {METRIC: 99.0}}
        for t, status in zip(trials(9, 5), ["pruned"] * 9, strict=True)
    ]
    poison += [t | {"metrics": {METRIC: math.nan}} for t in trials(3, 6)]
    with_poison, without = ped_anova(trials() + poison, METRIC, "minimize"), ped_anova(trials(), METRIC, "minimize")
    assert with_poison.values == pytest.approx(without.values)
    assert any("9 of 72 trials were pruned" in caveat and "biased sample" in caveat for caveat in with_poison.caveats)
    assert not any("pruned" in caveat for caveat in without.caveats)


def test_too_few_trials_give_a_reason_instead_of_a_number():
    found = fanova(trials(5), METRIC, "minimize")
    assert found.values == {}
    assert "5 completed trials are too few" in found.caveats[0]


def test_a_search_without_a_setting_that_varies_is_told_so():
    crowded = [{**trial, "overrides": {"quantizer.name": f"q{number % 9}"}} for number, trial in enumerate(trials(30))]
    for some in (crowded, [{**trial, "overrides": {"quantizer.name": "ema"}} for trial in trials(30)]):
        found = fanova(some, METRIC, "minimize", SPACE)
        assert found.values == {} and found.caveats[0] == "no setting varies that fANOVA can rank"


def test_a_baseline_outside_the_space_does_not_break_it():
    outside = trials(1)[0] | {"overrides": {"optim.learning_rate": 5.0, "model.num_heads": 2, "quantizer.name": "none"}}
    space = SPACE | {"quantizer.name": CategoricalDistribution(["ema", "vq"])}
    assert next(iter(ped_anova([*trials(), outside], METRIC, "minimize", space).values)) == "optim.learning_rate"


def test_main_effects_by_level_and_by_quantile():
    by_name = {level.level: level for level in main_effect(trials(), "quantizer.name", METRIC)}
    assert set(by_name) == {"ema", "vq"}
    assert sum(level.num_trials for level in by_name.values()) == 60
    bins = main_effect(trials(), "optim.learning_rate", METRIC)
    assert len(bins) == 6 and all(level.num_trials == 10 for level in bins)
    assert min(bins, key=lambda level: level.mean) in bins[2:4], "the valley is in the middle"
    assert all(level.low <= level.mean <= level.high for level in bins)


def test_the_surface_has_its_valley_where_it_was_planted():
    found = surface(trials(), "optim.learning_rate", "model.num_heads", METRIC)
    assert found.log == (True, False)
    column = np.nanargmin(np.nanmean(found.z, axis=0))
    assert 10**-3.0 < found.x[column] < 10**-2.0
    assert surface(trials(5), "optim.learning_rate", "model.num_heads", METRIC) is None
    assert surface(trials(), "optim.learning_rate", "quantizer.name", METRIC) is None


def test_the_surface_is_blank_where_nobody_looked():
    corner = [
        t for t in trials(80) if t["overrides"]["optim.learning_rate"] < 1e-2 or t["overrides"]["model.num_heads"] < 4
    ]
    found = surface(corner, "optim.learning_rate", "model.num_heads", METRIC)
    assert np.isnan(found.z[-1, -1]) and np.isfinite(found.z[0, 0])


def test_the_front_by_hand():
    def trial(number, nll, rate, status="completed"):
        metrics = {METRIC: nll} | ({"rate/bits_per_token": rate} if rate else {})
        return {"number": number, "overrides": {}, "status": status, "metrics": metrics, "seconds": 1.0}

    found = [
        trial(0, 3, 4),
        trial(1, 1, 8),
        trial(2, 2, 8),
        trial(3, 2, 6),
        trial(4, 0, 9, "pruned"),
        trial(5, 0, None),
    ]
    front = pareto_front(found, {METRIC: "minimize", "rate/bits_per_token": "minimize"})
    assert [t["number"] for t in front] == [1, 3, 0]
    assert [t["number"] for t in pareto_front([trial(0, 1, 2), trial(1, 1, 2)], {METRIC: "minimize"})] == [0, 1]


def test_cost_counts_every_trial():
    found = cost([*trials(3), trials(1)[0] | {"status": "pruned", "seconds": 3600.0}], cpus=2, gpus=0.5)
    assert found.by_status == {"completed": 3, "pruned": 1}
    assert found.hours == pytest.approx(1.03)
    assert (found.cpu_hours, found.gpu_hours) == (pytest.approx(2.06), pytest.approx(0.515))
    assert found.hours_by_status["pruned"] == 1.0
