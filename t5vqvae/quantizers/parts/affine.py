"""Affine reparametrisation: entries are read as s e + b, with one s and b for the whole table.

So entries that win nothing follow the distribution of the inputs too. There are two forms: `learned`, where s and b
learn by gradient through the codebook term, and `moments`, where they map the running moments of the table to those of
the inputs: s = sqrt(var_x / var_e), b = mean_x - s mean_e.

Source: Huh et al. 2023, arXiv 2305.08842, section 4.1 (factor 10 of the learning rate, momentum .1).

Letters: K entries, D width of an entry, M positions of all workers.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

AffineKind = Literal["learned", "moments"]
LEARNING_RATE_SCALE = 10.0
MOMENTUM = 0.1
TINY_VARIANCE = 1e-12


class Affine(nn.Module):
    """Reads entries as s e + b; `inverse` maps inputs to the coordinates of the stored entries."""

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """Returns s and b, each of shape (D,)."""
        raise NotImplementedError

    def forward(self, entries_KD: Tensor) -> Tensor:
        scale_D, shift_D = self.scale_and_shift()
        return entries_KD * scale_D + shift_D

    def inverse(self, inputs_MD: Tensor) -> Tensor:
        """Returns (x - b) / s."""
        scale_D, shift_D = self.scale_and_shift()
        return (inputs_MD - shift_D) / scale_D

    def follow(self, inputs_MD: Tensor, table_KD: Tensor) -> None:
        """Updates the moments from a step's inputs (of all workers) and the table; does nothing without moments."""

    def reset(self, table_KD: Tensor) -> None:
        """Sets s = 1 and b = 0, for a table that was just placed among the inputs."""


class _LearnedAffine(Affine):
    """Learns s = 1 + 10 scale and b = 10 shift; both parameters start at zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale_D = nn.Parameter(torch.zeros(width))
        self.shift_D = nn.Parameter(torch.zeros(width))

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        return 1.0 + LEARNING_RATE_SCALE * self.scale_D, LEARNING_RATE_SCALE * self.shift_D

    @torch.no_grad()
    def reset(self, table_KD: Tensor) -> None:
        self.scale_D.zero_()
        self.shift_D.zero_()


class _MomentsAffine(Affine):
    """Computes s and b from running moments; before the first step they are 1 and 0."""

    input_mean_D: Tensor
    table_mean_D: Tensor
    input_variance_D: Tensor
    table_variance_D: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        for name in ("input_mean_D", "table_mean_D"):
            self.register_buffer(name, torch.zeros(width))
        for name in ("input_variance_D", "table_variance_D"):
            self.register_buffer(name, torch.ones(width))

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        ratio_D = self.input_variance_D.clamp_min(TINY_VARIANCE) / self.table_variance_D.clamp_min(TINY_VARIANCE)
        scale_D = ratio_D.sqrt()
        return scale_D, self.input_mean_D - scale_D * self.table_mean_D

    @torch.no_grad()
    def follow(self, inputs_MD: Tensor, table_KD: Tensor) -> None:
        if inputs_MD.shape[0] < 2:
            return
        self.input_mean_D.lerp_(inputs_MD.mean(0), MOMENTUM)
        self.input_variance_D.lerp_(inputs_MD.var(0, correction=0), MOMENTUM)
        self.table_mean_D.lerp_(table_KD.mean(0), MOMENTUM)
        self.table_variance_D.lerp_(table_KD.var(0, correction=0), MOMENTUM)

    @torch.no_grad()
    def reset(self, table_KD: Tensor) -> None:
        mean_D, variance_D = table_KD.mean(0), table_KD.var(0, correction=0)
        for moment_D in (self.input_mean_D, self.table_mean_D):
            moment_D.copy_(mean_D)
        for moment_D in (self.input_variance_D, self.table_variance_D):
            moment_D.copy_(variance_D)


AFFINES: dict[str, type[Affine]] = {"learned": _LearnedAffine, "moments": _MomentsAffine}
