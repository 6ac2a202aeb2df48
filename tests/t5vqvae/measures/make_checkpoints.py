"""Trains the tiny checkpoints that `test_behaviours.py` probes: two minutes on one thread.

    python -m tests.t5vqvae.measures.make_checkpoints

Grammar version 2, width 32, one block on either side, 1,200 steps, seed 0. After a change of the trainer or of a model
they stay as they are: they are old models that must still be read. Make them anew only when they can no longer be.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import torch

from t5vqvae.config import Overrides
from t5vqvae.spec.run import RunSpec
from t5vqvae.training.trainer import train

FOLDER = Path(__file__).parent / "checkpoints"
BASE: Overrides = {
    "data.corpus.name": "grammar",
    "data.corpus.version": 2,
    "data.corpus.size": 4_000,
    "data.tokenizer.vocab_size": 500,
    "data.max_length": 40,
    "model.d_model": 32,
    "model.d_ff": 64,
    "model.num_heads": 2,
    "model.num_layers": 1,
    "model.num_decoder_layers": 1,
    "optim.learning_rate": 8e-3,
    "train.max_steps": 1_200,
    "train.eval_every": 600,
    "train.batch_size": 48,
    "train.device": "cpu",
    "evaluate.num_generated": 100,
    "evaluate.num_examples": 300,
}
KINDS: dict[str, Overrides] = {
    "names": {"model.position": 0, "quantizer.codebook_size": 512, "quantizer.code_width": 16},
    "end": {"model.position": 1, "quantizer.codebook_size": 256, "quantizer.code_width": 16},
    "none": {"quantizer.name": "none"},
    "gaussian": {
        "model.name": "gaussian",
        "model.level": "sentence",
        "model.latent_width": 32,
        "model.kl_weight": 0.001,
        "quantizer.name": "none",
    },
}
"""Codes that name tokens; codes of the encoder's last states; its states themselves; one Gaussian a sentence."""


def main() -> None:
    """Trains and writes each model with its spec, without what only a resumed training reads."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        for name, own in KINDS.items():
            spec = RunSpec().with_overrides(BASE).with_overrides(own)
            *_, last = train(spec, cache_dir=Path(scratch) / "cache")
            saved = last.state.save(Path(scratch) / name)
            shutil.rmtree(FOLDER / name, ignore_errors=True)
            shutil.copytree(saved / "model", FOLDER / name / "model")
            (FOLDER / name / "spec.json").write_text(json.dumps(spec.as_dict(), indent=1) + "\n")
            print(name, {key: round(last.metrics[f"validation/{key}"], 3) for key in ("nll", "exact_match")})


if __name__ == "__main__":
    main()
