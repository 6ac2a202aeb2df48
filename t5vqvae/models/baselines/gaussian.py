"""`gaussian`: T5 with a continuous Gaussian bottleneck instead of a codebook.

`level=token`: a latent for every token, where the codes would be. `level=sentence`: one latent for the sentence, from
the mean of the encoder's states; it is the whole of the decoder's memory, so not even the length leaks. All else is
T5VQVAE's: backbone, `position`, `cross_positions`. With a large `kl_weight` the sentence level is the beta-VAE of the
papers compared (on T5 rather than LSTMs).

Sources: Kingma and Welling 2014, arXiv 1312.6114; Bowman et al. 2016, arXiv 1511.06349 (sentences); the annealing and
free bits are described in `latent.py`. The map from latent to memory is one linear layer, no paper's in particular.

Letters: B batch, T encoder positions, E model width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import transformers
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from t5vqvae.models.baselines.gaussian_latent import GaussianLatent, SentenceLatent
from t5vqvae.models.contract import Memory
from t5vqvae.models.t5 import T5VQVAE, T5VQVAEConfig, build_t5vqvae
from t5vqvae.spec.models import LatentSettings
from t5vqvae.spec.run import RunSpec


class GaussianT5Config(T5VQVAEConfig):
    """T5VQVAE's config, with the latent's settings in place of a quantizer's."""

    model_type = "gaussian"

    latent: dict[str, Any] | None = None
    level: str = "token"

    def quantizer_config(self) -> Any:
        """Returns what builds the latent."""
        return _LatentBuilder(LatentSettings.parse(self.latent or {}), self.level)


@dataclass(frozen=True)
class _LatentBuilder:
    settings: LatentSettings
    level: str

    def build(self, model_width: int, num_roles: int = 0, seed: int = 0) -> GaussianLatent:
        kind = GaussianLatent if self.level == "token" else SentenceLatent
        return kind(self.settings, model_width, seed)


class GaussianT5(T5VQVAE):
    """T5 whose decoder sees its encoder through a Gaussian latent."""

    config_class = GaussianT5Config
    leaks = False

    def _remember(self, ids_BT: Any, mask_BT: Any, roles_BT: Any, embeds_BTE: Tensor | None = None) -> Memory:
        memory = super()._remember(ids_BT, mask_BT, roles_BT, embeds_BTE)
        measures = {} if self.training else self.quantizer.measures(memory.mask_BM)
        memory = replace(memory, states_BTE=None, measures=measures)
        if self.config.level == "token":
            return memory
        mask_B1 = memory.mask_BM.new_ones(memory.mask_BM.shape[0], 1)
        return replace(memory, states_BME=memory.states_BME[:, :1], mask_BM=mask_B1)


def build_gaussian(spec: RunSpec, tokenizer: PreTrainedTokenizerBase, num_roles: int = 0) -> GaussianT5:
    """Returns the model of a spec, from scratch or with a backbone's weights; seeded by `spec.seed`."""
    latent = {name: getattr(spec.model, name) for name in LatentSettings.model_fields}
    return build_t5vqvae(spec, tokenizer, num_roles, kind=GaussianT5, latent=latent, level=spec.model.level)


transformers.AutoConfig.register("gaussian", GaussianT5Config, exist_ok=True)
