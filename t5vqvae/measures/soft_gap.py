"""Soft-hard gap: how much of the quality of a quantizer's continuous form its codes lose.

For quantizers with a continuous form (`gumbel`, `soft`, `sfvq`): the cross-entropy of the targets with codes less that
with the continuous form, whose rate has no bound. Near 0 means that the codes say what the decoder was trained on.
"""

from __future__ import annotations

import torch

from t5vqvae.data import evaluation_batches
from t5vqvae.measures.base import Found, Probed, measure


@measure("soft_gap")
@torch.no_grad()
def soft_gap(probed: Probed) -> Found:
    """Measures the rise of the cross-entropy from the continuous form to codes, nats a character."""
    quantizer = probed.model.quantizer
    if not quantizer.has_soft_form or not quantizer.active:
        return Found()
    hard = _nll_per_char(probed)
    quantizer.hard = False
    try:
        soft = _nll_per_char(probed)
    finally:
        quantizer.hard = True
    return Found({"codebook/soft_gap": hard - soft})


def _nll_per_char(probed: Probed) -> float:
    model, nll, chars = probed.model, 0.0, 0
    device, size = next(model.parameters()).device, probed.spec.evaluate.batch_size
    for _, batch in evaluation_batches(probed.split, size, limit=probed.num_sentences):
        nll += float(model.losses(batch.to(device)).nll_sum)
        chars += int(batch.num_chars_B.sum())
    return nll / max(1, chars)
