"""Start of a codebook: entries from encoder states of several batches, or from the backbone's token embeddings.

To add a start, write a function from a pool of vectors to K entries and name it in `place_entries`.

Letters: M vectors of the pool, K entries, D width of an entry, b centres drawn at a time.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from t5vqvae.quantizers.parts.assignment import mean_by_code, nearest, squared_distances

Start = Literal["random", "states", "kmeans", "kmeans++", "spherical_kmeans++", "embeddings"]
VECTORS_PER_CODE = 20
"""k-means needs 10 to 50 vectors a code; a single batch gives a few hundred and leaves most codes empty."""
MAX_START_VECTORS = 200_000
NOISE = 1e-3
"""Noise that separates repeated vectors, as a share of the vectors' standard deviation."""
MAX_ROUNDS = 512
"""k-means++ is exact up to this many entries; beyond, each round draws several centres from one distribution."""


def num_vectors_for(codebook_size: int) -> int:
    """Returns the number of encoder states that a k-means start of `codebook_size` entries needs."""
    return min(VECTORS_PER_CODE * codebook_size, max(MAX_START_VECTORS, 2 * codebook_size))


@torch.no_grad()
def place_entries(
    start: Start, pool_MD: Tensor, num_entries: int, num_iterations: int, generator: torch.Generator, unit: bool = False
) -> Tensor:
    """Returns the entries that `start` makes from a pool of vectors, shape (K, D).

    Args:
        start: `states` and `embeddings` take random vectors of the pool; the other values cluster it.
        pool_MD: At least one vector; encoder states, or token embeddings.
        num_entries: K; if it is more than M, vectors are repeated with a little noise.
        num_iterations: Lloyd iterations of the clustering starts.
        generator: The same on all workers.
        unit: Compare with entries at unit length (cosine distance).

    Raises:
        ValueError: If the pool is empty.
    """
    if not pool_MD.shape[0]:
        raise ValueError(f"quantizer.start={start} got no vectors to start from; give at least one encoder state")
    if start in ("states", "embeddings"):
        return sample_rows(pool_MD, num_entries, generator)
    if start == "spherical_kmeans++":
        return spherical_kmeans(pool_MD, num_entries, num_iterations, generator)
    draw = kmeans_plus_plus if start == "kmeans++" else sample_rows
    return kmeans(pool_MD, draw(pool_MD, num_entries, generator), num_iterations, generator, unit)


def kmeans(
    vectors_MD: Tensor, table_KD: Tensor, num_iterations: int, generator: torch.Generator, unit: bool = False
) -> Tensor:
    """Returns the centroids of Lloyd's algorithm, shape (K, D), started at `table_KD`.

    An entry that wins no vector moves near a random vector, so that no entry stays empty for long or equals another.
    """
    table_KD = table_KD.clone()
    for _ in range(num_iterations):
        touched_U, _, means_UD = mean_by_code(vectors_MD, nearest(vectors_MD, table_KD, unit))
        empty_K = torch.ones(table_KD.shape[0], dtype=torch.bool, device=table_KD.device)
        empty_K[touched_U] = False
        table_KD[touched_U] = means_UD
        near_UD = sample_rows(vectors_MD, int(empty_K.sum()), generator)
        table_KD[empty_K] = near_UD + _jitter(vectors_MD, near_UD.shape[0], generator)
    return table_KD


def spherical_kmeans(vectors_MD: Tensor, num_entries: int, num_iterations: int, generator: torch.Generator) -> Tensor:
    """Clusters the directions and scales each centroid to the mean length of its cluster's vectors.

    Vectors are scaled to unit length and clustered by k-means++ and Lloyd's algorithm; the centroids are scaled to unit
    length before they get the mean length.

    Source: CLVQ-VAE, arXiv 2506.20040, "scaled-spherical k-means++".
    """
    units_MD = F.normalize(vectors_MD, dim=-1)
    first_KD = kmeans_plus_plus(units_MD, num_entries, generator)
    directions_KD = F.normalize(kmeans(units_MD, first_KD, num_iterations, generator), dim=-1)
    lengths_M1 = torch.linalg.vector_norm(vectors_MD, dim=-1, keepdim=True)
    touched_U, _, means_U1 = mean_by_code(lengths_M1, nearest(units_MD, directions_KD))
    lengths_K1 = lengths_M1.mean().expand(num_entries, 1).clone()
    lengths_K1[touched_U] = means_U1
    return directions_KD * lengths_K1


