"""The ablation of premises: joint, separate and in two stages, on generated premises, within ninety minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from t5vqvae.spec.run import RunSpec
from t5vqvae.training.trainer import train
from tune.ablation.ablation_spec import AblationSpec
from tune.ablation.designs import BASELINE
from tune.ablation.plan import all_arms, dry_run
from tune.analysis import pairs_needed

TINY: dict[str, Any] = {
    "data.corpus.size": 60,
    "data.corpus.validation_size": 20,
    "data.corpus.test_size": 5,
    "model.d_model": 32,
    "model.d_ff": 32,
    "quantizer.codebook_size": 32,
    "quantizer.start_iterations": 2,
    "train.batch_size": 8,
    "evaluate.num_examples": 20,
    "evaluate.num_generated": 0,
}
STEPS, SWITCH = 3, 2


@pytest.fixture(scope="module")
def spec() -> AblationSpec:
    return AblationSpec.load("premises")


def test_it_takes_ninety_minutes_on_two_cores_and_the_fewest_seeds_that_can_show_anything(spec: AblationSpec) -> None:
    base = spec.resolve_base()
    hours = dry_run(spec, base).hours
    assert hours is not None and hours <= 3.0, "two runs at once"
    assert len(spec.seeds) == pairs_needed(spec.num_tests(base), spec.alpha)
    assert spec.tuning == "per_seed" and spec.trials_per_arm == 3


def test_it_crosses_both_encodings_with_one_and_two_stages(spec: AblationSpec) -> None:
    base = spec.resolve_base()
    runs = {arm.name: base.with_overrides(arm.overrides) for arm in all_arms(spec, base)}
    found = {name: (run.model.premises, run.train.autoencode_steps) for name, run in runs.items()}  # type: ignore[attr-defined]
    assert found == {
        BASELINE: ("joint", 0),
        "separate": ("separate", 0),
        "two stages": ("joint", 500),
        "two stages separate": ("separate", 500),
    }
    assert len({(run.train.max_steps, run.data.model_dump_json()) for run in runs.values()}) == 1


def test_every_arm_trains_and_none_is_another_one(spec: AblationSpec, tmp_path: Path) -> None:
    base, losses = spec.resolve_base(), {}
    for arm in all_arms(spec, base):
        last = list(train(_tiny(base, dict(arm.overrides)), cache_dir=tmp_path))[-1]
        losses[arm.name] = last.metrics["validation/nll_per_char"]
        assert last.metrics.get("progress/stage") == (2 if "two stages" in arm.name else None)
    assert len(set(losses.values())) == 4, losses


def _tiny(base: RunSpec, overrides: dict[str, Any]) -> RunSpec:
    switched = {"train.autoencode_steps": SWITCH} if overrides.pop("train.autoencode_steps", 0) else {}
    steps = {"train.max_steps": STEPS, "train.eval_every": STEPS, "train.quantize_from": 0, "optim.warmup_steps": 0}
    return base.with_overrides({**TINY, **overrides, **steps, **switched})
