"""`fsq`: finite scalar quantization; each of a few dimensions is rounded to a fixed number of levels.

With L levels, h = (L - 1)(1 + 1e-3) / 2 and o = 1/2 for even L, else 0:
    bounded = tanh(z + atanh(o / h)) h - o,  code = round(bounded) / floor(L / 2),
and rounding passes the gradient on unchanged. There is no codebook, no loss term and nothing to update.
`bound: sigmoid` takes 2 sigmoid(1.6 z) - 1 instead of tanh, which spreads normally distributed z about evenly between
the bounds.

Source: Mentzer et al. 2023, arXiv 2309.15505; `bound: sigmoid` is iFSQ, arXiv 2601.17124.

Same: the bounds, the rounding and its straight-through gradient; no loss term.

Different: levels are chosen by the codebook size where none are given.

Letters: N positions, C dimensions (the code width), K all combinations of levels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations_with_replacement
from typing import ClassVar, Literal, Self

import torch
from pydantic import model_validator
from torch import Tensor

from t5vqvae.config import setting
from t5vqvae.errors import SettingError
from t5vqvae.quantizers.base import Gradient, Packed, Quantizer, QuantizerConfig, SuggestedSpace
from t5vqvae.quantizers.parts.estimators import straight_through

PUBLISHED_LEVELS = {
    256: (8, 6, 5),
    1024: (8, 5, 5, 5),
    4096: (7, 5, 5, 5, 5),
    16384: (8, 8, 8, 6, 5),
    65536: (8, 8, 8, 5, 5, 5),
}
"""The paper's levels for codebooks of about this size."""
SMALLEST_LEVEL = 5
"""The smallest number of levels in a dimension that `levels_for` uses, as in the paper."""
IFSQ_SLOPE = 1.6


class FSQConfig(QuantizerConfig):
    """Rounds a few dimensions to `levels`; the codebook is the set of all their combinations."""

    name: Literal["fsq"] = "fsq"
    codebook_size: int = setting(1024, ge=3, description="K at most, if no levels are given; of 4096 the paper's 4375")
    levels: tuple[int, ...] | None = setting(None, description="L of each dimension; None: by the codebook size")
    bound: Literal["tanh", "sigmoid"] = setting("tanh", description="how a dimension is bounded; sigmoid: iFSQ")

    space: ClassVar[SuggestedSpace] = {
        "codebook_size": {"type": "int", "low": 256, "high": 22000, "log": True},
        "bound": {"type": "choice", "choices": ["tanh", "sigmoid"]},
    }

    @model_validator(mode="after")
    def _has_levels(self) -> Self:
        if self.levels is not None and (not self.levels or min(self.levels) < 3):
            raise SettingError(
                f"quantizer.levels={list(self.levels)} must have at least one dimension, of at least 3 levels each"
            )
        return self

    @property
    def resolved_levels(self) -> tuple[int, ...]:
        """The levels in use: those given, or else those that fit `codebook_size`."""
        return self.levels or levels_for(self.codebook_size)

    def build(self, model_width: int, num_roles: int = 0, seed: int = 0) -> _FSQQuantizer:
        return _FSQQuantizer(self, model_width, seed)


