"""`pca`: a linear bottleneck with the bits of a codebook; components of larger variance get more levels.

With mean m, components w_c and standard deviations s_c of the states: y_c = w_c . (h - m) / s_c falls into one of
L_c = 2^b_c cells of equal probability under N(0, 1), and is decoded as the cell's mean, L_c (phi(a) - phi(b)) between
its ends a, b. Each of the B = floor(log2 K) bits goes to the component with the largest remaining distortion
s_c^2 4^-b_c (reverse water-filling); a component without bits is lost. Everything is linear except the rounding, which
passes the gradient g unchanged: it reaches h as W W^T g. `start` fits the components; because the encoder learns, they
are fitted again every `refit_every` steps, to moving averages of mean and covariance. No parameter is trained.

The codebook is the set of all combinations of cells, so `rate/bits_per_token` is comparable with that of a codebook of
K entries.

Source: reverse water-filling is in Cover and Thomas 2006, section 10.3; a PCA baseline for learned codebooks is in the
single-GPU VQGAN study, arXiv 2308.05242, for images.

Same: the allocation of bits to components.

Different: the use on encoder states, at equal bits, is this project's own.

Letters: N positions, M vectors of a fit, C code width, B bits (also the largest number of components kept), V tokens, E
model width.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor

from t5vqvae.config import setting
from t5vqvae.quantizers.base import Gradient, Packed, Quantizer, QuantizerConfig, SuggestedSpace
from t5vqvae.quantizers.parts.distributed import gather_rows
from t5vqvae.quantizers.parts.estimators import straight_through
from t5vqvae.quantizers.parts.initialization import num_vectors_for

SMALLEST_SPREAD = 1e-6
"""Lower bound of a component's standard deviation, by which scores are divided."""


class PCAConfig(QuantizerConfig):
    """Principal components, rounded to floor(log2 codebook_size) bits in total."""

    name: Literal["pca"] = "pca"
    codebook_size: int = setting(1024, ge=2, description="K at most: all combinations of the components' levels")
    decay: float = setting(0.99, gt=0, lt=1, description="of the moving averages of mean and covariance")
    refit_every: int | None = setting(50, ge=1, description="steps between two fits to them; None: only at the start")

    space: ClassVar[SuggestedSpace] = {"codebook_size": {"type": "int", "low": 256, "high": 22000, "log": True}}

    def build(self, model_width: int, num_roles: int = 0, seed: int = 0) -> PCAQuantizer:
        return PCAQuantizer(self, model_width, seed)


