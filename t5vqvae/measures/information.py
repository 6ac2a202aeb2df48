"""What a code says: mutual information between the code at a word and that word, its neighbours, and its role.

The plug-in estimate grows with the codebook: an independent code of 1,024 entries shows bits where there are none. So
its mean over shuffled codes is subtracted; independent codes then have 0. Shuffling keeps both marginals.

    I(code; word) = H(word) - H(word | code), bits; less the mean of the same over shuffles

Purity is the share of words that equal the most frequent word of their code; its shuffled value stands next to it,
because a code that occurs once is pure by itself.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt

from t5vqvae.measures.base import CodedWord, Found, Probed, Row, measure

NUM_SHUFFLES = 20
_Ints = npt.NDArray[np.int64]


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
    rng = np.random.default_rng(seed)
    return float(np.mean([information_bits(rng.permutation(codes_N), words_N) for _ in range(num_shuffles)]))


def adjusted_share(codes_N: _Ints, words_N: _Ints, seed: int) -> float:
    """Returns (I - chance) / (H(words) - chance): 1 if the code names the word, about 0 if it is independent.

    Chance is the shuffled value. Where it comes within .1 bits of the entropy, nothing can be said: 0.
    """
    chance = shuffled_information_bits(codes_N, words_N, seed)
    room = entropy_bits(words_N) - chance
    return (information_bits(codes_N, words_N) - chance) / room if room > 0.1 else 0.0


def purity(codes_N: _Ints, words_N: _Ints) -> float:
    """Returns the share of words that equal the most frequent word of their code, in (0, 1]."""
    pairs, counts = np.unique(np.stack([codes_N, words_N], 1), axis=0, return_counts=True)
    most = np.zeros(int(codes_N.max()) + 1, dtype=np.int64)
    np.maximum.at(most, pairs[:, 0], counts)
    return float(most.sum() / len(codes_N))


@measure("information")
def information(probed: Probed) -> Found:
    """Measures what the code at a word says about the word, its neighbours and its role."""
    words = probed.words
    if len(words) < 2:
        return Found()
    codes_N = numbered([word.codes for word in words])
    rows: list[Row] = []
    metrics: dict[str, float] = {}
    for name, items in _targets(words).items():
        kept = [row for row, item in enumerate(items) if item is not None]
        if not kept:
            continue
        some_N, items_N = numbered(codes_N[kept].tolist()), numbered([items[row] for row in kept])
        bits, total = excess_information_bits(some_N, items_N, probed.seed), entropy_bits(items_N)
        metrics[f"information/{name}"] = bits
        rows.append({"about": name, "bits": bits, "entropy": total, "share": bits / total if total else None})
    words_N = numbered([word.text for word in words])
    shuffled_N = np.random.default_rng(probed.seed).permutation(codes_N)
    metrics |= {"information/purity": purity(codes_N, words_N)}
    metrics |= {"information/purity_shuffled": purity(shuffled_N, words_N)}
    return Found(metrics, {"What the code at a word says": rows})


def _targets(words: Sequence[CodedWord]) -> dict[str, list[str | None]]:
    """Returns what a code may be about, by name: one item a word, None where there is none."""
    texts = {(word.sentence, word.place): word.text for word in words}
    has_roles = any(word.role for word in words)
    return {
        "word": [word.text for word in words],
        "word_before": [texts.get((word.sentence, word.place - 1)) for word in words],
        "word_after": [texts.get((word.sentence, word.place + 1)) for word in words],
        "role": [word.role if has_roles else None for word in words],
    }
