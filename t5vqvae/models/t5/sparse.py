"""Chooses the positions whose codes need not be sent, because the decoder says the same text without them.

First every position alone is left out, and the sentence's cross-entropy is measured. A position that alone brings it to
the bound is sent. The others are tried from the most predictable on, or in the order of a learned gate: each stays out
if the cross-entropy of the whole sentence is below the bound, and is sent otherwise; later ones are still tried. That
takes at most two passes of the decoder (and of the encoder blocks behind the quantizer) a position, and one for each
that is sent without a trial. At least one position is sent. A caller may keep some positions: what an edit replaces has
to be sent, so that what follows from it is what stays out.

Letters: B batch, T encoder positions, S decoder positions, E model width, N sentences with one change each.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

MOST_AT_ONCE = 256
"""Changed sentences in one pass."""

Score = Callable[[Tensor, Tensor], Tensor]
"""Returns the cross-entropy (N,) of sentences, given their numbers (N,) and their positions left out (N, T)."""


def left_out(
    score: Score, mask_BT: Tensor, nats: float, gate_BT: Tensor | None = None, kept_BT: Tensor | None = None
) -> Tensor:
    """Returns the positions that need not be sent, bool, shape (B, T); padding is none of them.

    Args:
        score: Measures sentences with positions left out.
        mask_BT: True at real positions.
        nats: Bound of a sentence's cross-entropy. A sentence that is above it whichever of its codes is left out sends
            them all.
        gate_BT: How much each position is worth sending, (B, T); the least is tried first. None: the most predictable.
        kept_BT: Positions that are sent whatever the decoder says without them, (B, T). None: there are none.
    """
    alone_BT = _alone(score, mask_BT if kept_BT is None else mask_BT & ~kept_BT)
    order_BT = (alone_BT if gate_BT is None else gate_BT).argsort(stable=True, dim=1)
    sentences_B = torch.arange(len(mask_BT), device=mask_BT.device)
    out_BT = torch.zeros_like(mask_BT)
    for turn in range(mask_BT.shape[1]):
        places_B = order_BT[:, turn]
        tried_BT = out_BT.clone()
        tried_BT[sentences_B, places_B] = True
        possible_B = (alone_BT[sentences_B, places_B] < nats) & (mask_BT & ~tried_BT).any(1)
        chosen = possible_B.nonzero().squeeze(1)
        has_others = out_BT[chosen].any(1)  # what is the first to stay out was measured alone
        first, others = chosen[~has_others], chosen[has_others]
        if len(others):
            others = others[score(others, tried_BT[others]) < nats]
        for rows in (first, others):
            out_BT[rows] = tried_BT[rows]
    return out_BT


def _alone(score: Score, mask_BT: Tensor) -> Tensor:
    """Returns the cross-entropy of every sentence without each of its positions, (B, T); infinite at padding."""
    sentences_N, places_N = mask_BT.nonzero(as_tuple=True)
    by_length_N = mask_BT.sum(1)[sentences_N].argsort(stable=True, dim=0)  # so that a pass has little padding
    sentences_N, places_N = sentences_N[by_length_N], places_N[by_length_N]
    found_BT = torch.full(mask_BT.shape, float("inf"), device=mask_BT.device)
    for some_N, places in zip(sentences_N.split(MOST_AT_ONCE), places_N.split(MOST_AT_ONCE), strict=True):
        if not len(some_N):  # every position is kept
            break
        out_NT = torch.zeros(len(some_N), mask_BT.shape[1], dtype=torch.bool, device=mask_BT.device)
        out_NT[torch.arange(len(some_N), device=mask_BT.device), places] = True
        found_BT[some_N, places] = score(some_N, out_NT)
    return found_BT
