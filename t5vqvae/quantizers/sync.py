"""What quantizers need of the other workers: gathered positions, summed counts.

Positions are gathered (N x D a worker) rather than codebook tables reduced (K x D): with K = 22,000 entries a batch is
thirty times smaller than the table. Without a process group everything is the identity.

Letters: N positions of this worker, M of all workers, D width.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def num_workers() -> int:
    """Returns how many workers train together; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather_rows(rows_ND: Tensor) -> Tensor:
    """Returns the rows of all workers in rank order, shape (M, D); N may differ between workers, and be 0."""
    world = num_workers()
    if world == 1:
        return rows_ND
    lengths = torch.zeros(world, dtype=torch.int64, device=rows_ND.device)
    lengths[dist.get_rank()] = rows_ND.shape[0]
    dist.all_reduce(lengths)
    longest = int(lengths.max())
    padded = rows_ND.new_zeros(longest, *rows_ND.shape[1:])
    padded[: rows_ND.shape[0]] = rows_ND
    gathered = [torch.empty_like(padded) for _ in range(world)]
    dist.all_gather(gathered, padded)
    return torch.cat([part[:length] for part, length in zip(gathered, lengths.tolist(), strict=True)])


def sum_over_workers(tensor: Tensor) -> Tensor:
    """Returns the sum over all workers, with a gradient to each worker's own part."""
    if num_workers() == 1:
        return tensor
    import torch.distributed.nn.functional as differentiable

    return differentiable.all_reduce(tensor)
