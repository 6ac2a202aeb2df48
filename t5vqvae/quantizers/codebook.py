"""What quantizers with a table of entries share: product form, start, selection, estimator, terms, revival.

A variant says how its table learns (`ema.py`, `vq.py`, `kmeans.py`); everything else is here, put together from small
parts with a file each, so that an ablation of two variants differs in that alone. With Q codebooks a position the width
is cut in Q parts of D, each with a table of its own, or all with one (`shared_codebook`, as in T5VQVAE with codes half
as wide as the model).

With cosine distance inputs and entries are compared, and passed on, at unit length: every part below then works on
the sphere. The table itself is stored at any length and scaled when it is read.

Letters: N positions, M positions of all workers, C code width, E model width, Q codebooks, K entries, D = C / Q, S
entries a position and codebook takes (1 except with `selection=multi`), V tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import model_validator
from torch import Tensor, nn

from t5vqvae.config import setting
from t5vqvae.errors import SettingError
from t5vqvae.quantizers.base import Packed, Quantizer, QuantizerConfig
from t5vqvae.quantizers.parts.affine import AFFINES, AffineKind
from t5vqvae.quantizers.parts.assignment import nearest
from t5vqvae.quantizers.parts.distributed import gather_rows, gather_together
from t5vqvae.quantizers.parts.estimators import ESTIMATORS, Estimator
from t5vqvae.quantizers.parts.initialization import Start, num_vectors_for, place_entries
from t5vqvae.quantizers.parts.losses import mean_squared, missing_entropy, orthogonality
from t5vqvae.quantizers.parts.revival import follow_counts, revive
from t5vqvae.quantizers.parts.selection import Selection, sample_many, sample_topk

__all__ = ["CodebookConfig", "CodebookQuantizer", "mean_squared"]


class CodebookConfig(QuantizerConfig):
    """Settings of every variant with a table of entries.

    A variant whose mathematics has no place for a setting names it in `unsupported`, with the reason, and any value but
    the default is refused.
    """

    codebook_size: int = setting(1024, ge=2, description="K, entries of each codebook")
    code_width: int | None = setting(None, ge=1, description="C; None: the model's width, without a projection")
    num_codebooks: int = setting(1, ge=1, description="Q, codes a position; the code width is cut in Q parts")
    shared_codebook: bool = setting(False, description="one table for all Q parts")
    distance: Literal["euclidean", "cosine"] = setting("euclidean", description="cosine: at unit length throughout")
    selection: Selection = setting(
        "nearest", description="while training: nearest, one of the top_k (CLVQ-VAE), or the mean of several (IA-GPL)"
    )
    top_k: int = setting(5, ge=1, description="candidates of selection=topk")
    num_samples: int = setting(10, ge=1, description="entries whose mean selection=multi takes")
    temperature: float = setting(1.0, gt=0, description="of softmax(-d^2 / temperature): selection, entropy term")
    estimator: Estimator = setting("straight_through", description="how the gradient passes the choice")
    commitment_weight: float = setting(0.25, ge=0, description="weight of ||sg(e) - h||^2, or see commitment_on")
    commitment_on: Literal["encoder", "codebook"] = setting(
        "encoder", description="the term that carries the commitment weight; codebook: VQGAN's legacy placement"
    )
    orthogonality_weight: float | None = setting(None, gt=0, description="keeps used entries apart; None: without")
    entropy_weight: float | None = setting(None, gt=0, description="evens out the batch's use of codes; None: without")
    affine: AffineKind | None = setting(None, description="one scale and shift for all entries; None: without")
    revive_below: float | None = setting(
        None,
        gt=0,
        lt=1,
        description="revive entries whose moving count is below this share of the average; None: never",
    )
    start: Start = setting("kmeans", description="where the entries start")
    start_iterations: int = setting(10, ge=0, description="k-means iterations at the start")

    learns_by_gradient: ClassVar[bool] = False
    whole_batch: ClassVar[tuple[str, ...]] = ("entropy_weight", "orthogonality_weight")
    unsupported: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="after")
    def _combines(self) -> Self:
        by_gradient = "needs a codebook that learns by gradient, as quantizer.name=vq has"
        if not self.learns_by_gradient:
            self._refuse("commitment_on", "codebook", by_gradient)
            self._refuse("affine", "learned", f"{by_gradient}; use moments")
            if self.orthogonality_weight is not None:
                self._refuse("orthogonality_weight", self.orthogonality_weight, by_gradient)
        if self.distance == "cosine":
            self._refuse("affine", self.affine, "must be null with quantizer.distance=cosine: the sphere has no scale")
        if self.selection == "topk" and self.top_k > self.codebook_size:
            self._refuse("top_k", self.top_k, f"must be at most quantizer.codebook_size={self.codebook_size}")
        for name, reason in self.unsupported.items():
            if getattr(self, name) != type(self).model_fields[name].default:
                self._refuse(name, getattr(self, name), reason)
        return self

    def _refuse(self, name: str, value: object, rule: str) -> None:
        """Raises if setting `name` has `value`, which is not None."""
        if value is not None and getattr(self, name) == value:
            raise SettingError(f"quantizer.{name}={value} {rule}")


class CodebookQuantizer(Quantizer):
    """A quantizer with one or several tables of K entries.

    A variant implements `tables_QKD`; `_learn` where its table learns from what was seen rather than by gradient;
    `_terms` where it has more of them; `_place` where placing entries is more than writing them.

    Attributes:
        always_notes: Whether training forwards keep their inputs for `_learn` whatever the settings.
        counts_QK: Moving counts of how often each entry won, by which revival judges.
    """

    config: CodebookConfig
    counts_QK: Tensor
    always_notes: ClassVar[bool] = False

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
        self.affines = nn.ModuleList(kind(self.entry_width) for kind in kinds)
        self.register_buffer("counts_QK", torch.ones(self.num_tables, config.codebook_size))
        self._seen: list[tuple[Tensor, Tensor]] = []

    @property
    def tables_QKD(self) -> Tensor:
        """The entries as they are stored, shape (number of tables, K, D)."""
        raise NotImplementedError

    def table_KD(self, part: int) -> Tensor:
        """Returns the entries that part `part` of the width chooses from, at any length if the distance is cosine."""
        table = part % self.num_tables
        stored_KD = self.tables_QKD[table]
        return self.affines[table](stored_KD) if self.affines else stored_KD

    def random_tables(self) -> Tensor:
        """Returns entries drawn from N(0, 1 / D), shape (number of tables, K, D): unit length on average."""
        shape = (self.num_tables, self.config.codebook_size, self.entry_width)
        return torch.randn(shape, generator=self.generator("start")) * self.entry_width**-0.5

    def quantize_packed(self, inputs_NC: Tensor, roles_N: Tensor | None = None) -> Packed:
        learning = self.training and torch.is_grad_enabled()
        parts_QND = self._parts(inputs_NC)
        chosen_QNS = [self._choose(x_ND, q, learning) for q, x_ND in enumerate(parts_QND)]
        entries_QND = [self._read(codes_NS, q) for q, codes_NS in enumerate(chosen_QNS)]
        codes_NQS = torch.stack(chosen_QNS, 1)
        if learning:
            self._note(inputs_NC, codes_NQS)
        passed_QND = entries_QND
        if torch.is_grad_enabled():
            estimate = ESTIMATORS[self.config.estimator]
            passed_QND = [estimate(x_ND, e_ND) for x_ND, e_ND in zip(parts_QND, entries_QND, strict=True)]
        terms = self._terms(_join(parts_QND), _join(entries_QND)) | self._regularizers(parts_QND, codes_NQS)
        return Packed(_join(passed_QND), codes_NQS[..., 0], terms)

    def lookup_packed(self, codes_NQ: Tensor) -> Tensor:
        return _join([self._read(codes_NQ[:, q, None], q) for q in range(self.num_codebooks)])

    def _parts(self, inputs_NC: Tensor) -> list[Tensor]:
        """Cuts inputs in Q parts of D, at unit length if the distance is cosine."""
        parts = [inputs_NC] if self.num_codebooks == 1 else inputs_NC.split(self.entry_width, -1)
        return [F.normalize(part, dim=-1) if self.unit else part.contiguous() for part in parts]

    def _choose(self, inputs_ND: Tensor, part: int, learning: bool) -> Tensor:
        """Returns the entries each input takes, shape (N, S)."""
        config, table_KD = self.config, self.table_KD(part).detach()
        if learning and config.selection == "topk":
            return sample_topk(inputs_ND, table_KD, config.top_k, config.temperature, self.unit)
        if learning and config.selection == "multi":
            return sample_many(inputs_ND, table_KD, config.num_samples, config.temperature, self.unit)
        return nearest(inputs_ND, table_KD, self.unit).unsqueeze(-1)

    def _read(self, codes_NS: Tensor, part: int) -> Tensor:
        """Returns the mean of the entries named, shape (N, D), as the decoder is to see them."""
        table = part % self.num_tables
        entries_NSD = F.embedding(codes_NS, self.tables_QKD[table])
        if self.affines:
            entries_NSD = self.affines[table](entries_NSD)
        if self.unit:
            entries_NSD = F.normalize(entries_NSD, dim=-1)
        return entries_NSD.squeeze(1) if codes_NS.shape[1] == 1 else entries_NSD.mean(1)

    def _terms(self, inputs_NC: Tensor, entries_NC: Tensor) -> dict[str, Tensor]:
        """Returns the weighted terms between inputs and entries; both at unit length if the distance is cosine."""
        return {"commitment": self.config.commitment_weight * mean_squared(inputs_NC, entries_NC.detach())}

    def _regularizers(self, parts_QND: list[Tensor], codes_NQS: Tensor) -> dict[str, Tensor]:
        """Returns the weighted terms on the use and the shape of the tables, means over the Q codebooks."""
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
        """Returns the table of a part as the decoder sees it, with its gradient."""
        return F.normalize(self.table_KD(part), dim=-1) if self.unit else self.table_KD(part)

    @property
    def _notes(self) -> bool:
        return self.always_notes or self.config.revive_below is not None or self.config.affine == "moments"

    def _note(self, inputs_NC: Tensor, codes_NQS: Tensor) -> None:
        """Keeps what a training forward saw until `update`, where anything will read it."""
        if self._notes:
            self._seen.append((inputs_NC.detach(), codes_NQS))

    @torch.no_grad()
    def update(self) -> None:
        if self._notes:
            seen = self._seen_by_all()
            for table, (inputs_MD, codes_M) in enumerate(seen):
                self._learn(table, inputs_MD, codes_M)
                self._revive(table, inputs_MD)
            for table, affine in enumerate(self.affines):
                affine.follow(seen[table][0], self.tables_QKD[table].detach())
        self._num_updates += 1

    def _learn(self, table: int, inputs_MD: Tensor, codes_M: Tensor) -> None:
        """Learns from one step's inputs of one table (M may be 0); keeps the moving counts."""
        if codes_M.numel():
            follow_counts(self.counts_QK[table], codes_M, self.samples_per_input)

    def _seen_by_all(self) -> list[tuple[Tensor, Tensor]]:
        """Returns, for each table, the inputs (M, D) and codes (M,) of all workers since the last update.

        An input that took S entries is there S times.
        """
        width, device = self.code_width, self.tables_QKD.device
        inputs = [x for x, _ in self._seen] or [torch.empty(0, width, device=device)]
        no_codes = torch.empty(0, self.num_codebooks, self.samples_per_input, dtype=torch.int64, device=device)
        codes = [c for _, c in self._seen] or [no_codes]
        self._seen = []
        inputs_MC, codes_MQS = gather_together(torch.cat(inputs), torch.cat(codes))
        parts = [x_MD.repeat_interleave(self.samples_per_input, 0) for x_MD in self._parts(inputs_MC)]
        return self._by_table(parts, [codes_MQS[:, q].flatten() for q in range(self.num_codebooks)])

    @property
    def samples_per_input(self) -> int:
        """S, how many entries a training input takes."""
        return self.config.num_samples if self.config.selection == "multi" else 1

    def _by_table(self, parts: list[Tensor], codes: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Pairs inputs and codes of each table: those of each part, or all together with a shared table."""
        if self.num_tables == len(parts):
            return list(zip(parts, codes, strict=True))
        return [(torch.cat(parts), torch.cat(codes))]

    def _revive(self, table: int, inputs_MD: Tensor) -> None:
        """Revives dead entries of a table on this step's inputs, in place."""
        below, generator = self.config.revive_below, self.generator(f"revive{table}")
        where_MD = self.affines[table].inverse(inputs_MD) if self.affines else inputs_MD
        revive(self.tables_QKD[table].data, self.counts_QK[table], where_MD, below, generator)

    @property
    def num_start_vectors(self) -> int:
        """How many encoder states `start` wants; 1 for `embeddings`, which reads none but must be called."""
        fixed = {"random": 0, "embeddings": 1, "states": 2 * self.config.codebook_size}
        return fixed.get(self.config.start, num_vectors_for(self.config.codebook_size))

    @torch.no_grad()
    def start(self, vectors_NC: Tensor, embeddings_VE: Tensor | None = None) -> None:
        if self.config.start == "random":
            return
        vectors_NC = self._embeddings(embeddings_VE) if self.config.start == "embeddings" else vectors_NC.float()
        parts, generator = self._parts(vectors_NC), self.generator("start")
        pools = parts if self.num_tables == len(parts) else [torch.cat(parts)]
        for table, pool_MD in enumerate(pools):
            sizes = [end - first for first, end in self._started_apart]
            self._place(table, torch.cat([self._drawn(pool_MD, size, generator) for size in sizes]))

    @property
    def _started_apart(self) -> list[tuple[int, int]]:
        """First entry and the one after the last, of each slice of a table that starts by itself."""
        return [(0, self.config.codebook_size)]

    def _drawn(self, pool_MD: Tensor, size: int, generator: torch.Generator) -> Tensor:
        config = self.config
        return place_entries(config.start, pool_MD, size, config.start_iterations, generator, self.unit)

    def _embeddings(self, embeddings_VE: Tensor | None) -> Tensor:
        if embeddings_VE is None:
            raise SettingError("quantizer.start=embeddings needs the backbone's token embeddings; use start=states")
        return self.project_in(embeddings_VE.float())

    def _place(self, table: int, entries_KD: Tensor) -> None:
        """Overwrites the entries of one table, and forgets how often they won."""
        self.tables_QKD[table].data.copy_(entries_KD)
        self.counts_QK[table].fill_(1.0)
        if self.affines:
            self.affines[table].reset(entries_KD)


def _join(parts_QND: list[Tensor]) -> Tensor:
    return parts_QND[0] if len(parts_QND) == 1 else torch.cat(parts_QND, -1)
