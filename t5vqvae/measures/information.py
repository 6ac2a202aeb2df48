"""What a code says: mutual information between the code at a word and that word, its neighbours, and its role.

The estimate is that of `counted.py`: its mean over shuffled codes is subtracted, so that independent codes have 0.
Purity, inverse purity and V-measure are those of `agreement.py`, next to, or less, their shuffled values. All are also
of the role, and of the operator in mathematics.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from t5vqvae.measures.agreement import agreement
from t5vqvae.measures.base import Found, Probed, Row, measure
from t5vqvae.measures.coded_words import CodedWord
from t5vqvae.measures.counted import adjusted_share, entropy_bits, numbered


@measure("information")
def information(probed: Probed) -> Found:
    """Measures what the code at a word says about the word, its neighbours and its role."""
    words = probed.words
    if len(words) < 2:
        return Found()
    codes_N = numbered([word.codes for word in words])
    shuffled_N = np.random.default_rng(probed.seed).permutation(codes_N)
    rows, clusters, metrics = list[Row](), list[Row](), dict[str, float]()
    for name, items in _targets(words, probed.spec.data.corpus.operator_of).items():
        kept = [row for row, item in enumerate(items) if item is not None]
        if not kept:
            continue
        some_N, items_N = numbered(codes_N[kept].tolist()), numbered([items[row] for row in kept])
        found, total = agreement(some_N, items_N, shuffled_N[kept], probed.seed), entropy_bits(items_N)
        metrics[f"information/{name}"] = found.bits
        if name in _AGREE:
            metrics |= {f"information/{_AGREE[name]}{key}": value for key, value in found.metrics.items()}
        share = adjusted_share(some_N, items_N, probed.seed) if total else None
        rows.append({"about": name, "bits": found.bits, "entropy": total, "share": share, "purity": found.purity,
                     "purity, shuffled": found.purity_shuffled})  # fmt: skip
        clusters.append({"about": name, **found.row})
    return Found(metrics, {"What the code at a word says": rows, "Codes as clusters": clusters})


_AGREE = {"word": "", "role": "role_", "operator": "operator_"}
"""What agreements are metrics of, and how their keys begin."""


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
