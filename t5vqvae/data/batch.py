"""A padded batch of tokenized examples.

Letters: B batch, T source positions, S target positions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property

import torch
from torch import Tensor

IGNORED_LABEL = -100
"""The label at padding, which PyTorch's cross-entropy ignores."""


@dataclass(frozen=True)
class Batch:
    """Token ids, padded to the longest text of this batch."""

    input_ids_BT: Tensor
    """int64; 0 at padding."""
    mask_BT: Tensor
    """bool; True where there is a token."""
    labels_BS: Tensor
    """int64; -100 at padding."""
    roles_BT: Tensor | None
    """int64, an index into the role names, 0 for none; None where the corpus has no roles."""
    num_chars_B: Tensor
    """int64; characters of each target text, to compute nats a character."""

    def __len__(self) -> int:
        return self.input_ids_BT.shape[0]

    @cached_property
    def num_source_tokens(self) -> int:
        """Source tokens without padding."""
        return int(self.mask_BT.sum())

    @cached_property
    def num_target_tokens(self) -> int:
        """Target tokens without padding."""
        return int((self.labels_BS != IGNORED_LABEL).sum())

    def of_sources(self) -> Batch:
        """Returns the batch with its sources as its targets; `num_chars_B`, which training does not read, stays."""
        return replace(self, labels_BS=self.input_ids_BT.masked_fill(~self.mask_BT, IGNORED_LABEL))

    def to(self, device: torch.device | str) -> Batch:
        """Returns the batch on a device, with its tokens counted."""
        moved = self._map(lambda tensor: tensor.to(device))
        if self.mask_BT.device.type == "cpu":  # to count on a GPU would be to wait for all that it computes
            counts = {"num_source_tokens": self.num_source_tokens, "num_target_tokens": self.num_target_tokens}
            vars(moved).update(counts)
        return moved

    def _map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        tensors = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: function(value) for name, value in tensors.items() if value is not None})
