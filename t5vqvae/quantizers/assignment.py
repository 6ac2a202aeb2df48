"""Assignment of positions to codebook entries: the nearest one, without an N x K matrix that outlives a chunk.

Letters: N positions, K entries, D width of an entry, n positions of one chunk.
"""

from __future__ import annotations

import torch
from torch import Tensor

MAX_CHUNK_ELEMENTS = 1 << 23
"""How many scores are alive at once: 32 MB in float32."""


def nearest(inputs_ND: Tensor, table_KD: Tensor) -> Tensor:
    """Returns the index of the nearest entry (Euclidean) of each input, int64, shape (N,).

    The squared distance is ||x||^2 - 2 x.e + ||e||^2, and ||x||^2 moves no minimum: one `addmm` a chunk.
    """
    inputs_ND, table_KD = inputs_ND.detach().float(), table_KD.detach().float()
    norms_K = table_KD.square().sum(-1)
    chunk = max(1, MAX_CHUNK_ELEMENTS // table_KD.shape[0])
    parts = [torch.addmm(norms_K, part_nD, table_KD.T, alpha=-2.0).argmin(-1) for part_nD in inputs_ND.split(chunk)]
    return torch.cat(parts) if parts else torch.empty(0, dtype=torch.int64, device=inputs_ND.device)


def mean_by_code(inputs_ND: Tensor, codes_N: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sums up the inputs of each code that occurs; no one-hot matrix, no table of size K.

    Returns:
        The touched codes (U,), how many inputs each has (U,) as float32, and the mean of those inputs (U, D).
    """
    touched_U, place_N, counts_U = codes_N.unique(return_inverse=True, return_counts=True)
    sums_UD = inputs_ND.new_zeros(touched_U.numel(), inputs_ND.shape[-1]).index_add_(0, place_N, inputs_ND)
    counts_U = counts_U.to(inputs_ND.dtype)
    return touched_U, counts_U, sums_UD / counts_U.unsqueeze(-1)
