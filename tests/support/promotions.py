"""What the tests of promotion share: a tiny study, and trials with checkpoints."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from t5vqvae.spec.run import RunSpec
from t5vqvae.training.trainer import train
from tune.records.record import TrialRecord
from tune.records.study_paths import StudyPaths

TINY = {
    "data.corpus.name": "math",
    "data.corpus.size": 200,
    "data.corpus.validation_size": 20,
    "data.corpus.test_size": 10,
    "model.d_model": 16,
    "model.d_ff": 32,
    "model.num_heads": 2,
    "model.num_layers": 1,
    "model.num_decoder_layers": 1,
    "quantizer.codebook_size": 16,
    "train.max_steps": 2,
    "train.eval_every": 2,
    "train.batch_size": 16,
    "evaluate.num_generated": 2,
}
STUDY = {
    "name": "tiny",
    "base": TINY,
    "space": {"quantizer.commitment_weight": {"type": "float", "low": 0.1, "high": 2.0}},
    "objectives": [{"metric": "validation/nll"}],
    "constraints": ["rate/bits_per_token <= 4"],
    "scheduler": {"name": "none"},
}


def save_checkpoint(state: Path, name: str, **overrides: Any) -> None:
    """Trains two steps and saves the checkpoint of the last one under a folder of the state folder."""
    for milestone in train(RunSpec().with_overrides({**TINY, **overrides}), cache_dir=state / "cache"):
        milestone.state.save(state / name)


def add_trial(paths: StudyPaths, number: int, **changes: Any) -> TrialRecord:
    """Adds a completed trial with a checkpoint.

    `nll` and `bits` set its metrics, `source` the folder of its checkpoint.
    """
    metrics = {"validation/nll": changes.pop("nll", 1.0), "rate/bits_per_token": changes.pop("bits", 3.0)}
    shutil.copytree(paths.state / changes.pop("source", "checkpoint"), paths.trial(number))
    (checkpoint,) = paths.trial(number).glob("step-*")
    record = TrialRecord("tiny", number, {}, f"run{number}", None, "completed", 2, metrics, str(checkpoint))
    record = replace(record, **changes)
    record.write(paths.trial(number))
    return record
