"""Laws of search spaces: what they draw the spec allows, and what it would not allow they refuse."""

from __future__ import annotations

import random

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5vqvae.errors import SettingError
from t5vqvae.quantizers import QuantizerConfig
from t5vqvae.spec.run import RunSpec
from tune.space.ranges import parse_range
from tune.space.space import SearchSpace

BASE = RunSpec()
FLAT = BASE.as_flat_dict()
FAMILY = {
    "quantizer.name": {"type": "choice", "choices": ["ema", "vq", "none"]},
    "quantizer.decay": {"type": "float", "low": 0.8, "high": 0.999, "when": {"quantizer.name": "ema"}},
    "quantizer.codebook_size": [
        {"type": "int", "low": 256, "high": 4096, "log": True, "when": {"quantizer.name": "ema"}},
        {"type": "int", "low": 16, "high": 128, "step": 16, "when": {"quantizer.name": "vq"}},
    ],
    "model.position": {"type": "int", "low": 0, "high": 2},
}


def trial_of(space: SearchSpace, seed: int) -> tuple[optuna.Trial, dict]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed))
    trial = study.ask()
    return trial, space.sample(trial, FLAT)


@pytest.mark.parametrize("seed", range(12))
def test_a_sample_is_allowed_by_the_spec_and_lies_in_the_space(seed):
    space = SearchSpace.parse(FAMILY)
    space.check(BASE)
    trial, overrides = trial_of(space, seed)
    resolved = BASE.with_overrides(overrides).as_flat_dict()
    assert all(resolved[path] == value for path, value in overrides.items())
    assert space.place(resolved) == trial.params
    assert space.overrides(trial.params) == overrides


def test_conditions_decide_what_is_asked():
    space = SearchSpace.parse(FAMILY)
    seen = {}
    for seed in range(40):
        trial, overrides = trial_of(space, seed)
        seen[overrides["quantizer.name"]] = set(trial.params) - {"quantizer.name", "model.position"}
    assert seen == {
        "ema": {"quantizer.decay", "quantizer.codebook_size[quantizer.name=ema]"},
        "vq": {"quantizer.codebook_size[quantizer.name=vq]"},
        "none": set(),
    }


def test_conditions_come_first_in_whatever_order_they_are_written():
    space = SearchSpace.parse(dict(reversed(FAMILY.items())))
    assert space.paths.index("quantizer.name") < space.paths.index("quantizer.decay")


def test_plain_values_come_back():
    space = SearchSpace.parse(FAMILY)
    assert SearchSpace.parse(space.as_dict()) == space
    assert space.as_dict()["quantizer.decay"] == FAMILY["quantizer.decay"]
    assert set(space.distributions) == {dimension.name for dimension in space.dimensions}


@pytest.mark.parametrize("name", sorted(QuantizerConfig.variants))
def test_every_quantizers_own_space_is_allowed(name):
    space = SearchSpace.parse({"quantizer": {"type": "suggested", "variants": [name]}})
    space.check(BASE.with_overrides({"quantizer.name": name}))
    assert set(space.paths) == {f"quantizer.{setting}" for setting in QuantizerConfig.variants[name].space}


def test_the_spaces_of_all_quantizers_can_be_searched_together():
    names = sorted(QuantizerConfig.variants)
    own = {"type": "choice", "choices": [0.1, 0.2]}
    space = SearchSpace.parse({"quantizer": {"type": "suggested", "variants": names}, "optim.beta1": own})
    space.check(BASE)
    for seed in range(60):
        _, overrides = trial_of(space, seed)
        own = {f"quantizer.{setting}" for setting in QuantizerConfig.variants[overrides["quantizer.name"]].space}
        assert set(overrides) - {"optim.beta1", "quantizer.name"} <= own


@pytest.mark.parametrize("name", sorted(QuantizerConfig.variants))
def test_a_trial_of_a_variant_is_asked_for_all_of_its_own_space_and_nothing_else(name):
    space = SearchSpace.parse({"quantizer": {"type": "suggested", "variants": sorted(QuantizerConfig.variants)}})
    ranges, asked = QuantizerConfig.variants[name].space, set()
    for seed in range(8):
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed))
        study.enqueue_trial({"quantizer.name": name})
        overrides = space.sample(study.ask(), FLAT)
        resolved = BASE.with_overrides(overrides).quantizer.as_dict()
        active = {
            setting
            for setting, values in ranges.items()
            if all(resolved[key] == wanted for key, wanted in values.get("when", {}).items())
        }
        assert set(overrides) == {"quantizer.name"} | {f"quantizer.{setting}" for setting in active}
        asked |= active
    assert asked == set(ranges)


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


