"""`ema`: the codebook follows its inputs by moving averages (van den Oord et al. 2017, appendix A.1).

With decay g, n_j inputs of mean x_j at entry j: N_j <- g N_j + (1-g) n_j, m_j <- g m_j + (1-g) n_j x_j, e_j = m_j / N_j.
Kept here as e and N alone, since m = N e: an entry that wins nothing keeps its place exactly (N and m shrink by the same
factor), so only the touched rows are written. The published code adds Laplace smoothing to N and thereby pulls
untouched entries to the origin; there is none here, and revival takes care of entries that die.

Letters: Q codebooks, K entries, D width of an entry, U touched entries, M positions of all workers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from t5vqvae.config import setting
from t5vqvae.quantizers.assignment import mean_by_code
from t5vqvae.quantizers.codebook import CodebookConfig, CodebookQuantizer
from t5vqvae.quantizers.starts import sample_rows


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

    def __init__(self, config: EMAConfig, model_width: int, seed: int) -> None:
        super().__init__(config, model_width, seed)
        self.register_buffer("entries_QKD", self.random_tables())
        self.register_buffer("counts_QK", torch.ones(self.num_tables, config.codebook_size))

    @property
    def tables_QKD(self) -> Tensor:  # noqa: N802 (letters)
        return self.entries_QKD

    def _note(self, inputs_NC: Tensor, codes_NQ: Tensor) -> None:
        self._seen.append((inputs_NC.detach(), codes_NQ))

    @torch.no_grad()
    def update(self) -> None:
        for table, (inputs_MD, codes_M) in enumerate(self._seen_by_all()):
            if codes_M.numel():
                self._follow(self.entries_QKD[table], self.counts_QK[table], inputs_MD, codes_M)
                self._revive(self.entries_QKD[table], self.counts_QK[table], inputs_MD, f"revive{table}")
        self._num_updates += 1

    def _follow(self, entries_KD: Tensor, counts_K: Tensor, inputs_MD: Tensor, codes_M: Tensor) -> None:
        """One step of the moving averages, written to the touched rows alone."""
        touched_U, new_U, means_UD = mean_by_code(inputs_MD, codes_M)
        counts_K.mul_(self.config.decay)
        gain_U = (1 - self.config.decay) * new_U
        counts_K[touched_U] += gain_U
        weight_U1 = (gain_U / counts_K[touched_U]).unsqueeze(-1)
        entries_KD[touched_U] = torch.lerp(entries_KD[touched_U], means_UD, weight_U1)

    def _revive(self, entries_KD: Tensor, counts_K: Tensor, inputs_MD: Tensor, purpose: str) -> None:
        """Moves dead entries onto random inputs of this batch and gives them an average count.

        Without resetting the count, the stale average would pull a revived entry back at its first hit.
        """
        if self.config.revive_below is None:
            return
        average = counts_K.mean()
        dead_K = counts_K < self.config.revive_below * average
        num_dead = min(int(dead_K.sum()), inputs_MD.shape[0])
        if num_dead:
            dead_U = dead_K.nonzero().squeeze(-1)[:num_dead]
            entries_KD[dead_U] = sample_rows(inputs_MD, num_dead, self.generator(purpose))
            counts_K[dead_U] = average

    def _place(self, table: int, entries_KD: Tensor) -> None:
        super()._place(table, entries_KD)
        self.counts_QK[table].fill_(1.0)