class PCAQuantizer(Quantizer):
    """Projects, rounds and projects back; its whole state is buffers."""

    gradient: Gradient = "surrogate"
    moving_mean_C: Tensor
    moving_covariance_CC: Tensor
    mean_C: Tensor
    components_BC: Tensor
    spread_B: Tensor
    levels_B: Tensor

    def __init__(self, config: PCAConfig, model_width: int, seed: int) -> None:
        self.num_bits = int(math.log2(config.codebook_size))
        super().__init__(model_width, None, (2**self.num_bits,), seed)
        self.config = config
        components_BC = torch.randn(self.num_bits, model_width, generator=self.generator("start"))
        kept = min(self.num_bits, model_width)
        orthonormal_BC = torch.zeros_like(components_BC)
        orthonormal_BC[:kept] = torch.linalg.qr(components_BC[:kept].T).Q.T
        self.register_buffer("moving_mean_C", torch.zeros(model_width))
        self.register_buffer("moving_covariance_CC", torch.eye(model_width))
        self._recorded: list[Tensor] = []
        self.register_buffer("mean_C", torch.zeros(model_width))
        self.register_buffer("components_BC", orthonormal_BC)
        self.register_buffer("spread_B", torch.ones(self.num_bits))
        self.register_buffer("levels_B", _levels(torch.ones(kept), self.num_bits))

    @property
    def num_start_vectors(self) -> int:
        return num_vectors_for(self.config.codebook_size)

    @torch.no_grad()
    def start(self, vectors_NC: Tensor, embeddings_VE: Tensor | None = None) -> None:
        """Fits mean, components and levels to the start vectors."""
        mean_C, covariance_CC = _moments(vectors_NC)
        self.moving_mean_C.copy_(mean_C)
        self.moving_covariance_CC.copy_(covariance_CC)
        self._fit()

    def _fit(self) -> None:
        """Computes components and levels from the moving averages."""
        variances_C, vectors_CC = torch.linalg.eigh(self.moving_covariance_CC.double())
        kept = min(self.num_bits, self.code_width)
        variances_B, components_BC = variances_C.flip(0)[:kept].clamp_min(0), vectors_CC.T.flip(0)[:kept]
        self.mean_C.copy_(self.moving_mean_C)
        self.components_BC[:kept] = components_BC.float()
        self.spread_B[:kept] = variances_B.sqrt().clamp_min(SMALLEST_SPREAD).float()
        self.levels_B.copy_(_levels(variances_B, self.num_bits))

    @property
    def _place_B(self) -> Tensor:
        """The place value of each component in the code, a number in mixed radix."""
        return self.levels_B.cumprod(0) // self.levels_B

    def quantize_packed(self, inputs_NC: Tensor, roles_N: Tensor | None = None) -> Packed:
        if self.training and torch.is_grad_enabled():
            self._recorded.append(inputs_NC.detach())
        scores_NB = (inputs_NC - self.mean_C) @ self.components_BC.T
        below_NB = torch.special.ndtr(scores_NB.detach() / self.spread_B)  # share of N(0, 1) below the score
        cells_NB = (below_NB * self.levels_B).long().clamp_max(self.levels_B - 1)
        rounded_NB = straight_through(scores_NB, self._middles(cells_NB))
        codes_N1 = (cells_NB * self._place_B).sum(-1, keepdim=True)
        return Packed(self._back(rounded_NB), codes_N1)

    def lookup_packed(self, codes_NQ: Tensor) -> Tensor:
        return self._back(self._middles(codes_NQ // self._place_B % self.levels_B))

    def _middles(self, cells_NB: Tensor) -> Tensor:
        """Returns the mean score of each cell; 0 for a component with one cell."""
        ends = [torch.special.ndtri((cells_NB + step) / self.levels_B) for step in (0, 1)]
        below, above = (torch.exp(-0.5 * end.square()) / math.sqrt(2 * math.pi) for end in ends)
        return (below - above) * self.levels_B * self.spread_B

    def _back(self, scores_NB: Tensor) -> Tensor:
        kept_B = self.levels_B > 1
        return (scores_NB * kept_B) @ self.components_BC + self.mean_C

    @torch.no_grad()
    def _update(self) -> None:
        """Updates the moving averages from the states of all workers; every `refit_every` steps fits to them."""
        recorded_MC = gather_rows(torch.cat(self._recorded or [self.mean_C.new_empty(0, self.code_width)]))
        self._recorded = []
        if len(recorded_MC) > 1:
            mean_C, covariance_CC = _moments(recorded_MC)
            self.moving_mean_C.lerp_(mean_C, 1 - self.config.decay)
            self.moving_covariance_CC.lerp_(covariance_CC, 1 - self.config.decay)
        self._num_updates += 1
        if self.config.refit_every is not None and int(self._num_updates) % self.config.refit_every == 0:
            self._fit()


def _moments(states_MC: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the mean and covariance of states, computed in double precision."""
    states_MC = states_MC.double()
    mean_C = states_MC.mean(0)
    covariance_CC = (states_MC - mean_C).T @ (states_MC - mean_C) / max(1, len(states_MC) - 1)
    return mean_C.float(), covariance_CC.float()


def _levels(variances: Tensor, num_bits: int) -> Tensor:
    """Returns the levels of `num_bits` components: int64 powers of two whose product is 2^num_bits.

    A component that is not kept has 1 level.
    """
    bits = torch.zeros(num_bits, dtype=torch.int64)
    left = variances.double().cpu().clone()
    for _ in range(num_bits):
        largest = int(left.argmax())
        bits[largest] += 1
        left[largest] /= 4
    return 2**bits