def test_a_grid_contains_its_points_alone():
    grid = parse_range("x", {"type": "float", "low": 0.0, "high": 0.3, "step": 0.1})
    assert grid.contains(0.1) and grid.contains(0.3) and not grid.contains(0.15)
    assert {round(grid.draw(random.Random(seed)), 6) for seed in range(40)} == {0.0, 0.1, 0.2, 0.3}
    assert parse_range("x", {"type": "choice", "choices": [1, "a", None]}).contains(None)
    assert not parse_range("x", {"type": "choice", "choices": [1, 2]}).contains(True)


FLOAT = {"type": "float", "low": 0.1, "high": 0.5}
REFUSED = {
    "space.quantizer.decy: quantizer.decy is unknown; did you mean quantizer.decay?": {"quantizer.decy": FLOAT},
    "space.quantizer.decay: quantizer.decay=1.0 must lie strictly between 0 and 1": {
        "quantizer.decay": {**FLOAT, "high": 1.0}
    },
    "space.model.position: model.position=3 must be at most model.num_layers=2": {
        "model.position": {"type": "int", "low": 0, "high": 3}
    },
    "space.optim.schedule: optim.schedule='sine'": {
        "optim.schedule": {"type": "choice", "choices": ["linear", "sine"]}
    },
    "space.optim.beta1.low=0.5 must be less than high=0.5": {"optim.beta1": {**FLOAT, "low": 0.5}},
    "space.optim.learning_rate.low=0.0 must be more than 0 with log": {
        "optim.learning_rate": {**FLOAT, "low": 0, "log": True}
    },
    "space.optim.beta1.high=0.5 must be low=0.1 plus a multiple of step=0.3": {"optim.beta1": {**FLOAT, "step": 0.3}},
    "space.optim.beta1.hihg is unknown; did you mean high?": {"optim.beta1": {**FLOAT, "hihg": 1}},
    "space.optim.beta1.high is missing": {"optim.beta1": {"type": "float", "low": 0.1}},
    "space.optim.beta1.type='flaot' must be one of float, int, choice": {"optim.beta1": {**FLOAT, "type": "flaot"}},
    "space.quantizer.decay.when.quantizer.nam is unknown; did you mean quantizer.name?": {
        "quantizer.decay": {**FLOAT, "when": {"quantizer.nam": "ema"}}
    },
    "can never hold (quantizer.name is 'ema' in base)": {
        "quantizer.decay": {**FLOAT, "when": {"quantizer.name": "vq"}}
    },
    "depend on each other": {
        "optim.beta1": {**FLOAT, "when": {"optim.beta2": 0.3}},
        "optim.beta2": {**FLOAT, "when": {"optim.beta1": 0.3}},
    },
    "two ranges that can hold at once": {"optim.beta1": [FLOAT, {**FLOAT, "high": 0.6}]},
    "give one a condition": {
        "quantizer.name": {"type": "choice", "choices": ["ema", "none"]},
        "quantizer.decay": {"type": "float", "low": 0.8, "high": 0.9},
    },
    "must divide model.d_model": {
        "model.d_model": {"type": "choice", "choices": [96, 128]},
        "model.num_heads": {"type": "choice", "choices": [4, 6, 8]},
    },
    "space.quantizer.variants='emma' is unknown; did you mean ema?": {
        "quantizer": {"type": "suggested", "variants": ["emma"]}
    },
    "only quantizer can have type suggested": {"optim": {"type": "suggested", "variants": ["adam"]}},
    "names one twice": {"train.batch_size": {"type": "choice", "choices": [32, 32]}},
}


@pytest.mark.parametrize("message", REFUSED)
def test_refusals_name_the_setting_and_the_way_out(message):
    with pytest.raises(SettingError) as error:
        SearchSpace.parse(REFUSED[message]).check(BASE)
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) <= 2


def test_every_fault_is_told_at_once():
    with pytest.raises(SettingError) as error:
        SearchSpace.parse({"quantizer.decy": FLOAT, "optim.lr": FLOAT}).check(BASE)
    assert {line.split(":")[0] for line in str(error.value).splitlines()} == {"space.quantizer.decy", "space.optim.lr"}


def test_overlap_needs_a_common_value():
    space = SearchSpace.parse(FAMILY)
    other = {"model.position": {"type": "int", "low": 2, "high": 9}, "quantizer.decay": {**FLOAT, "high": 0.7}}
    assert space.overlap(SearchSpace.parse(other)) == ["model.position"]
    assert set(space.overlap(space)) == set(space.paths)


def test_a_run_outside_the_space_has_no_place():
    space = SearchSpace.parse(FAMILY)
    assert space.place(FLAT) is None
    assert [dimension.path for dimension in space.outside(FLAT)] == ["model.position"]
    point = space.place(FLAT | {"model.position": 1})
    assert point is not None and point["quantizer.codebook_size[quantizer.name=ema]"] == 1024