class _FSQQuantizer(Quantizer):
    """Bounds and rounds; its only parameters are the maps to and from the few dimensions."""

    gradient: Gradient = "surrogate"

    def __init__(self, config: FSQConfig, model_width: int, seed: int) -> None:
        levels = config.resolved_levels
        super().__init__(model_width, len(levels), (math.prod(levels),), seed)
        self.config = config

    # Constants are computed, not stored: Transformers leaves buffers that are in no file with whatever is in memory.
    @property
    def levels_C(self) -> Tensor:
        """L of each dimension."""
        return torch.tensor(self.config.resolved_levels, device=self._num_updates.device)

    @property
    def middle_C(self) -> Tensor:
        """floor(L / 2), the number of levels below 0."""
        return self.levels_C // 2

    def bounds(self) -> tuple[Tensor, Tensor, Tensor]:
        """Returns h, o and atanh(o / h) of each dimension; see the formula above."""
        levels_C = self.levels_C
        half_C = (levels_C.float() - 1) * (1 + 1e-3) / 2
        offset_C = (levels_C % 2 == 0).float() * 0.5
        return half_C, offset_C, torch.atanh(offset_C / half_C)

    def bounded(self, inputs_NC: Tensor) -> Tensor:
        """Returns the inputs bounded so that rounding gives one of L integers, of which floor(L / 2) are below 0."""
        half_C, offset_C, shift_C = self.bounds()
        if self.config.bound == "sigmoid":
            shifted_NC = inputs_NC + shift_C * 2 / IFSQ_SLOPE
            return (2 * torch.sigmoid(IFSQ_SLOPE * shifted_NC) - 1) * half_C - offset_C
        return torch.tanh(inputs_NC + shift_C) * half_C - offset_C

    def quantize_packed(self, inputs_NC: Tensor, roles_N: Tensor | None = None) -> Packed:
        levels_C, middle_C = self.levels_C, self.middle_C
        bounded_NC = self.bounded(inputs_NC)
        rounded_NC = bounded_NC.detach().round()
        codes_N1 = ((rounded_NC.long() + middle_C) * _places(levels_C)).sum(-1, keepdim=True)
        return Packed(straight_through(bounded_NC / middle_C, rounded_NC / middle_C), codes_N1)

    def lookup_packed(self, codes_NQ: Tensor) -> Tensor:
        levels_C, middle_C = self.levels_C, self.middle_C
        digits_NC = codes_NQ // _places(levels_C) % levels_C
        return (digits_NC - middle_C) / middle_C


def _places(levels_C: Tensor) -> Tensor:
    """Returns the place value of each dimension in the code, a number in mixed radix."""
    return levels_C.cumprod(0) // levels_C


class GridQuantizer(Quantizer):
    """Rounds inputs to L even levels from -1 to 1 in each dimension: a layer of residual FSQ."""

    def __init__(self, levels: Sequence[int], seed: int) -> None:
        super().__init__(len(levels), None, (math.prod(levels),), seed)
        self.levels = tuple(levels)

    @property
    def levels_C(self) -> Tensor:
        """L of each dimension."""
        return torch.tensor(self.levels, device=self._num_updates.device)

    @property
    def steps_C(self) -> Tensor:
        """L - 1 of each dimension; a residual times this lies in [-1, 1] again."""
        return self.levels_C - 1

    def quantize_packed(self, inputs_NC: Tensor, roles_N: Tensor | None = None) -> Packed:
        digits_NC = ((inputs_NC.detach().clamp(-1, 1) + 1) / 2 * self.steps_C).round().long()
        codes_N1 = (digits_NC * _places(self.levels_C)).sum(-1, keepdim=True)
        return Packed(straight_through(inputs_NC, self.lookup_packed(codes_N1)), codes_N1)

    def lookup_packed(self, codes_NQ: Tensor) -> Tensor:
        digits_NC = codes_NQ // _places(self.levels_C) % self.levels_C
        return 2.0 * digits_NC / self.steps_C - 1.0


def levels_for(codebook_size: int) -> tuple[int, ...]:
    """Returns levels whose product is at most `codebook_size` and as close to it as possible.

    Levels range from 5 to 8. Sizes that the paper lists get the paper's levels, which are 4,375 codes for 4,096, and
    sizes below 5 * 5 * 5 one or two dimensions, of up to 24 levels.
    """
    if codebook_size in PUBLISHED_LEVELS:
        return PUBLISHED_LEVELS[codebook_size]
    if codebook_size < SMALLEST_LEVEL**2:
        return (codebook_size,)
    longest = int(math.log(codebook_size, SMALLEST_LEVEL) + 1e-9)
    largest = 8 if longest > 2 else codebook_size // SMALLEST_LEVEL
    lengths = range(min(longest, math.ceil(math.log(codebook_size, largest) - 1e-9)), longest + 1)
    levels = range(largest, SMALLEST_LEVEL - 1, -1)
    choices = [choice for length in lengths for choice in combinations_with_replacement(levels, length)]
    return max((choice for choice in choices if math.prod(choice) <= codebook_size), key=math.prod)
