"""`sfvq`: the entries are the ordered corners of a curve that fills the states' space (Vali and Bäckström 2023).

Training quantizes to a point of the curve. Each segment gets one random point (1 - u_j) c_j + u_j c_{j+1} with u_j
uniform; a state takes the nearest of these points, and both corners of the segment learn. There are three gradients:

- `noise`: noise substitution (NSVQ), as in the papers' training with an autoencoder (arXiv 2410.20573). The decoder
  reads h + ||h - q|| v / ||v|| with v ~ N(0, 1), exactly differentiable in h and q; there is no loss term.
- `diveq`: SF-DiVeQ (arXiv 2509.26469, section 4). The decoder reads h + sum_i l_i ||c_i - h|| sg(v_i / ||v_i||) over
  the segment's two corners, with l = (1 - u, u) and v_i ~ N(c_i - h, 1e-3 I), so about the point itself; there is no
  loss term. The paper trains without quantization at first: `train.quantize_from`.
- `straight_through`: the point itself, with the two terms of `vq`. It is the default because it learns better than
  `noise` on the project's token task, where `diveq` learns as well (`tests/benchmarks/quantizer_learning.py`).

The curve starts with a few corners and doubles: each corner gets a new one next to it, 1% along its segment.

Rate: a point of a segment is a real number, so training has no finite rate. Neither has evaluation with `hard = False`,
which projects onto the two segments at the nearest corner and takes the nearer point. Evaluation with `hard = True`,
the default, takes the nearest corner: at most log2 K bits. Compare the two, and judge by the hard result. Neighbouring
codes are close in space.

Source: Vali and Bäckström 2023, and with an autoencoder arXiv 2410.20573 (MHVali/Space-Filling-Vector-Quantizer);
SF-DiVeQ, arXiv 2509.26469.

Same: random points of segments, both corners learn; `noise` is NSVQ, the papers' gradient; `diveq` is SF-DiVeQ; four
corners that double, each new one 1% along its segment; evaluation on the curve with `hard = False`.

Different: the default gradient is `straight_through`, which learns better here than `noise`; the papers start a fresh
Adam and take 5 epochs at each doubling, here the optimizer keeps its moments and `double_every` says when; instead of
interpolation along the curve, `probe` measures its order, and `walk` prints the sentences along it.

Letters: N positions, n positions of one part, C code width, K corners at the end, k corners so far, S segments, 2
corners of a segment.
"""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import model_validator
from torch import Tensor, nn

from t5vqvae.config import setting
from t5vqvae.errors import SettingError
from t5vqvae.quantizers.base import Gradient, Packed, Quantizer, QuantizerConfig, SuggestedSpace
from t5vqvae.quantizers.parts.assignment import nearest
from t5vqvae.quantizers.parts.estimators import directions, straight_through
from t5vqvae.quantizers.parts.initialization import sample_rows
from t5vqvae.quantizers.parts.losses import mean_squared

START_VECTORS = 10_000
NEW_CORNER_AT = 0.01
"""Position of a new corner on its segment, as a share of the segment's length."""


class SFVQConfig(QuantizerConfig):
    """Corners of a space-filling curve that grows by doubling."""

    name: Literal["sfvq"] = "sfvq"
    codebook_size: int = setting(1024, ge=4, description="K, corners at the end of the growth")
    code_width: int | None = setting(None, ge=1, description="C; None: the model's width, without a projection")
    first_corners: int = setting(4, ge=2, description="corners before the growth")
    double_every: int = setting(50, ge=1, description="updates between two doublings")
    gradient: Literal["noise", "diveq", "straight_through"] = setting(
        "straight_through", description="noise: NSVQ, diveq: SF-DiVeQ, both without loss terms"
    )
    codebook_weight: float = setting(1.0, ge=0, description="weight of ||sg(h) - q||^2; gradient straight_through only")
    commitment_weight: float = setting(0.25, ge=0, description="of ||h - sg(q)||^2; gradient straight_through only")

    space: ClassVar[SuggestedSpace] = {
        "codebook_size": {"type": "choice", "choices": [256, 512, 1024, 2048, 4096]},
        "double_every": {"type": "int", "low": 10, "high": 500, "log": True},
        "gradient": {"type": "choice", "choices": ["noise", "diveq", "straight_through"]},
        "commitment_weight": {
            "type": "float",
            "low": 0.01,
            "high": 2.0,
            "log": True,
            "when": {"gradient": "straight_through"},
        },
    }

    @model_validator(mode="after")
    def _doubles(self) -> Self:
        ratio, rest = divmod(self.codebook_size, self.first_corners)
        if rest or ratio < 1 or ratio & (ratio - 1):
            raise SettingError(
                f"quantizer.codebook_size={self.codebook_size} must be"
                f" quantizer.first_corners={self.first_corners} times a power of two"
            )
        return self

    def build(self, model_width: int, num_roles: int = 0, seed: int = 0) -> SFVQQuantizer:
        return SFVQQuantizer(self, model_width, seed)


