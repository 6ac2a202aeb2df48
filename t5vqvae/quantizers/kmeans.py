"""`kmeans`: the codebook stands still and is re-clustered every so often over the most recent inputs.

The seed experiment's alternative to moving averages: a hard periodic re-fit by Lloyd's algorithm, from the present
entries, over a ring of the last inputs; entries that win nothing are put on random inputs.

Letters: Q codebooks, K entries, D width of an entry, P inputs of the ring, C code width, M positions of all workers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from t5vqvae.config import setting
from t5vqvae.quantizers.codebook import CodebookConfig, CodebookQuantizer
from t5vqvae.quantizers.starts import kmeans


class KMeansConfig(CodebookConfig):
    """A codebook re-clustered every `recluster_every` steps."""

    name: Literal["kmeans"] = "kmeans"
    recluster_every: int = setting(20, ge=1, description="steps between two re-clusterings")
    recluster_iterations: int = setting(3, ge=1, description="Lloyd iterations of each")
    vectors_per_code: int = setting(10, ge=1, description="size of the ring of recent inputs, in inputs a code")

    space: ClassVar[Mapping[str, Any]] = {
        "codebook_size": {"type": "int", "low": 256, "high": 22000, "log": True},
        "recluster_every": {"type": "int", "low": 5, "high": 200, "log": True},
        "commitment_weight": {"type": "float", "low": 0.01, "high": 2.0, "log": True},
    }

    def build(self, model_width: int, num_roles: int = 0, seed: int = 0) -> KMeansQuantizer:
        return KMeansQuantizer(self, model_width, seed)


class KMeansQuantizer(CodebookQuantizer):
    """Nearest entry; the entries are buffers, replaced by `update` every `recluster_every` steps."""

    config: KMeansConfig

    def __init__(self, config: KMeansConfig, model_width: int, seed: int) -> None:
        super().__init__(config, model_width, seed)
        self.register_buffer("entries_QKD", self.random_tables())
        self.register_buffer("ring_PC", torch.zeros(config.codebook_size * config.vectors_per_code, self.code_width))
        self.register_buffer("num_noted", torch.tensor(0))

    @property
    def tables_QKD(self) -> Tensor:  # noqa: N802 (letters)
        return self.entries_QKD

    def _note(self, inputs_NC: Tensor, codes_NQ: Tensor) -> None:
        self._seen.append((inputs_NC.detach(), codes_NQ))

    @torch.no_grad()
    def update(self) -> None:
        self._num_updates += 1
        seen = self._seen_by_all()
        parts = [x for x, _ in seen] if self.num_tables == self.num_codebooks else seen[0][0].chunk(self.num_codebooks)
        self._remember(torch.cat(list(parts), -1))
        if int(self._num_updates) % self.config.recluster_every == 0 and int(self.num_noted):
            self._recluster()

    def _remember(self, inputs_MC: Tensor) -> None:
        size = self.ring_PC.shape[0]
        inputs_MC = inputs_MC[-size:]
        places_M = (int(self.num_noted) + torch.arange(inputs_MC.shape[0], device=inputs_MC.device)) % size
        self.ring_PC[places_M] = inputs_MC
        self.num_noted += inputs_MC.shape[0]

    def _recluster(self) -> None:
        recent_PC = self.ring_PC[: min(int(self.num_noted), self.ring_PC.shape[0])]
        parts = self._parts(recent_PC)
        pools = parts if self.num_tables == self.num_codebooks else [torch.cat(parts)]
        generator = self.generator("recluster")
        for table, pool_MD in enumerate(pools):
            entries_KD = kmeans(pool_MD, self.entries_QKD[table], self.config.recluster_iterations, generator)
            self._place(table, entries_KD)
