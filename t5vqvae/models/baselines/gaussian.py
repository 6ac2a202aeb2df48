"""`gaussian`: T5 with a continuous Gaussian bottleneck instead of a codebook.

`gaussian_latent.py` describes annealing and free bits. `level=token`: one latent for every token, in place of its
codes. `level=sentence`: one latent for the sentence, from the mean of the encoder's states; it is the decoder's whole
memory, so not even the length leaks. Everything else is T5VQVAE's: backbone, `position`, `cross_positions`. With a
large `kl_weight` the sentence level is the beta-VAE of the compared papers (on T5 instead of LSTMs).

Source: Kingma and Welling 2014, arXiv 1312.6114; Bowman et al. 2016, arXiv 1511.06349 (sentences).

Same: the Gaussian posterior, the KL term and its annealing; a large `kl_weight` is the beta-VAE of the compared
papers.

Different: on T5 instead of LSTMs; the map from latent to memory is one linear layer, our choice; the KL term is
divided by the source tokens, as the cross-entropy is by the target's, so published weights do not carry over.

Letters: B batch, T encoder positions, E model width.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import transformers
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from t5vqvae.models.baselines.gaussian_latent import GaussianLatent, SentenceLatent
from t5vqvae.models.contract import Memory
from t5vqvae.models.t5 import T5VQVAE, T5VQVAEConfig
from t5vqvae.models.t5.builders import build_as
from t5vqvae.spec.architectures import GaussianConfig, LatentSettings
from t5vqvae.spec.run import RunSpec


class _GaussianT5Config(T5VQVAEConfig):
    """T5VQVAE's config, with the latent's settings instead of a quantizer's."""

    model_type = "gaussian"

    latent: dict[str, Any] | None = None
    level: str = "token"

    def build_quantizer(self) -> GaussianLatent:
        kind = GaussianLatent if self.level == "token" else SentenceLatent
        return kind(LatentSettings.parse(self.latent or {}), self.d_model, self.seed)


class GaussianT5(T5VQVAE):
    """T5 whose decoder sees its encoder through a Gaussian latent."""

    config_class = _GaussianT5Config
    config: _GaussianT5Config
    leaks = False

    @property
    def quantizer(self) -> GaussianLatent:  # type: ignore[override]
        """The latent, which has the interface of a quantizer."""
        latent = self.encoder.quantizer
        assert isinstance(latent, GaussianLatent)
        return latent

    def _memory(self, states_BTE: Tensor) -> Memory:
        memory = super()._memory(states_BTE)
        measures = {} if self.training else self.quantizer.measures(memory.mask_BM)
        memory = replace(memory, states_BTE=None, measures=measures)
        if self.config.level == "token":
            return memory
        mask_B1 = memory.mask_BM.new_ones(memory.mask_BM.shape[0], 1)
        return replace(memory, states_BME=memory.states_BME[:, :1], mask_BM=mask_B1)

    def latents_of(self, memory: Memory) -> Tensor:
        return super().latents_of(memory) if self.config.level == "token" else memory.states_BME

    def with_latents(self, memory: Memory, latents_BTE: Tensor, mask_BT: Tensor) -> Memory:
        if self.config.level == "token":
            return super().with_latents(memory, latents_BTE, mask_BT)
        return replace(memory, states_BME=latents_BTE, mask_BM=mask_BT)


def build_gaussian(spec: RunSpec, tokenizer: PreTrainedTokenizerBase, num_roles: int = 0) -> GaussianT5:
    """Returns the model of a spec, from scratch or with a backbone's weights; seeded by `spec.seed`."""
    settings = spec.model
    assert isinstance(settings, GaussianConfig)
    latent = {name: getattr(settings, name) for name in LatentSettings.model_fields}
    return build_as(GaussianT5, spec, tokenizer, num_roles, latent=latent, level=settings.level)


transformers.AutoConfig.register("gaussian", _GaussianT5Config, exist_ok=True)
