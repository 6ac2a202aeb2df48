"""What quantizers with a table of entries share: product form, start, selection, estimator, loss terms, revival.

A variant defines how its table learns (`ema.py`, `vq.py`, `kmeans.py`). Everything else is here, composed of small
parts with one file each, so that two variants in an ablation differ in the learning alone. With Q codebooks a position
the width is cut into Q parts of width D. Each part has its own table, or all parts share one (`shared_codebook`, as in
T5VQVAE with codes half as wide as the model).

With cosine distance, inputs and entries are compared, and passed on, at unit length: every part then works on the unit
sphere. The table is stored at any length and scaled when it is read.

Letters: N positions, M positions of all workers, C code width, E model width, Q codebooks, K entries, D = C / Q, S
entries that a position takes in each codebook (1 except with `selection=multi`), V tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t5vqvae.errors import SettingError
from t5vqvae.quantizers.base import Packed, Quantizer
from t5vqvae.quantizers.codebook_config import CodebookConfig
from t5vqvae.quantizers.parts.affine import AFFINES, Affine
from t5vqvae.quantizers.parts.assignment import nearest
from t5vqvae.quantizers.parts.distributed import gather_rows, gather_together
from t5vqvae.quantizers.parts.estimators import ESTIMATORS, TEACHES_ENTRIES, Estimator
from t5vqvae.quantizers.parts.initialization import num_vectors_for, place_entries
from t5vqvae.quantizers.parts.losses import mean_squared, missing_entropy, orthogonality
from t5vqvae.quantizers.parts.revival import apart, are_far, follow_counts, revive, variance
from t5vqvae.quantizers.parts.selection import sample_many, sample_topk


class CodebookQuantizer(Quantizer):
    """A quantizer with one or several tables of K entries.

    A variant implements `tables_QKD`. It overrides `_learn` if its table learns from recorded inputs, not by gradient;
    `_terms` if it has other loss terms; `_place` if placing entries means more than writing them.

    Attributes:
        always_records: Whether training forwards record their inputs for `_learn` with any settings.
        counts_QK: Moving counts of how often each entry won; revival takes the entries with low counts.
    """

    config: CodebookConfig
    counts_QK: Tensor
    always_records: ClassVar[bool] = False

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
        self.unit = config.distance == "cosine"
        kinds = [] if config.affine is None else [AFFINES[config.affine]] * self.num_tables
        # torch types the modules of a list as plain modules.
        self.affines = cast(Sequence[Affine], nn.ModuleList(kind(self.entry_width) for kind in kinds))
        # Scaling to unit length and rotation change the gradient; their tests have the formulas.
        if self.unit or config.estimator != "straight_through":
            self.gradient = "surrogate"
        self.register_buffer("counts_QK", torch.ones(self.num_tables, config.codebook_size))
        self._recorded: list[tuple[Tensor, Tensor]] = []

    @property
    def tables_QKD(self) -> Tensor:
        """The entries as they are stored, shape (number of tables, K, D)."""
        raise NotImplementedError

    def table_KD(self, part: int) -> Tensor:
        """Returns the entries that part `part` of the width chooses from; with cosine distance at any length."""
        table = part % self.num_tables
        stored_KD = self.tables_QKD[table]
        return self.affines[table](stored_KD) if self.affines else stored_KD

    def random_tables(self) -> Tensor:
        """Returns entries drawn from N(0, 1 / D), shape (number of tables, K, D), of about unit length."""
        shape = (self.num_tables, self.config.codebook_size, self.entry_width)
        return torch.randn(shape, generator=self.generator("start")) * self.entry_width**-0.5

    def quantize_packed(self, inputs_NC: Tensor, roles_N: Tensor | None = None) -> Packed:
        learning = self.training and torch.is_grad_enabled()
        parts_QND = self._parts(inputs_NC)
        chosen_QNS = [self._choose(x_ND, q, learning) for q, x_ND in enumerate(parts_QND)]
        entries_QND = [self._read(codes_NS, q) for q, codes_NS in enumerate(chosen_QNS)]
        codes_NQS = torch.stack(chosen_QNS, 1)
        if learning and self._records:
            self._recorded.append((inputs_NC.detach(), codes_NQS))
        passed_QND = entries_QND
        if torch.is_grad_enabled():
            estimate = ESTIMATORS[self._estimator]
            passed_QND = [estimate(x_ND, e_ND) for x_ND, e_ND in zip(parts_QND, entries_QND, strict=True)]
        terms = {} if self.config.estimator in TEACHES_ENTRIES else self._terms(_join(parts_QND), _join(entries_QND))
        terms |= self._regularizers(parts_QND, codes_NQS)
        return Packed(_join(passed_QND), codes_NQS[..., 0], terms)

    def lookup_packed(self, codes_NQ: Tensor) -> Tensor:
        return _join([self._read(codes_NQ[:, q, None], q) for q in range(self.num_codebooks)])

    def _parts(self, inputs_NC: Tensor) -> list[Tensor]:
        """Cuts inputs into Q parts of width D; with cosine distance scales them to unit length."""
        parts = [inputs_NC] if self.num_codebooks == 1 else inputs_NC.split(self.entry_width, -1)
        return [F.normalize(part, dim=-1) if self.unit else part.contiguous() for part in parts]

    @property
    def _estimator(self) -> Estimator:
        """The estimator in use; evaluation teaches no entry and draws nothing."""
        config = self.config
        return config.estimator if self.training or config.estimator not in TEACHES_ENTRIES else "straight_through"

    def _choose(self, inputs_ND: Tensor, part: int, learning: bool) -> Tensor:
        """Returns the entries that each input takes, shape (N, S)."""
        config, table_KD = self.config, self.table_KD(part).detach()
        if learning and config.selection == "topk":
            return sample_topk(inputs_ND, table_KD, config.top_k, config.temperature, self.unit)
        if learning and config.selection == "multi":
            return sample_many(inputs_ND, table_KD, config.num_samples, config.temperature, self.unit)
        return nearest(inputs_ND, table_KD, self.unit).unsqueeze(-1)

    def _read(self, codes_NS: Tensor, part: int) -> Tensor:
        """Returns the mean of the S entries of each input, shape (N, D), as the decoder reads them."""
        table = part % self.num_tables
        entries_NSD = F.embedding(codes_NS, self.tables_QKD[table])
        if self.affines:
            entries_NSD = self.affines[table](entries_NSD)
        if self.unit:
            entries_NSD = F.normalize(entries_NSD, dim=-1)
        return entries_NSD.squeeze(1) if codes_NS.shape[1] == 1 else entries_NSD.mean(1)

    def _terms(self, inputs_NC: Tensor, entries_NC: Tensor) -> dict[str, Tensor]:
        """Returns the weighted loss terms between inputs and entries (with cosine distance both at unit length)."""
        return {"commitment": self.config.commitment_weight * mean_squared(inputs_NC, entries_NC.detach())}

    def _regularizers(self, parts_QND: list[Tensor], codes_NQS: Tensor) -> dict[str, Tensor]:
        """Returns the weighted loss terms on the tables' use and shape, each the mean over the Q codebooks."""
        config, terms = self.config, {}
        if config.entropy_weight is not None:
            values = [
                missing_entropy(x, self._whole(q), config.temperature, self.training) for q, x in enumerate(parts_QND)
            ]
            terms["entropy"] = config.entropy_weight * torch.stack(values).mean()
        if config.orthogonality_weight is not None:
            used_MQS = gather_rows(codes_NQS) if self.training else codes_NQS
            draws = self.generator("orthogonality")
            values = [orthogonality(self._whole(q), used_MQS[:, q], draws) for q in range(self.num_codebooks)]
            terms["orthogonality"] = config.orthogonality_weight * torch.stack(values).mean()
        return terms

    def _whole(self, part: int) -> Tensor:
        """Returns the whole table of a part as the decoder reads it, with its gradient."""
        return F.normalize(self.table_KD(part), dim=-1) if self.unit else self.table_KD(part)

    @property
    def _records(self) -> bool:
        """Whether training forwards keep their inputs and codes until `update`, because something will read them."""
        return self.always_records or self.config.revive_below is not None or self.config.affine == "moments"

    @torch.no_grad()
    def _update(self) -> None:
        if self._records:
            recorded = self._take_recorded()
            for table, (inputs_MD, codes_M) in enumerate(recorded):
                self._learn(table, inputs_MD, codes_M)
                self._revive(table, inputs_MD, codes_M)
            for table, affine in enumerate(self.affines):
                affine.follow(recorded[table][0], self.tables_QKD[table].detach())
        self._num_updates += 1

    def _learn(self, table: int, inputs_MD: Tensor, codes_M: Tensor) -> None:
        """Learns from one step's inputs of one table (M may be 0); here it updates the moving counts alone."""
        if codes_M.numel():
            follow_counts(self.counts_QK[table], codes_M, self.samples_per_input)

    def _take_recorded(self) -> list[tuple[Tensor, Tensor]]:
        """Returns, for each table, the inputs (M, D) and codes (M,) of all workers since the last update.

        An input that took S entries appears S times.
        """
        width, device = self.code_width, self.tables_QKD.device
        inputs = [x for x, _ in self._recorded] or [torch.empty(0, width, device=device)]
        no_codes = torch.empty(0, self.num_codebooks, self.samples_per_input, dtype=torch.int64, device=device)
        codes = [c for _, c in self._recorded] or [no_codes]
        self._recorded = []
        inputs_MC, codes_MQS = gather_together(torch.cat(inputs), torch.cat(codes))
        parts = [x_MD.repeat_interleave(self.samples_per_input, 0) for x_MD in self._parts(inputs_MC)]
        columns = [codes_MQS[:, q].flatten() for q in range(self.num_codebooks)]
        return list(zip(self._per_table(parts), self._per_table(columns), strict=True))

    @property
    def samples_per_input(self) -> int:
        """S, the number of entries that a training input takes."""
        return self.config.num_samples if self.config.selection == "multi" else 1

    def _per_table(self, parts: list[Tensor]) -> list[Tensor]:
        """Returns the rows of each table: those of each part, or those of all parts with a shared table."""
        return parts if self.num_tables == len(parts) else [torch.cat(parts)]

    def _revive(self, table: int, inputs_MD: Tensor, codes_M: Tensor) -> None:
        """Revives dead entries of a table on this step's inputs that took an entry of the same part, in place."""
        below, beyond = self.config.revive_below, self.config.revive_beyond
        if below is None or not inputs_MD.shape[0]:
            return
        limit, onto_M = None, torch.ones_like(codes_M, dtype=torch.bool)
        if beyond is not None:
            limit = beyond * variance(inputs_MD)
            onto_M = are_far(inputs_MD, self._read(codes_M[:, None], table), limit)
        for purpose, first, end in self._revived_parts(table):
            generator = self.generator(purpose)
            onto_UD = inputs_MD[onto_M & (codes_M >= first) & (codes_M < end)]
            if limit is not None:
                onto_UD = apart(onto_UD, limit, generator)
            entries_KD, counts_K = self.tables_QKD[table].data[first:end], self.counts_QK[table][first:end]
            revive(entries_KD, counts_K, self._as_stored(onto_UD, table), below, generator)

    def _revived_parts(self, table: int) -> list[tuple[str, int, int]]:
        """Returns the parts of a table whose entries are revived apart: what for, the first entry, and the end."""
        return [(f"revive{table}", 0, self.config.codebook_size)]

    def _as_stored(self, inputs_MD: Tensor, table: int) -> Tensor:
        """Returns inputs in the coordinates in which the entries are stored, before the affine map reads them."""
        return self.affines[table].inverse(inputs_MD) if self.affines else inputs_MD

    @property
    def num_start_vectors(self) -> int:
        """Number of encoder states that `start` needs."""
        # `embeddings` reads no state, but with 0 the trainer would not call `start`.
        fixed = {"random": 0, "embeddings": 1, "states": 2 * self.config.codebook_size}
        return fixed.get(self.config.start, num_vectors_for(self.config.codebook_size))

    @torch.no_grad()
    def start(self, vectors_NC: Tensor, embeddings_VE: Tensor | None = None) -> None:
        if self.config.start == "random":
            return
        vectors_NC = self._embeddings(embeddings_VE) if self.config.start == "embeddings" else vectors_NC.float()
        generator = self.generator("start")
        for table, pool_MD in enumerate(self._per_table(self._parts(vectors_NC))):
            sizes = [end - first for first, end in self._start_slices]
            self._place(table, torch.cat([self._drawn(pool_MD, size, generator) for size in sizes]))

    @property
    def _start_slices(self) -> list[tuple[int, int]]:
        """The slices of a table that start separately: the first entry of each, and the one after its last."""
        return [(0, self.config.codebook_size)]

    def _drawn(self, pool_MD: Tensor, size: int, generator: torch.Generator) -> Tensor:
        config = self.config
        return place_entries(config.start, pool_MD, size, config.start_iterations, generator, self.unit)

    def _embeddings(self, embeddings_VE: Tensor | None) -> Tensor:
        if embeddings_VE is None:
            raise SettingError("quantizer.start=embeddings needs the backbone's token embeddings; use start=states")
        return self.project_in(embeddings_VE.float())

    def _place(self, table: int, entries_KD: Tensor) -> None:
        """Overwrites the entries of one table and resets their counts."""
        self.tables_QKD[table].data.copy_(entries_KD)
        self.counts_QK[table].fill_(1.0)
        if self.affines:
            self.affines[table].reset(entries_KD)


def _join(parts_QND: list[Tensor]) -> Tensor:
    return parts_QND[0] if len(parts_QND) == 1 else torch.cat(parts_QND, -1)
