"""A Gaussian latent with the interface of a quantizer: the bottleneck of `gaussian` and `optimus`.

z = mu(h) + sigma(h) * eps in training and mu(h) in evaluation. The loss term is beta_t * the sum over dimensions of
KL(N(mu, sigma^2) || N(0, 1)) = (mu^2 + sigma^2 - log sigma^2 - 1) / 2, summed over latents and divided by the source
tokens. So, with targets as long as sources, cross-entropy a target token plus this term is the negative ELBO a token.
Optimus adds its KL undivided to a reconstruction that is averaged by length: its beta is beta / length there.

Annealing: beta_t rises from 0 to beta in `kl_steps` steps (Bowman et al. 2016, arXiv 1511.06349), or in every cycle of
`kl_steps` again: 0 for the first half, rising for a quarter, beta for a quarter (Fu et al. 2019, arXiv 1903.10145;
these shares are Optimus's). `update` counts the steps in a buffer, so a resumed run continues the schedule.

Free bits: max(lambda, KL) of each dimension (Kingma et al. 2016, arXiv 1606.04934). Different here: of each latent, not
of the batch's mean, as in Optimus's code, so that micro-batches add up. That code drops the constant lambda; the
gradient is the same.

Letters: N latents, B batch, T encoder positions, E model width, Z latent width.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from t5vqvae.models.contract import Measures, pooled
from t5vqvae.quantizers import Quantizer, QuantizerOutput
from t5vqvae.quantizers.base import Packed
from t5vqvae.spec.architectures import LatentSettings

ZERO_SHARE, RISING_SHARE = 0.5, 0.25
"""Shares of a cycle of the cyclical schedule in which the KL weight is 0, and in which it rises."""


def kl_weight_at(step: int, settings: LatentSettings) -> float:
    """Returns the weight of the KL term in step `step` with the latent in use, from 0."""
    if settings.kl_schedule == "constant":
        return settings.kl_weight
    if settings.kl_schedule == "linear":
        return settings.kl_weight * min(1.0, step / settings.kl_steps)
    place = (step % settings.kl_steps) / settings.kl_steps
    return settings.kl_weight * min(1.0, max(0.0, (place - ZERO_SHARE) / RISING_SHARE))


class GaussianLatent(Quantizer):
    """A Gaussian latent for every token.

    Attributes:
        kl_sum: Summed KL divergence of the latest batch in nats, without weight and free bits.
    """

    discrete: ClassVar[bool] = False

    def __init__(self, settings: LatentSettings, model_width: int, seed: int, decoded: bool = True) -> None:
        """Builds the latent of states of `model_width`; `decoded=False` leaves it in Z dimensions."""
        super().__init__(model_width, settings.latent_width, (), seed)
        self.settings = settings
        self.project_in = nn.Identity()
        self.moments = nn.Linear(model_width, 2 * settings.latent_width)
        self.project_out = nn.Linear(settings.latent_width, model_width) if decoded else nn.Identity()
        self.kl_sum = torch.zeros(())

    @property
    def weight(self) -> float:
        """The current weight of the KL term."""
        return kl_weight_at(int(self._num_updates), self.settings)

    def draw(self, states_NE: Tensor) -> tuple[Tensor, Tensor]:
        """Returns z, shape (N, Z), and the summed KL with free bits, for the loss."""
        mean_NZ, log_variance_NZ = self.moments(states_NE).chunk(2, -1)
        kl_NZ = 0.5 * (mean_NZ.square() + log_variance_NZ.exp() - log_variance_NZ - 1)
        self.kl_sum = kl_NZ.sum().detach()
        if not self.active:
            return mean_NZ, mean_NZ.new_zeros(())
        counted = kl_NZ if self.settings.free_bits is None else kl_NZ.clamp_min(self.settings.free_bits)
        if not self.training:
            return mean_NZ, counted.sum()
        return mean_NZ + (0.5 * log_variance_NZ).exp() * torch.randn_like(mean_NZ), counted.sum()

    def _quantize(self, states_NE: Tensor, roles_N: Tensor | None) -> Packed:
        z_NZ, kl = self.draw(states_NE)
        return Packed(z_NZ, None, {"kl": self.weight * kl / max(1, states_NE.shape[0])})

    def quantize_packed(self, inputs_NC: Tensor, roles_N: Tensor | None = None) -> Packed:
        return self._quantize(inputs_NC, roles_N)

    def lookup_packed(self, codes_NQ: Tensor) -> Tensor:
        raise ValueError("a Gaussian latent has no codes to look up")

    def _update(self) -> None:
        self._num_updates += 1

    def measures(self, mask_BT: Tensor) -> Measures:
        """Returns the information in the latents of the latest batch: KL in bits a sentence and a source token."""
        bits = float(self.kl_sum) / math.log(2)
        return {
            "rate/kl_bits_per_sentence": (bits, float(mask_BT.shape[0])),
            "rate/kl_bits_per_token": (bits, float(mask_BT.sum())),
        }


class SentenceLatent(GaussianLatent):
    """A Gaussian latent for every sentence, from the mean of its states; at the first position, the rest is 0."""

    def forward(self, states_BTE: Tensor, mask_BT: Tensor, roles_BT: Tensor | None = None) -> QuantizerOutput:
        self._keep_float32()
        latent_BE, aux_loss = self.of_sentences(pooled(states_BTE, mask_BT), int(mask_BT.sum()))
        quantized_BTE = torch.zeros_like(states_BTE)
        quantized_BTE = torch.cat([latent_BE.unsqueeze(1).to(states_BTE.dtype), quantized_BTE[:, 1:]], 1)
        return QuantizerOutput(quantized_BTE, None, aux_loss, {"kl": aux_loss.detach()}, int(mask_BT.sum()))

    def of_sentences(self, sentences_BE: Tensor, num_tokens: int) -> tuple[Tensor, Tensor]:
        """Returns the latents of sentence vectors, after `project_out`, and their loss a source token."""
        with torch.autocast(sentences_BE.device.type, enabled=False):
            if self.active:
                self._note_batch()
            z_BZ, kl = self.draw(sentences_BE.float())
            return self.project_out(z_BZ), self.weight * kl / max(1, num_tokens)
