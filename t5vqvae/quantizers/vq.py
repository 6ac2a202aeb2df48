"""`vq`: the codebook learns by gradient (van den Oord et al. 2017, equation 3).

Loss: the codebook term ||sg(h) - e||^2 and the commitment term ||h - sg(e)||^2, each a mean times its weight. With
`commitment_on=codebook` the two terms swap their weights (the "legacy" form of VQGAN's released code).

Source: van den Oord et al. 2017, arXiv 1711.00937, equation 3.

Same: the nearest entry, the straight-through gradient, both loss terms, commitment weight .25.

Different: other starts, estimators, selections and revival are options; means are over unpadded positions.

Letters: Q codebooks, K entries, D width of an entry, N positions, C code width.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn

from t5vqvae.config import setting
from t5vqvae.quantizers.base import SuggestedSpace
from t5vqvae.quantizers.codebook import CodebookQuantizer
from t5vqvae.quantizers.codebook_config import CodebookConfig
from t5vqvae.quantizers.parts.losses import both_ways


class VQConfig(CodebookConfig):
    """A codebook trained by gradient."""

    name: Literal["vq"] = "vq"
    codebook_weight: float = setting(1.0, gt=0, description="weight of ||sg(h) - e||^2, which moves the entries")

    learns_by_gradient: ClassVar[bool] = True
    space: ClassVar[SuggestedSpace] = {
        "codebook_size": {"type": "int", "low": 256, "high": 22000, "log": True},
        "commitment_weight": {"type": "float", "low": 0.01, "high": 2.0, "log": True},
        "codebook_weight": {"type": "float", "low": 0.1, "high": 10.0, "log": True},
    }

    def build(self, model_width: int, num_roles: int = 0, seed: int = 0) -> VQQuantizer:
        return VQQuantizer(self, model_width, seed)


class VQQuantizer(CodebookQuantizer):
    """Takes the nearest entry; the entries are parameters."""

    config: VQConfig

    def __init__(self, config: VQConfig, model_width: int, seed: int) -> None:
        super().__init__(config, model_width, seed)
        self.entries_QKD = nn.Parameter(self.random_tables())

    @property
    def tables_QKD(self) -> Tensor:
        return self.entries_QKD

    def _terms(self, inputs_NC: Tensor, entries_NC: Tensor) -> dict[str, Tensor]:
        config = self.config
        return both_ways(inputs_NC, entries_NC, config.commitment_weight, config.codebook_weight, config.commitment_on)
