"""Three ways for a latent vector to enter every self-attention of a decoder: memory, addition, fusion.

- `memory`: one more key and value before all others, W z of each layer (one vector for both, as in Optimus's code).
- `addition`: W z added to the queries, keys or values of every position.
- `fusion`: (sum over r of A_r [x; 1]) * (sum over r of B_r [z; 1]) instead of a query, key or value x. Each sum is one
  affine map: the rank changes how fast it learns, not what it can express.

With a second latent the first enters keys and values (semantics) and the second, by addition or fusion, queries
(syntax): so memory can stand next to Q.

Sources: memory is Optimus (Li et al. 2020, arXiv 2004.04092, and its code). The choice among queries, keys and values
and the two latents follow the study that this one continues (Zhang et al. 2023, arXiv 2311.08579). Fusion is equation 9
of DELLA (Hu et al. 2022, arXiv 2207.06130), as `LMFLayer` computes it in DELLA's code (OpenVLG/DELLA, on values alone)
and in that study's (SnowYJ/sem_syn_separation); it goes back to low-rank multimodal fusion (Liu et al. 2018, arXiv
1806.00064), which sums over r outside the product. The start is our choice: sum of A_r = I, sum of B_r = (0, 1), plus
small noise, so that a pretrained decoder starts nearly unchanged.

Letters: B batch, S decoder positions, Z latent width, I inner width (heads times head width), J one more than
an input's width, L layers, R rank.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t5vqvae.spec.architectures import OptimusConfig

START_SPREAD = 0.02
"""Standard deviation of the noise on A_r and B_r at the start."""


class Injection(nn.Module):
    """Holds the latents of the current batch and puts them into each layer's queries, keys and values.

    Attributes:
        latent_BZ: The latent of the current batch.
        query_latent_BZ: The second latent, which the queries get; None if there is one latent alone.
    """

    def __init__(self, settings: OptimusConfig, inner_width: int, num_layers: int) -> None:
        """Builds the maps of `num_layers` layers by `injection`, `into` and `query`."""
        super().__init__()
        width, self.inner_width = settings.latent_width, inner_width
        ways = {part: settings.injection for part in settings.into} if settings.injection != "memory" else {}
        if settings.query is not None:
            ways["q"] = settings.query
        self.has_two, self.ways = settings.query is not None, ways
        self.latent_BZ: Tensor | None = None
        self.query_latent_BZ: Tensor | None = None
        self.memory: nn.Linear | None = None
        if settings.injection == "memory":
            self.memory = nn.Linear(width, num_layers * inner_width, bias=False)
            nn.init.normal_(self.memory.weight, std=width**-0.5)
        maps: dict[str, nn.Module] = {}
        for layer in range(num_layers):
            for part, way in ways.items():
                fused = way == "fusion"
                maps[f"{part}{layer}"] = (
                    _Fusion(width, inner_width, settings.fusion_rank) if fused else _Addition(width, inner_width)
                )
        self.maps = nn.ModuleDict(maps)

    def keys(self) -> list[Tensor]:
        """Returns the added key (and value) of each layer, shape (B, 1, I); none unless the scheme is `memory`."""
        if self.memory is None:
            return []
        assert self.latent_BZ is not None
        return list(self.memory(self.latent_BZ).unsqueeze(1).split(self.inner_width, -1))

    def into(self, part: str, layer: int, x_BSI: Tensor) -> Tensor:
        """Puts a latent into queries, keys or values (`part` q, k or v) of a layer."""
        if part not in self.ways:
            return x_BSI
        latent_BZ = self.query_latent_BZ if self.has_two and part == "q" else self.latent_BZ
        assert latent_BZ is not None
        return self.maps[f"{part}{layer}"](x_BSI, latent_BZ)


class _Addition(nn.Module):
    def __init__(self, latent_width: int, inner_width: int) -> None:
        super().__init__()
        self.map = nn.Linear(latent_width, inner_width, bias=False)

    def forward(self, x_BSI: Tensor, z_BZ: Tensor) -> Tensor:
        return x_BSI + self.map(z_BZ).unsqueeze(1)


class _Fusion(nn.Module):
    """(sum over r of A_r [x; 1]) * (sum over r of B_r [z; 1])."""

    def __init__(self, latent_width: int, inner_width: int, rank: int) -> None:
        super().__init__()
        first_RIJ = torch.eye(inner_width, inner_width + 1).expand(rank, -1, -1) / rank
        second_RIJ = torch.zeros(rank, inner_width, latent_width + 1)
        second_RIJ[..., -1] = 1 / rank
        self.of_x_RIJ = nn.Parameter(first_RIJ + START_SPREAD * torch.randn(first_RIJ.shape))
        self.of_z_RIJ = nn.Parameter(second_RIJ + START_SPREAD * torch.randn(second_RIJ.shape))

    def forward(self, x_BSI: Tensor, z_BZ: Tensor) -> Tensor:
        # The maps are summed before they are applied: the same result in one product instead of R.
        return _affine(x_BSI, self.of_x_RIJ.sum(0)) * _affine(z_BZ, self.of_z_RIJ.sum(0)).unsqueeze(1)


def _affine(x: Tensor, map_IJ: Tensor) -> Tensor:
    """Returns the map of [x; 1]."""
    return F.linear(x, map_IJ[:, :-1], map_IJ[:, -1])
