"""Laws of search spaces: the spec allows every sample, and a sample has one place in the space."""

from __future__ import annotations

import optuna
import pytest

from t5vqvae.spec.run import RunSpec
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


def test_conditions_decide_what_is_sampled():
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


def test_overlap_needs_a_common_value():
    space = SearchSpace.parse(FAMILY)
    other = {
        "model.position": {"type": "int", "low": 2, "high": 9},
        "quantizer.decay": {"type": "float", "low": 0.1, "high": 0.7},
    }
    assert space.overlap(SearchSpace.parse(other)) == ["model.position"]
    assert set(space.overlap(space)) == set(space.paths)


def test_a_run_outside_the_space_has_no_place():
    space = SearchSpace.parse(FAMILY)
    assert space.place(FLAT) is None
    assert [dimension.path for dimension in space.outside(FLAT)] == ["model.position"]
    point = space.place(FLAT | {"model.position": 1})
    assert point is not None and point["quantizer.codebook_size[quantizer.name=ema]"] == 1024
