"""Health of the codebook: how many codes are dead, how distinct the others are, and how many directions they span.

Codes are those of the probed sentences: a position with several codebooks has one vector, that of its codes together.

- `dead_share`: 1 - used / K, mean over the codebooks. An evaluation's `codebook/usage` divides by min(K, positions).
- `cosine`: mean cosine of two different vectors in use, in [-1, 1]: near 0 distinct, near 1 alike; `cosine_weighted`:
  of the vectors of two positions with different codes, so that frequent codes count for more. Vectors are taken as they
  are: less their mean, any vectors have about 0.
- `effective_rank`: exp of the entropy of the normalized singular values of the vectors in use, less their mean;
  `effective_rank_shuffled`: the same with every column in another order, what independent columns would have.

Source: distinctiveness: StructTokenBench (Yuan et al. 2025).

Letters: K vectors in use, C code width, N positions, Q codes a position.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from t5vqvae.latent.code_vectors import vectors
from t5vqvae.measures.base import Found, Probed, measure

Floats = npt.NDArray[np.float64]


def mean_cosine(vectors_KC: Floats, counts_K: Floats) -> float | None:
    """Returns the mean cosine of two draws of different vectors; None with fewer than two vectors.

    Args:
        vectors_KC: Different vectors; one of length 0 has cosine 0 with all others.
        counts_K: How often each is drawn.
    """
    if len(vectors_KC) < 2:
        return None
    lengths_K = np.linalg.norm(vectors_KC, axis=1)
    units_KC = vectors_KC / np.where(lengths_K > 0, lengths_K, 1.0)[:, None]
    share_K = counts_K / counts_K.sum()
    # The mean over all pairs less those of a vector with itself, over the chance of two different ones.
    mean_C, itself = share_K @ units_KC, float((share_K**2 * (lengths_K > 0)).sum())
    return float((mean_C @ mean_C - itself) / (1 - (share_K**2).sum()))


def effective_rank(vectors_KC: Floats) -> float:
    """Returns the effective number of directions, in [1, C]; 0 for vectors that are all alike."""
    found = np.linalg.svd(vectors_KC, compute_uv=False)
    if found.sum() <= 0:
        return 0.0
    share = found[found > 0] / found.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


@measure("codebook")
def codebook(probed: Probed) -> Found:
    """Measures how many codes are dead, and how distinct those in use are."""
    if not probed.codes:
        return Found()
    codes_NQ = np.concatenate(probed.codes)
    used_KQ, counts_K = np.unique(codes_NQ, axis=0, return_counts=True)
    quantizer = probed.model.quantizer
    device = next(probed.model.parameters()).device
    vectors_KC = vectors(quantizer, torch.from_numpy(used_KQ).to(device)).detach().double().cpu().numpy()
    centred_KC = vectors_KC - vectors_KC.mean(0)
    rng = np.random.default_rng(probed.seed)
    used = [len(np.unique(column)) / size for column, size in zip(codes_NQ.T, quantizer.code_sizes, strict=True)]
    metrics = {
        "codebook/dead_share": 1 - sum(used) / len(used),
        "codebook/cosine": mean_cosine(vectors_KC, np.ones(len(used_KQ))),
        "codebook/cosine_weighted": mean_cosine(vectors_KC, counts_K.astype(np.float64)),
        "codebook/effective_rank": effective_rank(centred_KC),
        "codebook/effective_rank_shuffled": effective_rank(rng.permuted(centred_KC, axis=0)),
    }
    return Found({key: value for key, value in metrics.items() if value is not None})
