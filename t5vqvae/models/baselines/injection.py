"""Three ways for a latent vector to enter every self-attention of a decoder: memory, addition, fusion.

- `memory`: one more key and value before all others, W z of each layer (one vector for both, as in Optimus's code).
- `addition`: W z added to the queries, keys or values of every position.
- `fusion`: the low-rank bilinear form sum over r of (A_r [x; 1]) * (B_r [z; 1]) instead of a query, key or value x.

Sources: memory is Optimus (Li et al. 2020, arXiv 2004.04092, and its code). Addition, fusion and the choice among
queries, keys and values follow the study that this one continues (Zhang et al. 2023, arXiv 2311.08579). It takes fusion
from DELLA (Hu et al. 2022, arXiv 2207.06130), which takes it from low-rank multimodal fusion (Liu et al. 2018, arXiv
1806.00064).

Not verified: the formulas of the last three papers are from memory. For the first two of them, two points could not be
confirmed: that the sum over r is outside the product (inside, the ranks would merge into one), and the exact place of
the added ones. The start is our choice: A_r = I, B_r = (0, 1/R) plus small noise, so that a pretrained decoder starts
nearly unchanged.

Letters: B batch, S decoder positions, Z latent width, I inner width (heads times head width), L layers, R rank.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

START_SPREAD = 0.02
"""Standard deviation of the noise on A_r and B_r at the start."""


class Injection(nn.Module):
    """Holds the latent of the current batch and puts it into each layer's queries, keys and values."""

    def __init__(self, scheme: str, into: str, latent_width: int, inner_width: int, num_layers: int, rank: int) -> None:
        """Builds the maps of `num_layers` layers; `scheme` and `into` are `OptimusConfig`'s `injection` and `into`."""
        super().__init__()
        self.scheme, self.num_layers, self.inner_width = scheme, num_layers, inner_width
        self.parts = tuple(into) if scheme != "memory" else ()
        self.latent_BZ: Tensor | None = None
        if scheme == "memory":
            self.memory = nn.Linear(latent_width, num_layers * inner_width, bias=False)
            nn.init.normal_(self.memory.weight, std=latent_width**-0.5)
        make = _Addition if scheme == "addition" else lambda z, i: _Fusion(z, i, rank)
        self.maps = nn.ModuleDict(
            {f"{part}{layer}": make(latent_width, inner_width) for layer in range(num_layers) for part in self.parts}
        )

    def keys(self) -> list[Tensor]:
        """Returns the added key (and value) of each layer, shape (B, 1, I); none unless the scheme is `memory`."""
        if self.scheme != "memory":
            return []
        assert self.latent_BZ is not None
        return list(self.memory(self.latent_BZ).unsqueeze(1).split(self.inner_width, -1))

    def into(self, part: str, layer: int, x_BSI: Tensor) -> Tensor:
        """Puts the latent into queries, keys or values (`part` q, k or v) of a layer."""
        if part not in self.parts:
            return x_BSI
        assert self.latent_BZ is not None
        return self.maps[f"{part}{layer}"](x_BSI, self.latent_BZ)


class _Addition(nn.Module):
    def __init__(self, latent_width: int, inner_width: int) -> None:
        super().__init__()
        self.map = nn.Linear(latent_width, inner_width, bias=False)

    def forward(self, x_BSI: Tensor, z_BZ: Tensor) -> Tensor:
        return x_BSI + self.map(z_BZ).unsqueeze(1)


class _Fusion(nn.Module):
    def __init__(self, latent_width: int, inner_width: int, rank: int) -> None:
        super().__init__()
        a_RII = torch.eye(inner_width).expand(rank, -1, -1)
        self.a_RII = nn.Parameter(a_RII + START_SPREAD * torch.randn(rank, inner_width, inner_width))
        self.a_bias_RI = nn.Parameter(torch.zeros(rank, inner_width))
        self.b_RIZ = nn.Parameter(START_SPREAD * torch.randn(rank, inner_width, latent_width))
        self.b_bias_RI = nn.Parameter(torch.full((rank, inner_width), 1 / rank))

    def forward(self, x_BSI: Tensor, z_BZ: Tensor) -> Tensor:
        x_BSRI = torch.einsum("bsi,roi->bsro", x_BSI, self.a_RII) + self.a_bias_RI
        z_BRI = torch.einsum("bz,roz->bro", z_BZ, self.b_RIZ) + self.b_bias_RI
        return (x_BSRI * z_BRI.unsqueeze(1)).sum(2)
