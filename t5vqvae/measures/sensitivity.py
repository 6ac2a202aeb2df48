"""Sensitivity of codes: over minimal pairs, do the codes of two texts differ as much as the texts do?

    the rank correlation (Spearman) of the similarity of code sequences with the similarity of texts

Pairs are the sources and answers of the corpus's edits. A similarity is twice the number of matching items over all
items, in their order: words of texts as the corpus defines them, and positions with all their codes. The control
shuffles which codes belong to which texts.

Source: StructTokenBench (Yuan et al. 2025), for tokens of protein structures.

Letters: T positions, Q codes a position.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from difflib import SequenceMatcher

import numpy as np

from t5vqvae.measures.base import Found, Probed, measure


def similarity(items: Sequence[Hashable], others: Sequence[Hashable]) -> float:
    """Returns twice the number of matching items, in their order, over all items; in [0, 1]."""
    return SequenceMatcher(None, items, others, autojunk=False).ratio()


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Returns Spearman's correlation; None if one of the two does not vary."""
    from scipy.stats import spearmanr

    if len(set(one)) < 2 or len(set(other)) < 2:
        return None
    return float(spearmanr(one, other).statistic)


@measure("sensitivity")
def sensitivity(probed: Probed) -> Found:
    """Measures whether codes differ as much as texts."""
    corpus = probed.spec.data.corpus
    if not corpus.has_edits or not probed.model.has_codes or probed.model.leaks:
        return Found()
    space = probed.space()
    edits = probed.control().edits
    sides = [space.encode([edit.source for edit in edits]), space.encode([edit.answer for edit in edits])]
    codes = [[list(map(tuple, each.latent_TX.tolist())) for each in side] for side in sides]
    of_codes = [similarity(one, other) for one, other in zip(*codes, strict=True)]
    of_texts = [similarity(corpus.words(edit.source), corpus.words(edit.answer)) for edit in edits]
    shuffled = np.random.default_rng(probed.seed).permutation(of_codes).tolist()
    metrics = {
        "codebook/sensitivity": rank_correlation(of_codes, of_texts),
        "codebook/sensitivity_shuffled": rank_correlation(shuffled, of_texts),
    }
    return Found({key: value for key, value in metrics.items() if value is not None})
