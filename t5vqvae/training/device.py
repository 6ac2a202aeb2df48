"""Chooses the device and the precision of a run."""

from __future__ import annotations

import torch

from t5vqvae.spec.run import RunSpec


def choose_device(spec: RunSpec) -> torch.device:
    """Returns the device a run uses: the GPU when there is one, unless the spec says otherwise."""
    name = spec.train.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def resolve_precision(spec: RunSpec, device: torch.device) -> str:
    """Returns `float32` or `bfloat16`: what `train.precision=auto` means on a device."""
    if spec.train.precision != "auto":
        return spec.train.precision
    return "bfloat16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"
