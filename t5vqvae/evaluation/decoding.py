"""Decodes many sentences, without letting the few that never end hold up the rest.

A batch is decoded until all its sentences have ended. A model may repeat itself in a sentence for ever, and one such
sentence makes its whole batch take all steps. So a batch stops as soon as `ENOUGH` of it has ended. The sentences that
are left are decoded once more, together. Greedy decoding gives the same tokens both times.

Letters: B batch, S decoder positions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from t5vqvae.data import Batch, TokenizedSplit
from t5vqvae.data.batching import Array
from t5vqvae.models.contract import Memory, TextAutoencoder

ENOUGH = 0.9
"""Share of a batch that has ended when the rest is left for later."""


@dataclass(frozen=True)
class Decoded:
    """One decoded sentence: its index in the split, its text, and its codes as text."""

    index: int
    text: str
    codes: str


@dataclass
class Decoding:
    """Decodes the batches of a split; see the head of this file.

    Attributes:
        model: A model with its tokenizer.
        split: The sentences.
        longest: Tokens after which decoding stops.
        batch_size: Sentences that are decoded together.
    """

    model: TextAutoencoder
    split: TokenizedSplit
    longest: int
    batch_size: int
    _late: dict[int, str] = field(default_factory=dict)
    """The codes of the sentences left for later, by index."""

    def run(self, batches: Iterable[tuple[Array, Batch, Memory]], *, single: bool) -> Iterator[list[Decoded]]:
        """Yields the sentences of each batch that have ended, then those that took longer.

        Args:
            batches: The indices, the batches on the model's device, and what it has encoded of them.
            single: Whether there is one batch only: nothing could be decoded together with its rest.
        """
        for indices, batch, memory in batches:
            yield list(self._ended(indices, batch, memory, 1.0 if single else ENOUGH))
        device = next(self.model.parameters()).device
        late = np.array(sorted(self._late, key=lambda index: int(self.split.lengths[index])), dtype=np.int64)
        for start in range(0, len(late), self.batch_size):
            chosen = late[start : start + self.batch_size]
            texts = self._texts(self.model.greedy(self.split.batch(chosen).to(device), self.longest))
            yield [Decoded(i, text, self._late[i]) for i, text in zip(chosen.tolist(), texts, strict=True)]

    def _ended(self, indices: Array, batch: Batch, memory: Memory, enough: float) -> Iterator[Decoded]:
        """Decodes a batch; yields the sentences that have ended, and keeps the others for later."""
        ids_BS = self.model.greedy(batch, self.longest, enough, memory)
        codes_BTQ = memory.bottleneck.codes_BTQ
        ended_B = (ids_BS == self.model.require_tokenizer().eos_token_id).any(-1).tolist()
        final = enough == 1 or ids_BS.shape[1] > self.longest
        for row, (index, text) in enumerate(zip(indices.tolist(), self._texts(ids_BS), strict=True)):
            codes = "" if codes_BTQ is None else _show_codes(codes_BTQ[row])
            if final or ended_B[row]:
                yield Decoded(index, text, codes)
            else:
                self._late[index] = codes

    def _texts(self, ids_BS: Tensor) -> list[str]:
        return self.model.require_tokenizer().batch_decode(ids_BS, skip_special_tokens=True)


def _show_codes(codes_TQ: Tensor) -> str:
    kept = codes_TQ[(codes_TQ >= 0).all(-1)]
    return " ".join(":".join(map(str, row)) for row in kept.tolist())
