"""What `soft` and `hypervq` share: one table of entries, and a softmax temperature that falls with every update.

Letters: C code width, K entries.
"""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from t5vqvae.config import setting
from t5vqvae.errors import SettingError
from t5vqvae.quantizers.base import Quantizer, QuantizerConfig
from t5vqvae.quantizers.parts.relaxation import annealed


class AnnealedConfig(QuantizerConfig):
    """Settings of one table of entries and of an annealed temperature, whose defaults each variant sets."""

    codebook_size: int = setting(1024, ge=2, description="K")
    code_width: int | None = setting(None, ge=1, description="C; None: the model's width, without a projection")
    temperature: float = setting(gt=0, description="first temperature")
    last_temperature: float = setting(gt=0, description="after annealing")
    anneal_steps: int = setting(1000, ge=1, description="updates from the first to the last temperature")

    @model_validator(mode="after")
    def _cools_down(self) -> Self:
        if self.last_temperature > self.temperature:
            raise SettingError(
                f"quantizer.last_temperature={self.last_temperature:g} must be at most"
                f" quantizer.temperature={self.temperature:g}"
            )
        return self


class AnnealedQuantizer(Quantizer):
    """A quantizer with one table, whose temperature depends on the number of updates."""

    config: AnnealedConfig

    def __init__(self, config: AnnealedConfig, model_width: int, seed: int) -> None:
        super().__init__(model_width, config.code_width, (config.codebook_size,), seed)
        self.config = config

    @property
    def temperature(self) -> float:
        """The temperature after the updates so far."""
        config = self.config
        return annealed(config.temperature, config.last_temperature, config.anneal_steps, int(self._num_updates))

    def _update(self) -> None:
        self._num_updates += 1
