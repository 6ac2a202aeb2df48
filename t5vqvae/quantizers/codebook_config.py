"""The settings that quantizers with a table of entries share, and which of them exclude each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, Self

from pydantic import model_validator

from t5vqvae.config import setting
from t5vqvae.errors import SettingError
from t5vqvae.quantizers.base import QuantizerConfig
from t5vqvae.quantizers.parts.affine import AffineKind
from t5vqvae.quantizers.parts.estimators import TEACHES_ENTRIES, Estimator
from t5vqvae.quantizers.parts.initialization import Start
from t5vqvae.quantizers.parts.selection import Selection


class CodebookConfig(QuantizerConfig):
    """Settings of every variant with a table of entries.

    A variant that cannot use a setting names it in `unsupported`, with the reason; only the default is then accepted.
    """

    codebook_size: int = setting(1024, ge=2, description="K, entries of each codebook")
    code_width: int | None = setting(None, ge=1, description="C; None: the model's width, without a projection")
    num_codebooks: int = setting(1, ge=1, description="Q, codes a position; the code width is cut in Q parts")
    shared_codebook: bool = setting(False, description="one table for all Q parts")
    distance: Literal["euclidean", "cosine"] = setting("euclidean", description="cosine: at unit length throughout")
    selection: Selection = setting(
        "nearest", description="while training: nearest, one of the top_k (CLVQ-VAE), or the mean of several (IA-GPL)"
    )
    top_k: int = setting(5, ge=1, description="candidates of selection=topk")
    num_samples: int = setting(10, ge=1, description="entries whose mean selection=multi takes")
    temperature: float = setting(1.0, gt=0, description="of softmax(-d^2 / temperature): selection, entropy term")
    estimator: Estimator = setting(
        "straight_through",
        description="how the gradient passes the choice; diveq: and moves the entries, without loss terms",
    )
    commitment_weight: float = setting(0.25, ge=0, description="weight of ||sg(e) - h||^2, or see commitment_on")
    commitment_on: Literal["encoder", "codebook"] = setting(
        "encoder", description="the term that carries the commitment weight; codebook: VQGAN's legacy placement"
    )
    orthogonality_weight: float | None = setting(None, gt=0, description="keeps used entries apart; None: without")
    entropy_weight: float | None = setting(None, gt=0, description="evens out the batch's use of codes; None: without")
    affine: AffineKind | None = setting(None, description="one scale and shift for all entries; None: without")
    revive_below: float | None = setting(
        None,
        gt=0,
        lt=1,
        description="revive entries whose moving count is below this share of the average; None: never, so that rare"
        " tokens keep their codes where codes name tokens",
    )
    revive_beyond: float | None = setting(
        None,
        gt=0,
        description="with revive_below, at most 64 entries a table (role: a slice) move in a step, and only onto inputs"
        " whose squared distance from their entry exceeds this share of the variance of all the table's inputs (summed"
        " over dimensions); None: onto any input; nothing without revive_below, off by default but in ema and role",
    )
    start: Start = setting("kmeans", description="where the entries start")
    start_iterations: int = setting(10, ge=0, description="k-means iterations at the start")

    learns_by_gradient: ClassVar[bool] = False
    whole_batch: ClassVar[tuple[str, ...]] = ("entropy_weight", "orthogonality_weight")
    unsupported: ClassVar[Mapping[str, str]] = {}

    @property
    def chooses_nearest(self) -> bool:
        return self.distance == "euclidean" and self.selection == "nearest"

    @model_validator(mode="after")
    def _combines(self) -> Self:
        by_gradient = "needs a codebook that learns by gradient, as quantizer.name=vq has"
        if not self.learns_by_gradient:
            self._refuse("commitment_on", "codebook", by_gradient)
            self._refuse("affine", "learned", f"{by_gradient}; use moments")
            for estimator in TEACHES_ENTRIES:
                self._refuse("estimator", estimator, by_gradient)
            if self.orthogonality_weight is not None:
                self._refuse("orthogonality_weight", self.orthogonality_weight, by_gradient)
        if self.distance == "cosine":
            self._refuse("affine", self.affine, "must be null with quantizer.distance=cosine: the sphere has no scale")
        if self.selection != "nearest":
            self._refuse("revive_beyond", self.revive_beyond, "needs quantizer.selection=nearest")
        if self.selection == "topk" and self.top_k > self.codebook_size:
            self._refuse("top_k", self.top_k, f"must be at most quantizer.codebook_size={self.codebook_size}")
        for name, reason in self.unsupported.items():
            if getattr(self, name) != type(self).model_fields[name].default:
                self._refuse(name, getattr(self, name), reason)
        return self

    def _refuse(self, name: str, value: object, rule: str) -> None:
        """Raises if setting `name` has `value`; does nothing if `value` is None."""
        if value is not None and getattr(self, name) == value:
            raise SettingError(f"quantizer.{name}={value} {rule}")
