"""The rows of the control table: which models, what is measured of them, and the file that keeps it."""

from __future__ import annotations

import csv
import statistics
import sys
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from t5vqvae.config import Overrides
from t5vqvae.files import atomic_write
from t5vqvae.spec.run import RunSpec

BASE: Overrides = {
    "data.max_length": 40,
    "data.corpus.size": 5_000,
    "model.d_model": 64,
    "model.cross_positions": "relative",
    "optim.learning_rate": 4e-3,
    "optim.warmup_steps": 50,
    "train.max_steps": 500,
    "train.eval_every": 500,
    "train.precision": "float32",
    "evaluate.num_generated": 200,
    "evaluate.control": 400,
}
CORPORA: dict[str, Overrides] = {
    "grammar": {"data.corpus.name": "grammar", "data.corpus.version": 2, "data.tokenizer.vocab_size": 600},
    "math": {"data.corpus.name": "math"},
}
POSITIONS: dict[str, Overrides] = {
    "0": {"model.position": 0},
    "end": {"model.position": 2, "model.final_norm": "after"},  # the place of the ablations of control
}
K = 512
CODES: Overrides = {"quantizer.codebook_size": K}
QUANTIZERS: dict[str, Overrides] = {
    "ema": CODES,
    "ema, far revival": {**CODES, "quantizer.name": "ema", "quantizer.revive_beyond": 0.5},
    **{name: CODES for name in ("vq", "kmeans", "simvq", "aminoaseed", "gumbel", "soft")},
    **{name: CODES for name in ("hypervq", "fsq", "lfq", "pca", "sfvq", "role")},
    "rvq": {"quantizer.codebook_size": 32, "quantizer.depth": 2},
    "none": {},
}
"""What a row changes of the base; its name is that of the quantizer, unless it says another."""
SEEDS = range(3)
FRESH = range(100, 106)
BEST = 5
MEASURED = {
    "exact match": "validation/exact_match",
    "joint bits": "rate/joint_bits_per_token",
    "prior bits": "rate/prior_bits_per_token",
    "local": "control/local_intervention",
    "distributed": "control/distributed_intervention",
    "smoothness": "smoothness/mean_or_zero",
    "MIG": "disentanglement/mig",
    "InfoM": "disentanglement/infom",
    "InfoC": "disentanglement/infoc",
}
CHOSEN_BY = {
    "validation local": "control/local_intervention",
    "validation distributed": "control/distributed_intervention",
}
"""What chooses the five best: on edits of validation sentences, so that the table's own do not choose."""
ON_GPU = "on GPU"
"""The column that says where a row was trained: 1 on a GPU, 0 on a CPU."""


@dataclass(frozen=True, order=True)
class Model:
    """A row of the table."""

    corpus: str
    position: str
    quantizer: str

    def spec(self, seed: int, device: str) -> RunSpec:
        """Returns the run that trains it."""
        changed: Overrides = {
            "quantizer.name": self.quantizer,
            **QUANTIZERS[self.quantizer],
            **POSITIONS[self.position],
            "seed": seed,
            "train.device": device,
        }
        return RunSpec().with_overrides({**BASE, **CORPORA[self.corpus], **changed})


Key = tuple[Model, int]
Values = Mapping[str, float]
MODELS = [Model(corpus, position, name) for name in QUANTIZERS for position in POSITIONS for corpus in CORPORA]


def missing(done: Mapping[Key, Values], busy: Container[Key] = (), failed: Container[Key] = ()) -> Iterator[Key]:
    """Yields what is still to be trained: all models seed by seed, then the five best of each corpus on fresh seeds.

    Args:
        done: What is measured.
        busy: What is being trained; the best are not known before its seeds are done.
        failed: What is not tried again.
    """
    first = [(model, seed) for seed in SEEDS for model in MODELS]
    yield from (key for key in first if key not in done and key not in busy and key not in failed)
    if any(key in busy for key in first):
        return
    fresh = [(model, seed) for corpus in CORPORA for model in best(done, corpus) for seed in FRESH]
    yield from (key for key in fresh if key not in done and key not in busy and key not in failed)


def best(done: Mapping[Key, Values], corpus: str) -> list[Model]:
    """Returns the five quantized models of a corpus with the highest control on validation, both kinds alike."""
    quantized = [model for model in MODELS if model.corpus == corpus and model.quantizer != "none"]  # that is a control
    whole = [model for model in quantized if all((model, seed) in done for seed in SEEDS)]

    def control(model: Model) -> float:
        return statistics.fmean(done[model, seed].get(kind, 0.0) for seed in SEEDS for kind in CHOSEN_BY)

    return sorted(whole, key=control, reverse=True)[:BEST]


def read(file: Path) -> dict[Key, Values]:
    """Reads the rows of earlier runs; none if there is no file."""
    if not file.exists():
        return {}
    with file.open() as rows:
        if not set(CHOSEN_BY) <= set(csv.DictReader(rows).fieldnames or ()):
            sys.exit(f"{file} has rows of validation sentences, of an earlier version: move it away to begin anew")
        rows.seek(0)
        return {
            (Model(row["corpus"], row["position"], row["quantizer"]), int(row["seed"])): {
                **{name: float(row[name]) for name in (*MEASURED, *CHOSEN_BY) if row.get(name)},
                ON_GPU: float(row.get(ON_GPU) or 0),
            }
            for row in csv.DictReader(rows)
        }


def save(file: Path, done: Mapping[Key, Values]) -> None:
    """Writes all rows, seed by seed in the order of `MODELS`, in whatever order they were measured."""
    with atomic_write(file) as scratch, scratch.open("w", newline="") as rows:
        writer = csv.DictWriter(rows, ["corpus", "position", "quantizer", "seed", *MEASURED, *CHOSEN_BY, ON_GPU])
        writer.writeheader()
        for model, seed in sorted(done, key=lambda key: (key[1], MODELS.index(key[0]))):
            named = {"corpus": model.corpus, "position": model.position, "quantizer": model.quantizer, "seed": seed}
            writer.writerow({**named, **{name: f"{value:.6g}" for name, value in done[model, seed].items()}})
