"""Revival of dead entries: entries that win far less than their share move onto inputs of the batch.

Letters: K entries, D width of an entry, M positions of all workers, U revived entries.
"""

from __future__ import annotations

import torch
from torch import Tensor

from t5vqvae.quantizers.parts.initialization import sample_rows

COUNT_DECAY = 0.99
"""Decay of the moving counts in variants without a setting for it."""


def follow_counts(counts_K: Tensor, codes_M: Tensor, samples_per_input: int = 1) -> None:
    """Updates the moving counts by one step, in place: n <- .99 n + .01 (number of inputs that took each code)."""
    taken_K = torch.bincount(codes_M, minlength=counts_K.numel()) / samples_per_input
    counts_K.mul_(COUNT_DECAY).add_(taken_K, alpha=1.0 - COUNT_DECAY)


def revive(
    entries_KD: Tensor, counts_K: Tensor, inputs_MD: Tensor, below: float | None, generator: torch.Generator
) -> None:
    """Moves dead entries onto random inputs, in place, and gives them an average count.

    It moves at most as many entries as there are inputs, those with the lowest counts first.

    Args:
        entries_KD: The table.
        counts_K: Moving counts of how often each entry wins.
        inputs_MD: Inputs of this step, of all workers, in the same order on all of them.
        below: An entry is dead if its count is less than this share of the average count, so the threshold depends
            neither on the batch size nor on K; None: no revival.
        generator: The same on all workers.
    """
    if below is None or not inputs_MD.shape[0]:
        return
    average = counts_K.mean()
    num_dead = min(int((counts_K < below * average).sum()), inputs_MD.shape[0])
    if num_dead:
        dead_U = counts_K.argsort(stable=True)[:num_dead]
        entries_KD[dead_U] = sample_rows(inputs_MD, num_dead, generator)
        # With its old count the entry would be dead again at the next step, and in `ema` its stale moving average would
        # pull it back at its first hit.
        counts_K[dead_U] = average
