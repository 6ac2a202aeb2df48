"""The entry "not sent": a learned vector that stands for every position whose code is left out.

With `train.code_dropout` = p, each training sentence draws a share from 0 to p, and each of its positions is dropped
with that probability: the decoder learns to say what the rest of the sentence implies. The quantizer itself sees all
positions, so its losses, its usage and its codebook do not depend on what is dropped.

Letters: B batch, T encoder positions, E model width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class NotSent(nn.Module):
    """Replaces quantized states by the learned vector."""

    def __init__(self, width: int, most: float) -> None:
        super().__init__()
        self.most = most
        self.vector_E = nn.Parameter(torch.zeros(width))

    def drop(self, quantized_BTE: Tensor, mask_BT: Tensor) -> Tensor:
        """Drops a random share of every sentence's positions; padding stays as it is."""
        share_B1 = torch.rand(len(quantized_BTE), 1, device=quantized_BTE.device) * self.most
        dropped_BT = torch.rand(mask_BT.shape, device=quantized_BTE.device) < share_B1
        return self.put(quantized_BTE, dropped_BT & mask_BT)

    def mix(self, quantized_BTE: Tensor, sent_BT: Tensor) -> Tensor:
        """Mixes every state with the vector: 1 is the state, 0 the vector."""
        sent_BT1 = sent_BT.unsqueeze(-1).to(quantized_BTE.dtype)
        return sent_BT1 * quantized_BTE + (1 - sent_BT1) * self.vector_E.to(quantized_BTE.dtype)

    def put(self, quantized_BTE: Tensor, where_BT: Tensor) -> Tensor:
        """Puts the vector at some positions."""
        return torch.where(where_BT.unsqueeze(-1), self.vector_E.to(quantized_BTE.dtype), quantized_BTE)
