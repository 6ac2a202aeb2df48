"""`role`: each semantic role has its own slice of the codebook (T5VQVAE's "disentangled" codebook, corrected).

With R roles the K entries are cut into R + 1 slices of K // (R + 1). Role r takes the nearest entry of slice r - 1.
Positions without a role (0) take the nearest entry of the last slice, which also has the remainder. Start and revival
respect the slices too. Everything else is as in `ema`.

Source: T5VQVAE's "disentangled" codebook, arXiv 2402.00723 (SnowYJ/T5VQVAE).

Same: a slice of the codebook for each semantic role, and one for the rest; roles are an input.

Different: codes are numbers in the whole table, because the offset of the slice is added: the official code forgets
it, so that every role indexes the first slice. The official encoder also mixes the role into its states, h <- .7 h +
.3 e_role after every block; here it does not.

Letters: N positions, n positions of one slice, M positions of all workers, C code width, R roles, K entries, D width
of an entry, S entries that a position takes.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from t5vqvae.config import setting
from t5vqvae.errors import SettingError
from t5vqvae.quantizers.base import Packed
from t5vqvae.quantizers.ema import EMAConfig, EMAQuantizer
from t5vqvae.quantizers.parts.initialization import Start


class RoleConfig(EMAConfig):
    """A codebook with one slice for each role of the data."""

    name: Literal["role"] = "role"  # type: ignore[assignment]
    start: Start = setting("kmeans", description="where the entries of each slice start; states have no roles yet")

    @property
    def chooses_nearest(self) -> bool:
        return False  # the nearest of a slice

    def build(self, model_width: int, num_roles: int = 0, seed: int = 0) -> RoleQuantizer:
        return RoleQuantizer(self, model_width, num_roles, seed)


class RoleQuantizer(EMAQuantizer):
    """Takes the nearest entry within the slice of the position's role.

    Attributes:
        slices: The first entry of each slice and the one after its last: the roles in order, then positions without.
    """

    config: RoleConfig

    def __init__(self, config: RoleConfig, model_width: int, num_roles: int, seed: int) -> None:
        size, smallest = config.codebook_size // (num_roles + 1), config.top_k if config.selection == "topk" else 1
        if size < smallest:
            raise SettingError(
                f"quantizer.codebook_size={config.codebook_size} must be at least {smallest * (num_roles + 1)}:"
                f" {smallest} for each of {num_roles} roles and for positions without one"
            )
        super().__init__(config, model_width, seed)
        ends = [size * (number + 1) for number in range(num_roles)] + [config.codebook_size]
        self.slices = list(zip([0, *ends[:-1]], ends, strict=True))
        self._slice_N: Tensor | None = None
        self._window: slice | None = None

    @property
    def reads_roles(self) -> bool:
        return len(self.slices) > 1

    def _slice_of(self, roles_N: Tensor | None, num_positions: int, device: torch.device) -> Tensor:
        """Returns the number of each position's slice: the last one for role 0, and for all if `roles_N` is None.

        Raises:
            ValueError: If a role is not one of those that the quantizer was built for.
        """
        last = len(self.slices) - 1
        if roles_N is None:
            return torch.full((num_positions,), last, device=device)
        if num_positions and not (int(roles_N.min()) >= 0 and int(roles_N.max()) <= last):
            raise ValueError(f"roles must lie between 0 and {last}, got {int(roles_N.min())} to {int(roles_N.max())}")
        return torch.where(roles_N == 0, last, roles_N.long() - 1)

    def quantize_packed(self, inputs_NC: Tensor, roles_N: Tensor | None = None) -> Packed:
        self._slice_N = self._slice_of(roles_N, inputs_NC.shape[0], inputs_NC.device)
        try:
            return super().quantize_packed(inputs_NC)
        finally:
            self._slice_N = None

    def table_KD(self, part: int) -> Tensor:
        table_KD = super().table_KD(part)
        return table_KD if self._window is None else table_KD[self._window]

    def _choose(self, inputs_ND: Tensor, part: int, learning: bool) -> Tensor:
        codes_NS = torch.zeros(inputs_ND.shape[0], self.samples_per_input if learning else 1, dtype=torch.int64)
        codes_NS = codes_NS.to(inputs_ND.device)
        slice_N = self._slice_N
        assert slice_N is not None, "only quantize_packed calls this, after it has set the slices"
        for number, (first, end) in enumerate(self.slices):
            places_n = (slice_N == number).nonzero().squeeze(-1)
            self._window = slice(first, end)
            try:
                if len(places_n):
                    codes_NS[places_n] = super()._choose(inputs_ND[places_n], part, learning) + first
            finally:
                self._window = None
        return codes_NS

    def _revived_parts(self, table: int) -> list[tuple[str, int, int]]:
        return [(f"revive{table}-{number}", first, end) for number, (first, end) in enumerate(self.slices)]

    @property
    def _start_slices(self) -> list[tuple[int, int]]:
        # Each slice starts from all start vectors, so that no role starts with a corner of the space.
        return self.slices
