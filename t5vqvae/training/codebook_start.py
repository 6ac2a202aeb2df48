"""Starts a run's codebook from encoder states of its training batches.

Letters: N unpadded positions, E model width, C code width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from t5vqvae.data import BatchPlan, TokenizedSplit
from t5vqvae.models.contract import TextAutoencoder
from t5vqvae.quantizers.parts.distributed import take_state_from_first_worker
from t5vqvae.quantizers.parts.float32 import full_float32
from t5vqvae.spec.run import RunSpec
from t5vqvae.training.compile import eagerly


@torch.no_grad()
def start_codebook(
    model: TextAutoencoder, split: TokenizedSplit, spec: RunSpec, step: int, device: torch.device
) -> None:
    """Places the codebook with encoder states of training batches, and activates the quantizer.

    Args:
        model: The model, with a quantizer that is not active.
        split: The training split.
        spec: The run.
        step: The first optimizer step with quantization, whose batches come first.
        device: Where the model is.
    """
    quantizer = model.quantizer
    model.eval()
    if quantizer.num_start_vectors:
        vectors_NC = _start_vectors(model, split, spec, step, device)
        with full_float32(device.type):
            quantizer.start(vectors_NC, model.get_input_embeddings().weight.detach())
        take_state_from_first_worker(quantizer)
    quantizer.active = True
    model.train()


def _start_vectors(
    model: TextAutoencoder, split: TokenizedSplit, spec: RunSpec, first: int, device: torch.device
) -> Tensor:
    """Returns as many states in code space as the quantizer needs, shape (N, C); fewer if the split has fewer."""
    wanted, step = model.quantizer.num_start_vectors, first
    vectors: list[Tensor] = []
    # Every worker encodes the global batches, so that all start alike, as a single worker would; in micro-batches.
    plan = BatchPlan(split, spec.train.batch_size, spec.seed, microbatches=spec.train.microbatches)
    while sum(len(each) for each in vectors) < wanted and step - first < len(split):
        for batch in plan.local_batches(step):
            with eagerly(spec):
                states_NE = model.states_to_quantize(batch.to(device))
            with full_float32(device.type):
                vectors.append(model.quantizer.project_in(states_NE.float()))
        step += 1
    return torch.cat(vectors)[:wanted]
