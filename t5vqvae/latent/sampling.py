"""Samples from the prior over codes: the back-off chain of `prior.py`, with the end of a sentence as a further code.

The chain is n-gram-like: the codes of the two positions before are the context (n = 3), and a context that training
hardly saw shrinks towards the shorter one, with the strengths that `prior.py` finds. Drawing needs no probability of
every code: the mixture (n(context, code) + a p(code | shorter)) / (n(context) + a) is a draw from the context's counts
with probability n / (n + a), and else a draw from the shorter context; from the shortest one, an even draw.

The end is one code more in every codebook, K, which training sentences have after their last position. A position
whose codes are a mixture of the end and others is drawn anew; an end before the first position, too.

Letters: T positions of a sentence, Q codes a position, K entries of a codebook.
"""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from t5vqvae.errors import DataError
from t5vqvae.latent.code_vectors import sizes_so_far
from t5vqvae.latent.latent_space import LatentSpace
from t5vqvae.latent.prior import CodeSequences, smoothing_strengths
from t5vqvae.latent.sentence import Sentence

NUM_BEFORE = 2
"""Positions before a position that are context: n - 1."""
Codes = tuple[int, ...]
Context = tuple[Codes | int | None, ...]
"""The position's earlier codes, then the codes of the position before, then of the one before that; None: no such."""


@dataclass(frozen=True)
class Sample:
    """A sequence of codes drawn from a chain.

    Attributes:
        codes: The codes of each position.
        ended: Whether the chain ended it; otherwise it was cut off at the largest length.
        bits: Bits of its codes under the chain, its end included if it ended.
    """

    codes: tuple[Codes, ...]
    ended: bool
    bits: float


class CodeChain:
    """The back-off chain of the codes of some sentences.

    Attributes:
        sizes: Entries of each codebook, with the end as the last one.
        longest: The largest number of positions that a counted sentence has.
    """

    def __init__(
        self, sentences: Sequence[npt.NDArray[np.integer]], code_sizes: Sequence[int], num_before: int = NUM_BEFORE
    ) -> None:
        """Counts sentences, each of shape (its positions, Q)."""
        self.sizes, self.num_before = [size + 1 for size in code_sizes], num_before
        self.longest = max(map(len, sentences), default=0)
        ended = [np.concatenate([codes_TQ, np.asarray(code_sizes)[None]]) for codes_TQ in sentences]
        counted = CodeSequences.of(ended)
        self._strengths = smoothing_strengths(counted, self.sizes, num_before)
        self._counts: list[dict[Context, Counter[int]]] = [defaultdict(Counter) for _ in self.sizes]
        for codes_TQ in ended:
            rows = [tuple(map(int, row)) for row in codes_TQ]
            for place, row in enumerate(rows):
                for codebook, code in enumerate(row):
                    for context in self._contexts(row[:codebook], rows[:place]):
                        self._counts[codebook][context][code] += 1

    @property
    def end(self) -> Codes:
        """The codes of the end of a sentence."""
        return tuple(size - 1 for size in self.sizes)

    def probability(self, code: int, earlier: Codes, before: Sequence[Codes]) -> float:
        """Returns the probability of a code.

        Args:
            code: The code of codebook `len(earlier)`; its last one is the end.
            earlier: The position's codes of the codebooks before it.
            before: The codes of all positions before.
        """
        codebook = len(earlier)
        found = 1 / self.sizes[codebook]
        levels = zip(self._contexts(earlier, before), self._strengths[codebook], strict=True)
        for context, strength in levels:
            counts = self._counts[codebook].get(context, Counter())
            found = (counts[code] + strength * found) / (counts.total() + strength)
        return found

    def sample(self, rng: random.Random, longest: int | None = None) -> Sample:
        """Returns one sentence.

        Args:
            rng: The source of randomness.
            longest: Positions after which it is cut off; None: those of the longest counted sentence.
        """
        positions: list[Codes] = []
        while (row := self._position(rng, positions)) != self.end:
            if len(positions) == (longest or self.longest):
                return Sample(tuple(positions), False, self.bits(positions))
            positions.append(row)
        return Sample(tuple(positions), True, self.bits([*positions, row]))

    def bits(self, positions: Sequence[Codes]) -> float:
        """Returns the bits of a sequence of codes."""
        return -sum(
            math.log2(self.probability(code, row[:codebook], positions[:place]))
            for place, row in enumerate(positions)
            for codebook, code in enumerate(row)
        )

    def _position(self, rng: random.Random, before: Sequence[Codes]) -> Codes:
        while True:
            row: Codes = ()
            while len(row) < len(self.sizes):
                row += (self._draw(rng, row, before),)
            ends = sum(code == end for code, end in zip(row, self.end, strict=True))
            if ends == 0 or (ends == len(row) and before):
                return row

    def _draw(self, rng: random.Random, earlier: Codes, before: Sequence[Codes]) -> int:
        codebook = len(earlier)
        levels = list(zip(self._contexts(earlier, before), self._strengths[codebook], strict=True))
        for context, strength in reversed(levels):
            counts = self._counts[codebook].get(context)
            if counts and rng.random() * (counts.total() + strength) < counts.total():
                return rng.choices(list(counts), list(counts.values()))[0]
        return rng.randrange(self.sizes[codebook])

    def _contexts(self, earlier: Codes, before: Sequence[Codes]) -> Iterator[Context]:
        """Yields the contexts of a code, from the shortest to the longest."""
        context: Context = ()
        yield context
        for code in earlier:
            context = (*context, code)
            yield context
        for back in range(1, self.num_before + 1):
            context = (*context, before[-back] if back <= len(before) else None)
            yield context


def draw(space: LatentSpace, counted: Sequence[Sentence], number: int, seed: int = 0) -> list[tuple[Sample, str]]:
    """Returns codes drawn from the chain and the texts that they decode to.

    Args:
        space: The model.
        counted: Encoded sentences of the training split, on which the chain is counted.
        number: Sentences to draw.
        seed: Seed of the draws.

    Raises:
        DataError: If the model has no codes, or no sentence is counted.
    """
    chain = CodeChain(counted_codes(space, counted), sizes_so_far(space.model.quantizer))
    rng = random.Random(f"{seed} samples")
    return decoded(space, counted, [chain.sample(rng) for _ in range(number)], seed)


def counted_codes(space: LatentSpace, counted: Sequence[Sentence]) -> list[npt.NDArray[np.int64]]:
    """Returns the codes of sentences, each of shape (T, Q), for a prior.

    Raises:
        DataError: If the model has no codes, or there is no sentence.
    """
    space.require_codes("the prior")
    if not counted:
        raise DataError("the prior needs the codes of a sentence at least")
    return [each.latent_TX.cpu().numpy() for each in counted]


def decoded(
    space: LatentSpace, counted: Sequence[Sentence], samples: Sequence[Sample], seed: int
) -> list[tuple[Sample, str]]:
    """Returns samples with the texts that they decode to; their prompts are those of random counted sentences."""
    rng = random.Random(f"{seed} prompts")
    prompts = [rng.choice(counted).prompt_codes_PQ for _ in samples]
    texts = space.decode([torch.tensor(each.codes) for each in samples], prompts)
    return list(zip(samples, texts, strict=True))
