"""Control of every quantizer, at both ends of the encoder, on two corpora with known factors.

    python -m tests.benchmarks.control_table --minutes 600 --output tests/benchmarks/results/control_table.md

Every model of the table is trained alike, without tuning: see `BASE`. What is measured goes to a CSV file beside the
output, a row for every model and seed, and the command goes on from there: seed by seed, so that an interrupted run
has every quantizer once. When all have three seeds, the five best by edits of validation sentences are trained again on
six fresh ones, and their intervals come from those alone. What the table shows is measured on test sentences.
`--minutes 0` trains nothing and writes the page from the file.

With `--processes N` as many models train at once, each on one thread, all on one GPU with `--device cuda`. Processes
measure; the parent alone writes. A model that fails is reported, and tried again by the next run.
"""

from __future__ import annotations

import csv
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from scipy.stats import t

from t5vqvae.config import Overrides
from t5vqvae.files import atomic_write
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
    "MIG": "disentanglement/mig",
    "InfoM": "disentanglement/infom",
    "InfoC": "disentanglement/infoc",
}
BRIEFLY = ("exact match", "joint bits", "prior bits", "local", "distributed", "smoothness", "MIG")
MEASURES = ("control", "smoothness", "disentanglement")
NEEDED = {"ot": "POT", "gensim": "gensim", "sklearn": "scikit-learn"}
"""What the measures import on their way, and the names of the packages."""
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


def measured(spec: RunSpec, cache: Path) -> Values:
    """Trains a model and returns what is measured of it."""
    *_, last = train(spec, cache_dir=cache)
    probed = probe(last.state.model, spec, ProbeSpec(split="test"), cache, MEASURES)
    known = {**last.metrics, **probed.metrics}
    found = {name: known[key] for name, key in MEASURED.items() if key in known}
    chosen_by = {name: last.metrics[key] for name, key in CHOSEN_BY.items() if key in last.metrics}
    return {**found, **chosen_by, ON_GPU: float(spec.train.device == "cuda")}


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


def lines_of(done: Mapping[Key, Values]) -> Iterator[str]:
    """Yields the tables: one for each corpus, and one of the five best once they were trained on fresh seeds."""
    yield from ["", "## In brief", "", "Means over seeds, position 0 / end:"]
    for corpus in CORPORA:
        yield from ["", *in_brief(done, corpus)]
    if len(done) > 1:
        yield from ["", _follows(done)]
    for corpus in CORPORA:
        yield from ["", f"## {corpus}", ""]
        yield from _table(_by_model(done, corpus, SEEDS), _with_range)
        fresh = _by_model(done, corpus, FRESH)
        if fresh:
            yield from ["", "The five best on fresh seeds, mean with 95% t interval, cut at 0:", ""]
            yield from _table(fresh, _with_interval)


def in_brief(done: Mapping[Key, Values], corpus: str) -> Iterator[str]:
    """Yields a table of means over `SEEDS`, a row for every quantizer with both positions side by side."""
    yield f"| `{corpus}`, {' / '.join(POSITIONS)} | {' | '.join(BRIEFLY)} |"
    yield f"| --- |{' ---: |' * len(BRIEFLY)}"
    found = _by_model(done, corpus, SEEDS)
    for name in QUANTIZERS:
        rows = [found.get(Model(corpus, position, name), []) for position in POSITIONS]
        cells = [" / ".join(_mean([row[key] for row in some if key in row]) for some in rows) for key in BRIEFLY]
        yield f"| `{name}` | {' | '.join(cells)} |"


def _follows(done: Mapping[Key, Values]) -> str:
    """Says how local control goes with reconstruction over all models, and how far distributed control goes."""
    known = [each for each in done.values() if {"exact match", "local"} <= set(each)]
    exact, local = ([each[name] for each in known] for name in ("exact match", "local"))
    try:
        told = f"r = {statistics.correlation(exact, local):.3f}"
    except statistics.StatisticsError:  # all are alike, or there is one
        told = "no r"
    means = {
        model: statistics.fmean(row["distributed"] for row in rows)
        for corpus in CORPORA
        for model, rows in _by_model(done, corpus, SEEDS).items()
        if all("distributed" in row for row in rows)
    }
    most = max(means, key=means.__getitem__, default=None)
    found = f"Exact match and local control of {len(known)} models: {told}."
    if most is not None:
        found += f" The largest mean of distributed control is {means[most]:.3f}: {most.quantizer} at {most.position},"
        found += f" {most.corpus}."
    return found


