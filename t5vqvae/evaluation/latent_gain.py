"""How much a sentence's own latent tells the decoder: the rise of the cross-entropy with another sentence's.

Every sentence of a fixed subset is decoded from the latent of the one before it in the order of lengths, the shortest
from that of the longest. So the pairs depend neither on batches nor on workers, and hardly differ in their lengths.
"""

from __future__ import annotations

import torch.distributed as dist

from t5vqvae.data import TokenizedSplit
from t5vqvae.data.batching import batches_behind_one
from t5vqvae.evaluation.sums import Sums
from t5vqvae.models.contract import TextAutoencoder

NUM_SWAPPED = 128
"""Sentences whose latents are swapped."""


def add_swapped(model: TextAutoencoder, split: TokenizedSplit, size: int, limit: int | None, sums: Sums) -> None:
    """Adds to the sums what the cross-entropy of some sentences rises by when they get another one's latent."""
    some = NUM_SWAPPED if limit is None else min(limit, NUM_SWAPPED)
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    for batch in batches_behind_one(split, size, some, rank, world):
        batch = batch.to(next(model.parameters()).device)
        memory = model.encode_memory(batch)
        own, swapped = (model.losses(batch, swap_memory=swap, memory=memory) for swap in (False, True))
        sums.nll_swapped += float(swapped.nll_sum) - float(own.nll_sum)
        sums.num_swapped += own.num_tokens