def kmeans_plus_plus(vectors_MD: Tensor, num_entries: int, generator: torch.Generator) -> Tensor:
    """Draws K of the vectors, far apart from each other, and returns them, shape (K, D).

    They are drawn one after the other. The probability is proportional to the squared distance to the nearest vector
    drawn so far. With K beyond `MAX_ROUNDS` each round draws K / `MAX_ROUNDS` vectors from one distribution, as in
    k-means|| (Bahmani et al. 2012), which keeps the cost near that of one Lloyd iteration.

    Source: Arthur and Vassilvitskii 2007.
    """
    num_vectors = vectors_MD.shape[0]
    if num_entries >= num_vectors:
        return sample_rows(vectors_MD, num_entries, generator)
    per_round = -(-num_entries // MAX_ROUNDS)
    drawn = torch.randint(num_vectors, (1,), generator=generator)
    distances_M = torch.full((num_vectors,), torch.inf, device=vectors_MD.device)
    newest = drawn
    while len(drawn) < num_entries:
        newest_bD = vectors_MD[newest.to(vectors_MD.device)]
        distances_M = distances_M.minimum(_nearest_squared(vectors_MD, newest_bD))
        distances_M[drawn.to(distances_M.device)] = 0.0
        newest = _draw(distances_M, drawn, min(per_round, num_entries - len(drawn)), generator)
        drawn = torch.cat([drawn, newest])
    return vectors_MD[drawn.to(vectors_MD.device)]


def _nearest_squared(vectors_MD: Tensor, centres_bD: Tensor) -> Tensor:
    parts = [squared_distances(part_mD, centres_bD).amin(-1) for part_mD in vectors_MD.split(1 << 16)]
    return torch.cat(parts)


def _draw(distances_M: Tensor, drawn: Tensor, num: int, generator: torch.Generator) -> Tensor:
    """Draws up to `num` different vectors in proportion to `distances_M`, and returns their numbers.

    If fewer than `num` distances are above 0, all vectors not drawn yet are equally likely.
    """
    weights_M = distances_M.double().cpu()
    if int((weights_M > 0).sum()) < num:
        weights_M = torch.ones_like(weights_M)
        weights_M[drawn] = 0.0
    places = torch.rand(num, generator=generator, dtype=torch.float64) * weights_M.sum()
    picked = torch.searchsorted(weights_M.cumsum(0), places, right=True).clamp_max(len(weights_M) - 1).unique()
    return picked[weights_M[picked] > 0]


def sample_rows(vectors_MD: Tensor, num_rows: int, generator: torch.Generator) -> Tensor:
    """Returns random rows without repetition; if there are too few, all rows and repeated ones with noise.

    Args:
        vectors_MD: At least one vector.
        num_rows: The number of rows to return.
        generator: The same on all workers.
    """
    num_vectors, order_M = vectors_MD.shape[0], canonical_order(vectors_MD)
    first_U = order_M[torch.randperm(num_vectors, generator=generator)[:num_rows].to(order_M.device)]
    if num_rows <= num_vectors:
        return vectors_MD[first_U]
    more = torch.randint(num_vectors, (num_rows - num_vectors,), generator=generator).to(order_M.device)
    near_UD = vectors_MD[order_M[more]] + _jitter(vectors_MD, len(more), generator)
    return torch.cat([vectors_MD[first_U], near_UD])


def canonical_order(vectors_MD: Tensor) -> Tensor:
    """Returns an order of the vectors that depends on their values alone, not on their split over workers."""
    # One fixed projection: rounding can swap only vectors that are almost equal, for which the order does not matter.
    direction_D = torch.arange(1, vectors_MD.shape[-1] + 1, device=vectors_MD.device, dtype=vectors_MD.dtype).sin()
    return (vectors_MD @ direction_D).argsort(stable=True)


def _jitter(vectors_MD: Tensor, num_rows: int, generator: torch.Generator) -> Tensor:
    """Returns noise of `NOISE` times the vectors' standard deviation."""
    noise_UD = torch.randn(num_rows, vectors_MD.shape[-1], generator=generator).to(vectors_MD)
    return NOISE * vectors_MD.std(correction=0) * noise_UD
