"""`simvq`: the codebook is a learned linear map of a frozen random table (Zhu et al. 2024, SimVQ).

entries = C W, with C ~ N(0, 1 / D) frozen. Only W learns, so every entry moves at every step and no entry dies alone.
Loss: ||sg(h) - e||^2 + beta ||h - sg(e)||^2 with beta 0.25. The gradient is straight-through or rotated.

For a variant with another frozen table, subclass and override `start` (see `aminoaseed.py`).

Source: SimVQ, Zhu et al. 2024, arXiv 2411.02038 (youngsheen/SimVQ).

Same: a frozen table N(0, 1 / D), one learned map, both loss terms, beta .25.

Different: the released code's map has a bias, the paper's and this one have none (`aminoaseed` has one).

Letters: N positions, C code width, Q codebooks, K entries, D width of an entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from t5vqvae.config import setting
from t5vqvae.quantizers.base import Packed, SuggestedSpace
from t5vqvae.quantizers.codebook import CodebookQuantizer
from t5vqvae.quantizers.codebook_config import CodebookConfig
from t5vqvae.quantizers.parts.losses import both_ways


class SimVQConfig(CodebookConfig):
    """A learned linear map of a frozen random table."""

    name: Literal["simvq"] = "simvq"
    codebook_weight: float = setting(1.0, gt=0, description="weight of ||sg(h) - e||^2, which moves the map")
    start: Literal["random"] = setting("random", description="the table is random and frozen")

    learns_by_gradient: ClassVar[bool] = True
    unsupported: ClassVar[Mapping[str, str]] = {
        "revive_below": "must be null: the table is frozen, and every entry moves with the map",
        "revive_beyond": "must be null: no entry is revived",
        "affine": "must be null: the learned map scales already",
    }

    space: ClassVar[SuggestedSpace] = {
        "codebook_size": {"type": "int", "low": 256, "high": 65536, "log": True},
        "commitment_weight": {"type": "float", "low": 0.01, "high": 2.0, "log": True},
        "codebook_weight": {"type": "float", "low": 0.1, "high": 10.0, "log": True},
    }

    def build(self, model_width: int, num_roles: int = 0, seed: int = 0) -> SimVQQuantizer:
        return SimVQQuantizer(self, model_width, seed)


class SimVQQuantizer(CodebookQuantizer):
    """Takes the nearest entry of the mapped table; the map is a parameter, the table a buffer."""

    config: SimVQConfig
    bias: ClassVar[bool] = False

    frozen_QKD: Tensor

    def __init__(self, config: SimVQConfig, model_width: int, seed: int) -> None:
        super().__init__(config, model_width, seed)
        self._mapped_QKD: Tensor | None = None
        self.register_buffer("frozen_QKD", self.random_tables())
        width, generator = self.entry_width, self.generator("map")
        bound = width**-0.5
        maps_QDD = (2 * torch.rand(self.num_tables, width, width, generator=generator) - 1) * bound
        self.maps_QDD = nn.Parameter(maps_QDD)
        if self.bias:
            self.bias_Q1D = nn.Parameter((2 * torch.rand(self.num_tables, 1, width, generator=generator) - 1) * bound)

    @property
    def tables_QKD(self) -> Tensor:
        return self._mapped() if self._mapped_QKD is None else self._mapped_QKD

    def _mapped(self) -> Tensor:
        tables_QKD = self.frozen_QKD @ self.maps_QDD
        return tables_QKD + self.bias_Q1D if self.bias else tables_QKD

    def quantize_packed(self, inputs_NC: Tensor, roles_N: Tensor | None = None) -> Packed:
        """Maps the table once a call, for both the choice and the entries."""
        self._mapped_QKD = self._mapped()
        try:
            return super().quantize_packed(inputs_NC, roles_N)
        finally:
            self._mapped_QKD = None

    def _terms(self, inputs_NC: Tensor, entries_NC: Tensor) -> dict[str, Tensor]:
        config = self.config
        return both_ways(inputs_NC, entries_NC, config.commitment_weight, config.codebook_weight, config.commitment_on)

    @property
    def num_start_vectors(self) -> int:
        return 0
