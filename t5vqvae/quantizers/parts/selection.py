"""Selection: which entry, or entries, an input takes in training; in evaluation it takes the nearest.

Sampling draws from torch's default generator, which differs between workers. A checkpoint keeps the generator's state,
so a resumed run draws the same numbers as an uninterrupted one.

Letters: N positions, n positions of one block, K entries, D width of an entry, S entries that an input takes (their
mean is passed on), k candidates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from t5vqvae.quantizers.parts.assignment import squared_distances

Selection = Literal["nearest", "topk", "multi"]
MAX_SCORES = 1 << 22
"""Distances in memory at once: 16 MB in float32."""


@torch.no_grad()
def sample_topk(inputs_ND: Tensor, table_KD: Tensor, k: int, temperature: float, unit: bool = False) -> Tensor:
    """Returns one of the `k` nearest entries of each input, shape (N, 1).

    The probability is softmax(-d / temperature) over the candidates, where d is the squared distance.

    Source: CLVQ-VAE, arXiv 2506.20040 (k 5, temperature 1).
    """

    def draw(distances_nK: Tensor) -> Tensor:
        near_nk, codes_nk = distances_nK.topk(k, dim=-1, largest=False)
        return codes_nk.gather(-1, torch.multinomial((-near_nk / temperature).softmax(-1), 1))

    return _by_rows(inputs_ND, table_KD, unit, 1, draw)


@torch.no_grad()
def sample_many(
    inputs_ND: Tensor, table_KD: Tensor, num_samples: int, temperature: float, unit: bool = False
) -> Tensor:
    """Returns `num_samples` entries of each input, shape (N, S); an entry can be drawn more than once.

    The probability is softmax(-d / temperature) over all K entries, where d is the squared distance.

    Source: IA-GPL, arXiv 2411.17676 (10 samples, temperature 1).
    """

    def draw(distances_nK: Tensor) -> Tensor:
        return torch.multinomial((-distances_nK / temperature).softmax(-1), num_samples, replacement=True)

    return _by_rows(inputs_ND, table_KD, unit, num_samples, draw)


def _by_rows(
    inputs_ND: Tensor, table_KD: Tensor, unit: bool, num_samples: int, draw: Callable[[Tensor], Tensor]
) -> Tensor:
    chunk = max(1, MAX_SCORES // table_KD.shape[0])
    parts = [draw(squared_distances(part_nD, table_KD, unit)) for part_nD in inputs_ND.split(chunk) if len(part_nD)]
    return torch.cat(parts) if parts else inputs_ND.new_empty((0, num_samples), dtype=torch.int64)
