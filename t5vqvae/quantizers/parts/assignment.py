"""Assignment of positions to their nearest codebook entry, without a whole N x K matrix of distances.

The squared distance is ||x||^2 - 2 x.e + ||e||^2, and ||x||^2 does not move the minimum: one matrix product a block is
enough. The loop goes over blocks of entries, so that their norms and scores are read while they are still in the
cache, and keeps only a running minimum.

Letters: N positions, K entries, D width of an entry, n positions of one block, k entries of one block, U entries that
occur.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

ROWS_PER_BLOCK = 1024
ENTRIES_PER_BLOCK = 1024
"""On a CPU a block of scores takes at most 4 MB (float32)."""
MAX_GPU_SCORES = 1 << 24
"""Scores in memory at once on other devices, where small blocks leave the device idle: 64 MB in float32."""


@torch.no_grad()
def nearest(inputs_ND: Tensor, table_KD: Tensor, unit: bool = False) -> Tensor:
    """Returns the index of each input's nearest entry, int64, shape (N,); the first of equally near ones.

    Args:
        inputs_ND: Any float type; the scores are float32.
        table_KD: The entries.
        unit: Scale the entries to unit length first (cosine distance, if the inputs have unit length).
    """
    inputs_ND, table_KD = inputs_ND.detach().float(), table_KD.detach().float()
    rows = [(start, _operand(-2.0 * part_nD)) for start, part_nD in _blocks(inputs_ND, _num_rows(inputs_ND))]
    best_N = inputs_ND.new_full((inputs_ND.shape[0],), torch.inf)
    codes_N = torch.zeros_like(best_N, dtype=torch.int64)
    for first, block_kD in _blocks(table_KD, _num_entries(inputs_ND)):
        weight, norms = _block_operands(block_kD, unit)
        for start, part in rows:
            low_n, place_n = _dense(F.linear(part, weight, norms)).min(-1)
            here = slice(start, start + low_n.shape[0])
            better_n = low_n < best_N[here]
            best_N[here] = torch.where(better_n, low_n, best_N[here])
            codes_N[here] = torch.where(better_n, place_n + first, codes_N[here])
    return codes_N


@torch.no_grad()
def squared_distances(inputs_nD: Tensor, table_KD: Tensor, unit: bool = False) -> Tensor:
    """Returns all squared distances, shape (n, K), float32, at least 0; meant for a few rows at a time."""
    inputs_nD, table_KD = inputs_nD.detach().float(), table_KD.detach().float()
    scores_nK = inputs_nD.new_empty(inputs_nD.shape[0], table_KD.shape[0])
    if not inputs_nD.shape[0]:
        return scores_nK
    rows = _operand(-2.0 * inputs_nD)
    for first, block_kD in _blocks(table_KD, _num_entries(inputs_nD)):
        scores_nK[:, first : first + block_kD.shape[0]] = _dense(F.linear(rows, *_block_operands(block_kD, unit)))
    return scores_nK.add_(inputs_nD.square().sum(-1, keepdim=True)).clamp_min_(0.0)


def mean_by_code(inputs_ND: Tensor, codes_N: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Averages the inputs of each code that occurs, without a one-hot matrix or a table of size K.

    Returns:
        The codes that occur (U,), the number of inputs of each (U,) in the inputs' type, and their mean (U, D).
    """
    touched_U, place_N, counts_U = codes_N.unique(return_inverse=True, return_counts=True)
    sums_UD = inputs_ND.new_zeros(touched_U.numel(), inputs_ND.shape[-1]).index_add_(0, place_N, inputs_ND)
    counts_U = counts_U.to(inputs_ND.dtype)
    return touched_U, counts_U, sums_UD.div_(counts_U.unsqueeze(-1))


def _num_rows(inputs_ND: Tensor) -> int:
    return ROWS_PER_BLOCK if inputs_ND.device.type == "cpu" else 4 * ROWS_PER_BLOCK


def _num_entries(inputs_ND: Tensor) -> int:
    if inputs_ND.device.type == "cpu":
        return ENTRIES_PER_BLOCK
    return MAX_GPU_SCORES // max(1, min(inputs_ND.shape[0], _num_rows(inputs_ND)))


def _blocks(rows_ND: Tensor, size: int) -> Iterator[tuple[int, Tensor]]:
    for start in range(0, rows_ND.shape[0], size):
        yield start, rows_ND[start : start + size]


def _block_operands(block_kD: Tensor, unit: bool) -> tuple[Tensor, Tensor]:
    """Returns the entries of a block and their squared norms, both ready for the product."""
    block_kD = F.normalize(block_kD, dim=-1) if unit else block_kD
    return _operand(block_kD), _operand(torch.linalg.vector_norm(block_kD, dim=-1).square_())


def _operand(tensor: Tensor) -> Tensor:
    """Returns the tensor in the layout of its device's fastest matrix product."""
    # oneDNN in float32: at these shapes it takes less than half the time of `addmm`, if the installed BLAS does not use
    # the widest instructions.
    eager_cpu = tensor.device.type == "cpu" and not torch.compiler.is_compiling()
    return tensor.to_mkldnn() if eager_cpu and torch.backends.mkldnn.is_available() else tensor


def _dense(scores: Tensor) -> Tensor:
    return scores.to_dense() if scores.is_mkldnn else scores
