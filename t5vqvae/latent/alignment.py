"""How sentences of different lengths meet: words are aligned from the left, and the ends of texts with each other.

The published code pads the shorter sentence and mixes words with padding. Here a position that one sentence lacks takes
what the other one has there, and the last position, the end of the text, always meets the last one.

Letters: T positions of a sentence, S positions of the longer of two, M positions that are wanted, X what a position has
(codes, or a vector), E width of a vector.
"""

from __future__ import annotations

import torch
from torch import Tensor


def aligned(source_TX: Tensor, goal_TX: Tensor) -> tuple[Tensor, Tensor]:
    """Returns both latents on the positions of the longer one, shape (S, X) each."""
    return _filled(source_TX, goal_TX), _filled(goal_TX, source_TX)


def shortened(latent_SX: Tensor, length: int) -> Tensor:
    """Returns the first `length - 1` positions and the last one; all of them if there are no more."""
    return torch.cat([latent_SX[: length - 1], latent_SX[-1:]]) if length < len(latent_SX) else latent_SX


def length_at(source: int, goal: int, t: float) -> int:
    """Returns the length of a step between two lengths: that of the source at 0, that of the goal at 1."""
    return round((1 - t) * source + t * goal)


def fitted(states_TE: Tensor, length: int) -> Tensor:
    """Returns states on `length` positions, shape (M, E): left out where there are too many, zero where too few."""
    words_TE = states_TE[:-1][: length - 1]
    missing_TE = states_TE.new_zeros(length - 1 - len(words_TE), states_TE.shape[-1])
    return torch.cat([words_TE, missing_TE, states_TE[-1:]])


def _filled(own_TX: Tensor, other_TX: Tensor) -> Tensor:
    if len(own_TX) >= len(other_TX):
        return own_TX
    return torch.cat([own_TX[:-1], other_TX[len(own_TX) - 1 : -1], own_TX[-1:]])
