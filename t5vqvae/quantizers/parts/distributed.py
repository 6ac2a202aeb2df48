"""Collectives of the quantizers: gathered positions and summed counts of all workers.

Positions are gathered (N x D a worker) instead of codebook tables reduced (K x D), because with K = 22,000 entries a
batch is thirty times smaller than the table. Without a process group every function is the identity.

Letters: N positions of this worker, M of all workers, D width.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx


def num_workers() -> int:
    """Returns how many workers train together; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather_rows(rows_ND: Tensor) -> Tensor:
    """Returns the rows of all workers in rank order, shape (M, D); N may differ between workers and be 0."""
    return gather_together(rows_ND)[0]


def gather_together(*tensors: Tensor) -> list[Tensor]:
    """Returns the rows of all workers in rank order, for several tensors of N rows each.

    N may differ between workers and be 0. Every worker must call it, with the same widths and types.
    """
    if num_workers() == 1:
        return list(tensors)
    lengths = _lengths(tensors[0])
    return [_gather(tensor, lengths) for tensor in tensors]


def sum_over_workers(tensor: Tensor) -> Tensor:
    """Returns the sum over all workers, with a gradient to each worker's own part.

    The backward pass is a collective too: every worker needs a gradient path to its part, even to an empty one. It
    adds up the workers' gradients. Data-parallel training then takes the mean over workers, which gives the gradient of
    the one global value.
    """
    if num_workers() == 1:
        return tensor
    return _SumOverWorkers.apply(tensor)


def of_first_worker(mask: Tensor) -> Tensor:
    """Returns the first worker's mask, for decisions that rounding errors must not make differ between workers."""
    if num_workers() == 1:
        return mask
    shared = mask.to(torch.uint8)
    dist.broadcast(shared, 0)
    return shared.bool()


@torch.no_grad()
def take_from_first_worker(*tensors: Tensor) -> None:
    """Overwrites tensors, in place, by the first worker's; rounding in k-means differs between GPUs, and grows."""
    if num_workers() == 1:
        return
    for tensor in tensors:
        shared = tensor.contiguous()
        dist.broadcast(shared, 0)
        tensor.copy_(shared)


def take_state_from_first_worker(module: nn.Module) -> None:
    """Overwrites the parameters and buffers of a module by the first worker's."""
    take_from_first_worker(*module.parameters(), *module.buffers())


class _SumOverWorkers(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, tensor: Tensor) -> Tensor:
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: FunctionCtx, grad: Tensor) -> Tensor:
        total = grad.contiguous().clone()
        dist.all_reduce(total)
        return total


def _lengths(rows_ND: Tensor) -> list[int]:
    """Returns N of each worker, in rank order."""
    lengths = torch.zeros(num_workers(), dtype=torch.int64, device=rows_ND.device)
    lengths[dist.get_rank()] = rows_ND.shape[0]
    dist.all_reduce(lengths)
    return lengths.tolist()


def _gather(rows_ND: Tensor, lengths: list[int]) -> Tensor:
    """Returns the rows of all workers in rank order; `lengths` gives the number of rows of each."""
    # `all_gather` needs equal shapes: pad to the longest worker's rows, gather, and remove the padding.
    longest = max(lengths)
    padded = rows_ND.contiguous()
    if padded.shape[0] < longest:
        padded = rows_ND.new_zeros(longest, *rows_ND.shape[1:])
        padded[: rows_ND.shape[0]] = rows_ND
    gathered = [torch.empty_like(padded) for _ in lengths]
    dist.all_gather(gathered, padded)
    return torch.cat([part[:length] for part, length in zip(gathered, lengths, strict=True)])
