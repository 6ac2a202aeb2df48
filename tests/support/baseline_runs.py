"""What the tests of the baselines share: a tiny spec, a finished run, and the laws that every baseline obeys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from t5vqvae.data import prepare
from t5vqvae.spec.run import RunSpec
from t5vqvae.training.trainer import Milestone, train

TINY = {
    "data.corpus.name": "grammar",
    "data.corpus.size": 400,
    "data.corpus.validation_size": 40,
    "data.tokenizer.vocab_size": 400,
    "train.max_steps": 6,
    "train.batch_size": 8,
    "train.eval_every": 3,
    "evaluate.num_examples": 20,
    "evaluate.num_generated": 4,
    "evaluate.max_new_tokens": 12,
}
LATENT = {"model.latent_width": 16, "model.kl_weight": 0.01}
AAE = {
    "model.embedding_width": 32,
    "model.hidden_width": 32,
    "model.latent_width": 16,
    "model.discriminator_width": 16,
    "model.dropout": 0.1,
}
CROSS_LAYER = {
    "model.backbone": "NETWORK",
    "data.tokenizer.kind": "unigram",
    "model.num_layers": 1,
    "model.num_heads": 4,
    "model.d_ff": 64,
    "model.faithfulness_steps": 2,
}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "t5vqvae": ("t5vqvae", {}),
    "prompts": ("t5vqvae", {"model.prompts.num_prompts": 3, "model.prompts.hidden_width": 16}),
    "transformer": ("transformer", {}),
    "transformer, pre": ("transformer", {"model.norm": "pre"}),
    "gaussian token": ("gaussian", LATENT),
    "gaussian sentence": ("gaussian", {**LATENT, "model.level": "sentence"}),
    "optimus memory": ("optimus", {**LATENT, "model.latent_in_embeddings": True}),
    "optimus addition": ("optimus", {**LATENT, "model.injection": "addition", "model.into": "q"}),
    "optimus fusion": ("optimus", {**LATENT, "model.injection": "fusion", "model.into": "qkv"}),
    "optimus two latents": ("optimus", {**LATENT, "model.query": "fusion"}),
    "optimus bert gpt2": ("optimus", {**LATENT, "model.blocks": "bert_gpt2"}),
    "optimus bert gpt2 fusion": (
        "optimus",
        {**LATENT, "model.blocks": "bert_gpt2", "model.injection": "fusion", "model.into": "qkv"},
    ),
    "aae": ("aae", AAE),
    "daae": ("aae", {**AAE, "model.word_drop": 0.3, "model.log_variance_weight": 0.01}),
    "cross layer": ("cross_layer", CROSS_LAYER),
    "cross layer, leaking": ("cross_layer", {**CROSS_LAYER, "model.memory": "states"}),
}
"""`{case: (architecture, overrides)}`; every registered architecture must be here, and the contract tests hold that."""


def tiny(name: str, **overrides: Any) -> RunSpec:
    """A run of six steps on the grammar, of architecture `name`; sizes are set where it knows them."""
    spec = RunSpec().with_overrides({**TINY, "model.name": name, **_no_quantizer(name), **overrides})
    sizes = {"d_model": 32, "d_ff": 64}
    known = {f"model.{k}": v for k, v in sizes.items() if hasattr(spec.model, k) and f"model.{k}" not in overrides}
    if spec.model.backbone is not None:
        known = {}
    if spec.quantizer.name == "ema" and "quantizer.codebook_size" not in overrides:
        known |= {"quantizer.codebook_size": 32, "quantizer.start_iterations": 2}
    return spec.with_overrides(known)


def _no_quantizer(name: str) -> dict[str, str]:
    from t5vqvae.spec.architectures import ModelConfig

    return {"quantizer.name": "none"} if ModelConfig.variants[name].own_bottleneck else {}


def build(spec: RunSpec, cache: Path) -> Any:
    """The untrained model of a spec, in training mode, with its bottleneck closed."""
    prepared = prepare(spec.data, cache, backbone=spec.model.backbone)
    model = spec.model.build(spec, prepared.tokenizer, len(prepared.role_names)).train()
    model.quantizer.active = True
    return model


def batch_of(spec: RunSpec, cache: Path, size: int = 6) -> Any:
    """The first training sentences of a spec, as a batch."""
    from t5vqvae.data import BatchPlan

    plan = BatchPlan(prepare(spec.data, cache, backbone=spec.model.backbone).train, size, 0)
    return plan.local_batches(0)[0]


def finish(spec: RunSpec, cache: Path, **kwargs: Any) -> tuple[list[Milestone], dict[str, torch.Tensor]]:
    """All milestones of a run and its last weights."""
    milestones = list(train(spec, cache_dir=cache, **kwargs))
    return milestones, milestones[-1].state.model.state_dict()
