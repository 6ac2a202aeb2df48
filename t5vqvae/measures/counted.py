"""Counts of codes and words: numbering, entropy, and mutual information less its shuffled value.

The plug-in estimate grows with the codebook: an independent code of 1,024 entries shows bits where there are none. So
its mean over shuffled codes is subtracted; independent codes then have 0. Shuffling keeps both marginals.

    I(code; word) = H(word) - H(word | code), bits; less the mean of the same over shuffles
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt

NUM_SHUFFLES = 20
NUM_NOISE = 50
"""Shuffles of which the largest value says what chance can show."""
LEAST_SHARE = 0.02
"""Of a factor; what a latent says less than this counts as nothing."""
LEAST_ROOM = 0.02
"""Of an entropy; where chance leaves less, as with a code of its own for nearly every sentence, nothing can be said."""
ROUNDING = 1e-9
_Ints = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]


def numbered(items: Sequence[Hashable]) -> _Ints:
    """Returns one number for every different item, from 0."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(item, len(numbers)) for item in items], dtype=np.int64)


def entropy_bits(items_N: _Ints) -> float:
    """Returns the entropy of the frequencies of items, bits."""
    share = np.bincount(items_N) / len(items_N)
    share = share[share > 0]
    return float(-(share * np.log2(share)).sum())


def information_bits(codes_N: _Ints, words_N: _Ints) -> float:
    """Returns the plug-in mutual information of two sequences, bits; it is biased upwards."""
    together_N = codes_N * (int(words_N.max()) + 1) + words_N
    _, joint_N = np.unique(together_N, return_inverse=True)
    return entropy_bits(codes_N) + entropy_bits(words_N) - entropy_bits(joint_N)


def excess_information_bits(codes_N: _Ints, words_N: _Ints, seed: int, num_shuffles: int = NUM_SHUFFLES) -> float:
    """Returns the mutual information less its mean over shuffled codes, bits; about 0 for independent codes."""
    return information_bits(codes_N, words_N) - shuffled_information_bits(codes_N, words_N, seed, num_shuffles)


def shuffled_information_bits(codes_N: _Ints, words_N: _Ints, seed: int, num_shuffles: int = NUM_SHUFFLES) -> float:
    """Returns the mean of the plug-in estimate over shuffled codes, bits: what chance alone shows."""
    return float(_shuffled_informations(codes_N, words_N, seed, num_shuffles).mean())


def _shuffled_informations(codes_N: _Ints, words_N: _Ints, seed: int, num_shuffles: int = NUM_SHUFFLES) -> _Floats:
    """Returns the plug-in estimate for codes in each of several random orders, bits, shape (shuffles,)."""
    rng = np.random.default_rng(seed)
    return np.array([information_bits(rng.permutation(codes_N), words_N) for _ in range(num_shuffles)])


def adjusted_share(codes_N: _Ints, words_N: _Ints, seed: int) -> float:
    """Returns (I - chance) / (H(words) - chance): 1 if the code names the word, 0 if it is independent.

    Chance is the mean over shuffles. What exceeds it by no more than twice what any shuffle does is noise, and counts
    as 0; so does everything where chance leaves less than .02 of the entropy.
    """
    shuffled_S = _shuffled_informations(codes_N, words_N, seed, NUM_NOISE)
    chance, entropy = float(shuffled_S.mean()), entropy_bits(words_N)
    excess, noise = information_bits(codes_N, words_N) - chance, float(shuffled_S.max()) - chance
    if entropy - chance <= LEAST_ROOM * entropy or excess <= 2 * noise + ROUNDING:
        return 0.0
    return excess / (entropy - chance)
