"""What quantizers with a table of entries share: product form, start, losses, estimators.

A variant says how its table learns (`ema.py`, `vq.py`, `kmeans.py`); everything else is here, so that an ablation of
two variants differs in that alone. With Q codebooks a position the width is cut in Q parts of D, each with a table of
its own, or all with one (`shared_codebook`, as in T5VQVAE with codes half as wide as the model).

Letters: N positions, M positions of all workers, C code width, Q codebooks, K entries, D = C / Q.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from t5vqvae.config import setting
from t5vqvae.errors import SettingError
from t5vqvae.quantizers.assignment import nearest
from t5vqvae.quantizers.base import Packed, Quantizer, QuantizerConfig
from t5vqvae.quantizers.estimators import straight_through
from t5vqvae.quantizers.starts import kmeans, num_vectors_for, sample_rows
from t5vqvae.quantizers.sync import gather_rows

Start = Literal["random", "kmeans"]


class CodebookConfig(QuantizerConfig):
    """Settings of every variant with a table of entries."""

    codebook_size: int = setting(1024, ge=2, description="K, entries of each codebook")
    code_width: int | None = setting(None, ge=1, description="C; None: the model's width, without a projection")
    num_codebooks: int = setting(1, ge=1, description="Q, codes a position; the code width is cut in Q parts")
    shared_codebook: bool = setting(False, description="one table for all Q parts")
    commitment_weight: float = setting(0.25, ge=0, description="weight of ||sg(e) - h||^2")
    start: Start = setting("kmeans", description="where the entries start")
    start_iterations: int = setting(10, ge=0, description="k-means iterations at the start")


class CodebookQuantizer(Quantizer):
    """A quantizer with one or several tables of K entries.

    A variant implements `tables_QKD`, `_place` and, where its table is not a parameter, `update`.
    """

    def __init__(self, config: CodebookConfig, model_width: int, seed: int) -> None:
        width = config.code_width or model_width
        if width % config.num_codebooks:
            raise SettingError(
                f"quantizer.num_codebooks={config.num_codebooks} must divide the code width {width}"
                " (quantizer.code_width, or the model's width)"
            )
        super().__init__(model_width, config.code_width, (config.codebook_size,) * config.num_codebooks, seed)
        self.config = config
        self.num_tables = 1 if config.shared_codebook else config.num_codebooks
        self.entry_width = width // config.num_codebooks
        self._seen: list[tuple[Tensor, Tensor]] = []

    @property
    def tables_QKD(self) -> Tensor:  # noqa: N802 (letters)
        """The entries, shape (number of tables, K, D)."""
        raise NotImplementedError

    def table_KD(self, part: int) -> Tensor:  # noqa: N802 (letters)
        """Returns the entries that part `part` of the width chooses from."""
        return self.tables_QKD[part % self.num_tables]

    def random_tables(self) -> Tensor:
        """Returns entries drawn from N(0, 1 / D), shape (number of tables, K, D): unit length on average."""
        shape = (self.num_tables, self.config.codebook_size, self.entry_width)
        return torch.randn(shape, generator=self.generator("start")) * self.entry_width**-0.5

    def quantize_packed(self, inputs_NC: Tensor, roles_N: Tensor | None = None) -> Packed:
        parts_QND = self._parts(inputs_NC)
        codes_NQ = torch.stack([nearest(x_ND, self.table_KD(q)) for q, x_ND in enumerate(parts_QND)], -1)
        entries_NC = self.lookup_packed(codes_NQ)
        if self.training and torch.is_grad_enabled():
            self._note(inputs_NC, codes_NQ)
        return Packed(straight_through(inputs_NC, entries_NC), codes_NQ, self._terms(inputs_NC, entries_NC))

    def lookup_packed(self, codes_NQ: Tensor) -> Tensor:
        return torch.cat([F.embedding(codes_NQ[:, q], self.table_KD(q)) for q in range(self.num_codebooks)], -1)

    def _parts(self, inputs_NC: Tensor) -> list[Tensor]:
        return [part.contiguous() for part in inputs_NC.split(self.entry_width, -1)]

    def _terms(self, inputs_NC: Tensor, entries_NC: Tensor) -> dict[str, Tensor]:
        return {"commitment": self.config.commitment_weight * mean_squared(inputs_NC, entries_NC.detach())}

    def _note(self, inputs_NC: Tensor, codes_NQ: Tensor) -> None:
        """Keeps what a training forward saw until `update`."""

    def _seen_by_all(self) -> list[tuple[Tensor, Tensor]]:
        """Returns, for each table, the inputs (M, D) and codes (M,) of all workers since the last update."""
        width, device = self.code_width, self.tables_QKD.device
        inputs = [x for x, _ in self._seen] or [torch.empty(0, width, device=device)]
        codes = [c for _, c in self._seen] or [torch.empty(0, self.num_codebooks, dtype=torch.int64, device=device)]
        self._seen = []
        inputs_MC, codes_MQ = gather_rows(torch.cat(inputs)), gather_rows(torch.cat(codes))
        pairs = [(x_MD, codes_MQ[:, q]) for q, x_MD in enumerate(self._parts(inputs_MC))]
        if self.num_tables == self.num_codebooks:
            return pairs
        return [(torch.cat([x for x, _ in pairs]), torch.cat([c for _, c in pairs]))]

    @property
    def num_start_vectors(self) -> int:
        return 0 if self.config.start == "random" else num_vectors_for(self.config.codebook_size)

    @torch.no_grad()
    def start(self, vectors_NC: Tensor) -> None:
        if self.config.start == "random":
            return
        parts = self._parts(vectors_NC.float())
        pools = parts if self.num_tables == self.num_codebooks else [torch.cat(parts)]
        generator = self.generator("start")
        for table, pool_MD in enumerate(pools):
            first_KD = sample_rows(pool_MD, self.config.codebook_size, generator)
            self._place(table, kmeans(pool_MD, first_KD, self.config.start_iterations, generator))

    def _place(self, table: int, entries_KD: Tensor) -> None:
        """Overwrites the entries of one table."""
        self.tables_QKD[table].copy_(entries_KD)


def mean_squared(left_NC: Tensor, right_NC: Tensor) -> Tensor:
    """Returns the mean squared difference over positions and width; 0 (with a gradient path) for no positions."""
    return (left_NC - right_NC).square().sum() / max(1, left_NC.numel())
