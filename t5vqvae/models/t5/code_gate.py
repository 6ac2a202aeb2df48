"""A learned gate: which codes are worth sending.

Each position draws a gate between 0 (not sent) and 1 (sent) from a hard concrete distribution, whose logit is a linear
map of the state before the quantizer. The decoder reads g * code + (1 - g) * "not sent", and the loss counts a price
for every code that is sent: a gate opens for a code that saves the decoder more nats than the price. Codes are then
left out in the order of their gates, the surest to be closed first; the bound on a sentence's cross-entropy holds as it
does without a gate.

Source: Louizos, Welling and Kingma, "Learning sparse neural networks through L0 regularization", arXiv 1712.01312.

Same: the stretched and clamped binary concrete distribution with their constants, and its cost, the probability that a
gate is not 0.

Different: a gate a position of a sentence, from its state, where theirs are one a weight; gates start open.

Letters: B batch, T encoder positions, E model width.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_TEMPERATURE = 2 / 3
_LOW, _HIGH = -0.1, 1.1
"""The interval to which a gate is stretched before it is clamped to [0, 1]."""
_FIRST_LOGIT = 1.0
"""Most gates are open at first: a decoder that sees no codes learns nothing of their worth. With much more, the price
of a gate has no slope."""


class CodeGate(nn.Module):
    """Opens or closes positions.

    Attributes:
        price: What a sent code of each position costs, in nats of a target token.
    """

    def __init__(self, width: int, price: float) -> None:
        super().__init__()
        self.price = price
        self.linear = nn.Linear(width, 1)
        nn.init.zeros_(self.linear.weight)
        nn.init.constant_(self.linear.bias, _FIRST_LOGIT)

    def logits(self, states_BTE: Tensor) -> Tensor:
        """Returns how sure a position is to be sent, shape (B, T); its most likely gate is closed far below 0."""
        logits_BT: Tensor = self.linear(states_BTE).squeeze(-1)
        return logits_BT

    def draw(self, logits_BT: Tensor) -> Tensor:
        """Returns random gates in [0, 1], shape (B, T)."""
        uniform_BT = torch.rand_like(logits_BT.float()).clamp(1e-6, 1 - 1e-6)
        concrete_BT = torch.sigmoid((torch.logit(uniform_BT) + logits_BT.float()) / _TEMPERATURE)
        return (concrete_BT * (_HIGH - _LOW) + _LOW).clamp(0, 1)

    def cost(self, logits_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """Returns the price of the positions' expected share that is sent, nats, a mean over the real positions."""
        shift = _TEMPERATURE * math.log(-_LOW / _HIGH)
        sent_BT = F.sigmoid(logits_BT.float() - shift)
        return self.price * (sent_BT * mask_BT).sum() / mask_BT.sum().clamp_min(1)
