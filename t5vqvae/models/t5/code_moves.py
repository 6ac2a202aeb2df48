"""Codes that move: up where others are removed, and with their words where training shuffles these.

A learned vector in the place of what is not sent still tells how many codes there were: four of them, one left out, say
"ants" and not "ant". Removed codes tell nothing, so what was left out can follow an edit. The same holds for the order
of words, where it follows from the words: a decoder that has read them in any order writes the one that fits.

Source: word dropout and word shuffling are the noise of a denoising autoencoder in Lample, Conneau, Denoyer and
Ranzato, "Unsupervised machine translation using monolingual corpora only", arXiv 1711.00043.

Same: a decoder learns to write a sentence from a part of its words in another order.

Different: here the noise falls on the codes behind the quantizer, tokens are dropped one by one, a dropped one leaves
no gap, the share is drawn anew for each sentence, and words move any distance, where theirs move at most three places.

Letters: B batch, T encoder positions, M positions that are left, E model width.
"""

from __future__ import annotations

import torch
from torch import Tensor


def closed_up(states_BTE: Tensor, sent_BT: Tensor, keys_BT: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Returns the sent states without gaps, shape (B, M, E), and the mask of their real positions, shape (B, M).

    Args:
        states_BTE: States.
        sent_BT: True where one is sent.
        keys_BT: Sorts the sent ones, ascending; equal keys stay in their order. None: all stay in it.
    """
    keys_BT = torch.zeros_like(sent_BT, dtype=torch.float32) if keys_BT is None else keys_BT
    order_BT = keys_BT.masked_fill(~sent_BT, float("inf")).argsort(dim=1, stable=True)
    longest = int(sent_BT.sum(1).max()) if len(sent_BT) else 0
    order_BM = order_BT[:, : max(1, longest)]
    states_BME = states_BTE.gather(1, order_BM.unsqueeze(-1).expand(-1, -1, states_BTE.shape[-1]))
    return states_BME, sent_BT.gather(1, order_BM)


def shuffled_words(begins_BT: Tensor, mask_BT: Tensor, share: float) -> Tensor:
    """Returns keys that sort a share of the sentences into a random order of words, float32, shape (B, T).

    The tokens of a word stay together, and the last token of a sentence, its end, stays the last.

    Args:
        begins_BT: True where a token begins a word.
        mask_BT: True at real positions.
        share: Probability that a sentence is shuffled.
    """
    device, (batch, size) = mask_BT.device, mask_BT.shape
    word_BT = begins_BT.long().cumsum(1).clamp(max=size - 1)
    keys_BT = torch.rand(batch, size, device=device).gather(1, word_BT)
    is_shuffled_B1 = torch.rand(batch, 1, device=device) < share
    places_BT = torch.arange(size, device=device).expand(batch, size)
    is_end_BT = places_BT == mask_BT.sum(1, keepdim=True) - 1
    keys_BT = keys_BT.masked_fill(is_end_BT, 2.0)
    return torch.where(is_shuffled_B1, keys_BT, places_BT.to(keys_BT.dtype))
