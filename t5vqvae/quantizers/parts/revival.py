"""Revival of dead entries: entries that win far less than their share move onto inputs of the batch.

Onto random inputs, which gives every entry some inputs and spreads frequent ones over several; or only onto inputs far
from their entry, so that an entry lives where the codebook errs and stays dead where it does not.

Letters: K entries, D width of an entry, M positions of all workers, U revived entries.
"""

from __future__ import annotations

import torch
from torch import Tensor

from t5vqvae.quantizers.parts.initialization import sample_rows

COUNT_DECAY = 0.99
"""Decay of the moving counts in variants without a setting for it."""
MOST_FAR = 64
"""Most entries that move in a step where they move onto far inputs only."""


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


def far_inputs(inputs_MD: Tensor, chosen_MD: Tensor, beyond: float, generator: torch.Generator) -> Tensor:
    """Returns inputs far from the entries that they took, and from each other; as many as a step may revive, or fewer.

    scikit-learn's k-means moves an empty cluster likewise: onto the points farthest from their centers.

    Args:
        inputs_MD: Inputs of this step, of all workers.
        chosen_MD: The entry of each.
        beyond: An input is far from another vector if their squared distance is more than this share of the inputs'
            variance (the mean squared distance from their mean).
        generator: The same on all workers.

    Returns:
        At most `MOST_FAR` inputs, (U, D).
    """
    limit = beyond * (inputs_MD - inputs_MD.mean(0)).square().sum(-1).mean()
    far_UD = inputs_MD[(inputs_MD - chosen_MD).square().sum(-1) > limit]
    if not far_UD.shape[0]:
        return far_UD
    drawn_UD = sample_rows(far_UD, min(MOST_FAR, far_UD.shape[0]), generator)
    near_UU = torch.cdist(drawn_UD, drawn_UD, compute_mode="donot_use_mm_for_euclid_dist").square() <= limit
    return drawn_UD[~near_UU.tril(-1).any(1)]
