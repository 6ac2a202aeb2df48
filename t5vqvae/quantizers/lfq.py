"""`lfq`: lookup-free quantization; the code is the signs of log2 K dimensions.

quantized = sign(z), straight-through. The entropy loss is weight * (E[H(p)] - gamma H(E[p])) with
p = softmax(-t ||z - c||^2) over all 2^C sign vectors c. It makes the choice of each position certain, and the choices
of all positions diverse. Because ||z - c||^2 is a sum over dimensions, p is a product of C coin tosses with P(+1) =
sigmoid(4 t z_i). So E[H(p)] is a sum of C coin entropies, and E[p] is one matrix product of the joint tosses of the two
halves of the dimensions. Both are exact and take N sqrt(K) memory; a softmax over all codes takes N K.

Source: MAGVIT-v2, Yu et al. 2023, arXiv 2310.05737, equations 3 to 5.

Same: signs, straight-through; the entropy loss and its weights.

Different: both entropies are computed by coins and halves, exactly and without an N x K matrix.

Letters: N positions, C dimensions, K = 2^C codes, H half of the dimensions' codes.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import model_validator
from torch import Tensor

from t5vqvae.config import setting
from t5vqvae.errors import SettingError
from t5vqvae.quantizers.base import Packed, Quantizer, QuantizerConfig, SuggestedSpace
from t5vqvae.quantizers.parts.distributed import sum_over_workers
from t5vqvae.quantizers.parts.estimators import straight_through
from t5vqvae.quantizers.parts.losses import mean_squared
from t5vqvae.quantizers.parts.relaxation import entropy


class LFQConfig(QuantizerConfig):
    """Signs of log2 K dimensions; an entropy loss keeps all codes in use."""

    name: Literal["lfq"] = "lfq"
    codebook_size: int = setting(1024, ge=2, description="K, a power of two")
    entropy_weight: float = setting(0.1, ge=0, description="weight of the entropy loss")
    diversity: float = setting(1.0, ge=0, description="gamma, the weight of the marginal's entropy within it")
    inverse_temperature: float = setting(100.0, gt=0, description="t of the softmax in the entropy loss")
    commitment_weight: float = setting(0.25, ge=0, description="weight of ||z - sg(sign z)||^2")

    whole_batch: ClassVar[tuple[str, ...]] = ("entropy_weight",)
    space: ClassVar[SuggestedSpace] = {
        "codebook_size": {"type": "choice", "choices": [256, 512, 1024, 2048, 4096, 8192, 16384]},
        "entropy_weight": {"type": "float", "low": 0.01, "high": 1.0, "log": True},
        "inverse_temperature": {"type": "float", "low": 1.0, "high": 100.0, "log": True},
        "commitment_weight": {"type": "float", "low": 0.01, "high": 2.0, "log": True},
    }

    @model_validator(mode="after")
    def _is_power_of_two(self) -> Self:
        if self.codebook_size & (self.codebook_size - 1):
            below = 2 ** int(math.log2(self.codebook_size))
            raise SettingError(
                f"quantizer.codebook_size={self.codebook_size} must be a power of two for lfq, {below} or {2 * below}"
            )
        return self

    def build(self, model_width: int, num_roles: int = 0, seed: int = 0) -> _LFQQuantizer:
        return _LFQQuantizer(self, model_width, seed)


class _LFQQuantizer(Quantizer):
    """Takes signs; its only parameters are the maps to and from the few dimensions."""

    def __init__(self, config: LFQConfig, model_width: int, seed: int) -> None:
        num_bits = int(math.log2(config.codebook_size))
        super().__init__(model_width, num_bits, (config.codebook_size,), seed)
        self.config = config

    # Computed, not stored: Transformers leaves buffers that are in no file with whatever is in memory.
    @property
    def place_C(self) -> Tensor:
        """The place value of each dimension in the code, a binary number."""
        return 2 ** torch.arange(self.code_width - 1, -1, -1, device=self._num_updates.device)

    def quantize_packed(self, inputs_NC: Tensor, roles_N: Tensor | None = None) -> Packed:
        codes_N1 = ((inputs_NC.detach() > 0) * self.place_C).sum(-1, keepdim=True)
        signs_NC = self.lookup_packed(codes_N1)
        return Packed(straight_through(inputs_NC, signs_NC), codes_N1, self._terms(inputs_NC, signs_NC))

    def lookup_packed(self, codes_NQ: Tensor) -> Tensor:
        return (codes_NQ & self.place_C).bool() * 2.0 - 1.0

    def _terms(self, inputs_NC: Tensor, signs_NC: Tensor) -> dict[str, Tensor]:
        terms = {}
        if self.config.commitment_weight:
            terms["commitment"] = self.config.commitment_weight * mean_squared(inputs_NC, signs_NC)
        if self.config.entropy_weight and self.training:
            log_odds_NC = 4.0 * self.config.inverse_temperature * inputs_NC
            terms["entropy"] = self.config.entropy_weight * self._entropy_loss(log_odds_NC)
        return terms

    def _entropy_loss(self, log_odds_NC: Tensor) -> Tensor:
        """Returns E[H(p)] - gamma H(E[p]) in nats; with a gradient, over the positions of all workers."""
        mass_K, total = code_mass(log_odds_NC), log_odds_NC.new_tensor(float(log_odds_NC.shape[0]))
        own = coin_entropy(log_odds_NC).sum()
        if torch.is_grad_enabled():
            mass_K, total, own = (sum_over_workers(tensor) for tensor in (mass_K, total, own))
        total = total.clamp_min(1.0)
        return own / total - self.config.diversity * entropy(mass_K / total)


def coin_entropy(log_odds_NC: Tensor) -> Tensor:
    """Returns the entropy in nats of a coin with log odds l: log(1 + e^l) - l sigmoid(l), an even function."""
    odds_NC = log_odds_NC.abs()
    return F.softplus(-odds_NC) + odds_NC * torch.sigmoid(-odds_NC)


def code_mass(log_odds_NC: Tensor) -> Tensor:
    """Returns the probability of each sign vector, summed over positions, shape (2^C,).

    The first dimension is the highest bit of the index.
    """
    high = log_odds_NC.shape[-1] // 2
    return (_joint(log_odds_NC[:, :high]).T @ _joint(log_odds_NC[:, high:])).flatten()


def _joint(log_odds_NC: Tensor) -> Tensor:
    """Returns the probabilities of all outcomes of C coins, shape (N, 2^C)."""
    joint_NH = log_odds_NC.new_ones(log_odds_NC.shape[0], 1)
    for place in range(log_odds_NC.shape[-1]):
        log_odds_N1 = log_odds_NC[:, place : place + 1]
        coin_N2 = torch.cat([torch.sigmoid(-log_odds_N1), torch.sigmoid(log_odds_N1)], -1)
        joint_NH = (joint_NH.unsqueeze(-1) * coin_N2.unsqueeze(1)).flatten(1)
    return joint_NH
