"""What a study takes of the disk is estimated from its models and bounded by its retention."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from searches import stub_study

from t5vqvae.disk import shown
from tune.spec.disk_plan import _checkpoint_bytes, disk_plan

ROWS = ["word"] * 4000
"""As many as the largest vocabulary of the default tokenizer."""


def test_a_checkpoint_is_as_large_as_its_weights_and_two_moments_each() -> None:
    base: dict[str, Any] = {"model.d_model": 64, "model.num_layers": 3, "quantizer.codebook_size": 512}
    run = stub_study("s", 1, base=base).base_spec
    model = run.model.build(run, ROWS)
    true = 12 * sum(weight.numel() for weight in {id(p): p for p in model.parameters()}.values())
    estimated = _checkpoint_bytes(run)
    assert estimated is not None and 0.9 * true < estimated < 1.3 * true


def test_the_line_counts_what_retention_keeps() -> None:
    settings = {"budget": {"concurrent": 2}, "retention": {"keep_best": 3, "keep_steps": 2}}
    study = stub_study("s", 1, **settings)
    size = _checkpoint_bytes(study.base_spec)
    assert size is not None
    assert disk_plan(study, study.base_spec) == (
        f"checkpoints on the disk: up to {shown(size)} each; 2 of a running trial, and one more while it saves; one of"
        f" the 3 best trials; at most {shown(9 * size)} in all"
    )
    everything = stub_study("s", 1, retention={"keep_best": None})
    assert disk_plan(everything, everything.base_spec).endswith("one of every trial that counts")


def test_a_backbone_has_the_size_of_its_files(tmp_path: Path) -> None:
    run = stub_study("s", 1).base_spec
    assert _checkpoint_bytes(run.with_overrides({"model.backbone": str(tmp_path)})) is None
    (tmp_path / "model.safetensors").write_bytes(bytes(1000))
    assert _checkpoint_bytes(run.with_overrides({"model.backbone": str(tmp_path)})) == 3000