class SFVQQuantizer(Quantizer):
    """Takes random points of segments in training, and the nearest corner in evaluation.

    Evaluation with `hard = False` takes the nearest point of the curve.
    """

    has_soft_form: ClassVar[bool] = True

    _num_corners: Tensor

    def __init__(self, config: SFVQConfig, model_width: int, seed: int) -> None:
        super().__init__(model_width, config.code_width, (config.codebook_size,), seed)
        self.config = config
        corners_KC = torch.randn(config.codebook_size, self.code_width, generator=self.generator("start"))
        self.corners_KC = nn.Parameter(corners_KC * self.code_width**-0.5)
        self.register_buffer("_num_corners", torch.tensor(config.first_corners))
        kinds: dict[str, Gradient] = {"noise": "exact", "diveq": "surrogate", "straight_through": "straight_through"}
        self.gradient = kinds[config.gradient]  # noise substitution is exact for given noise

    @property
    def num_corners(self) -> int:
        """k, the number of corners so far."""
        return int(self._num_corners)

    @property
    def curve_kC(self) -> Tensor:
        """The corners so far, in the order of the curve."""
        return self.corners_KC[: self.num_corners]

    def quantize_packed(self, inputs_NC: Tensor, roles_N: Tensor | None = None) -> Packed:
        if self.training:
            return self._dithered(inputs_NC)
        codes_N1 = nearest(inputs_NC, self.curve_kC).unsqueeze(-1)
        if self.hard:
            return Packed(self.lookup_packed(codes_N1), codes_N1)
        return Packed(nearest_point(inputs_NC, self.curve_kC, codes_N1[:, 0]), codes_N1)

    def lookup_packed(self, codes_NQ: Tensor) -> Tensor:
        return F.embedding(codes_NQ[:, 0], self.corners_KC)

    def _dithered(self, inputs_NC: Tensor) -> Packed:
        """Draws one point in each segment and quantizes each state to the nearest; its code is the nearer corner's."""
        left_SC, right_SC = self.curve_kC[:-1], self.curve_kC[1:]
        u_S1 = torch.rand(left_SC.shape[0], 1, device=inputs_NC.device)
        points_SC = torch.lerp(left_SC, right_SC, u_S1)
        segments_N = nearest(inputs_NC, points_SC)
        points_NC = F.embedding(segments_N, points_SC)
        codes_N1 = (segments_N + (u_S1[segments_N, 0] > 0.5)).unsqueeze(-1)
        if self.config.gradient == "noise":
            return Packed(_substitute_noise(inputs_NC, points_NC), codes_N1)
        if self.config.gradient == "diveq":
            corners_N2C = F.embedding(segments_N[:, None] + torch.arange(2, device=u_S1.device), self.corners_KC)
            return Packed(along_segments(inputs_NC, corners_N2C, u_S1[segments_N]), codes_N1)
        terms = {
            "codebook": self.config.codebook_weight * mean_squared(inputs_NC.detach(), points_NC),
            "commitment": self.config.commitment_weight * mean_squared(inputs_NC, points_NC.detach()),
        }
        return Packed(straight_through(inputs_NC, points_NC), codes_N1, terms)

    @property
    def num_start_vectors(self) -> int:
        return START_VECTORS

    @torch.no_grad()
    def start(self, vectors_NC: Tensor, embeddings_VE: Tensor | None = None) -> None:
        """Sorts the vectors by length, cuts them into equal parts, and puts a first corner on the mean of each."""
        pool_NC = vectors_NC.float()
        if len(pool_NC) < self.num_corners:  # an empty part has no mean
            pool_NC = sample_rows(pool_NC, self.num_corners, self.generator("first corners"))
        parts = pool_NC[pool_NC.norm(dim=-1).argsort()].tensor_split(self.num_corners)
        self.corners_KC[: self.num_corners] = torch.stack([part_nC.mean(0) for part_nC in parts])

    @torch.no_grad()
    def _update(self) -> None:
        self._num_updates += 1
        if int(self._num_updates) % self.config.double_every == 0 and self.num_corners < self.config.codebook_size:
            doubled_kC = doubled(self.curve_kC)
            self.corners_KC[: doubled_kC.shape[0]] = doubled_kC
            self._num_corners.mul_(2)


