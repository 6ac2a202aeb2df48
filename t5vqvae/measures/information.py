"""What a code says: mutual information between the code at a word and that word, its neighbours, and its role.

The estimate is that of `counted.py`: its mean over shuffled codes is subtracted, so that independent codes have 0.
Purity is the share of words that equal the most frequent word of their code; its shuffled value stands next to it,
because a code that occurs once is pure by itself. Both are also of the role, and of the operator in mathematics.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from t5vqvae.measures.base import CodedWord, Found, Probed, Row, measure
from t5vqvae.measures.counted import entropy_bits, excess_information_bits, numbered

_Ints = npt.NDArray[np.int64]


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
    shuffled_N = np.random.default_rng(probed.seed).permutation(codes_N)
    rows: list[Row] = []
    metrics: dict[str, float] = {}
    for name, items in _targets(words, probed.spec.data.corpus.operator_of).items():
        kept = [row for row, item in enumerate(items) if item is not None]
        if not kept:
            continue
        some_N, items_N = numbered(codes_N[kept].tolist()), numbered([items[row] for row in kept])
        bits, total = excess_information_bits(some_N, items_N, probed.seed), entropy_bits(items_N)
        metrics[f"information/{name}"] = bits
        pure, by_chance = purity(some_N, items_N), purity(shuffled_N[kept], items_N)
        if name in _PURE:
            metrics |= {f"information/{_PURE[name]}": pure, f"information/{_PURE[name]}_shuffled": by_chance}
        share = bits / total if total else None
        rows.append({"about": name, "bits": bits, "entropy": total, "share": share, "purity": pure,
                     "purity, shuffled": by_chance})  # fmt: skip
    return Found(metrics, {"What the code at a word says": rows})


_PURE = {"word": "purity", "role": "role_purity", "operator": "operator_purity"}
"""What purities are metrics of, and their keys."""


def _targets(words: Sequence[CodedWord], operator_of: Callable[[str], str | None]) -> dict[str, list[str | None]]:
    """Returns what a code may be about, by name: one item a word, None where there is none."""
    texts = {(word.sentence, word.place): word.text for word in words}
    has_roles = any(word.role for word in words)
    return {
        "word": [word.text for word in words],
        "word_before": [texts.get((word.sentence, word.place - 1)) for word in words],
        "word_after": [texts.get((word.sentence, word.place + 1)) for word in words],
        "role": [word.role if has_roles else None for word in words],
        "operator": [operator_of(word.text) for word in words],
    }
