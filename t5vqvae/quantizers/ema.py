"""`ema`: the codebook follows its inputs by moving averages (van den Oord et al. 2017, appendix A.1).

With decay g, n_j inputs of mean x_j at entry j: N_j <- g N_j + (1-g) n_j, m_j <- g m_j + (1-g) n_j x_j and
e_j = m_j / N_j. Only e and N are stored, because m = N e. An entry that wins nothing keeps its place exactly (N and m
shrink by the same factor), so only the rows of entries that won are written.

Source: van den Oord et al. 2017, arXiv 1711.00937, appendix A.1; T5VQVAE's code (SnowYJ/T5VQVAE) uses the same.
`selection: topk` is CLVQ-VAE's (arXiv 2506.20040), `selection: multi` IA-GPL's (arXiv 2411.17676).

Same: the recursion, decay .99, commitment weight .25; sampling among the five nearest, or the mean of ten samples.

Different: published code adds Laplace smoothing to N, which pulls entries without inputs to the origin, and in T5VQVAE
writes it back; here there is none, and revival handles entries that die. IA-GPL's code multiplies entries without
inputs by its decay b at every step (b = .9: .005 of their length after 50); here they stay. Its evaluation samples
too; here it takes the nearest.

Letters: Q codebooks, K entries, D width of an entry, U entries that won, M positions of all workers.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from t5vqvae.config import setting
from t5vqvae.quantizers.base import SuggestedSpace
from t5vqvae.quantizers.codebook import CodebookQuantizer
from t5vqvae.quantizers.codebook_config import CodebookConfig
from t5vqvae.quantizers.parts.assignment import mean_by_code


class EMAConfig(CodebookConfig):
    """A codebook that follows its inputs by moving averages: the quantizer of T5VQVAE."""

    name: Literal["ema"] = "ema"
    decay: float = setting(0.99, gt=0, lt=1, description="g of the moving averages")
    revive_below: float | None = setting(
        0.02,
        gt=0,
        lt=1,
        description="revive entries whose moving count is below this share of the average; None: never, so that rare"
        " tokens keep their codes where codes name tokens",
    )

    space: ClassVar[SuggestedSpace] = {
        "codebook_size": {"type": "int", "low": 256, "high": 22000, "log": True},
        "decay": {"type": "float", "low": 0.8, "high": 0.999},
        "commitment_weight": {"type": "float", "low": 0.01, "high": 2.0, "log": True},
    }

    def build(self, model_width: int, num_roles: int = 0, seed: int = 0) -> EMAQuantizer:
        return EMAQuantizer(self, model_width, seed)


class EMAQuantizer(CodebookQuantizer):
    """Takes the nearest entry; the entries are buffers that `update` moves."""

    config: EMAConfig
    entries_QKD: Tensor
    always_records: ClassVar[bool] = True

    def __init__(self, config: EMAConfig, model_width: int, seed: int) -> None:
        super().__init__(config, model_width, seed)
        self.register_buffer("entries_QKD", self.random_tables())

    @property
    def tables_QKD(self) -> Tensor:
        return self.entries_QKD

    def _learn(self, table: int, inputs_MD: Tensor, codes_M: Tensor) -> None:
        """Takes one step of the moving averages; a step without positions changes nothing."""
        if not codes_M.numel():
            return
        entries_KD, counts_K = self.entries_QKD[table], self.counts_QK[table]
        touched_U, new_U, means_UD = mean_by_code(inputs_MD, codes_M)
        means_UD = self._as_stored(means_UD, table)  # then what is read, s e + b, follows the inputs
        gain_U = (1 - self.config.decay) * new_U / self.samples_per_input
        counts_K.mul_(self.config.decay).index_add_(0, touched_U, gain_U)
        weight_U1 = (gain_U / counts_K[touched_U]).unsqueeze(-1)
        entries_KD[touched_U] = torch.lerp(entries_KD[touched_U], means_UD, weight_U1)
