"""The spec of one run: everything that decides its result, and the id that follows from it.

`train(RunSpec)` turns it into milestones. Order of settings: the defaults here < a study file (YAML) < the command
line; the resolved spec is saved with the run. A setting that cannot change a result is declared `result=False` and
stays out of the run id.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from t5vqvae.config import Config, setting
from t5vqvae.data import DataConfig
from t5vqvae.errors import SettingError
from t5vqvae.quantizers import EMAConfig, QuantizerConfig
from t5vqvae.spec.models import ModelConfig, T5VQVAESettings
from t5vqvae.spec.training import EvaluateConfig, OptimConfig, TrainConfig


class RunSpec(Config):
    """One training run: what it is trained on, what is trained, how, and how it is judged."""

    seed: int = setting(0, ge=0, description="drives initial weights, data order and every random choice")
    data: DataConfig = Field(default_factory=DataConfig)
    model: ModelConfig.any() = Field(default_factory=T5VQVAESettings)  # type: ignore[valid-type]
    quantizer: QuantizerConfig.any() = Field(default_factory=EMAConfig)  # type: ignore[valid-type]
    optim: OptimConfig = Field(default_factory=OptimConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = Field(default_factory=EvaluateConfig)

    @model_validator(mode="after")
    def _one_bottleneck(self) -> Self:
        if self.model.own_bottleneck and self.quantizer.name != "none":
            raise SettingError(
                f"quantizer.name={self.quantizer.name} cannot be used with model.name={self.model.name}, which brings"
                " its own bottleneck; set quantizer.name=none"
            )
        return self

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        """Micro-batches stay out of the run id, as workers do, since they change no result; what would is refused."""
        weights = [name for name in self.quantizer.whole_batch if getattr(self.quantizer, name)]
        if self.train.microbatches > 1 and weights:
            term = f"quantizer.{weights[0]}={getattr(self.quantizer, weights[0])}"
            raise SettingError(
                f"train.microbatches={self.train.microbatches} would change the term of {term}, which is over the whole"
                " batch; take a smaller train.batch_size or more workers"
            )
        return self

    def run_id(self, data_fingerprint: str, precision: str) -> str:
        """Returns 16 hex digits that stand for the result: the same id, the same result.

        Args:
            data_fingerprint: `PreparedData.fingerprint`, the content of the corpus.
            precision: The resolved precision, `float32` or `bfloat16`.
        """
        identity = {
            "spec": self.as_dict(only_results=True),
            "data": data_fingerprint,
            "precision": precision,
            "source": source_fingerprint(),
        }
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


@cache
def source_fingerprint() -> str:
    """Returns a hash over this package's source files, so that a changed trainer gives new run ids."""
    digest = hashlib.sha256()
    root = Path(__file__).parents[1]
    for file in sorted(root.rglob("*.py")):
        digest.update(str(file.relative_to(root)).encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()
