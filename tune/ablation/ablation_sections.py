"""Declares the sections of an ablation's spec: the source of its baseline, its seeds, and when an arm stops early."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, model_validator

from t5vqvae.config import Config, setting
from t5vqvae.errors import SettingError


class Baseline(Config):
    """The source of the baseline's run spec, under the study's `base`; without a source, the defaults."""

    is_whole: ClassVar[bool] = True

    study: str | None = setting(None, description="take the best trial of this study")
    champion: str | None = setting(None, description="take the champion of this registered model")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.study is not None and self.champion is not None:
            raise SettingError(f"baseline.study={self.study} and baseline.champion={self.champion}: take one of them")
        return self

    @property
    def needs_lookup(self) -> bool:
        """Whether the run spec is known only to a study or the registry."""
        return self.study is not None or self.champion is not None


class Sequential(Config):
    """Stops arms early whose answer is known, at about the same error rate."""

    looks: tuple[int, ...] = setting(min_length=2, description="numbers of seeds at which to look, increasing")
    spending: Literal["obrien_fleming", "pocock"] = setting("obrien_fleming")
    futility: float | None = setting(0.1, gt=0, lt=1, description="stop below this chance of a finding; None: never")


def _seeds(values: Any) -> Any:
    return tuple(range(values)) if isinstance(values, int) and not isinstance(values, bool) else values


Seeds = Annotated[tuple[int, ...], BeforeValidator(_seeds)]
Tuning = Literal["per_seed", "shared"]
"""Whether every seed of the comparison has its own tuning runs, or all seeds share one set of them."""
