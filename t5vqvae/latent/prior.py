"""A prior over codes: a smoothed back-off chain, counted on training codes; its cross-entropy is a rate.

The chain predicts the codes of a position one after another. A context is the position's earlier codes, then, if asked
for, all codes of the position before, then of the one before that. Each context shrinks towards the shorter one:

    p(code | context) = (n(context, code) + a * p(code | shorter context)) / (n(context) + a)

and the shortest one towards the uniform distribution (hierarchical Dirichlet smoothing, MacKay and Peto 1995). Every
level has one strength `a`: of a fixed grid, the one under which the counted codes have the highest likelihood when each
is predicted from the others (leave-one-out). One estimator for every codebook makes rates comparable. The entropy of
the counted frequencies would be far too low: with more possible code tuples than positions, it is at most the log of
the number of positions.

Letters: N positions of all sentences, Q codes a position.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_Ints = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]

STRENGTHS = np.geomspace(1e-2, 1e6, 33)
"""The grid of smoothing strengths, in counts."""


@dataclass(frozen=True)
class CodeSequences:
    """The codes of sentences, one after another.

    Attributes:
        codes_NQ: Codes, each from 0 to its codebook's size minus 1.
        places_N: Place of a position in its sentence, from 0.
    """

    codes_NQ: _Ints
    places_N: _Ints

    @classmethod
    def of(cls, sentences: Sequence[npt.NDArray[np.integer]]) -> CodeSequences:
        """Joins sentences, each of shape (its positions, Q)."""
        kept = [np.asarray(sentence, dtype=np.int64) for sentence in sentences if len(sentence)]
        return cls(np.concatenate(kept), np.concatenate([np.arange(len(sentence)) for sentence in kept]))

    def first(self, num_positions: int) -> CodeSequences:
        """Returns the first positions."""
        return CodeSequences(self.codes_NQ[:num_positions], self.places_N[:num_positions])


def cross_entropy_bits(
    counted: CodeSequences, scored: CodeSequences, sizes: Sequence[int], num_before: int = 0
) -> float:
    """Returns the bits a position of codes under a chain that was counted on other codes.

    Args:
        counted: Codes of the training split.
        scored: Codes whose bits are wanted, of another split.
        sizes: The size of each of the Q codebooks.
        num_before: How many positions before a position are context; 0 gives the joint rate of its Q codes.

    Returns:
        At least 0. At most about the sum of log2 of the sizes, when nothing is predictable.

    Raises:
        ValueError: If either has no position, or a code lies outside its codebook.
    """
    return cross_entropies_bits(counted, scored, sizes, num_before)[-1]


def cross_entropies_bits(
    counted: CodeSequences, scored: CodeSequences, sizes: Sequence[int], most_before: int
) -> list[float]:
    """Returns `cross_entropy_bits` with 0, 1, ... `most_before` positions of context, in the time of the last."""
    _check(counted, scored, sizes)
    columns = [_Items(counted.codes_NQ[:, place], scored.codes_NQ[:, place]) for place in range(len(sizes))]
    tuples = functools.reduce(_Items.then, columns)
    before = [_shifted(tuples, counted, scored, back) for back in range(1, most_before + 1)]
    bits = [_code_bits(columns[place], size, columns[:place], before) for place, size in enumerate(sizes)]
    return [sum(each) for each in zip(*bits, strict=True)]


def bits_of_positions(counted: CodeSequences, scored: CodeSequences, sizes: Sequence[int]) -> _Floats:
    """Returns the bits of the Q codes of each scored position together, without context; their mean is the joint rate.

    Raises:
        ValueError: As `cross_entropy_bits`.
    """
    _check(counted, scored, sizes)
    columns = [_Items(counted.codes_NQ[:, place], scored.codes_NQ[:, place]) for place in range(len(sizes))]
    bits_N = np.zeros(len(scored.codes_NQ))
    for place, size in enumerate(sizes):
        *_, (scored_p_N, _) = _levels(columns[place], size, columns[:place])
        bits_N -= np.log2(scored_p_N)
    return bits_N


def smoothing_strengths(counted: CodeSequences, sizes: Sequence[int], num_before: int) -> list[list[float]]:
    """Returns the strengths of every codebook, from the shortest context to the longest, to draw from the chain.

    Raises:
        ValueError: As `cross_entropy_bits`.
    """
    _check(counted, counted, sizes)
    columns = [_Items(counted.codes_NQ[:, place], counted.codes_NQ[:, place]) for place in range(len(sizes))]
    tuples = functools.reduce(_Items.then, columns)
    before = [_shifted(tuples, counted, counted, back) for back in range(1, num_before + 1)]
    return [
        [strength for _, strength in _levels(columns[place], size, [*columns[:place], *before])]
        for place, size in enumerate(sizes)
    ]


def _check(counted: CodeSequences, scored: CodeSequences, sizes: Sequence[int]) -> None:
    for name, codes_NQ in (("counted", counted.codes_NQ), ("scored", scored.codes_NQ)):
        if not len(codes_NQ):
            raise ValueError(f"{name} has no position")
        if codes_NQ.shape[1] != len(sizes) or (codes_NQ < 0).any() or (codes_NQ >= np.asarray(sizes)).any():
            raise ValueError(f"{name} has codes outside codebooks of {list(sizes)} entries")


@dataclass(frozen=True)
class _Items:
    """One integer a position, of the counted and of the scored codes; equal integers mean the same in both."""

    counted_N: _Ints
    scored_N: _Ints

    def then(self, more: _Items) -> _Items:
        """Returns one number for every different pair of two items."""
        width = 1 + int(max(more.counted_N.max(), more.scored_N.max()))
        keys = np.concatenate([self.counted_N * width + more.counted_N, self.scored_N * width + more.scored_N])
        _, numbers = np.unique(keys, return_inverse=True)
        return _Items(numbers[: len(self.counted_N)], numbers[len(self.counted_N) :])


def _shifted(tuples: _Items, counted: CodeSequences, scored: CodeSequences, back: int) -> _Items:
    """Returns the number of the code tuple `back` positions before each position; a sentence's start has its own."""

    def shifted(tuples_N: _Ints, places_N: _Ints) -> _Ints:
        moved = np.concatenate([np.zeros(back, np.int64), tuples_N + 1])[: len(tuples_N)]
        return np.where(places_N >= back, moved, 0)

    return _Items(shifted(tuples.counted_N, counted.places_N), shifted(tuples.scored_N, scored.places_N))


