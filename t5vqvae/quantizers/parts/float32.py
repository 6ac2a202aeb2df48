"""Keeps a module in float32 whatever the type of the model around it.

A moving average in bfloat16 stands still: its small steps round away. And distances of nearly equal entries, or of
points near a ball's rim, have no digits left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

import torch
from torch import Tensor, nn


class Float32Module(nn.Module):
    """A module whose weights stay in float32: `model.bfloat16()`, `.half()` and `.double()` leave them as they are."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Moves the weights to another device, but never to another floating type."""

        def in_float32(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            kept = moved.dtype == torch.float32 or not moved.is_floating_point()
            return moved if kept else tensor.to(moved.device, torch.float32)

        return super()._apply(in_float32, recurse)

    def _keep_float32(self) -> None:
        """Casts weights that came in another type by another way, such as `load_state_dict(assign=True)`."""
        tensors = (*self.parameters(), *self.buffers())
        if any(tensor.is_floating_point() and tensor.dtype != torch.float32 for tensor in tensors):
            self.float()


@contextmanager
def full_float32(device: str) -> Iterator[None]:
    """Computes in float32 within: without autocast, and without the TF32 matrix products of a GPU.

    TF32 keeps ten bits of a number. A distance is a difference of products, so states that have a large part in common
    would get another entry than the nearest.

    Args:
        device: The type of the device that computes, such as `cuda`; what other devices do stays as it is.
    """
    products, allowed = torch.backends.cuda.matmul, torch.backends.cuda.matmul.allow_tf32
    changes = device == "cuda" and allowed
    if changes:
        products.allow_tf32 = False
    try:
        with torch.autocast(device, enabled=False):
            yield
    finally:
        if changes:
            products.allow_tf32 = True


@contextmanager
def float32_start() -> Iterator[None]:
    """Makes new tensors float32 on the CPU; Transformers builds models in a checkpoint's type, on the meta device."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.device("cpu"):
            yield
    finally:
        torch.set_default_dtype(before)
