"""Gradient estimators: how a gradient passes the choice of an entry, which has none.

Every estimator's forward value is the chosen entry itself, to the bit, so that `lookup(codes) == quantized`.

Letters: N positions, D width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs_ND: Tensor, entries_ND: Tensor) -> Tensor:
        return entries_ND.clone()

    @staticmethod
    def backward(ctx: Any, grad_ND: Tensor) -> tuple[Tensor, None]:
        return grad_ND, None


def straight_through(inputs_ND: Tensor, entries_ND: Tensor) -> Tensor:
    """Returns the entries; their gradient goes to the inputs unchanged, none to the entries.

    Source: Bengio et al. 2013, arXiv 1308.3432; van den Oord et al. 2017, section 3.2.
    """
    return _StraightThrough.apply(inputs_ND, entries_ND.detach())
