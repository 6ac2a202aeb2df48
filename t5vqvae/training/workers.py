"""Data-parallel training: the sums over workers that make several workers equal to one.

Losses are divided by the global number of tokens and gradients are summed over workers, so padding and the split of a
batch change nothing. Without a process group (Ray Train and torchrun initialise one) there is one worker.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from t5vqvae.data.batch import Batch
from t5vqvae.seeding import seed_from


def rank_and_world() -> tuple[int, int]:
    """Returns this worker's number, from 0, and the number of workers."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def sum_over_workers(tensor: Tensor) -> None:
    """Replaces a tensor by its sum over all workers."""
    if rank_and_world()[1] > 1:
        dist.all_reduce(tensor)


def global_counts(batches: Sequence[Batch], device: torch.device) -> tuple[int, int]:
    """Returns the target tokens and the encoder positions of a step over all workers, each at least 1."""
    tokens, positions = sum(b.num_target_tokens for b in batches), sum(b.num_source_tokens for b in batches)
    if rank_and_world()[1] > 1:  # a single worker does not wait for its GPU
        counts = torch.tensor([tokens, positions], device=device)
        sum_over_workers(counts)
        tokens, positions = counts.tolist()
    return max(1, tokens), max(1, positions)


def seed_worker(seed: int, step: int) -> None:
    """Seeds torch for one step, so that dropout and noise differ between workers; a no-op for a single worker."""
    rank, world = rank_and_world()
    if world > 1:
        # A seed for every step and rank, because a checkpoint has only the first worker's random state: so all workers
        # of a resumed run repeat their draws.
        torch.manual_seed(seed_from(seed, step, rank))


def sum_gradients(model: nn.Module) -> None:
    """Sums the gradients over workers; a parameter that a worker did not use counts as zero there.

    One that no worker used stays without a gradient, as with a single worker: the optimizer takes no step for it.
    """
    if rank_and_world()[1] == 1:
        return
    parameters = [p for p in model.parameters() if p.requires_grad]
    # One message for all parameters, not one for each; behind them, by how many workers each was used.
    grads = [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters]
    used = torch.tensor([float(p.grad is not None) for p in parameters]).to(grads[0])
    flat = torch.cat([*grads, used])
    dist.all_reduce(flat)
    *grads, used = flat.split([*(p.numel() for p in parameters), len(parameters)])
    for parameter, grad, number in zip(parameters, grads, used.tolist(), strict=True):
        parameter.grad = grad.view_as(parameter) if number else None
