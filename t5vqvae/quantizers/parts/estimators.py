"""Gradient estimators: how a gradient passes the choice of an entry, which has no gradient.

Every estimator's forward value is bitwise equal to the chosen entry, so that `lookup(codes) == quantized`. Those of
`TEACHES_ENTRIES` send a gradient to the entries as well, in place of all loss terms. To add one, write a function
`(inputs_ND, entries_ND) -> Tensor` and name it in `ESTIMATORS`.

Letters: N positions, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx

Estimator = Literal["straight_through", "rotation", "rotation_unscaled", "diveq"]
TEACHES_ENTRIES = frozenset({"diveq"})
"""Estimators whose gradient moves the entries; a codebook that learns otherwise cannot use them."""
DIVEQ_STD = 1e-3**0.5
"""Standard deviation of `diveq`'s directions, in each dimension."""
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


def diveq(inputs_ND: Tensor, entries_ND: Tensor) -> Tensor:
    """Returns the entries q; gradients reach inputs e and entries through e + ||q - e|| sg(v / ||v||).

    v ~ N(q - e, 1e-3 I) points from the input to its entry. So an entry learns from the decoder's loss alone, along
    the line to its inputs, and needs no loss term; the inputs keep the part of the gradient across that line. Unused
    entries get no gradient, so it wants revival.

    Source: DiVeQ, Vali et al. 2025, arXiv 2509.26469, equation 6. Difference: there the decoder reads that formula,
    here its limit without noise, the entry itself, so that training and evaluation read the same.
    """
    return _DiVeQ.apply(inputs_ND, entries_ND, directions(inputs_ND, entries_ND))


def directions(inputs_ND: Tensor, entries_ND: Tensor) -> Tensor:
    """Returns `diveq`'s unit vectors v / ||v||, detached."""
    toward_ND = (entries_ND - inputs_ND).detach()
    return F.normalize(toward_ND + DIVEQ_STD * torch.randn_like(toward_ND), dim=-1)


ESTIMATORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "straight_through": straight_through,
    "rotation": rotation,
    "rotation_unscaled": rotation_unscaled,
    "diveq": diveq,
}


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, inputs_ND: Tensor, entries_ND: Tensor) -> Tensor:
        return entries_ND.clone()

    @staticmethod
    def backward(ctx: FunctionCtx, grad_ND: Tensor) -> tuple[Tensor, None]:
        return grad_ND, None


class _DiVeQContext(Protocol):
    """The part of torch's context that `_DiVeQ` uses."""

    saved_tensors: tuple[Tensor, Tensor]

    def save_for_backward(self, *tensors: Tensor) -> None: ...


class _DiVeQ(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _DiVeQContext, inputs_ND: Tensor, entries_ND: Tensor, directions_ND: Tensor) -> Tensor:
        ctx.save_for_backward(F.normalize(entries_ND - inputs_ND, dim=-1), directions_ND)
        return entries_ND.clone()

    @staticmethod
    def backward(ctx: _DiVeQContext, grad_ND: Tensor) -> tuple[Tensor, Tensor, None]:
        toward_ND, directions_ND = ctx.saved_tensors
        to_entries_ND = toward_ND * torch.linalg.vecdot(directions_ND, grad_ND).unsqueeze(-1)
        return grad_ND - to_entries_ND, to_entries_ND, None


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
