"""Interpolation smoothness: how directly the texts between two sentences lead from one to the other.

    IS = d(s_0, s_T) / sum over t of d(s_t, s_t+1)

d is the Word Mover's Distance: the cheapest transport of one sentence's words to the other's, exactly, by POT's `emd`.
Words are lower case, split on white space, without stop words; the cost is the Euclidean distance of unit vectors.
Published values used word2vec-google-news vectors, of unit length in gensim from version 4 on and raw before (a test
says by how much the two differ). With other vectors, values are comparable between models that share them, and beat no
published one.

A path that jumps once has IS = 1, so a path *counts* only with at least 5 different sentences among its 11 and no step
above half of the sum. A path that never moves (0/0), or has a sentence without a known word, is undefined.

Source: Zhang et al. 2024, arXiv 2402.00723 (T5VQVAE), after Shen et al. 2020; WMD: Kusner et al. 2015.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Vectors = Mapping[str, npt.NDArray[np.float64]]
"""A vector of unit length for every known word."""
LEAST_DIFFERENT = 5
LARGEST_STEP = 0.5
"""Of the sum of all steps."""


@dataclass(frozen=True)
class Path:
    """One path of sentences.

    Attributes:
        texts: The decoded sentences, from one end to the other.
        smoothness: IS; None where it is undefined.
        counts: Whether the path moves gradually.
    """

    texts: Sequence[str]
    smoothness: float | None
    counts: bool


def plain_words(text: str) -> list[str]:
    """Returns the words of a text: lower case, split on white space."""
    return text.lower().split()


@dataclass(frozen=True)
class Distance:
    """The Word Mover's Distance.

    Attributes:
        vectors: A vector for every known word; other words are left out.
        stop_words: Words to leave out.
        words_of: Cuts a text into words.
    """

    vectors: Vectors
    stop_words: Collection[str] = ()
    words_of: Callable[[str], Sequence[str]] = plain_words

    def __call__(self, text: str, other: str) -> float:
        """Returns the distance of two texts; infinite if one of them has no known word."""
        return _moved(self._known_words(text), self._known_words(other), self.vectors)

    def _known_words(self, text: str) -> Counter[str]:
        return Counter(word for word in self.words_of(text) if word in self.vectors and word not in self.stop_words)


def _moved(words: Counter[str], others: Counter[str], vectors: Vectors) -> float:
    import ot

    if not words or not others:
        return float("inf")
    if words == others:
        return 0.0
    ends_AD = np.stack([vectors[word] for word in words])
    ends_BD = np.stack([vectors[word] for word in others])
    costs_AB = np.linalg.norm(ends_AD[:, None] - ends_BD[None], axis=-1)
    return float(ot.emd2(_shares(words), _shares(others), costs_AB))


def path_of(texts: Sequence[str], distance: Distance) -> Path:
    """Returns a path with its smoothness."""
    steps = [distance(a, b) for a, b in itertools.pairwise(texts)]
    total = sum(steps)
    if not 0 < total < float("inf"):
        return Path(texts, None, counts=False)
    whole = distance(texts[0], texts[-1])
    gradual = len(set(texts)) >= LEAST_DIFFERENT and max(steps) <= LARGEST_STEP * total
    return Path(texts, whole / total, gradual)


def scores(paths: Sequence[Path]) -> dict[str, float]:
    """Returns the `smoothness/` metrics; the mean over counting paths is left out if none counts."""
    counting = [path.smoothness for path in paths if path.counts and path.smoothness is not None]
    found = {
        "smoothness/mean_or_zero": sum(counting) / len(paths),
        "smoothness/counting_share": len(counting) / len(paths),
        "smoothness/undefined_share": sum(path.smoothness is None for path in paths) / len(paths),
    }
    if counting:
        found["smoothness/mean"] = sum(counting) / len(counting)
    return found


def _shares(words: Counter[str]) -> npt.NDArray[np.float64]:
    counts = np.array(list(words.values()), dtype=np.float64)
    return counts / counts.sum()
