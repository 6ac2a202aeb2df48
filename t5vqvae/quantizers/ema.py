"""`ema`: the codebook follows its inputs by moving averages (van den Oord et al. 2017, appendix A.1).

With decay g, n_j inputs of mean x_j at entry j: N_j <- g N_j + (1-g) n_j, m_j <- g m_j + (1-g) n_j x_j and
e_j = m_j / N_j. Kept here as e and N alone, since m = N e: an entry that wins nothing keeps its place exactly (N and m
shrink by the same factor), so only the touched rows are written. The published code adds Laplace smoothing to N and
thereby pulls untouched entries to the origin; there is none here, and revival takes care of entries that die.

Letters: Q codebooks, K entries, D width of an entry, U touched entries, M positions of all workers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from t5vqvae.config import setting
from t5vqvae.quantizers.codebook import CodebookConfig, CodebookQuantizer
from t5vqvae.quantizers.parts.assignment import mean_by_code


class EMAConfig(CodebookConfig):
    """A codebook that follows its inputs by moving averages: the quantizer of T5VQVAE."""

    name: Literal["ema"] = "ema"
    decay: float = setting(0.99, gt=0, lt=1, description="g of the moving averages")
    revive_below: float | None = setting(
        0.02,
        gt=0,
        lt=1,
        description="revive entries whose moving count is below this share of the average; None: never",
    )

    space: ClassVar[Mapping[str, Any]] = {
        "codebook_size": {"type": "int", "low": 256, "high": 22000, "log": True},
        "decay": {"type": "float", "low": 0.8, "high": 0.999},
        "commitment_weight": {"type": "float", "low": 0.01, "high": 2.0, "log": True},
    }

    def build(self, model_width: int, num_roles: int = 0, seed: int = 0) -> EMAQuantizer:
        return EMAQuantizer(self, model_width, seed)


class EMAQuantizer(CodebookQuantizer):
    """Nearest entry; the entries are buffers, moved by `update`."""

    config: EMAConfig
    entries_QKD: Tensor
    always_notes: ClassVar[bool] = True

    def __init__(self, config: EMAConfig, model_width: int, seed: int) -> None:
        super().__init__(config, model_width, seed)
        self.register_buffer("entries_QKD", self.random_tables())

    @property
    def tables_QKD(self) -> Tensor:
        return self.entries_QKD

    def _learn(self, table: int, inputs_MD: Tensor, codes_M: Tensor) -> None:
        """One step of the moving averages, written to the touched rows alone.

        A step without positions changes nothing. With affine reparametrisation the averages are taken where the entries
        live, so that s e + b follows the inputs.
        """
        if not codes_M.numel():
            return
        entries_KD, counts_K = self.entries_QKD[table], self.counts_QK[table]
        touched_U, new_U, means_UD = mean_by_code(inputs_MD, codes_M)
        if self.affines:
            means_UD = self.affines[table].inverse(means_UD)
        gain_U = (1 - self.config.decay) * new_U / self.samples_per_input
        counts_K.mul_(self.config.decay).index_add_(0, touched_U, gain_U)
        weight_U1 = (gain_U / counts_K[touched_U]).unsqueeze(-1)
        entries_KD[touched_U] = torch.lerp(entries_KD[touched_U], means_UD, weight_U1)
