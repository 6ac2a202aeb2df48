"""Control of every quantizer, at both ends of the encoder, on two corpora with known factors.

    python -m tests.benchmarks.control_table --minutes 600 --output tests/benchmarks/results/control_table.md

Every model of the table is trained alike, without tuning: see `BASE`. What is measured goes to a CSV file beside the
output, a row for every model and seed, and the command goes on from there: seed by seed, so that an interrupted run
has every quantizer once. When all have three seeds, the five best are trained again on six fresh ones, and their
intervals come from those alone.
"""

from __future__ import annotations

import csv
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from scipy.stats import t

from t5vqvae.config import Overrides
from t5vqvae.measures.probing import probe
from t5vqvae.spec.probe import ProbeSpec
from t5vqvae.spec.run import RunSpec
from t5vqvae.training.trainer import train
from tests.benchmarks.search_tables import described, parser, write

BASE: Overrides = {
    "data.max_length": 40,
    "data.corpus.size": 5_000,
    "model.d_model": 64,
    "model.cross_positions": "relative",
    "optim.learning_rate": 4e-3,
    "optim.warmup_steps": 50,
    "train.max_steps": 500,
    "train.eval_every": 500,
    "train.device": "cpu",
    "evaluate.num_generated": 200,
}
CORPORA: dict[str, Overrides] = {
    "grammar": {"data.corpus.name": "grammar", "data.corpus.version": 2, "data.tokenizer.vocab_size": 600},
    "math": {"data.corpus.name": "math"},
}
POSITIONS = {"0": 0, "end": 2}
K = 512
CODES: Overrides = {"quantizer.codebook_size": K}
QUANTIZERS: dict[str, Overrides] = {
    **{name: CODES for name in ("ema", "vq", "kmeans", "simvq", "aminoaseed", "gumbel", "soft")},
    **{name: CODES for name in ("hypervq", "fsq", "lfq", "pca", "sfvq", "role")},
    "rvq": {"quantizer.codebook_size": 32, "quantizer.depth": 2},
    "none": {},
}
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
    "InfoM": "disentanglement/infom",
    "InfoC": "disentanglement/infoc",
}


@dataclass(frozen=True, order=True)
class Model:
    """A row of the table."""

    corpus: str
    position: str
    quantizer: str

    def spec(self, seed: int) -> RunSpec:
        """Returns the run that trains it."""
        changed: Overrides = {
            "quantizer.name": self.quantizer,
            **QUANTIZERS[self.quantizer],
            "model.position": POSITIONS[self.position],
            "seed": seed,
        }
        return RunSpec().with_overrides({**BASE, **CORPORA[self.corpus], **changed})


Key = tuple[Model, int]
Values = Mapping[str, float]
MODELS = [Model(corpus, position, name) for name in QUANTIZERS for position in POSITIONS for corpus in CORPORA]


def measured(spec: RunSpec, cache: Path) -> Values:
    """Trains a model and returns what is measured of it."""
    *_, last = train(spec, cache_dir=cache)
    probed = probe(last.state.model, spec, ProbeSpec(), cache)
    known = {**last.metrics, **probed.metrics}
    return {name: known[key] for name, key in MEASURED.items() if key in known}


def missing(done: Mapping[Key, Values]) -> Iterator[Key]:
    """Yields what is still to be trained: all models seed by seed, then the five best of each corpus on fresh seeds."""
    yield from ((model, seed) for seed in SEEDS for model in MODELS if (model, seed) not in done)
    for corpus in CORPORA:
        yield from ((model, seed) for model in best(done, corpus) for seed in FRESH if (model, seed) not in done)


def best(done: Mapping[Key, Values], corpus: str) -> list[Model]:
    """Returns the five models of a corpus with the highest control, local and distributed alike, over `SEEDS`."""

    def control(model: Model) -> float:
        return statistics.fmean(done[model, seed].get(kind, 0.0) for seed in SEEDS for kind in ("local", "distributed"))

    return sorted((model for model in MODELS if model.corpus == corpus), key=control, reverse=True)[:BEST]


def read(file: Path) -> dict[Key, Values]:
    """Reads the rows of earlier runs; none if there is no file."""
    if not file.exists():
        return {}
    with file.open() as rows:
        return {
            (Model(row["corpus"], row["position"], row["quantizer"]), int(row["seed"])): {
                name: float(row[name]) for name in MEASURED if row[name]
            }
            for row in csv.DictReader(rows)
        }