def _mean(values: Sequence[float]) -> str:
    return f"{statistics.fmean(values):.2f}".removeprefix("0") if values else "-"


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
    return f"{mean:.2f} [{max(0.0, mean - half):.2f}, {mean + half:.2f}]"


def page(done: Mapping[Key, Values]) -> str:
    """Returns the whole page."""
    on_gpu = sum(int(values[ON_GPU]) for values in done.values())
    left = sum(1 for _ in missing(done)) if len(done) >= len(MODELS) * len(SEEDS) else None
    total = len(MODELS) * len(SEEDS)
    no_gap = sum("InfoM" in values and "MIG" not in values for values in done.values())
    state = f"{len(done)} of {total} models trained" if left is None else f"all trained; {left} on fresh seeds are left"
    head = [
        "# Control of every quantizer",
        "",
        *described("control_table --minutes 600", ("torch", "transformers")),
        f"Two blocks, d 64, K = {K} (rvq: 2 layers of 32), 500 steps, learning rate 4e-3, one thread, no tuning;",
        "control from 400 edits of test sentences, smoothness from 60 paths between test sentences, disentanglement",
        "from the training sentences. At the end the codebook stands before the final norm. Exact match and rates are",
        "of validation sentences.",
        "Bits a token: the joint rate and the rate under a prior. A cell is the mean, and the range where there are",
        f"several seeds; `-`: has no codes, or no meaning. Position 0 with K = {K} names tokens. On `grammar` the",
        "edits of `role` have the roles that it was trained with; `math` has no roles, so that `role` is one codebook",
        "there. MIG is how much of a factor its best code says, less the second best; InfoM and InfoC are whether what",
        "codes do say is kept apart, so codes that say little of independent factors reach 1.",
        *([f"Models trained before MIG was measured, whose cells are of the others: {no_gap}."] if no_gap else []),
        f"{on_gpu} of {len(done)} models were trained on a GPU, all in float32. State: {state}.",
    ]
    return "\n".join([*head, *lines_of(done)]) + "\n"


def train_missing(
    done: dict[Key, Values], rows: Path, device: str, processes: int, end: float, cache: Path
) -> set[Key]:
    """Trains what is missing until the time is over, adds it to `done` and the file, and returns what failed."""
    pools = [_one_process() for _ in range(processes)]
    failed, busy = set[Key](), dict[Future[Values], tuple[int, Key]]()
    while True:
        for slot in set(range(processes)) - {slot for slot, _ in busy.values()}:
            key = next(missing(done, [key for _, key in busy.values()], failed), None)
            if key is not None and time.monotonic() < end:
                busy[pools[slot].submit(measured, key[0].spec(key[1], device), cache)] = slot, key
        if not busy:
            break
        for future in wait(busy, return_when=FIRST_COMPLETED).done:
            slot, key = busy.pop(future)
            if (error := future.exception()) is None:
                done[key] = future.result()
                save(rows, done)
            else:
                failed.add(key)
            if isinstance(error, BrokenExecutor):
                pools[slot] = _one_process()
            print(key, "done" if error is None else f"failed: {type(error).__name__}: {error}", flush=True)
    for pool in pools:
        pool.shutdown()
    return failed


def _one_process() -> ProcessPoolExecutor:
    # A pool for each process, because one that dies breaks its whole pool; not forked, because a child of a process
    # that has used CUDA cannot use it.
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, spawn, initializer=torch.set_num_threads, initargs=(1,))


def main() -> None:
    """Trains what is missing until the time is over, and writes the table."""
    made = parser(__doc__, minutes=60, processes=1)
    made.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")
    options = made.parse_args()
    if absent := [package for name, package in NEEDED.items() if find_spec(name) is None]:
        sys.exit(f"the measures need {', '.join(absent)}: install them first")
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("--device cuda: PyTorch finds no CUDA GPU on this machine; take --device cpu")
    rows, end = options.output.with_suffix(".csv"), time.monotonic() + 60 * options.minutes
    done = read(rows)
    with tempfile.TemporaryDirectory() as cache:
        failed = train_missing(done, rows, options.device, options.processes, end, Path(cache))
    write(page(done), options.output)
    if failed:
        print(f"{len(failed)} models failed: {', '.join(map(str, sorted(failed)))}")


if __name__ == "__main__":
    main()
