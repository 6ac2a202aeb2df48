"""`kmeans`: the codebook stays fixed between periodic re-clusterings of the most recent inputs.

The alternative to moving averages in the experiment that this project started from. Lloyd's algorithm refits the
present entries to a ring buffer of the last inputs; entries that win nothing move next to random inputs.

Source: this project's own: the alternative to moving averages in the experiment that it continues; Lloyd 1982 for the
refit.

Same: Lloyd's algorithm, from the present entries.

Different: no paper trains a text autoencoder so; entries that win nothing move next to random inputs.

Letters: Q codebooks, K entries, D width of an entry, P inputs in a ring buffer, M positions of all workers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor

from t5vqvae.config import setting
from t5vqvae.quantizers.base import SuggestedSpace
from t5vqvae.quantizers.codebook import CodebookQuantizer
from t5vqvae.quantizers.codebook_config import CodebookConfig
from t5vqvae.quantizers.parts.distributed import take_from_first_worker
from t5vqvae.quantizers.parts.initialization import canonical_order, kmeans, sample_rows


class KMeansConfig(CodebookConfig):
    """A codebook that is re-clustered every `recluster_every` steps."""

    name: Literal["kmeans"] = "kmeans"
    recluster_every: int = setting(20, ge=1, description="steps between two re-clusterings")
    recluster_iterations: int = setting(3, ge=1, description="Lloyd iterations of each")
    vectors_per_code: int = setting(10, ge=1, description="size of the ring of recent inputs, in inputs a code")

    unsupported: ClassVar[Mapping[str, str]] = {
        "revive_beyond": "must be null: re-clustering moves empty entries next to any input",
    }

    space: ClassVar[SuggestedSpace] = {
        "codebook_size": {"type": "int", "low": 256, "high": 22000, "log": True},
        "recluster_every": {"type": "int", "low": 5, "high": 200, "log": True},
        "commitment_weight": {"type": "float", "low": 0.01, "high": 2.0, "log": True},
    }

    def build(self, model_width: int, num_roles: int = 0, seed: int = 0) -> KMeansQuantizer:
        return KMeansQuantizer(self, model_width, seed)


class KMeansQuantizer(CodebookQuantizer):
    """Takes the nearest entry; `update` replaces the entries, which are buffers, every `recluster_every` steps."""

    config: KMeansConfig
    entries_QKD: Tensor
    rings_QPD: Tensor
    num_noted_Q: Tensor
    always_records: ClassVar[bool] = True

    def __init__(self, config: KMeansConfig, model_width: int, seed: int) -> None:
        super().__init__(config, model_width, seed)
        size = config.codebook_size * config.vectors_per_code
        self.register_buffer("entries_QKD", self.random_tables())
        self.register_buffer("rings_QPD", torch.zeros(self.num_tables, size, self.entry_width))
        self.register_buffer("num_noted_Q", torch.zeros(self.num_tables, dtype=torch.int64))

    @property
    def tables_QKD(self) -> Tensor:
        return self.entries_QKD

    @torch.no_grad()
    def _update(self) -> None:
        super()._update()
        if int(self._num_updates) % self.config.recluster_every == 0 and bool(self._num_kept_Q.any()):
            self._recluster()

    def _learn(self, table: int, inputs_MD: Tensor, codes_M: Tensor) -> None:
        """Writes the inputs into the table's ring buffer, over the oldest ones."""
        super()._learn(table, inputs_MD, codes_M)
        ring_PD = self.rings_QPD[table]
        inputs_MD = inputs_MD[:: self.samples_per_input]
        if len(inputs_MD) > len(ring_PD):  # the last ones of an order by value would be of one side of the space
            inputs_MD = sample_rows(inputs_MD, len(ring_PD), self.generator(f"ring {table}"))
        else:
            inputs_MD = inputs_MD[canonical_order(inputs_MD)]
        places_M = torch.arange(inputs_MD.shape[0], device=inputs_MD.device) + int(self.num_noted_Q[table])
        ring_PD[places_M % ring_PD.shape[0]] = inputs_MD
        self.num_noted_Q[table] += inputs_MD.shape[0]

    @property
    def _num_kept_Q(self) -> Tensor:
        """The number of inputs that each ring buffer holds."""
        return self.num_noted_Q.clamp_max(self.rings_QPD.shape[1])

    def _recluster(self) -> None:
        generator, rounds = self.generator("recluster"), self.config.recluster_iterations
        for table, num_kept in enumerate(self._num_kept_Q.tolist()):
            recent_PD = self.rings_QPD[table, :num_kept]
            self._place(table, kmeans(recent_PD, self.table_KD(table), rounds, generator, self.unit))
        take_from_first_worker(self.entries_QKD)
