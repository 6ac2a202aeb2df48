"""`hypervq`: hyperbolic multinomial logistic regression chooses the entry (Goswami et al., arXiv 2403.13015).

The state is clipped in length, and exp_0 maps it into the Poincare ball of curvature -c. Entry k has a hyperplane with
unit normal z^_k = z_k / ||z_k|| at offset r_k; the logit is the scaled distance to it (Shimizu et al. 2021, HNN++):

    v_k(x) = 2 ||z_k|| / sqrt(c) asinh( (2 sqrt(c) <x, z^_k> cosh(2 sqrt(c) r_k) - (1 + c ||x||^2) sinh(2 sqrt(c) r_k))
                                        / (1 - c ||x||^2) )

The choice is the argmax, with the gradient of the softmax (straight-through); with `noise`, training samples it by
Gumbel noise. The code vector is the hyperplane's representative point exp_0(r_k z^_k), returned in the tangent space at
0, where it is r_k z^_k.

Trap: near the ball's rim 1 - c ||x||^2 loses all its digits in bfloat16, so everything is computed in float32.

Source: Goswami et al., arXiv 2403.13015; the layer is HNN++ (Shimizu et al. 2021, arXiv 2006.08210;
mil-tokyo/hyperbolic_nn_plusplus).

Same: the logits of hyperbolic multinomial regression; normals start as in HNN++, with standard deviation 1 / sqrt(c
C).

Different: not confirmed from the paper: only its abstract and HNN++ describe the representative point; the temperature
is unknown, and so is whether the choice is sampled (`tests/benchmarks/quantizer_learning.py` compares both; it learns
better without sampling). r starts at `first_offset` instead of 0, where all representative points would coincide.
Added here: the diversity term of `gumbel`, without which few entries stay in use.

Letters: N positions, n positions of one chunk, C code width, K entries.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t5vqvae.config import setting
from t5vqvae.quantizers.annealing import AnnealedConfig, AnnealedQuantizer
from t5vqvae.quantizers.base import Gradient, Packed, SuggestedSpace
from t5vqvae.quantizers.parts.relaxation import (
    Relaxation,
    choose,
    likeliest,
    marginal_perplexity,
    straight_through_mixture,
)


class HyperVQConfig(AnnealedConfig):
    """Hyperplanes of the Poincare ball as entries; their representative points are the code vectors."""

    name: Literal["hypervq"] = "hypervq"
    curvature: float = setting(1.0, gt=0, description="c; the ball has radius 1 / sqrt(c)")
    clip_length: float = setting(1.0, gt=0, description="states longer than this are shortened before exp_0")
    first_offset: float = setting(1.0, ge=0, description="r at the start; HNN++ starts at 0")
    temperature: float = setting(2.0, gt=0, description="first temperature")
    last_temperature: float = setting(0.5, gt=0, description="after annealing")
    diversity_weight: float = setting(0.5, ge=0, description="weight of 1 - perplexity / K of the batch's marginal")
    noise: bool = setting(False, description="sample in training; False: take the likeliest entry")

    whole_batch: ClassVar[tuple[str, ...]] = ("diversity_weight",)
    space: ClassVar[SuggestedSpace] = {
        "codebook_size": {"type": "int", "low": 256, "high": 22000, "log": True},
        "curvature": {"type": "float", "low": 0.05, "high": 2.0, "log": True},
        "clip_length": {"type": "float", "low": 0.5, "high": 4.0},
        "diversity_weight": {"type": "float", "low": 0.05, "high": 5.0, "log": True},
    }

    def build(self, model_width: int, num_roles: int = 0, seed: int = 0) -> _HyperVQQuantizer:
        return _HyperVQQuantizer(self, model_width, seed)


class _HyperVQQuantizer(AnnealedQuantizer):
    """Takes the likeliest entry; with `noise`, training takes a sample."""

    config: HyperVQConfig
    gradient: Gradient = "surrogate"

    def __init__(self, config: HyperVQConfig, model_width: int, seed: int) -> None:
        super().__init__(config, model_width, seed)
        normals_KC = torch.randn(config.codebook_size, self.code_width, generator=self.generator("start"))
        self.normals_KC = nn.Parameter(normals_KC * (self.code_width * config.curvature) ** -0.5)
        self.offsets_K = nn.Parameter(torch.full((config.codebook_size,), config.first_offset))

    @property
    def entries_KC(self) -> Tensor:
        """The representative points in the tangent space at 0: r_k z_k / ||z_k||."""
        return self.offsets_K.unsqueeze(-1) * F.normalize(self.normals_KC, dim=-1)

    def logits(self, inputs_nC: Tensor) -> Tensor:
        """Returns v_k of states that exp_0 has not mapped yet, shape (n, K)."""
        c = self.config.curvature
        points_nC = exp_0(_shorten(inputs_nC, self.config.clip_length), c)
        return hyperplane_logits(points_nC, self.normals_KC, self.offsets_K, c)

    def quantize_packed(self, inputs_NC: Tensor, roles_N: Tensor | None = None) -> Packed:
        entries_KC = self.entries_KC
        if not self.training:
            codes_N1 = likeliest(inputs_NC, self.logits, self.config.codebook_size).unsqueeze(-1)
            return Packed(F.embedding(codes_N1[:, 0], entries_KC), codes_N1)
        relaxation = Relaxation(self.temperature, self.config.noise)
        choice = choose(inputs_NC, self.logits, entries_KC.detach(), relaxation)
        quantized_NC = straight_through_mixture(F.embedding(choice.codes_N, entries_KC), choice.mixed_ND)
        return Packed(quantized_NC, choice.codes_N.unsqueeze(-1), self._diversity(choice.mass_K, inputs_NC.shape[0]))

    def lookup_packed(self, codes_NQ: Tensor) -> Tensor:
        return F.embedding(codes_NQ[:, 0], self.entries_KC)

    def _diversity(self, mass_K: Tensor, num_positions: int) -> dict[str, Tensor]:
        if not self.config.diversity_weight:
            return {}
        share = marginal_perplexity(mass_K, num_positions, torch.is_grad_enabled()) / mass_K.numel()
        return {"diversity": self.config.diversity_weight * (1.0 - share)}


def exp_0(vectors_NC: Tensor, curvature: float) -> Tensor:
    """Returns the ball's points tanh(sqrt(c) ||v||) v / (sqrt(c) ||v||); 0 stays 0 and has a finite gradient."""
    root = curvature**0.5
    lengths_N1 = vectors_NC.square().sum(-1, keepdim=True).clamp_min(1e-12).sqrt()
    return (root * lengths_N1).tanh() / (root * lengths_N1) * vectors_NC


def hyperplane_logits(points_NC: Tensor, normals_KC: Tensor, offsets_K: Tensor, curvature: float) -> Tensor:
    """Returns v_k (formula above) of points of the ball, shape (N, K).

    v_k is positive on the side that z_k points to.
    """
    root = curvature**0.5
    lengths_K = normals_KC.norm(dim=-1)
    inner_NK = points_NC @ F.normalize(normals_KC, dim=-1).T
    squares_N1 = curvature * points_NC.square().sum(-1, keepdim=True)
    numerator_NK = (
        2 * root * inner_NK * (2 * root * offsets_K).cosh() - (1 + squares_N1) * (2 * root * offsets_K).sinh()
    )
    return 2 * lengths_K / root * (numerator_NK / (1 - squares_N1)).asinh()


def _shorten(vectors_NC: Tensor, longest: float) -> Tensor:
    lengths_N1 = vectors_NC.square().sum(-1, keepdim=True).clamp_min(1e-12).sqrt()
    return vectors_NC * (longest / lengths_N1).clamp_max(1.0)
