"""The bits of each sentence's codes, so that two models' rates can be compared on the same sentences.

Summed over sentences and divided by their positions, they are `rate/bits_per_token` and `rate/joint_bits_per_token`.

Letters: N positions of all sentences, Q codes a position, K entries of a codebook.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from t5vqvae.evaluation.chains import COUNTED_POSITIONS, SentenceCodes
from t5vqvae.evaluation.sums import Sums
from t5vqvae.latent.prior import CodeSequences, bits_of_positions
from t5vqvae.models.contract import TextAutoencoder
from t5vqvae.quantizers.parts.usage import usage

BLOCKS = 20


@dataclass(frozen=True)
class SentenceRates:
    """The rates of sentences, in the order of `indices`.

    Attributes:
        indices: Places of the sentences in their split.
        positions: Encoder positions of each.
        bits: Bits of each under the codes' own frequencies: the upper bound.
        joint_bits: Bits of each under a chain counted on training codes; empty without any counted.
        usage: Share of the codes in use in each of `BLOCKS` equal parts of the sentences, mean over the codebooks.
    """

    indices: Sequence[int]
    positions: Sequence[float]
    bits: Sequence[float]
    joint_bits: Sequence[float] = ()
    usage: Sequence[float] = ()

    @classmethod
    def of(cls, sums: Sums, counted: Sums, model: TextAutoencoder) -> SentenceRates:
        """Returns the rates of the evaluated sentences.

        Args:
            sums: Of the evaluated split.
            counted: Of training sentences; without codes: no joint rate.
            model: Whose quantizers made the codes.
        """
        indices, sizes = sorted(sums.codes), model.quantizer.code_sizes
        positions = [float(len(sums.codes[index])) for index in indices]
        bits, joint = _bits(sums.codes, sums.counts, indices), np.zeros(0)
        if sums.prompt_codes:
            bits = bits + _bits(sums.prompt_codes, sums.prompt_counts, indices)
        if counted.codes:
            joint = _joint_bits(counted.codes, sums.codes, sizes, indices)
        if counted.codes and sums.prompt_codes:
            prompts = model.quantizers[-1].code_sizes
            joint = joint + _joint_bits(counted.prompt_codes, sums.prompt_codes, prompts, indices)
        return cls(indices, positions, bits.tolist(), joint.tolist(), _usage(sums.codes, indices, sizes))


def _usage(codes: SentenceCodes, indices: Sequence[int], sizes: tuple[int, ...]) -> list[float]:
    """Returns the usage of codes in each block of sentences."""
    blocks = np.array_split(np.asarray(indices), min(BLOCKS, len(indices)))
    found = []
    for block in blocks:
        codes_NQ = np.concatenate([codes[index] for index in block.tolist()])
        counts = [np.bincount(codes_NQ[:, place], minlength=size) for place, size in enumerate(sizes)]
        found.append(sum(usage(torch.from_numpy(counts_K)) for counts_K in counts) / len(counts))
    return found


def _bits(codes: SentenceCodes, counts: Sequence[Tensor], indices: Sequence[int]) -> npt.NDArray[np.float64]:
    """Returns the bits of each sentence's codes, those of a position one after the other."""
    tables = [np.asarray(counts_K.double()) for counts_K in counts]
    costs = [-np.log2(np.maximum(table_K, 1) / table_K.sum()) for table_K in tables]
    total = [sum(cost_K[codes[index][:, place]].sum() for place, cost_K in enumerate(costs)) for index in indices]
    return np.array(total, dtype=float)


def _joint_bits(
    counted: Mapping[int, npt.NDArray[np.int64]], scored: SentenceCodes, sizes: tuple[int, ...], indices: Sequence[int]
) -> npt.NDArray[np.float64]:
    chain = CodeSequences.of([counted[index] for index in sorted(counted)]).first(COUNTED_POSITIONS)
    bits_N = bits_of_positions(chain, CodeSequences.of([scored[index] for index in indices]), sizes)
    ends = np.cumsum([len(scored[index]) for index in indices])
    return np.array([part.sum() for part in np.split(bits_N, ends[:-1])])
