"""Prefix purity: do positions whose first codes are equal share a word, a role?

For a quantizer with several codes a position (`rvq`): positions are grouped by their first codes, one, two, and so on.
Purity is the share of words that equal the most frequent one of their group; small groups are pure by chance, so that
of shuffled codes stands next to it, which has as many groups of the same sizes.

Letters: N words, Q codes a position.
"""

from __future__ import annotations

import numpy as np

from t5vqvae.measures.agreement import purity
from t5vqvae.measures.base import Found, Probed, Row, measure
from t5vqvae.measures.counted import numbered


@measure("prefixes")
def prefixes(probed: Probed) -> Found:
    """Measures the purity of prefixes of codes, and that of shuffled ones."""
    words = probed.words
    if len(words) < 2 or len(words[0].codes) < 2:
        return Found()
    rng, rows, metrics = np.random.default_rng(probed.seed), list[Row](), dict[str, float]()
    named = {"word": [word.text for word in words], "role": [word.role for word in words]}
    for name, items in named.items():
        if len(set(items)) < 2:
            continue
        items_N = numbered(items)
        for length in range(1, len(words[0].codes) + 1):
            prefix_N = numbered([word.codes[:length] for word in words])
            found, shuffled = purity(prefix_N, items_N), purity(rng.permutation(prefix_N), items_N)
            rows.append({"about": name, "first codes": length, "purity": found, "shuffled": shuffled})
            if length == 1:
                metrics |= {f"prefix/{name}_purity": found, f"prefix/{name}_purity_shuffled": shuffled}
    return Found(metrics, {"Purity of prefixes": rows})
