"""Loss terms of codebooks, each a scalar; only `both_ways` applies weights.

Letters: N positions, n positions of one block, K entries, D width of an entry, C code width, U entries in use.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from t5vqvae.quantizers.parts.distributed import sum_over_workers
from t5vqvae.quantizers.parts.float32 import full_float32

MAX_SCORES = 1 << 21
"""Distances in memory at once: 8 MB in float32."""
MAX_ORTHOGONAL = 2048
"""At most this many entries are compared pairwise; if more are in use, this many are drawn at random."""
TINY = 1e-30


def mean_squared(left_NC: Tensor, right_NC: Tensor) -> Tensor:
    """Returns the mean squared difference over positions and width; 0, with a gradient path, without positions."""
    return F.mse_loss(left_NC, right_NC, reduction="sum") / max(1, left_NC.numel())


def both_ways(
    inputs_NC: Tensor, entries_NC: Tensor, commitment_weight: float, codebook_weight: float, commitment_on: str
) -> dict[str, Tensor]:
    """Returns the two weighted terms of a codebook that learns by gradient.

    Args:
        inputs_NC: The quantized inputs; with cosine distance at unit length.
        entries_NC: The entries taken, with their gradient.
        commitment_weight: Weight of the term that `commitment_on` names.
        codebook_weight: Weight of the other term.
        commitment_on: `encoder`: the commitment weight belongs to ||h - sg(e)||^2; `codebook`: to ||sg(h) - e||^2, as
            in VQGAN's released code ("legacy").
    """
    on_encoder, on_codebook = commitment_weight, codebook_weight
    if commitment_on == "codebook":
        on_encoder, on_codebook = on_codebook, on_encoder
    return {
        "commitment": on_encoder * mean_squared(inputs_NC, entries_NC.detach()),
        "codebook": on_codebook * mean_squared(inputs_NC.detach(), entries_NC),
    }


def orthogonality(table_KD: Tensor, codes_N: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Returns how far the entries in use are from orthogonal: sum of cos^2 over all pairs / U^2 - 1 / U, at least 0.

    Args:
        table_KD: The entries, with their gradient.
        codes_N: The entries taken, of all workers.
        generator: On the CPU; draws the entries to compare if more than `MAX_ORTHOGONAL` are in use. Workers need equal
            generators; otherwise each worker would push other entries apart.

    Source: Shin et al. 2021, arXiv 2112.00384 (weight 10; on the entries that the batch uses).
    """
    used_U = codes_N.unique()
    if used_U.numel() > MAX_ORTHOGONAL:
        used_U = used_U[torch.randperm(used_U.numel(), generator=generator)[:MAX_ORTHOGONAL].to(used_U.device)]
    units_UD = F.normalize(F.embedding(used_U, table_KD), dim=-1)
    num_used = max(1, used_U.numel())
    return (units_UD @ units_UD.T).square().sum() / num_used**2 - min(1, used_U.numel()) / num_used


def missing_entropy(inputs_ND: Tensor, table_KD: Tensor, temperature: float, everywhere: bool) -> Tensor:
    """Returns log K - H(mean of p over the batch) in nats, in [0, log K]: 0 if all entries are equally likely.

    p = softmax(-||x - e||^2 / temperature). The mean is over the positions of all workers, because the entropy of a
    mean is not the mean of entropies. The backward pass computes the N x K matrix again, block by block.

    Args:
        inputs_ND: May be empty; every worker must call this function even then.
        table_KD: The entries, with their gradient if they have one.
        temperature: Divides the squared distances.
        everywhere: True: sum over all workers (training); False: this worker alone (evaluation).
    """
    chunk = max(1, MAX_SCORES // table_KD.shape[0])
    total_K = inputs_ND.new_zeros(table_KD.shape[0])
    # Without positions `split` gives one empty block; without its gradient path this worker would skip the collective.
    for part_nD in inputs_ND.split(chunk):
        total_K = total_K + checkpoint(_soft_counts, part_nD, table_KD, temperature, use_reentrant=False)
    if everywhere:
        total_K = sum_over_workers(total_K)
    # Each position adds 1 in total, so the sum is the number of positions, except for rounding.
    mean_K = total_K / total_K.detach().sum().clamp_min(1.0)
    missing = math.log(table_KD.shape[0]) + torch.special.xlogy(mean_K, mean_K.clamp_min(TINY)).sum()
    return missing * (total_K.detach().sum() > 0)


def _soft_counts(inputs_nD: Tensor, table_KD: Tensor, temperature: float) -> Tensor:
    """Returns p summed over the inputs, shape (K,)."""
    with full_float32(inputs_nD.device.type):  # here, because the backward pass computes this again
        scores_nK = torch.addmm(table_KD.square().sum(-1), inputs_nD, table_KD.T, alpha=-2.0)
        return (-scores_nK / temperature).softmax(-1).sum(0)