def _substitute_noise(inputs_NC: Tensor, points_NC: Tensor) -> Tensor:
    """Returns h + ||h - q|| v / ||v|| with v ~ N(0, 1).

    Source: NSVQ, Vali and Bäckström 2022.
    """
    directions_NC = F.normalize(torch.randn_like(inputs_NC), dim=-1)
    errors_N1 = (inputs_NC - points_NC).square().sum(-1, keepdim=True).clamp_min(1e-20).sqrt()
    return inputs_NC + errors_N1 * directions_NC


def along_segments(inputs_NC: Tensor, corners_N2C: Tensor, places_N1: Tensor) -> Tensor:
    """Returns SF-DiVeQ's output for two corners of each state and the point's place between them, in [0, 1]."""
    shares_N2 = torch.cat([1.0 - places_N1, places_N1], -1)
    toward_N2C = corners_N2C - inputs_NC[:, None]
    lengths_N2 = toward_N2C.square().sum(-1).clamp_min(1e-20).sqrt()
    steps_N2C = (shares_N2 * lengths_N2)[..., None] * directions(inputs_NC[:, None], corners_N2C)
    return inputs_NC + steps_N2C.sum(1)


def nearest_point(inputs_NC: Tensor, curve_kC: Tensor, corners_N: Tensor) -> Tensor:
    """Returns the nearest point on the two segments at each state's nearest corner, shape (N, C)."""
    last = curve_kC.shape[0] - 1
    before_NC = _project(inputs_NC, curve_kC[(corners_N - 1).clamp_min(0)], curve_kC[corners_N])
    after_NC = _project(inputs_NC, curve_kC[corners_N], curve_kC[(corners_N + 1).clamp_max(last)])
    nearer_N1 = (inputs_NC - before_NC).square().sum(-1, keepdim=True) <= (inputs_NC - after_NC).square().sum(
        -1, keepdim=True
    )
    return torch.where(nearer_N1, before_NC, after_NC)


def doubled(curve_kC: Tensor) -> Tensor:
    """Returns the curve with a new corner next to each corner, 1% along the segment that follows it.

    The last corner has no such segment: its new corner is 1% along the segment before it.
    """
    new_kC = torch.lerp(curve_kC, torch.cat([curve_kC[1:], curve_kC[-2:-1]]), NEW_CORNER_AT)
    pairs_k2C = torch.stack([curve_kC, new_kC], 1)
    pairs_k2C[-1] = pairs_k2C[-1].flip(0)
    return pairs_k2C.flatten(0, 1)


def _project(inputs_NC: Tensor, left_NC: Tensor, right_NC: Tensor) -> Tensor:
    """Returns the point between left and right that is nearest to each input; left if the two coincide."""
    along_NC = right_NC - left_NC
    squares_N1 = along_NC.square().sum(-1, keepdim=True)
    part_N1 = ((inputs_NC - left_NC) * along_NC).sum(-1, keepdim=True) / squares_N1.clamp_min(1e-20)
    return left_NC + part_N1.clamp(0.0, 1.0) * along_NC
