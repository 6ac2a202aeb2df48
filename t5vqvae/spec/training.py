"""The sections of a run's spec for optimization, training and evaluation."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from t5vqvae.config import Config, setting
from t5vqvae.errors import SettingError

RunMeasure = Literal["codebook", "disentanglement", "information", "smoothness", "splices", "traversal"]
"""Measures of a trained model that need nothing but the model and its corpus."""
TrainingStage = Literal["autoencoder", "task"]
"""What a step of two-stage training learns."""


class OptimConfig(Config):
    """AdamW with a linear warm-up, then a decay of the learning rate to zero at the last step."""

    learning_rate: float = setting(2e-3, gt=0, description="peak learning rate")
    weight_decay: float = setting(0.0, ge=0)
    beta1: float = setting(0.9, ge=0, lt=1)
    beta2: float = setting(0.999, ge=0, lt=1)
    warmup_steps: int = setting(20, ge=0, description="steps of linear warm-up")
    schedule: Literal["linear", "cosine", "constant"] = setting(
        "linear", description="decay after the warm-up; constant: none"
    )
    grad_clip: float | None = setting(1.0, gt=0, description="largest gradient norm; None: no clipping")


class TrainConfig(Config):
    """How long a run trains, in what batches, on what device, and how often it is evaluated."""

    max_steps: int = setting(300, ge=1, description="optimizer steps")
    batch_size: int = setting(64, ge=1, description="sentences a step, over all workers and micro-batches")
    microbatches: int = setting(
        1, ge=1, result=False, description="gradient accumulation: micro-batches a worker and step"
    )
    quantize_from: int = setting(
        0,
        ge=0,
        description="first step with quantization; earlier steps bypass the bottleneck, but not that of model.prompts",
    )
    autoencode_steps: int = setting(
        0,
        ge=0,
        description="two stages: first steps that train the blocks before the quantizer to give back the source, then"
        " frozen with it; 0: one stage",
    )
    code_dropout: float = setting(
        0.0, ge=0, lt=1, description="largest share of a sentence's codes that training drops; 0: none"
    )
    code_swap: float = setting(
        0.0,
        ge=0,
        lt=1,
        description="share of the codes that training swaps for another sentence's, in half of the sentences; 0: none",
    )
    word_shuffle: float = setting(
        0.0,
        ge=0,
        le=1,
        description="share of the sentences whose words, as codes, training puts into a random order; 0: none",
    )
    noise_steps: int = setting(
        0,
        ge=0,
        description="first steps over which code_dropout, code_swap and word_shuffle grow from 0 to their shares",
    )
    gate_price: float | None = setting(
        None,
        gt=0,
        description="nats a target token that sending every code costs under a learned gate, which says what to leave"
        " out first; None: no gate. Needs train.code_dropout",
    )
    rate_price: float | None = setting(
        None,
        gt=0,
        description="nats a target token that a nat a code costs, under a bigram that is learned with the codes; None:"
        " nothing. Needs codes that are the nearest entries of a table, as those of ema",
    )
    eval_every: int = setting(50, ge=1, description="steps between two evaluations (and checkpoints)")
    precision: Literal["auto", "float32", "bfloat16"] = setting(
        "auto", description="auto: bfloat16 on GPUs that have it, float32 elsewhere"
    )
    tf32: bool = setting(True, description="TF32 matrix products on GPUs, but none where codes are chosen")
    compile: bool = setting(False, description="torch.compile the layers of T5's blocks in training steps")
    num_workers: int = setting(1, ge=1, result=False, description="workers of data-parallel training")
    device: Literal["auto", "cpu", "cuda"] = setting("auto", result=False)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.quantize_from >= self.max_steps:
            raise SettingError(
                f"train.quantize_from={self.quantize_from} must be less than train.max_steps={self.max_steps}"
            )
        if self.autoencode_steps and not self.quantize_from < self.autoencode_steps < self.max_steps:
            raise SettingError(
                f"train.autoencode_steps={self.autoencode_steps} must lie between train.quantize_from="
                f"{self.quantize_from}, because the codebook is frozen then, and train.max_steps={self.max_steps}"
            )
        if self.batch_size < self.num_workers * self.microbatches:
            raise SettingError(
                f"train.batch_size={self.batch_size} must be at least train.num_workers x train.microbatches"
                f" = {self.num_workers * self.microbatches}"
            )
        return self

    def stage_of(self, step: int) -> TrainingStage | None:
        """Returns what optimizer step `step`, from 0, learns in two-stage training; None with one stage."""
        if not self.autoencode_steps:
            return None
        return "autoencoder" if step < self.autoencode_steps else "task"


class EvaluateConfig(Config):
    """How much of the validation split an evaluation reads: a fixed subset, in evaluation mode."""

    num_examples: int | None = setting(
        1000, ge=1, description="sentences for nll, codes and rate; None: the whole split"
    )
    num_generated: int | None = setting(
        200, ge=0, description="sentences decoded greedily for exact match and BLEU; None: all"
    )
    control: int = setting(
        0, ge=0, description="edits of codes with known answers at every evaluation, for control/; 0: none"
    )
    meaning: bool = setting(
        False, description="judge decoded answers by meaning, for validation/meaning_match; of corpora with answers"
    )
    unsent: float | None = setting(
        None,
        gt=0,
        description="nats of a sentence below which codes are left out, for sparse/; None: not measured. Needs"
        " train.code_dropout",
    )
    probe: tuple[RunMeasure, ...] = setting(
        (), description="measures of the trained model, as by `t5vqvae probe`, taken at the last evaluation"
    )
    batch_size: int = setting(128, ge=1, result=False)
    max_new_tokens: int | None = setting(None, ge=1, description="longest decoded text; None: data.max_target_length")