def _code_bits(codes: _Items, size: int, earlier: Sequence[_Items], before: Sequence[_Items]) -> list[float]:
    """Returns the mean bits of one codebook's scored codes, level by level from the uniform distribution up.

    Args:
        codes: The codes.
        size: Of their codebook.
        earlier: The position's earlier codes, which are always context.
        before: The code tuples of the positions before, of which 0, 1, ... are context in the results.
    """
    bits = [float(-np.log2(scored_p_N).mean()) for scored_p_N, _ in _levels(codes, size, [*earlier, *before])]
    return bits[len(earlier) :]


def _levels(codes: _Items, size: int, contexts: Sequence[_Items]) -> Iterator[tuple[_Floats, float]]:
    """Yields the scored codes' probabilities and the strength, without context, then with one context more each."""
    counted_p_N, scored_p_N = np.full(len(codes.counted_N), 1 / size), np.full(len(codes.scored_N), 1 / size)
    where = _Items(np.zeros_like(codes.counted_N), np.zeros_like(codes.scored_N))
    for more in [None, *contexts]:
        if more is not None:
            where = where.then(more)
        counted_p_N, scored_p_N, strength = _smoothed(codes, where, counted_p_N, scored_p_N)
        yield scored_p_N, strength


def _smoothed(
    codes: _Items, where: _Items, counted_p_N: _Floats, scored_p_N: _Floats
) -> tuple[_Floats, _Floats, float]:
    """Returns the probabilities of codes in their contexts, from those in shorter contexts, and the strength.

    Args:
        codes: The codes.
        where: The number of each code's context.
        counted_p_N: Probability of each counted code in its shorter context, predicted from all others.
        scored_p_N: Probability of each scored code in its shorter context.
    """
    pairs = where.then(codes)
    pair_counts = np.bincount(pairs.counted_N, minlength=1 + int(max(pairs.counted_N.max(), pairs.scored_N.max())))
    counts = np.bincount(where.counted_N, minlength=1 + int(max(where.counted_N.max(), where.scored_N.max())))
    of_code, of_context = pair_counts[pairs.counted_N] - 1, counts[where.counted_N] - 1
    seen = of_context > 0  # elsewhere the shorter context's probability stays, whatever the strength
    known = of_code[seen], counted_p_N[seen], of_context[seen]
    a = max(STRENGTHS, key=lambda strength: float(np.log(_shrunk(*known, strength)).sum()))
    scored = _shrunk(pair_counts[pairs.scored_N], scored_p_N, counts[where.scored_N], a)
    return _shrunk(of_code, counted_p_N, of_context, a), scored, float(a)


def _shrunk(of_code: _Ints, shorter_p: _Floats, of_context: _Ints, strength: float) -> _Floats:
    """Returns the probabilities of codes, given their counts and the probabilities in their shorter contexts."""
    return (of_code + strength * shorter_p) / (of_context + strength)
