"""Swap denoising: in half of a batch's sentences some codes are those of another sentence, and the text stays.

The decoder learns to say what the other codes imply where one of them does not fit. Codes are swapped for those of the
same place of the batch's next sentence, where it has one; the quantizer itself sees all positions as they are.

Letters: B batch, T encoder positions, E model width.
"""

from __future__ import annotations

import torch
from torch import Tensor

_SENTENCES = 0.5
"""Share of the sentences that are changed: the others keep the task of reading codes that fit."""


def swapped(quantized_BTE: Tensor, mask_BT: Tensor, share: float) -> Tensor:
    """Returns quantized states of which some are another sentence's, shape (B, T, E).

    Args:
        quantized_BTE: Quantized states of a training batch.
        mask_BT: True at real positions.
        share: Probability that a position of a changed sentence is swapped.
    """
    device = quantized_BTE.device
    changed_B1 = torch.rand(len(mask_BT), 1, device=device) < _SENTENCES
    drawn_BT = torch.rand(mask_BT.shape, device=device) < share
    fits_BT = mask_BT & mask_BT.roll(1, 0)
    return torch.where((changed_B1 & drawn_BT & fits_BT).unsqueeze(-1), quantized_BTE.roll(1, 0), quantized_BTE)
