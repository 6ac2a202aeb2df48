"""A map of the codebook: the vectors of the codes in use on two axes, each with its most frequent word and role.

The axes are the two directions of largest variance (principal components, weighted by use). `map_explained` is the
share of the variance that they hold; little of it means that distances on the map say little.

Letters: K codes in use, C code width, Q codes a position.
"""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import torch

from t5vqvae.latent.code_vectors import vectors
from t5vqvae.measures.base import Found, Probed, Row, measure
from t5vqvae.spec.probe import CODE_MAP

MOST_CODES = 1_500
"""The most frequent ones are drawn."""


@measure("code_map")
def code_map(probed: Probed) -> Found:
    """Projects the vectors of the codes in use on two axes."""
    uses: dict[tuple[int, ...], Counter[tuple[str, str]]] = defaultdict(Counter)
    for word in probed.words:
        uses[word.codes][word.text, word.role] += 1
    codes = sorted(uses, key=lambda code: (-uses[code].total(), code))[:MOST_CODES]
    if len(codes) < 3:
        return Found()
    device = next(probed.model.parameters()).device
    found_KC = vectors(probed.model.quantizer, torch.tensor(codes, device=device)).detach().double().cpu().numpy()
    counts_K = np.array([uses[code].total() for code in codes], dtype=np.float64)
    points_K2, explained = projected(found_KC, counts_K)
    rows: list[Row] = []
    for code, (x, y) in zip(codes, points_K2.tolist(), strict=True):
        (text, role), times = uses[code].most_common(1)[0]
        total = uses[code].total()
        rows.append({"code": " ".join(map(str, code)), "word": text, "role": role, "uses": total,
                     "purity": times / total, "x": x, "y": y})  # fmt: skip
    return Found({"codebook/map_explained": explained}, {CODE_MAP: rows})


def projected(vectors_KC: np.ndarray, counts_K: np.ndarray) -> tuple[np.ndarray, float]:
    """Returns vectors on two axes, shape (K, 2), and the share of the variance there; frequent ones count for more."""
    from sklearn.decomposition import PCA

    mean_C = counts_K @ vectors_KC / counts_K.sum()
    weighted_KC = (vectors_KC - mean_C) * np.sqrt(counts_K / counts_K.sum())[:, None]
    if min(vectors_KC.shape) < 2 or not weighted_KC.any():
        return np.pad(vectors_KC[:, :1] - mean_C[:1], ((0, 0), (0, 1))), 1.0
    # Both signs of each row: their mean is 0, so PCA subtracts nothing from what is weighted.
    pca = PCA(2, svd_solver="full").fit(np.concatenate([weighted_KC, -weighted_KC]))
    return (vectors_KC - mean_C) @ pca.components_.T, float(pca.explained_variance_ratio_.sum())
