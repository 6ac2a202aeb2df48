"""Gradient estimators: how a gradient passes the choice of an entry, which has none.

Every estimator's forward value is the chosen entry itself, to the bit, so that `lookup(codes) == quantized`. None
sends a gradient to the entries. To add one, write a function `(inputs_ND, entries_ND) -> Tensor` and name it in
`ESTIMATORS`.

Letters: N positions, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

Estimator = Literal["straight_through", "rotation", "rotation_unscaled"]
TINY_NORM = 1e-6
"""Below this length a vector has no direction to rotate, and the estimator is the straight-through one."""


def straight_through(inputs_ND: Tensor, entries_ND: Tensor) -> Tensor:
    """Returns the entries; their gradient goes to the inputs unchanged.

    Source: Bengio et al. 2013, arXiv 1308.3432; van den Oord et al. 2017, section 3.2.
    """
    return _StraightThrough.apply(inputs_ND, entries_ND.detach())


def rotation(inputs_ND: Tensor, entries_ND: Tensor) -> Tensor:
    """Returns the entries q; a gradient g reaches the inputs e as (||q|| / ||e||) R^T g.

    R is the rotation of e's direction onto q's in their plane, so the angle between gradient and vector is kept:
    R = I - 2 r r^T + 2 q^ e^^T with unit vectors e^, q^ and r = (e^ + q^) / ||e^ + q^||; never formed, O(D) a position.
    Where e or q is (nearly) zero there is no direction, and the gradient passes unchanged.

    Source: Fifty et al. 2024, arXiv 2410.06424, sections 4.1 and 4.2.
    """
    return _Rotation.apply(inputs_ND, entries_ND.detach(), True)


def rotation_unscaled(inputs_ND: Tensor, entries_ND: Tensor) -> Tensor:
    """As `rotation` without the factor ||q|| / ||e||: the control that shows what the rescaling does."""
    return _Rotation.apply(inputs_ND, entries_ND.detach(), False)


ESTIMATORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "straight_through": straight_through,
    "rotation": rotation,
    "rotation_unscaled": rotation_unscaled,
}


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs_ND: Tensor, entries_ND: Tensor) -> Tensor:
        return entries_ND.clone()

    @staticmethod
    def backward(ctx: Any, grad_ND: Tensor) -> tuple[Tensor, None]:
        return grad_ND, None


class _Rotation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs_ND: Tensor, entries_ND: Tensor, scaled: bool) -> Tensor:
        ctx.save_for_backward(inputs_ND, entries_ND)
        ctx.scaled = scaled
        return entries_ND.clone()

    @staticmethod
    def backward(ctx: Any, grad_ND: Tensor) -> tuple[Tensor, None, None]:
        inputs_ND, entries_ND = ctx.saved_tensors
        return rotate_back(inputs_ND, entries_ND, grad_ND, ctx.scaled), None, None


def rotate_back(inputs_ND: Tensor, entries_ND: Tensor, grad_ND: Tensor, scaled: bool) -> Tensor:
    """Returns R^T g of each position, times ||q|| / ||e|| if `scaled`; g itself where e or q is nearly zero.

    With c = e^.q^ and s = e^ + q^ (||s||^2 = 2 + 2c), R^T g = g - s (s.g) / (1 + c) + 2 e^ (q^.g). Everything is
    a combination of g, e and q, so three dot products a position are all there is to know.
    """
    norm_e, norm_q = (torch.linalg.vector_norm(x, dim=-1, keepdim=True) for x in (inputs_ND, entries_ND))
    usable = (norm_e > TINY_NORM) & (norm_q > TINY_NORM)
    per_e, per_q = (torch.where(usable, norm, 1.0).reciprocal() for norm in (norm_e, norm_q))
    cosine = torch.linalg.vecdot(inputs_ND, entries_ND).unsqueeze(-1) * per_e * per_q
    along_e = torch.linalg.vecdot(inputs_ND, grad_ND).unsqueeze(-1) * per_e
    along_q = torch.linalg.vecdot(entries_ND, grad_ND).unsqueeze(-1) * per_q
    # Opposite vectors have no plane of their own (s = 0): what is left then reflects e^ onto q^.
    bend = (along_e + along_q) / (1.0 + cosine).clamp_min(TINY_NORM)
    scale = norm_q * per_e if scaled else torch.ones_like(norm_q)
    scale = torch.where(usable, scale, 1.0)
    to_e = torch.where(usable, scale * (2.0 * along_q - bend) * per_e, 0.0)
    to_q = torch.where(usable, -scale * bend * per_q, 0.0)
    return (scale * grad_ND).addcmul_(to_e, inputs_ND).addcmul_(to_q, entries_ND)
