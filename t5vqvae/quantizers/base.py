"""The quantizer contract: what every discrete bottleneck takes, returns and guarantees.

To add a variant, write one file with a registered config (`name: Literal["mine"] = "mine"`, a `build`) and a
`Quantizer`, and import it in `quantizers/__init__.py`. The contract tests find it in the registry.

The base class removes padding before a variant receives the states, and restores it afterwards. So no variant can
count padding in its codebook, its losses or its statistics. It also keeps weights and computation in float32, whatever
the type of the rest of the model. Learning takes two moments: `forward` in training mode records its inputs, and the
optimizer's step makes the quantizer learn from them, summed over micro-batches and workers. A loop without an optimizer
of torch calls `update` instead; where both happen, the quantizer learns once.

Letters: B batch, T encoder positions, E model width, C code width (all codebooks together), N unpadded positions of
the batch, P all positions of the batch (B T), Q codebooks a position, K entries of a codebook, D width of one
codebook's entries (C = Q D where the codebooks split the width).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Required, TypedDict

import torch
from torch import Tensor, nn

from t5vqvae.config import Variant
from t5vqvae.quantizers.parts.float32 import Float32Module, full_float32
from t5vqvae.quantizers.parts.optimizer_steps import StepLearner
from t5vqvae.seeding import seed_from

Gradient = Literal["straight_through", "exact", "surrogate", "none"]


class _SuggestedRange(TypedDict, total=False):
    """One range of a suggested search space, with the keys that a range has in a study file.

    `when` gives the values that other settings of the variant must have for the range to apply.
    """

    type: Required[Literal["int", "float", "choice"]]
    low: float
    high: float
    log: bool
    choices: list[int] | list[str]
    when: dict[str, str]


SuggestedSpace = Mapping[str, _SuggestedRange]


class QuantizerConfig(Variant):
    """The settings of one quantizer; `name` picks the variant.

    `space` is the search space that the variant suggests: `{setting: range}`, written as in a study file.
    `whole_batch` names the weights of loss terms that are not sums over positions (the entropy of a batch's mean).
    Micro-batches would change the value of such a term, so `RunSpec` refuses to combine the two.
    """

    space: ClassVar[SuggestedSpace] = {}
    whole_batch: ClassVar[tuple[str, ...]] = ()

    @property
    def batch_terms(self) -> list[str]:
        """Those of `whole_batch` whose term is in the loss."""
        return [name for name in self.whole_batch if getattr(self, name)]

    def refuse_unread(self) -> None:
        """Refuses settings that nothing reads.

        Called before a run begins, not by validation: earlier versions kept such settings.

        Raises:
            SettingError: With the setting and the way out.
        """

    @property
    def chooses_nearest(self) -> bool:
        """Whether the code of a state is that of the nearest entry of a table, in training as well."""
        return False

    def build(self, model_width: int, num_roles: int = 0, seed: int = 0) -> Quantizer:
        """Returns the quantizer for states of `model_width`.

        Args:
            model_width: E, the width of the states to quantize.
            num_roles: Number of semantic roles in the data; 0 without role labels.
            seed: Seeds every random start value and every draw that workers must share.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class QuantizerOutput:
    """The result of quantizing one batch.

    Attributes:
        quantized_BTE: The states that the decoder reads; zero at padding.
        codes_BTQ: Chosen entries, int64, -1 at padding; None when nothing was discretized.
        aux_loss: Scalar, the weighted sum of the variant's loss terms, each a mean over the N unpadded positions.
        terms: The weighted terms by name, detached, for logging.
        num_positions: N, the unpadded positions.
    """

    quantized_BTE: Tensor
    codes_BTQ: Tensor | None
    aux_loss: Tensor
    terms: dict[str, Tensor]
    num_positions: int


@dataclass(frozen=True)
class Packed:
    """A variant's result for N positions without padding.

    Attributes:
        quantized_NC: The code vectors, with the variant's gradient estimator attached.
        codes_NQ: Chosen entries, int64; None when nothing was discretized.
        terms: Weighted loss terms by name, each a mean over the N positions.
    """

    quantized_NC: Tensor
    codes_NQ: Tensor | None
    terms: dict[str, Tensor] = field(default_factory=dict)


class Quantizer(StepLearner, Float32Module, ABC):
    """A discrete bottleneck between encoder states and the decoder's cross-attention.

    A variant implements `quantize_packed` and `lookup_packed`, and, where it needs them, `start`, `_update` and
    `num_start_vectors`. If the code width differs from the model's, a linear map on each side converts the states.

    Attributes:
        code_sizes: K of each of the Q codebooks; empty when nothing is discretized.
        active: False while the bottleneck is bypassed (warm-up without quantization).
        discrete: Whether the variant has codes.
        has_soft_form: Whether evaluation can also use a continuous output, whose rate has no bound.
        hard: With `has_soft_form`: True (the default) makes evaluation use the discrete choice.
        gradient: What reaches the states in the backward pass: `straight_through` (the output's gradient, changed by
            the projections alone), `exact` (the derivative of the output), `surrogate` (the variant's own formula) or
            `none` (a control's defect). The contract tests check all but the third; a variant's own tests check that.
        sees_sentences: Whether a position's code depends on the others of its sentence: a control's defect too.
    """

    discrete: ClassVar[bool] = True
    has_soft_form: ClassVar[bool] = False
    gradient: Gradient = "straight_through"
    sees_sentences: bool = False

    project_in: nn.Linear | nn.Identity
    project_out: nn.Linear | nn.Identity
    _active: Tensor
    _num_updates: Tensor

    def __init__(self, model_width: int, code_width: int | None, code_sizes: tuple[int, ...], seed: int = 0) -> None:
        super().__init__()
        self.model_width = model_width
        self.code_width = code_width or model_width
        self.code_sizes = code_sizes
        self.seed = seed
        self.hard = True
        self.register_buffer("_active", torch.tensor(1))  # a number: `AveragedModel` subtracts buffers
        self.register_buffer("_num_updates", torch.tensor(0))
        narrow = self.code_width != model_width
        self.project_in = nn.Linear(model_width, self.code_width) if narrow else nn.Identity()
        self.project_out = nn.Linear(self.code_width, model_width) if narrow else nn.Identity()

    @property
    def active(self) -> bool:
        return bool(self._active)

    @active.setter
    def active(self, value: bool) -> None:
        self._active.fill_(value)

    @property
    def num_codebooks(self) -> int:
        """Q, the number of codes a position has."""
        return len(self.code_sizes)

    @property
    def log2_codes(self) -> float | None:
        """Bits a position if all codes were equally frequent: log2 K, summed over Q; None without codes."""
        return sum(map(math.log2, self.code_sizes)) if self.code_sizes else None

    @property
    def reads_roles(self) -> bool:
        """Whether codes depend on the roles of positions."""
        return False

    @property
    def num_start_vectors(self) -> int:
        """Number of encoder states that `start` needs; with 0 the trainer does not call `start`."""
        return 0

    def update(self) -> None:
        if self.active:  # what is bypassed learns nothing, and no schedule runs
            with full_float32(self._active.device.type):
                super().update()

    def forward(self, states_BTE: Tensor, mask_BT: Tensor, roles_BT: Tensor | None = None) -> QuantizerOutput:
        """Quantizes every unpadded position.

        Args:
            states_BTE: Encoder states, any float type; distances and statistics are computed in float32.
            mask_BT: True (or 1) at real positions.
            roles_BT: Semantic role of each position, 0 for none; only `role` reads it.
        """
        self._keep_float32()
        if self.active:
            self._note_batch()
        # Row numbers, not the mask: the backward pass of a masked scatter alone takes half as long as finding the
        # nearest of 2,000 entries.
        places_N = mask_BT.bool().flatten().nonzero().squeeze(-1)
        states_PE = states_BTE.flatten(0, 1)
        roles_N = None if roles_BT is None else roles_BT.flatten()[places_N]
        with full_float32(states_BTE.device.type):
            packed = self._quantize(self._packed_inputs(states_PE, places_N), roles_N)
            quantized_PE = self._unpacked(packed.quantized_NC, places_N, len(states_PE)).to(states_BTE.dtype)
        aux_loss = sum(packed.terms.values(), states_BTE.new_zeros((), dtype=torch.float32))
        terms = {name: term.detach() for name, term in packed.terms.items()}
        codes_BTQ = None if packed.codes_NQ is None else _unpack_codes(packed.codes_NQ, places_N, mask_BT.shape)
        return QuantizerOutput(quantized_PE.view_as(states_BTE), codes_BTQ, aux_loss, terms, len(places_N))

    def _quantize(self, inputs_NC: Tensor, roles_N: Tensor | None) -> Packed:
        return self.quantize_packed(inputs_NC, roles_N) if self.active else Packed(inputs_NC, None)

    def _packed_inputs(self, states_PE: Tensor, places_N: Tensor) -> Tensor:
        """Returns the unpadded positions in code space."""
        # Narrow codes: project first, because removing padding copies rows, and those of code space are shorter.
        if self.code_width < self.model_width:
            return self.project_in(states_PE.float()).index_select(0, places_N)
        return self.project_in(states_PE.index_select(0, places_N).float())

    def _unpacked(self, quantized_NC: Tensor, places_N: Tensor, num_places: int) -> Tensor:
        """Returns every position in model space, zero at padding."""
        if isinstance(self.project_out, nn.Identity) or self.code_width >= self.model_width:
            quantized_NE = self.project_out(quantized_NC)
            return quantized_NE.new_zeros(num_places, self.model_width).index_copy_(0, places_N, quantized_NE)
        # Narrow codes: restore padding first, where rows are shorter. The ones carry the bias to real positions alone.
        ones_N1 = quantized_NC.new_ones(len(places_N), 1)
        real_ND = torch.cat([quantized_NC, ones_N1], dim=1)
        real_PD = real_ND.new_zeros(num_places, real_ND.shape[1]).index_copy_(0, places_N, real_ND)
        return real_PD @ torch.cat([self.project_out.weight, self.project_out.bias[:, None]], dim=1).T

    @abstractmethod
    def quantize_packed(self, inputs_NC: Tensor, roles_N: Tensor | None = None) -> Packed:
        """Quantizes N positions in code space (float32); N may be 0.

        In training mode it also records what `update` learns from.
        """

    @abstractmethod
    def lookup_packed(self, codes_NQ: Tensor) -> Tensor:
        """Returns the code vectors of `codes_NQ`, shape (N, C), equal to what evaluation (`hard`) returns with them."""

    def lookup(self, codes_BTQ: Tensor) -> Tensor:
        """Returns the quantized states of codes, shape (B, T, E); zero where a code is negative (padding).

        Raises:
            ValueError: If the variant has no codes.
        """
        if not self.discrete:
            raise ValueError(f"quantizer {type(self).__name__} has no codes to look up")
        keep_BT = (codes_BTQ >= 0).all(-1)
        places_N = keep_BT.flatten().nonzero().squeeze(-1)
        self._keep_float32()
        with full_float32(codes_BTQ.device.type):
            quantized_NC = self.lookup_packed(codes_BTQ.flatten(0, 1).index_select(0, places_N))
            return self._unpacked(quantized_NC, places_N, keep_BT.numel()).view(*keep_BT.shape, self.model_width)

    def start(self, vectors_NC: Tensor, embeddings_VE: Tensor | None = None) -> None:
        """Places the codebook; the trainer calls it once, with the same arguments on all workers.

        Args:
            vectors_NC: Encoder states in code space (after `project_in`), about `num_start_vectors` of them.
            embeddings_VE: The backbone's token embeddings (model width), for `start=embeddings`.
        """

    def generator(self, purpose: str) -> torch.Generator:
        """Returns a CPU generator that depends only on the seed, the number of updates so far and `purpose`.

        Random choices that must agree on all workers (revival, k-means) draw from it. A checkpoint needs no state for
        it.
        """
        return torch.Generator().manual_seed(seed_from(self.seed, int(self._num_updates), purpose))


def _unpack_codes(codes_NQ: Tensor, places_N: Tensor, shape_BT: torch.Size) -> Tensor:
    num_codebooks = codes_NQ.shape[-1]
    codes_PQ = codes_NQ.new_full((shape_BT.numel(), num_codebooks), -1)
    codes_PQ[places_N] = codes_NQ
    return codes_PQ.view(*shape_BT, num_codebooks)
