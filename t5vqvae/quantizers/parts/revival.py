"""Revival of dead entries: entries that win far less than their share move onto inputs of the batch.

Onto random inputs, which gives every entry some inputs and spreads frequent ones over several; or only onto inputs far
from their entry, so that an entry lives where the codebook errs and stays dead where it does not. In scikit-learn's
k-means an empty cluster moves likewise onto the points farthest from their centers.

Letters: K entries, D width of an entry, M positions of all workers, U revived entries.
"""

from __future__ import annotations

import torch
from torch import Tensor

from t5vqvae.quantizers.parts.distributed import of_first_worker
from t5vqvae.quantizers.parts.initialization import sample_rows

COUNT_DECAY = 0.99
"""Decay of the moving counts in variants without a setting for it."""
MOST_FAR = 64
"""Most entries of a table (or a role's slice of it) that move in a step, where they move onto far inputs only."""


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


def variance(inputs_MD: Tensor) -> Tensor:
    """Returns the mean squared distance of inputs from their mean, summed over the dimensions; a scalar."""
    return (inputs_MD - inputs_MD.mean(0)).square().sum(-1).mean()


def are_far(inputs_MD: Tensor, entries_MD: Tensor, limit: Tensor) -> Tensor:
    """Returns which inputs have a squared distance above `limit` from the entry that they took, (M,), bool."""
    # Moving averages on several GPUs may differ in the last bit, and one input more would change all random draws.
    return of_first_worker((inputs_MD - entries_MD).square().sum(-1) > limit)


def apart(inputs_MD: Tensor, limit: Tensor, generator: torch.Generator) -> Tensor:
    """Returns at most `MOST_FAR` random inputs, each far from all that were drawn before it, kept or not, (U, D).

    Each takes an entry, so two that are near each other would share what one entry says.

    Args:
        inputs_MD: Inputs far from their entries, the same on all workers.
        limit: Two inputs are far from each other above this squared distance.
        generator: The same on all workers.
    """
    if not inputs_MD.shape[0]:
        return inputs_MD
    drawn_UD = sample_rows(inputs_MD, min(MOST_FAR, inputs_MD.shape[0]), generator)
    near_UU = torch.cdist(drawn_UD, drawn_UD, compute_mode="donot_use_mm_for_euclid_dist").square() <= limit
    return drawn_UD[~near_UU.tril(-1).any(1)]
