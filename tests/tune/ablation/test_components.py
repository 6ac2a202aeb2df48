"""Every optional setting is decided: a part that can be left out, or kept for a reason."""

from __future__ import annotations

import pytest

from t5vqvae.quantizers import QuantizerConfig
from t5vqvae.spec.run import RunSpec
from tune.ablation.components import KEPT, PARTS, components, optional_settings, present, refusal


def test_every_optional_setting_is_decided_once():
    undecided = sorted(set(optional_settings()) - PARTS.keys() - KEPT.keys())
    assert not undecided, f"say in tune/components.py how to switch off, or why to keep: {', '.join(undecided)}"
    assert not PARTS.keys() & KEPT.keys()
    assert "quantizer.revive_below" in set(optional_settings()), "the enumeration itself works"
    assert "optim.weight_decay" not in set(optional_settings()), "a decay is no loss weight"


def test_what_is_decided_exists():
    flat = set(RunSpec().as_flat_dict()) | set(optional_settings())
    for name in QuantizerConfig.variants:
        flat |= set(RunSpec().with_overrides({"quantizer.name": name}).as_flat_dict())
    assert not (PARTS.keys() | KEPT.keys()) - flat


@pytest.mark.parametrize("name", sorted(QuantizerConfig.variants))
def test_leaving_a_part_out_turns_it_off_and_nothing_else(name):
    base = RunSpec().with_overrides({"quantizer.name": name})
    for component in components(base):
        without = base.with_overrides(component.overrides)
        assert component.path not in {other.path for other in present(without)}
        old, new = base.as_flat_dict(), without.as_flat_dict()
        assert {path for path in old.keys() & new.keys() if old[path] != new[path]} == {component.path}


def test_the_default_run_has_the_parts_of_the_first_experiment():
    found = {component.path for component in components(RunSpec())}
    assert {"quantizer.name", "quantizer.start", "quantizer.revive_below", "quantizer.commitment_weight"} <= found
    assert "quantizer.entropy_weight" not in found, "it is off already"


def test_the_bound_of_revival_is_a_part_only_of_a_codebook_that_revives():
    far = {"quantizer.revive_beyond": 0.5}
    assert "quantizer.revive_beyond" in {c.path for c in components(RunSpec().with_overrides(far))}
    without = RunSpec().with_overrides({**far, "quantizer.revive_below": None})
    assert "quantizer.revive_beyond" not in {c.path for c in components(without)}


def test_a_section_that_may_be_null_is_a_part_when_it_is_there():
    base = RunSpec().with_overrides({"model.prompts.num_prompts": 2})
    found = {component.path: component for component in components(base)}
    assert "model.prompts" in found and "model.prompts" not in {c.path for c in components(RunSpec())}
    assert base.with_overrides(found["model.prompts"].overrides) == RunSpec()


def test_a_part_that_cannot_be_switched_off_says_why():
    base = RunSpec().with_overrides({"quantizer.name": "vq"})
    stuck = {component.path: refusal(base, component) for component in present(base) if refusal(base, component)}
    assert stuck == {"quantizer.codebook_weight": "quantizer.codebook_weight=0.0 must be more than 0"}
