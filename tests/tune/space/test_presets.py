"""Laws of suggested spaces: each variant declares a space that the spec allows, alone and with the others."""

from __future__ import annotations

import optuna
import pytest

from t5vqvae.quantizers import QuantizerConfig
from t5vqvae.spec.run import RunSpec
from tune.space.space import SearchSpace

BASE = RunSpec()
FLAT = BASE.as_flat_dict()


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
        overrides = space.sample(optuna.create_study(sampler=optuna.samplers.RandomSampler(seed)).ask(), FLAT)
        own = {f"quantizer.{setting}" for setting in QuantizerConfig.variants[overrides["quantizer.name"]].space}
        assert set(overrides) - {"optim.beta1", "quantizer.name"} <= own


@pytest.mark.parametrize("name", sorted(QuantizerConfig.variants))
def test_a_trial_samples_all_of_its_variants_own_space_and_nothing_else(name):
    space = SearchSpace.parse({"quantizer": {"type": "suggested", "variants": sorted(QuantizerConfig.variants)}})
    ranges, sampled = QuantizerConfig.variants[name].space, set()
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
        sampled |= active
    assert sampled == set(ranges)