def add(file: Path, key: Key, values: Values) -> None:
    """Adds a row to the file, and the head to a new one."""
    model, seed = key
    is_new = not file.exists()
    with file.open("a", newline="") as rows:
        writer = csv.DictWriter(rows, ["corpus", "position", "quantizer", "seed", *MEASURED])
        if is_new:
            writer.writeheader()
        named = {"corpus": model.corpus, "position": model.position, "quantizer": model.quantizer, "seed": seed}
        writer.writerow({**named, **{name: f"{value:.6g}" for name, value in values.items()}})


def lines_of(done: Mapping[Key, Values]) -> Iterator[str]:
    """Yields the tables: one for each corpus, and one of the five best once they were trained on fresh seeds."""
    for corpus in CORPORA:
        yield from ["", f"## {corpus}", ""]
        yield from _table(_by_model(done, corpus, SEEDS), _with_range)
        fresh = _by_model(done, corpus, FRESH)
        if fresh:
            yield from ["", "The five best on fresh seeds, mean with 95% t interval:", ""]
            yield from _table(fresh, _with_interval)


def _by_model(done: Mapping[Key, Values], corpus: str, seeds: Iterable[int]) -> dict[Model, list[Values]]:
    found: dict[Model, list[Values]] = defaultdict(list)
    for seed in seeds:
        for model in MODELS:
            if model.corpus == corpus and (model, seed) in done:
                found[model].append(done[model, seed])
    return found


def _table(found: Mapping[Model, Sequence[Values]], cell) -> Iterator[str]:  # type: ignore[no-untyped-def]
    yield f"| position | quantizer | seeds | {' | '.join(MEASURED)} |"
    yield f"| --- | --- | ---: |{' ---: |' * len(MEASURED)}"
    for model, rows in sorted(found.items(), key=lambda each: (each[0].position, each[0].quantizer)):
        cells = [cell([row[name] for row in rows if name in row]) for name in MEASURED]
        yield f"| {model.position} | {model.quantizer} | {len(rows)} | {' | '.join(cells)} |"


def _with_range(values: Sequence[float]) -> str:
    if not values:
        return "-"
    mean = f"{statistics.fmean(values):.2f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.2f} to {max(values):.2f})"


def _with_interval(values: Sequence[float]) -> str:
    if len(values) < 2:
        return _with_range(values)
    half = float(t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / len(values) ** 0.5
    mean = statistics.fmean(values)
    return f"{mean:.2f} [{mean - half:.2f}, {mean + half:.2f}]"


def page(done: Mapping[Key, Values]) -> str:
    """Returns the whole page."""
    left = sum(1 for _ in missing(done)) if len(done) >= len(MODELS) * len(SEEDS) else None
    total = len(MODELS) * len(SEEDS)
    state = f"{len(done)} of {total} models trained" if left is None else f"all trained; {left} on fresh seeds are left"
    head = [
        "# Control of every quantizer",
        "",
        *described("control_table --minutes 600"),
        f"Two blocks, d 64, K = {K} (rvq: 2 layers of 32), 500 steps, learning rate 4e-3, one thread, no tuning;",
        "control from 400 edits of validation sentences, smoothness and disentanglement from 500 sentences.",
        "Bits a token: the joint rate and the rate under a prior. A cell is the mean, and the range where there are",
        f"several seeds; `-`: has no codes, or no meaning. Position 0 with K = {K} names tokens. On `grammar`",
        f"the edits of `role` lack the roles that it was trained with: its control says nothing. State: {state}.",
    ]
    return "\n".join([*head, *lines_of(done)]) + "\n"


def main() -> None:
    """Trains what is missing until the time is over, and writes the table."""
    options = parser(__doc__, minutes=60).parse_args()
    rows = options.output.with_suffix(".csv")
    torch.set_num_threads(1)
    end = time.monotonic() + 60 * options.minutes
    done = read(rows)
    with tempfile.TemporaryDirectory() as cache:
        while time.monotonic() < end and (key := next(missing(done), None)):
            started = time.monotonic()
            done[key] = measured(key[0].spec(key[1]), Path(cache))
            add(rows, key, done[key])
            print(key, f"{time.monotonic() - started:.0f} s", flush=True)
    write(page(done), options.output)


if __name__ == "__main__":
    main()
