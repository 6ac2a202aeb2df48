"""`aminoaseed`: the codebook is a learned linear map of frozen encoder states (Yuan et al. 2025, arXiv 2503.00089).

The difference from `simvq`, whose released code has a map with a bias, too: the frozen table holds a random permutation
of the encoder states of the start (if there are too few, repeated, all with noise of standard deviation 0.01 / sqrt(D),
as in the official code) or random near-orthogonal rows (as in the paper). Loss: ||sg(h) - e||^2 + 0.25 ||h - sg(e)||^2.
The paper varies K at a fixed product K D and finds K x D = 512 x 1024 best.

Source: StructTokenBench, Yuan et al. 2025, arXiv 2503.00089 (KatarinaYuan/StructTokenBench).

Same: the frozen states in a random order, all with noise of .01 / sqrt(D) where they repeat; a map with a bias; both
loss terms, beta .25; K x D = 512 x 1024 is the paper's best.

Different: states are of the whole start, not of the first batch; random rows (the paper's text, not its code) are an
option; sensitivity and distinctiveness are measured by `probe`, on minimal pairs of sentences instead of conformations.

Letters: N positions, C code width, Q codebooks, K entries, D width of an entry, M start vectors, V tokens, E model
width.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from t5vqvae.config import setting
from t5vqvae.quantizers.simvq import SimVQConfig, SimVQQuantizer

NOISE = 0.01


class AminoAseedConfig(SimVQConfig):
    """A learned linear map with a bias, applied to frozen encoder states."""

    name: Literal["aminoaseed"] = "aminoaseed"  # type: ignore[assignment]
    codebook_size: int = setting(512, ge=2, description="K, entries of each codebook")
    start: Literal["states", "random"] = setting(  # type: ignore[assignment]
        "states", description="what is frozen: encoder states or random rows"
    )

    def build(self, model_width: int, num_roles: int = 0, seed: int = 0) -> _AminoAseedQuantizer:
        return _AminoAseedQuantizer(self, model_width, seed)


class _AminoAseedQuantizer(SimVQQuantizer):
    """Takes the nearest entry of the mapped table, whose frozen rows come from the data."""

    bias: ClassVar[bool] = True

    @property
    def num_start_vectors(self) -> int:
        return self.config.codebook_size if self.config.start == "states" else 0

    @torch.no_grad()
    def start(self, vectors_NC: Tensor, embeddings_VE: Tensor | None = None) -> None:
        """Freezes K encoder states in a random order; if there are fewer, it repeats them with noise."""
        if self.config.start == "random":
            return
        generator = self.generator("start")
        for table, pool_MD in enumerate(self._per_table(self._parts(vectors_NC.float()))):
            self.frozen_QKD[table] = tiled(pool_MD, self.config.codebook_size, generator)


def tiled(vectors_MD: Tensor, num_rows: int, generator: torch.Generator) -> Tensor:
    """Returns `num_rows` of the vectors in a random order; if there are fewer, repeats them.

    With repeats, every row carries noise of standard deviation 0.01 / sqrt(D).
    """
    num_vectors, width = vectors_MD.shape
    order_K = torch.randperm(max(num_rows, num_vectors), generator=generator)[:num_rows] % num_vectors
    rows_KD = vectors_MD[order_K.to(vectors_MD.device)]
    if num_vectors >= num_rows:
        return rows_KD
    noise_KD = torch.randn(num_rows, width, generator=generator) * (NOISE * width**-0.5)
    return rows_KD + noise_KD.to(rows_KD)
