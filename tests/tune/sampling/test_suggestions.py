"""Laws of suggestions: the baseline first, every trial once, true statuses in Optuna, a dead driver's work resumed."""

from __future__ import annotations

import dataclasses
import math
import os
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from places import ROOT, SUPPORT
from suggested import BASELINE, STUDY, TWO, metrics, run, score, study

from t5vqvae.errors import DamagedFileError, SettingError
from t5vqvae.spec.run import RunSpec
from tune.execution.asha import Rungs
from tune.records.record import TrialRecord
from tune.sampling.dry_run import dry_run
from tune.sampling.seeded import seed_of
from tune.sampling.suggestions import ORIGIN, Suggestions
from tune.sampling.warm_start import warm_start
from tune.spec.search_spec import SearchSpec


def frozen(suggestions: Suggestions, number: int) -> optuna.trial.FrozenTrial:
    return suggestions.study.get_trials()[number]


# What is tried


def test_the_baseline_comes_first_and_the_budget_ends_it(tmp_path):
    suggestions = Suggestions(study(), tmp_path / "optuna.journal")
    asked = run(suggestions, 6)
    assert asked[0] == BASELINE
    assert suggestions.next() is None
    assert [trial.state for trial in suggestions.trials()] == [TrialState.COMPLETE] * 6
    assert suggestions.trials()[0].user_attrs[ORIGIN] == "baseline"


def test_the_budget_can_be_extended(tmp_path):
    path = tmp_path / "optuna.journal"
    first = run(Suggestions(study(), path), 6)
    more = Suggestions(study(budget={"trials": 8}), path)
    later = run(more, 2)
    assert more.next() is None and BASELINE not in later
    assert all(overrides not in first for overrides in later), "a restart repeats no suggestion"


@pytest.mark.parametrize("range_", [{"type": "choice", "choices": [0, 0.1]}, {"type": "int", "low": 0, "high": 1}])
def test_whole_numbers_of_a_setting_with_decimals_are_tried_once(tmp_path, range_):
    spec = study(space={"optim.weight_decay": range_}, base={"model.position": 2})
    asked = run(Suggestions(spec, tmp_path / "optuna.db"), 2, lambda overrides: 0.5)
    assert sorted(each["optim.weight_decay"] for each in asked) == [0, 1 if range_["type"] == "int" else 0.1]
    assert Suggestions(spec, tmp_path / "optuna.db").next() is None


EXCLUDE = {
    "base": {"model.position": 1, "train.autoencode_steps": 7, "train.max_steps": 300, "train.eval_every": 100},
    "space": {
        "train.quantize_from": {"type": "int", "low": 0, "high": 6},
        "optim.warmup_steps": {"type": "int", "low": 20, "high": 22},
    },
    "scheduler": {"name": "none"},
    "sampler": {"name": "random"},
    "budget": {"trials": 30},
}
"""Settings that the run spec may be made to exclude: a space of 21 points."""


def test_settings_that_the_run_spec_refuses_are_replaced_and_never_tried(tmp_path, monkeypatch):
    spec, taken = study(**EXCLUDE), RunSpec.allows

    def allows(self, overrides):
        return overrides["train.quantize_from"] != overrides["optim.warmup_steps"] - 19 and taken(self, overrides)

    monkeypatch.setattr(RunSpec, "allows", allows)
    suggestions, asked = Suggestions(spec, tmp_path / "optuna.db"), []
    while (trial := suggestions.next()) is not None:
        asked.append((trial.overrides["train.quantize_from"], trial.overrides["optim.warmup_steps"]))
        suggestions.end(trial.number, "completed", metrics())
    assert len(asked) == len(set(asked)) == 18
    assert all(first != second - 19 for first, second in asked)


@pytest.mark.parametrize("sampler", ["random", "tpe", "gp", "nsga2"])
def test_kills_between_trials_change_nothing(tmp_path, sampler):
    spec = study(sampler={"name": sampler})
    whole = run(Suggestions(spec, tmp_path / "whole.db"), 6)
    pieces = [overrides for _ in range(6) for overrides in run(Suggestions(spec, tmp_path / "pieces.db"), 1)]
    assert pieces == whole


def test_seeds_differ_by_study_seed_and_number():
    seeds = [seed_of(seed, number) for seed in range(50) for number in range(50)]
    assert len(set(seeds)) == len(seeds) and all(0 <= seed < 2**32 for seed in seeds)
    assert run(Suggestions(study(seed=1)), 3) != run(Suggestions(study(seed=2)), 3)


