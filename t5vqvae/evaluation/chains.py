"""The rate of codes under chains that are counted on the training split; see `t5vqvae.latent.prior`.

Letters: B batch, T positions of a sentence, P prompts, Q codes a position.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from torch import Tensor

from t5vqvae.data import TokenizedSplit, fixed_order
from t5vqvae.data.batching import Array
from t5vqvae.latent.prior import CodeSequences, cross_entropies_bits

COUNTED_POSITIONS = 2_500
"""Training positions on which the chains of every run are counted; all of a smaller split.

Another number would make other numbers of both rates, so it is no setting. Counted are the first positions of the
split's fixed random subset. More of them would lower the rates towards what the codes can do, and cost more: see
`tests/benchmarks/results/rate_chains.md`.
"""
POSITIONS_BEFORE = 2
"""Positions whose codes are the context of `rate/prior_bits_per_token`."""

SentenceCodes = dict[int, npt.NDArray[np.int64]]
"""The codes (T, Q) or prompt codes (P, Q) of sentences, by their index in the split."""


def note_codes(noted: SentenceCodes, indices: Array, codes_BTQ: Tensor) -> None:
    """Adds the codes of a batch, without padding."""
    for index, codes_TQ in zip(indices.tolist(), codes_BTQ.cpu().numpy(), strict=True):
        noted[index] = codes_TQ[(codes_TQ >= 0).all(-1)]


def num_counted_sentences(split: TokenizedSplit) -> int:
    """Returns how many sentences of the split's fixed random subset have `COUNTED_POSITIONS` positions together."""
    ends_N = np.cumsum(split.source_lengths_N[fixed_order(len(split))])
    return min(len(split), 1 + int(np.searchsorted(ends_N, COUNTED_POSITIONS)))


def chain_bits(
    counted: Mapping[int, npt.NDArray[np.int64]], scored: Mapping[int, npt.NDArray[np.int64]], sizes: tuple[int, ...]
) -> tuple[float, float]:
    """Returns the bits a position of scored codes: alone, and after those of the positions before it.

    Args:
        counted: Codes of the training split, of which the first `COUNTED_POSITIONS` positions count.
        scored: Codes of the evaluated split.
        sizes: The size of each of the Q codebooks.
    """
    chains = cross_entropies_bits(_joined(counted).first(COUNTED_POSITIONS), _joined(scored), sizes, POSITIONS_BEFORE)
    return chains[0], chains[-1]


def _joined(codes: Mapping[int, npt.NDArray[np.int64]]) -> CodeSequences:
    """Returns the codes in the split's order, so that batches and workers change nothing."""
    return CodeSequences.of([codes[index] for index in sorted(codes)])
