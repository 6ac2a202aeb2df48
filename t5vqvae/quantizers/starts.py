"""Where a codebook starts: k-means over encoder states of several batches.

Letters: M start vectors, K entries, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from t5vqvae.quantizers.assignment import mean_by_code, nearest

VECTORS_PER_CODE = 20
"""k-means wants 10 to 50 vectors a code; a single batch gives a few hundred and leaves most codes empty."""
MAX_START_VECTORS = 200_000


def num_vectors_for(codebook_size: int) -> int:
    """Returns how many encoder states a k-means start of `codebook_size` entries wants."""
    return min(VECTORS_PER_CODE * codebook_size, max(MAX_START_VECTORS, 2 * codebook_size))


def kmeans(vectors_MD: Tensor, table_KD: Tensor, num_iterations: int, generator: torch.Generator) -> Tensor:
    """Runs Lloyd's algorithm from `table_KD` and returns the centroids, shape (K, D).

    An entry that wins no vector is put on a random vector with a little noise, so that none stays empty for long.
    """
    table_KD = table_KD.clone()
    for _ in range(num_iterations):
        codes_M = nearest(vectors_MD, table_KD)
        touched_U, _, means_UD = mean_by_code(vectors_MD, codes_M)
        empty_K = torch.ones(table_KD.shape[0], dtype=torch.bool, device=table_KD.device)
        empty_K[touched_U] = False
        table_KD[touched_U] = means_UD
        table_KD[empty_K] = sample_rows(vectors_MD, int(empty_K.sum()), generator)
    return table_KD


def sample_rows(vectors_MD: Tensor, num_rows: int, generator: torch.Generator, noise: float = 1e-3) -> Tensor:
    """Returns random rows, without repetition while there are enough; repeated ones get noise of `noise` times the spread."""
    num_vectors = vectors_MD.shape[0]
    if num_rows <= num_vectors:
        rows = torch.randperm(num_vectors, generator=generator)[:num_rows]
        return vectors_MD[rows.to(vectors_MD.device)]
    rows = torch.randint(num_vectors, (num_rows,), generator=generator)
    jitter = torch.randn(num_rows, vectors_MD.shape[-1], generator=generator).to(vectors_MD)
    return vectors_MD[rows.to(vectors_MD.device)] + noise * vectors_MD.std() * jitter