def test_tpe_learns_from_results():
    spec = study(budget={"trials": 40}, sampler={"name": "tpe", "num_startup": 8})
    scores = [score(overrides) for overrides in run(Suggestions(spec), 40)]
    assert sum(scores[-15:]) / 15 < 0.5 * sum(scores[1:9]) / 8


def test_trials_of_a_dead_driver_come_back_first(tmp_path):
    path = tmp_path / "optuna.journal"
    dead = Suggestions(study(), path)
    run(dead, 1)
    left = [dead.next(), dead.next()]
    dead.report(2, metrics(step=50, nll=3.0))
    heir = Suggestions(study(), path)
    again = [heir.next(), heir.next()]
    assert [(s.number, s.overrides) for s in again] == [(s.number, s.overrides) for s in left]
    assert heir.next().number == 3


def test_a_kill_in_the_middle_of_a_suggestion_loses_no_setting(tmp_path):
    path = tmp_path / "optuna.journal"
    dead = Suggestions(study(), path)
    dead.enqueue_baseline()
    trial = dead.study.ask()
    dead.spec.space.dimensions[0].range.suggest(trial, "quantizer.codebook_size")
    heir = Suggestions(study(), path)
    assert heir.next().overrides == BASELINE
    assert heir.next().number == 1


def test_a_sigkill_loses_nothing_that_was_reported(tmp_path):
    code = f"""
import os, signal
from suggested import *
s = Suggestions(study(), Path({str(tmp_path / "optuna.journal")!r}))
run(s, 2)
s.next(); s.report(2, metrics(step=50, nll=3.0))
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert (
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": f"{ROOT}:{SUPPORT}"}, check=False
        ).returncode
        == -9
    )
    heir = Suggestions(study(), tmp_path / "optuna.journal")
    assert [trial.state.name for trial in heir.trials()] == ["COMPLETE", "COMPLETE", "RUNNING"]
    assert heir.intermediate_values()[2] == {50: 3.0}
    assert heir.next().number == 2


# What Optuna receives


def test_optuna_receives_the_true_statuses():
    suggestions = Suggestions(study())
    ends = ["completed", "pruned", "diverged", "failed"]
    for number, status in enumerate(ends):
        suggestions.next()
        suggestions.report(number, metrics(step=50, nll=2.0))
        suggestions.end(number, status, metrics(nll=math.nan if status == "diverged" else 1.5))
    states = [trial.state.name for trial in suggestions.trials()]
    assert states == ["COMPLETE", "PRUNED", "PRUNED", "FAIL"]
    assert [frozen(suggestions, number).value for number in (0, 1)] == [1.5, 1.5]
    assert frozen(suggestions, 1).intermediate_values == {50: 2.0, 100: 1.5}
    kept = {"diverged": 0.0, "bottleneck": 0.0}
    assert {key: frozen(suggestions, 0).constraints[key] for key in kept} == kept
    assert frozen(suggestions, 2).constraints["diverged"] > 0


def test_all_trials_have_the_same_constraints_in_the_same_order():
    suggestions = Suggestions(study())
    for number, status in enumerate(["completed", "pruned", "diverged"]):
        suggestions.next()
        suggestions.end(number, status, metrics() if status == "completed" else {})
    keys = [list(trial.constraints) for trial in suggestions.trials()]
    assert keys == [["diverged", "bottleneck", "rate/bits_per_token <= 10", "codebook/usage >= 0.3"]] * 3


@pytest.mark.parametrize(
    ("measured", "violated"),
    [
        (metrics(), set()),
        (metrics(bits=10.5), {"rate/bits_per_token <= 10"}),
        (metrics(usage=0.1), {"codebook/usage >= 0.3"}),
        (metrics(bits=None), {"bottleneck", "rate/bits_per_token <= 10"}),
    ],
)
def test_violations_are_reported(measured, violated):
    suggestions = Suggestions(study())
    suggestions.next()
    suggestions.end(0, "completed", measured)
    assert {key for key, value in frozen(suggestions, 0).constraints.items() if value > 0} == violated


def test_a_leak_does_not_attract_the_sampler():
    family = {
        "quantizer.name": {"type": "choice", "choices": ["ema", "none"]},
        "optim.learning_rate": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True},
    }
    spec = study(space=family, budget={"trials": 40}, sampler={"name": "tpe", "num_startup": 8})
    suggestions, chosen = Suggestions(spec), []
    while (suggestion := suggestions.next()) is not None:
        chosen.append(suggestion.overrides["quantizer.name"])
        leaks = chosen[-1] == "none"
        measured = metrics(nll=0.01 if leaks else 1.0, bits=None if leaks else 8.0)
        suggestions.end(suggestion.number, "completed", measured)
    assert chosen[-20:].count("ema") >= 15


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_a_completed_trial_without_a_finite_objective_counts_as_diverged(value):
    suggestions = Suggestions(study())
    suggestions.next()
    measured = metrics()
    measured.pop("validation/nll")
    suggestions.end(0, "completed", measured if value is None else measured | {"validation/nll": value})
    assert frozen(suggestions, 0).state == TrialState.PRUNED and frozen(suggestions, 0).constraints["diverged"] > 0


def test_a_gaussian_process_learns_where_trials_diverge():
    """It reads completed trials alone, and went on suggesting what had diverged: 22 of 30."""
    space = {
        "optim.learning_rate": {"type": "float", "low": 1e-4, "high": 1.0, "log": True},
        "quantizer.decay": {"type": "float", "low": 0.8, "high": 0.995},
    }
    suggestions, diverged = (
        Suggestions(study(space=space, sampler={"name": "gp", "num_startup": 5}, budget={"trials": 20})),
        [],
    )
    for number in range(20):
        rate = suggestions.next().overrides["optim.learning_rate"]
        diverged.append(rate > 0.03)
        if diverged[-1]:
            suggestions.end(number, "diverged", metrics())
        else:
            suggestions.end(number, "completed", metrics(nll=-math.log10(rate)))
    assert sum(diverged[10:]) <= 3
    told = [trial for trial, lost in zip(suggestions.trials(), diverged, strict=True) if lost]
    assert all(trial.constraints["diverged"] > 0 for trial in told)


def test_samplers_that_learn_from_their_own_trials_try_good_settings_again(tmp_path):
    folder = other_study(tmp_path / "other", OTHERS, space=WIDER)
    suggestions = Suggestions(study(sampler={"name": "cmaes"}))
    warm_start(suggestions, folder)
    assert [trial.user_attrs.get(ORIGIN) for trial in suggestions.trials()] == [
        "baseline",
        "start:other#1",
        "start:other#0",
    ]


def test_what_is_reported_twice_is_stored_once(tmp_path):
    suggestions = Suggestions(study(), tmp_path / "optuna.journal")
    suggestions.next()
    suggestions.report(0, metrics(step=50, nll=2.0))
    suggestions.report(0, metrics(step=50, nll=9.0))
    suggestions.end(0, "completed", metrics(nll=1.0))
    suggestions.end(0, "failed", {})
    suggestions.report(0, metrics(step=150, nll=9.0))
    heir = Suggestions(study(), tmp_path / "optuna.journal")
    heir.report(0, metrics(step=200))
    heir.end(0, "pruned", metrics(nll=5.0))
    assert frozen(heir, 0).state == TrialState.COMPLETE and frozen(heir, 0).value == 1.0
    assert heir.intermediate_values() == {0: {50: 2.0, 100: 1.0}}


def test_a_leak_is_judged_worst_and_what_has_no_codes_is_not_judged(tmp_path):
    """A trial over the rate cap must not set the bar for those that keep to it, before or after a restart."""
    suggestions = Suggestions(study(), tmp_path / "optuna.journal")
    kept, leaking, open_ = (suggestions.next().number for _ in range(3))
    for number, bits in ((kept, 8.0), (leaking, 12.0), (open_, None)):
        suggestions.report(number, metrics(step=50, nll=0.5 if number == kept else 0.1, bits=bits))
    values = Suggestions(study(), tmp_path / "optuna.journal").intermediate_values()
    assert values[kept] == {50: 0.5} and values[open_] == {} and math.isnan(values[leaking][50])
    assert frozen(suggestions, leaking).intermediate_values == {50: 0.1}, "Optuna receives the objective itself"
    rungs = Rungs(50, 100, 2, "minimize")
    rungs.replay(values)
    assert rungs.survives(7, 50, 0.45) and not rungs.survives(8, 50, math.nan)


def test_several_objectives_keep_the_schedulers_metric(tmp_path):
    path = tmp_path / "optuna.journal"
    suggestions = Suggestions(study(**TWO), path)
    for number in range(2):
        suggestions.next()
        suggestions.report(number, metrics(step=50) | {"validation/bleu": 10.0 + number})
    suggestions.report(1, metrics(step=50) | {"validation/bleu": 99.0})  # a step that is stored already
    suggestions.end(0, "completed", metrics(nll=0.7))
    suggestions.end(1, "pruned", metrics() | {"validation/bleu": 12.0})
    heir = Suggestions(study(**TWO), path)
    assert heir.intermediate_values() == {0: {50: 10.0, 100: 60.0}, 1: {50: 11.0, 100: 12.0}}
    assert frozen(heir, 0).values == [0.7, 8.0] and frozen(heir, 1).state == TrialState.PRUNED
    run(heir, 4)


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp", "nsga2", "cmaes"])
def test_every_sampler_takes_every_kind_of_end(sampler):
    own = {"name": sampler, "num_startup": 2} if sampler in ("tpe", "gp") else {"name": sampler}
    suggestions = Suggestions(study(budget={"trials": 9}, sampler=own))
    for number in range(9):
        suggestions.next()
        status = ["completed", "pruned", "diverged", "failed", "completed"][number % 5]
        suggestions.end(number, status, metrics(nll=float(number), bits=9.0 + number % 3))
    assert suggestions.next() is None


# Records, other studies, plans


def record(number: int, overrides: dict, status: str = "completed", **changed) -> TrialRecord:
    return TrialRecord("tiny", number, overrides, None, None, status, 100, metrics(**changed))  # type: ignore[arg-type]


def test_the_end_in_a_record_reaches_optuna(tmp_path):
    path = tmp_path / "optuna.journal"
    dead = Suggestions(study(), path)
    first, second = dead.next(), dead.next()
    heir = Suggestions(study(), path)
    heir.reconcile({0: record(0, first.overrides, "diverged")})
    assert [trial.state.name for trial in heir.trials()] == ["PRUNED", "RUNNING"]
    assert heir.next().overrides == second.overrides


def other_study(folder: Path, records: list[TrialRecord], **changes) -> Path:
    study(**{"name": "other", **changes}).write(folder / "study.json")
    for trial in records:
        trial.write(folder / "trials" / f"{trial.number:05d}")
    return folder


OTHERS = [
    record(0, {"quantizer.codebook_size": 100, "quantizer.decay": 0.9}, nll=0.9),
    record(1, {"quantizer.codebook_size": 300, "quantizer.decay": 0.95}, nll=0.3),
    record(2, {"quantizer.codebook_size": 4000, "quantizer.decay": 0.95}, nll=0.1),
    record(3, {"quantizer.codebook_size": 200, "quantizer.decay": 0.95}, "pruned"),
]
WIDER = STUDY["space"] | {"quantizer.codebook_size": {"type": "int", "low": 64, "high": 9000, "log": True}}


def test_trials_that_could_be_ours_are_evidence(tmp_path):
    folder = other_study(tmp_path / "other", OTHERS, space=WIDER)
    for _ in range(2):  # the second time as a restart
        suggestions = Suggestions(study(), tmp_path / "optuna.journal")
        warm_start(suggestions, folder)
    origins = [trial.user_attrs.get(ORIGIN) for trial in suggestions.trials()]
    assert origins == ["baseline", "told:other#0", "told:other#1"]
    assert [trial.value for trial in suggestions.trials()[1:]] == [0.9, 0.3]
    assert run(suggestions, 6)[0] == BASELINE
    assert suggestions.next() is None, "evidence does not count against our budget"
    assert set(suggestions.intermediate_values()) == {0, 3, 4, 5, 6, 7}


def test_trials_trained_otherwise_give_settings_to_start_from(tmp_path):
    folder = other_study(tmp_path / "other", OTHERS, base=STUDY["base"] | {"train.max_steps": 100})
    (tmp_path / "other" / "trials" / "00002" / "record.json").unlink()
    suggestions = Suggestions(study(), tmp_path / "optuna.journal")
    warm_start(suggestions, folder)
    assert [trial.state for trial in suggestions.trials()] == [TrialState.WAITING] * 3, "none is evidence"
    assert run(suggestions, 3) == [BASELINE, OTHERS[1].overrides, OTHERS[0].overrides]


def test_a_study_without_anything_in_common_is_refused(tmp_path):
    strange = {"optim.beta1": {"type": "float", "low": 0.5, "high": 0.95}}
    folder = other_study(tmp_path / "other", [], space=strange)
    with pytest.raises(SettingError, match="its space does not overlap with that of tiny"):
        warm_start(Suggestions(study()), folder)


def test_a_study_begun_with_other_objectives_is_refused(tmp_path):
    Suggestions(study(), tmp_path / "optuna.journal")
    with pytest.raises(DamagedFileError, match="holds study tiny, with other objectives"):
        Suggestions(study(**TWO), tmp_path / "optuna.journal")


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_dry_run_shows_what_will_be_drawn(sampler):
    spec = study(sampler={"name": sampler}, budget={"trials": 6})
    plan = dry_run(spec)
    known = [trial.overrides for trial in plan.trials if trial.overrides is not None]
    assert known == run(Suggestions(spec), 6)[: len(known)] and len(known) == 6
    short = dry_run(study())
    assert [trial.overrides is None for trial in short.trials] == [False] * 3 + [True] * 3


def test_a_dry_run_counts_hours_and_machines():
    spec = SearchSpec.load("paper", ["budget.step_seconds=0.36", "train.max_steps=20000", "budget.trials=48"])
    plan = dry_run(spec)
    assert [(trial.workers, trial.cpus, trial.gpus) for trial in plan.trials] == [(4, 16.0, 4.0)] * 48
    assert plan.max_trial_hours == pytest.approx(48 * 2.0)
    assert "at most 384.0 GPU hours (24.0 hours of wall time)" in str(plan)
    assert "hours unknown: set budget.step_seconds" in str(
        dry_run(SearchSpec.load("quickstart", ["budget.step_seconds=null"]))
    )


def test_the_expected_share_follows_the_rungs():
    spec = study(scheduler={"grace_steps": 100, "reduction_factor": 2}, base=STUDY["base"] | {"train.max_steps": 400})
    assert dry_run(spec).expected_share == pytest.approx((100 + 100 / 2 + 200 / 4) / 400)
    assert dry_run(study(scheduler={"name": "none"})).expected_share == 1


# Small spaces

SMALL_SPACES = {
    "choice": {"quantizer.name": {"type": "choice", "choices": ["ema", "vq"]}},
    "grid": {"quantizer.commitment_weight": {"type": "float", "low": 0.05, "high": 0.35, "step": 0.05}},
    "conditional": {
        "quantizer.name": {"type": "choice", "choices": ["ema", "vq"]},
        "model.position": {"type": "int", "low": 1, "high": 2, "when": {"quantizer.name": "vq"}},
    },
    "integers": {
        "model.position": {"type": "int", "low": 1, "high": 2},
        "train.batch_size": {"type": "int", "low": 16, "high": 24, "step": 8},
    },
}
NUM_SETTINGS = {"choice": 2, "grid": 7, "conditional": 3, "integers": 4}
SMALL_BASE = {"model.position": 2, "train.batch_size": 16, "quantizer.commitment_weight": 0.25}


@pytest.mark.parametrize("at_once", [1, 3])
@pytest.mark.parametrize("sampler", ["tpe", "random", "gp", "nsga2", "cmaes"])
@pytest.mark.parametrize("space", SMALL_SPACES)
def test_all_settings_of_a_small_space_are_tried_once(space, sampler, at_once, tmp_path):
    own = {"name": sampler, "num_startup": 2} if sampler in ("tpe", "gp") else {"name": sampler}
    try:
        spec = study(space=SMALL_SPACES[space], base=SMALL_BASE, budget={"trials": 20}, sampler=own)
    except SettingError as error:
        assert f"sampler.name={sampler}" in str(error)
        pytest.skip("the sampler takes no such space")
    asked: list[dict] = []
    for _ in range(30):  # each time as a restart
        suggestions = Suggestions(spec, tmp_path / "optuna.journal")
        batch = [trial for trial in (suggestions.next() for _ in range(at_once)) if trial is not None]
        asked += [dict(trial.overrides) for trial in batch]
        for trial in batch:
            suggestions.end(trial.number, "completed", metrics(nll=1 + trial.number % 3))
    assert len(asked) == NUM_SETTINGS[space] == spec.planned_trials
    assert len({str(sorted(overrides.items())) for overrides in asked}) == len(asked)
    assert [suggestions.spec.space.read(t.params, spec.base_values) for t in suggestions.trials()] == asked


def test_an_endless_space_with_a_single_branch_tries_that_branch_once():
    space = {
        "quantizer.name": {"type": "choice", "choices": ["ema", "vq"]},
        "quantizer.decay": {"type": "float", "low": 0.8, "high": 0.999, "when": {"quantizer.name": "ema"}},
    }
    asked = run(
        Suggestions(study(space=space, budget={"trials": 12}, sampler={"name": "random"}), None), 12, lambda _: 1.0
    )
    assert sum(overrides["quantizer.name"] == "vq" for overrides in asked) == 1


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_grid_points_are_the_decimals_that_were_written(sampler):
    """With 0.05 + 5 * 0.05 in binary, 0.30000000000000004 was recorded, and a condition on 0.3 never held."""
    space = {
        "quantizer.commitment_weight": {"type": "float", "low": 0.05, "high": 0.35, "step": 0.05},
        "model.position": {"type": "int", "low": 1, "high": 2, "when": {"quantizer.commitment_weight": [0.3, 0.15]}},
    }
    spec = study(space=space, base=SMALL_BASE, budget={"trials": 9}, sampler={"name": sampler})
    assert spec.planned_trials == 5 + 2 * 2
    asked = run(Suggestions(spec), 9, lambda _: 1.0)
    tried = {overrides["quantizer.commitment_weight"] for overrides in asked}
    assert tried == {0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35}
    assert all(("model.position" in o) == (o["quantizer.commitment_weight"] in (0.15, 0.3)) for o in asked)


JOINT = "rate/joint_bits_per_token <= 10"


def test_a_study_whose_trials_lack_what_decides_here_teaches_nothing(tmp_path):
    """Trials of an earlier version have no joint rate; taken as evidence, all of them would break the bound."""
    folder = other_study(tmp_path / "other", OTHERS, space=WIDER)
    with pytest.raises(SettingError) as caught:
        warm_start(Suggestions(study(constraints=[JOINT])), folder)
    assert str(caught.value) == (
        "--from other: it has trials without rate/joint_bits_per_token, by which trials are judged now: an earlier"
        " version did not measure it; search other anew, or leave out --from"
    )
    for scheduled in ("rate/joint_bits_per_token", "rate/prior_bits_per_token"):
        with pytest.raises(SettingError, match=f"other: it has trials without {scheduled},"):
            warm_start(Suggestions(study(scheduler={"metric": scheduled})), folder)


def test_a_study_that_names_another_key_teaches_where_its_trials_have_ours(tmp_path):
    both = [
        dataclasses.replace(each, metrics={**each.metrics, "rate/joint_bits_per_token": bits})
        for each, bits in zip(OTHERS[:2], (8.0, 11.0), strict=True)
    ]
    suggestions = Suggestions(study(constraints=[JOINT]))
    warm_start(suggestions, other_study(tmp_path / "other", both, space=WIDER))
    told = [trial for trial in suggestions.trials() if trial.user_attrs[ORIGIN].startswith("told:")]
    assert [trial.constraints[JOINT] > 0 for trial in told] == [False, True]


def test_controls_lack_every_rate_and_are_no_trials_of_an_earlier_version(tmp_path):
    control = [dataclasses.replace(each, metrics={"validation/nll": 0.1}) for each in OTHERS[:1]]
    warm_start(Suggestions(study(constraints=[JOINT])), other_study(tmp_path / "other", control, space=WIDER))


def test_what_another_metric_of_the_scheduler_judged_is_not_compared_with_its_own(tmp_path):
    """A resumed study may have another one: exact matches read as cross-entropies would stop every later trial."""
    by_bleu, path = study(scheduler={"metric": "validation/bleu"}), tmp_path / "optuna.journal"
    first = Suggestions(by_bleu, path)
    number = first.next().number
    first.report(number, metrics(step=50, nll=3.0))
    assert Suggestions(by_bleu, path).intermediate_values() == {number: {50: 60.0}}
    assert Suggestions(study(), path).intermediate_values() == {number: {50: 3.0}}
    by_usage = Suggestions(study(scheduler={"metric": "codebook/usage"}), path)
    assert by_usage.intermediate_values() == {number: {}}


def test_a_dry_run_of_a_study_that_learns_from_another_counts_its_own_trials_alone():
    """The other study's trials take numbers 1 to 12 in Optuna."""
    plan = dry_run(study(budget={"trials": 12}), ended={0, 13, 14}, learns=True)
    assert (len(plan.trials), plan.num_ended) == (9, 3)
    assert {(trial.number, trial.overrides) for trial in plan.trials} == {(None, None)}, "results choose them"
    first = dry_run(study(), learns=True)
    assert [trial.number for trial in first.trials] == [0, *[None] * 5] and first.trials[0].overrides == BASELINE
    assert "    ?  " in str(first)
