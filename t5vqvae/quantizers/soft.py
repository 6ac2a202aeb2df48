"""`soft`: the state becomes an average of entries, weighted by closeness (the streamline paper's "differentiable" VQ).

p = softmax((-||x - e||^2 + Gumbel noise) / temperature), quantized = p E, without a loss term: the gradient is exact.

Source: Differentiable VQ-VAE for streamlines, arXiv 2311.06212, and its code (drewrl3v/diff-vq-vae).

Same: the average by softmax of distances with Gumbel noise, without a loss term; `temperature: 10, last_temperature:
10` is the paper's setting.

Different: the paper keeps temperature 10 and the noise also in evaluation, and never makes the choice hard: its good
reconstructions come from a continuous bottleneck. Here evaluation has two results: the nearest entry if `hard` is
True, and the average without noise, whose rate has no bound, if it is False. A falling temperature closes the gap
between the two.

Letters: N positions, C code width, K entries.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t5vqvae.config import setting
from t5vqvae.quantizers.annealing import AnnealedConfig, AnnealedQuantizer
from t5vqvae.quantizers.base import Gradient, Packed, SuggestedSpace
from t5vqvae.quantizers.parts.assignment import nearest
from t5vqvae.quantizers.parts.initialization import kmeans, num_vectors_for, sample_rows
from t5vqvae.quantizers.parts.relaxation import Relaxation, choose, negative_distances


class SoftConfig(AnnealedConfig):
    """Averages of entries in training; the nearest entry (or the average) in evaluation."""

    name: Literal["soft"] = "soft"
    temperature: float = setting(10.0, gt=0, description="first temperature")
    last_temperature: float = setting(0.1, gt=0, description="after annealing; the paper's stays at 10")
    noise: bool = setting(True, description="Gumbel noise in training")
    start: Literal["random", "kmeans"] = setting("kmeans", description="random: N(0, 4), as in the paper")

    space: ClassVar[SuggestedSpace] = {
        "codebook_size": {"type": "int", "low": 256, "high": 22000, "log": True},
        "temperature": {"type": "float", "low": 1.0, "high": 20.0, "log": True},
        "last_temperature": {"type": "float", "low": 0.01, "high": 1.0, "log": True},
        "anneal_steps": {"type": "int", "low": 100, "high": 10000, "log": True},
    }

    def build(self, model_width: int, num_roles: int = 0, seed: int = 0) -> SoftQuantizer:
        return SoftQuantizer(self, model_width, seed)


class SoftQuantizer(AnnealedQuantizer):
    """Returns averages in training; in evaluation entries or averages, depending on `hard`.

    The codes are the nearest entries in every case.
    """

    config: SoftConfig
    has_soft_form: ClassVar[bool] = True
    gradient: Gradient = "exact"

    def __init__(self, config: SoftConfig, model_width: int, seed: int) -> None:
        super().__init__(config, model_width, seed)
        entries_KC = torch.randn(config.codebook_size, self.code_width, generator=self.generator("start"))
        self.entries_KC = nn.Parameter(2.0 * entries_KC)

    def quantize_packed(self, inputs_NC: Tensor, roles_N: Tensor | None = None) -> Packed:
        if not self.training and self.hard:
            codes_N1 = nearest(inputs_NC, self.entries_KC).unsqueeze(-1)
            return Packed(self.lookup_packed(codes_N1), codes_N1)
        entries_KC = self.entries_KC
        relaxation = Relaxation(self.temperature, self.training and self.config.noise)
        choice = choose(inputs_NC, lambda part_nC: negative_distances(part_nC, entries_KC), entries_KC, relaxation)
        return Packed(choice.mixed_ND, nearest(inputs_NC, entries_KC).unsqueeze(-1))

    def lookup_packed(self, codes_NQ: Tensor) -> Tensor:
        return F.embedding(codes_NQ[:, 0], self.entries_KC)

    @property
    def num_start_vectors(self) -> int:
        return 0 if self.config.start == "random" else num_vectors_for(self.config.codebook_size)

    @torch.no_grad()
    def start(self, vectors_NC: Tensor, embeddings_VE: Tensor | None = None) -> None:
        if self.config.start == "kmeans":
            generator = self.generator("start")
            first_KC = sample_rows(vectors_NC.float(), self.config.codebook_size, generator)
            self.entries_KC.copy_(kmeans(vectors_NC.float(), first_KC, 10, generator))
