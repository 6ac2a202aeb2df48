"""Gradient estimators: how a gradient passes the choice of an entry, which has no gradient.

Every estimator's forward value is bitwise equal to the chosen entry, so that `lookup(codes) == quantized`. No estimator
sends a gradient to the entries. To add one, write a function `(inputs_ND, entries_ND) -> Tensor` and name it in
`ESTIMATORS`.

Letters: N positions, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

Estimator = Literal["straight_through", "rotation", "rotation_unscaled"]
TINY_NORM = 1e-6
"""Shorter vectors have no direction to rotate; for them the estimator is straight-through."""


def straight_through(inputs_ND: Tensor, entries_ND: Tensor) -> Tensor:
    """Returns the entries; the output's gradient goes to the inputs unchanged.

    Source: Bengio et al. 2013, arXiv 1308.3432; van den Oord et al. 2017, section 3.2.
    """
    return _StraightThrough.apply(inputs_ND, entries_ND.detach())


def rotation(inputs_ND: Tensor, entries_ND: Tensor) -> Tensor:
    """Returns the entries q; a gradient g reaches the inputs e as (||q|| / ||e||) R^T g.

    R rotates e's direction onto q's in their plane, so the angle between gradient and vector is kept:
    R = I - 2 r r^T + 2 q^ e^^T with unit vectors e^, q^ and r = (e^ + q^) / ||e^ + q^||. R is never formed: the cost is
    O(D) a position. If e or q is (nearly) zero it has no direction, and the gradient passes unchanged.

    Source: Fifty et al. 2024, arXiv 2410.06424, sections 4.1 and 4.2.
    """
    return _Rotation.apply(inputs_ND, entries_ND.detach(), True)


def rotation_unscaled(inputs_ND: Tensor, entries_ND: Tensor) -> Tensor:
    """Returns what `rotation` returns, with a gradient without the factor ||q|| / ||e||.

    The control that shows the effect of the rescaling.
    """
    return _Rotation.apply(inputs_ND, entries_ND.detach(), False)


ESTIMATORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "straight_through": straight_through,
    "rotation": rotation,
    "rotation_unscaled": rotation_unscaled,
}


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, inputs_ND: Tensor, entries_ND: Tensor) -> Tensor:
        return entries_ND.clone()

    @staticmethod
    def backward(ctx: FunctionCtx, grad_ND: Tensor) -> tuple[Tensor, None]:
        return grad_ND, None


class _RotationContext(Protocol):
    """The part of torch's context that `_Rotation` uses."""

    saved_tensors: tuple[Tensor, Tensor]
    scaled: bool

    def save_for_backward(self, *tensors: Tensor) -> None: ...


class _Rotation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _RotationContext, inputs_ND: Tensor, entries_ND: Tensor, scaled: bool) -> Tensor:
        ctx.save_for_backward(inputs_ND, entries_ND)
        ctx.scaled = scaled
        return entries_ND.clone()

    @staticmethod
    def backward(ctx: _RotationContext, grad_ND: Tensor) -> tuple[Tensor, None, None]:
        inputs_ND, entries_ND = ctx.saved_tensors
        return _rotate_back(inputs_ND, entries_ND, grad_ND, ctx.scaled), None, None


def _rotate_back(inputs_ND: Tensor, entries_ND: Tensor, grad_ND: Tensor, scaled: bool) -> Tensor:
    """Returns R^T g of each position, times ||q|| / ||e|| if `scaled`; g itself where e or q is nearly zero."""
    # With c = e^.q^ and s = e^ + q^ (||s||^2 = 2 + 2c), R^T g = g - s (s.g) / (1 + c) + 2 e^ (q^.g). This is a
    # combination of g, e and q, so three dot products a position are enough.
    norm_e, norm_q = (torch.linalg.vector_norm(x, dim=-1, keepdim=True) for x in (inputs_ND, entries_ND))
    usable = (norm_e > TINY_NORM) & (norm_q > TINY_NORM)
    per_e, per_q = (torch.where(usable, norm, 1.0).reciprocal() for norm in (norm_e, norm_q))
    cosine = torch.linalg.vecdot(inputs_ND, entries_ND).unsqueeze(-1) * per_e * per_q
    along_e = torch.linalg.vecdot(inputs_ND, grad_ND).unsqueeze(-1) * per_e
    along_q = torch.linalg.vecdot(entries_ND, grad_ND).unsqueeze(-1) * per_q
    # Opposite vectors span no plane (s = 0); the remaining terms then reflect e^ onto q^.
    bend = (along_e + along_q) / (1.0 + cosine).clamp_min(TINY_NORM)
    scale = norm_q * per_e if scaled else torch.ones_like(norm_q)
    scale = torch.where(usable, scale, 1.0)
    to_e = torch.where(usable, scale * (2.0 * along_q - bend) * per_e, 0.0)
    to_q = torch.where(usable, -scale * bend * per_q, 0.0)
    return (scale * grad_ND).addcmul_(to_e, inputs_ND).addcmul_(to_q, entries_ND)
