"""What is not sent: a learned vector in the place of every code that is left out, or nothing.

With `train.code_dropout` = p, each training sentence draws a share from 0 to p, and each of its positions is dropped
with that probability: the decoder learns to say what the rest of the sentence implies. The quantizer itself sees all
positions, so its losses, its usage and its codebook do not depend on what is dropped.

Letters: B batch, T encoder positions, M positions that are left, E model width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from t5vqvae.models.t5.code_moves import closed_up


class NotSent(nn.Module):
    """Replaces quantized states by the learned vector, or removes them.

    Attributes:
        most: Largest share of a sentence's positions that training drops.
        vector_E: What stands where nothing is sent; None where such a position is removed.
    """

    def __init__(self, width: int, most: float, removes: bool = False) -> None:
        super().__init__()
        self.most = most
        self.vector_E = None if removes else nn.Parameter(torch.zeros(width))

    @property
    def removes(self) -> bool:
        """Whether positions that are not sent are removed."""
        return self.vector_E is None

    def drawn(self, mask_BT: Tensor, part: float = 1.0) -> Tensor:
        """Returns the positions that are dropped: a random share of every sentence's, bool, shape (B, T).

        Where positions are removed, one of a sentence stays: if all are drawn, the one that came nearest to staying.

        Args:
            mask_BT: True at real positions.
            part: Part of `most` that is dropped at most.
        """
        share_B1 = torch.rand(len(mask_BT), 1, device=mask_BT.device) * (self.most * part)
        drawn_BT = torch.rand(mask_BT.shape, device=mask_BT.device)
        dropped_BT = (drawn_BT < share_B1) & mask_BT
        if self.removes:
            last_B1 = drawn_BT.masked_fill(~mask_BT, -1.0).argmax(1, keepdim=True)
            dropped_BT = dropped_BT.scatter(1, last_B1, False)  # of a sentence with others that stay, it stays anyway
        return dropped_BT

    def drop(self, quantized_BTE: Tensor, mask_BT: Tensor, part: float = 1.0) -> Tensor:
        """Puts the vector at positions that are drawn; padding stays as it is."""
        return self.put(quantized_BTE, self.drawn(mask_BT, part))

    def mix(self, quantized_BTE: Tensor, sent_BT: Tensor) -> Tensor:
        """Mixes every state with the vector: 1 is the state, 0 the vector."""
        assert self.vector_E is not None, "a spec with a gate has the vector"
        sent_BT1 = sent_BT.unsqueeze(-1).to(quantized_BTE.dtype)
        return sent_BT1 * quantized_BTE + (1 - sent_BT1) * self.vector_E.to(quantized_BTE.dtype)

    def put(self, quantized_BTE: Tensor, where_BT: Tensor) -> Tensor:
        """Puts the vector at some positions, and zero where these are to be removed."""
        vector_E = quantized_BTE.new_zeros(()) if self.vector_E is None else self.vector_E.to(quantized_BTE.dtype)
        return torch.where(where_BT.unsqueeze(-1), vector_E, quantized_BTE)

    def leave_out(self, quantized_BTE: Tensor, where_BT: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Returns what the decoder reads without some positions, (B, M, E), and its mask, (B, M)."""
        if self.removes:
            return closed_up(quantized_BTE, mask_BT & ~where_BT)
        return self.put(quantized_BTE, where_BT & mask_BT), mask_BT
