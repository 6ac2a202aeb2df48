"""Distances between the vectors of codes, in code space.

A position with several codebooks has one vector: its parts side by side, or the sum of residuals. The distance to a
code of one codebook is then the distance to the vector with that code in place and the position's other codes kept.

Letters: N positions, C code width, Q codes a position, K entries of one codebook.
"""

from __future__ import annotations

import torch
from torch import Tensor

from t5vqvae.errors import DataError
from t5vqvae.quantizers import Quantizer
from t5vqvae.quantizers.parts.assignment import squared_distances
from t5vqvae.quantizers.sfvq import SFVQQuantizer


def num_entries(quantizer: Quantizer, codebook: int) -> int:
    """Returns the entries of a codebook; of a curve that still grows, those that it has so far."""
    if isinstance(quantizer, SFVQQuantizer):
        return quantizer.num_corners
    return quantizer.code_sizes[codebook]


def sizes_so_far(quantizer: Quantizer) -> tuple[int, ...]:
    """Returns the entries of each codebook that codes may name; see `num_entries`."""
    return tuple(num_entries(quantizer, codebook) for codebook in range(quantizer.num_codebooks))


@torch.no_grad()
def vectors(quantizer: Quantizer, codes_NQ: Tensor) -> Tensor:
    """Returns the vectors of codes, shape (N, C).

    Raises:
        DataError: If a code is not sent, so has no vector.
    """
    if bool((codes_NQ < 0).any()):
        raise DataError("a code that is not sent has no neighbours; encode the sentence with all of its codes")
    return quantizer.lookup_packed(codes_NQ).float()


@torch.no_grad()
def distances(quantizer: Quantizer, points_NC: Tensor, codes_NQ: Tensor, codebook: int) -> Tensor:
    """Returns squared distances of points to all entries of a codebook, shape (N, K).

    Args:
        quantizer: The quantizer.
        points_NC: One point for each position.
        codes_NQ: The position's codes; those of other codebooks are kept.
        codebook: The codebook whose code takes all values.
    """
    size = num_entries(quantizer, codebook)
    if quantizer.num_codebooks == 1:
        table_KC = vectors(quantizer, torch.arange(size, device=points_NC.device)[:, None])
        return squared_distances(points_NC, table_KC)
    rows = [_with_each(codes_Q, codebook, size) for codes_Q in codes_NQ]
    found = [
        squared_distances(point_C[None], vectors(quantizer, row_KQ))
        for point_C, row_KQ in zip(points_NC, rows, strict=True)
    ]
    return torch.cat(found) if found else points_NC.new_zeros(0, size)


def nearest_codes(quantizer: Quantizer, codes_Q: Tensor, codebook: int, number: int) -> list[tuple[int, float]]:
    """Returns the other codes of one codebook that are nearest to a position's, with their squared distances."""
    codes_1Q = codes_Q[None]
    distances_K = distances(quantizer, vectors(quantizer, codes_1Q), codes_1Q, codebook)[0]
    order = [int(code) for code in distances_K.argsort(stable=True) if int(code) != int(codes_Q[codebook])]
    return [(code, float(distances_K[code])) for code in order[:number]]


def _with_each(codes_Q: Tensor, codebook: int, size: int) -> Tensor:
    """Returns a position's codes with each code of one codebook, shape (K, Q)."""
    row_KQ = codes_Q.expand(size, -1).clone()
    row_KQ[:, codebook] = torch.arange(size, device=codes_Q.device)
    return row_KQ
