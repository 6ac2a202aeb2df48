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
from typing import Literal, Self

from pydantic import Field, model_validator

from t5vqvae.architectures import ModelConfig, T5Config
from t5vqvae.config import Config, setting
from t5vqvae.data import DataConfig
from t5vqvae.errors import SettingError
from t5vqvae.quantizers import EMAConfig, QuantizerConfig


class OptimConfig(Config):
    """AdamW with linear warm-up, then a decay to zero at the last step."""

    learning_rate: float = setting(2e-3, gt=0, description="peak learning rate")
    weight_decay: float = setting(0.0, ge=0)
    beta1: float = setting(0.9, ge=0, lt=1)
    beta2: float = setting(0.999, ge=0, lt=1)
    warmup_steps: int = setting(20, ge=0, description="steps of linear warm-up")
    schedule: Literal["linear", "cosine", "constant"] = setting("linear", description="after the warm-up")
    grad_clip: float | None = setting(1.0, gt=0, description="largest gradient norm; None: unclipped")


class TrainConfig(Config):
    """How long, on what, and how often to look."""

    max_steps: int = setting(300, ge=1, description="optimizer steps")
    batch_size: int = setting(64, ge=1, description="sentences a step, over all workers and micro-batches")
    microbatches: int = setting(
        1, ge=1, result=False, description="gradient accumulation: micro-batches a worker and step"
    )
    quantize_from: int = setting(0, ge=0, description="first step with quantization; before it the bottleneck is open")
    eval_every: int = setting(50, ge=1, description="steps between two evaluations (and checkpoints)")
    precision: Literal["auto", "float32", "bfloat16"] = setting(
        "auto", description="auto: bfloat16 on GPUs that have it, float32 elsewhere"
    )
    tf32: bool = setting(True, description="TF32 matrix products on GPUs")
    compile: bool = setting(False, description="torch.compile the layers of T5's blocks in training steps")
    num_workers: int = setting(1, ge=1, result=False, description="workers of data-parallel training")
    device: Literal["auto", "cpu", "cuda"] = setting("auto", result=False)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.quantize_from >= self.max_steps:
            raise SettingError(
                f"train.quantize_from={self.quantize_from} must be less than train.max_steps={self.max_steps}"
            )
        if self.batch_size < self.num_workers * self.microbatches:
            raise SettingError(
                f"train.batch_size={self.batch_size} must be at least train.num_workers x train.microbatches"
                f" = {self.num_workers * self.microbatches}"
            )
        return self


class EvaluateConfig(Config):
    """What an evaluation looks at; in evaluation mode, on a fixed subset of the validation split."""

    num_examples: int | None = setting(1000, ge=1, description="sentences for nll, codes and rate; None: all")
    num_generated: int | None = setting(200, ge=0, description="sentences decoded greedily for exact match and BLEU")
    batch_size: int = setting(128, ge=1, result=False)
    max_new_tokens: int | None = setting(None, ge=1, description="None: data.max_target_length")


class RunSpec(Config):
    """One training run: what it is trained on, what is trained, how, and how it is judged."""

    seed: int = setting(0, ge=0, description="drives initial weights, data order and every random choice")
    data: DataConfig = Field(default_factory=DataConfig)
    model: ModelConfig.any() = Field(default_factory=T5Config)  # type: ignore[valid-type]
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
    root = Path(__file__).parent
    for file in sorted(root.rglob("*.py")):
        digest.update(str(file.relative_to(root)).encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()
