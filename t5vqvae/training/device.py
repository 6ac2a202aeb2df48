"""Chooses the device and the precision of a run."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from t5vqvae.errors import SettingError
from t5vqvae.spec.run import RunSpec


def refuse_missing_device(spec: RunSpec) -> None:
    """Refuses a GPU that this machine does not have, before anything is read or built.

    Raises:
        SettingError: With the setting and the way out.
    """
    if spec.train.device == "cuda" and not torch.cuda.is_available():
        raise SettingError("train.device=cuda: PyTorch finds no CUDA GPU on this machine; take train.device=auto")


def choose_device(spec: RunSpec) -> torch.device:
    """Returns `train.device`; `auto` is the GPU if there is one, else the CPU."""
    name = spec.train.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def resolve_precision(spec: RunSpec, device: torch.device) -> str:
    """Returns `train.precision`; `auto` is `bfloat16` on a GPU that supports it, else `float32`."""
    if spec.train.precision != "auto":
        return spec.train.precision
    return "bfloat16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Returns a context that computes in a resolved precision."""
    return nullcontext() if precision == "float32" else torch.autocast(device.type, torch.bfloat16)
