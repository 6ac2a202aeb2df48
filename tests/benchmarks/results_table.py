"""The results table: every task beyond reconstruction in distribution, trained from scratch, with seeds.

    python -m tests.benchmarks.results_table --minutes 120 --state FOLDER --output tests/benchmarks/results/results.md

The rows are those of `results_rows.py`. The public corpora must be in the state folder's cache
(`t5vqvae data get NAME --from FOLDER --state FOLDER`); rows without their corpus are said and left out. What is
measured goes to a CSV file beside the output (`results_table.md` here, unless told), and the command goes on from
there, seed by seed. `--device cuda` and `--processes N` train side by side; `--only WORD` takes the rows whose name
contains it; `--try STEPS` trains one seed of each for so many steps, judges it, prints what it measured, and writes
nothing. When the minutes are over, what trains is finished and kept, and nothing else is begun. The test sets are read
once a model, after its training: no row was chosen by them.
"""

from __future__ import annotations

import csv
import os
import re
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import torch

from t5vqvae.config import Overrides
from t5vqvae.data import TokenizedSplit, prepare, prepare_test
from t5vqvae.data.batching import evaluation_batches
from t5vqvae.errors import DataError, SettingError
from t5vqvae.evaluation.final_test import evaluate_test
from t5vqvae.evaluation.text_scores import bleu1
from t5vqvae.models.contract import TextAutoencoder
from t5vqvae.spec.run import RunSpec
from t5vqvae.tasks.all_tasks import task_of
from t5vqvae.tasks.base import Task
from t5vqvae.tasks.report import judge_model
from t5vqvae.tasks.scores import exact
from t5vqvae.training.trainer import train
from tests.benchmarks.results_page import page
from tests.benchmarks.results_rows import ROWS, Done, Key, Row, Values
from tests.benchmarks.search_tables import parser, write

KEPT = re.compile(r"/(exact_match|bleu1|nll|nll_per_char|meaning_match|meaning_undecided)$|^rate/|^test/rate/|tokens/")
"""The metrics of a test that are kept."""
BRIEF: Overrides = {"evaluate.num_examples": 32, "evaluate.num_generated": 8}
"""The validation of a row that is only tried; its tests are read whole."""


@dataclass(frozen=True)
class Place:
    """Where models train.

    Attributes:
        device: Their device.
        processes: How many train at once.
        state: The folder with the cache.
        keep: The folder for the checkpoints of seed 0; None: they are not kept.
    """

    device: str
    processes: int
    state: Path
    keep: Path | None = None

    @property
    def cache(self) -> Path:
        """The cache of prepared data."""
        return self.state / "cache"


def measured(row: Row, seed: int, place: Place, keep: Path | None = None) -> Values:
    """Trains a model, keeps its checkpoint where one is asked for, and returns what its tests say."""
    torch.set_num_threads(1)
    spec, started = row.spec(seed, place.device), time.monotonic()
    *_, last = train(spec, cache_dir=place.cache)
    seconds = time.monotonic() - started
    if keep is not None:
        last.state.save(keep)
    model = last.state.model
    assert isinstance(model, TextAutoencoder)
    values = {name: last.metrics[name] for name in last.metrics if KEPT.search(name) or name.startswith("valid")}
    task = _task(spec)
    if task is None:  # its corpus asks no task: the text itself is to come back
        tested = evaluate_test(model, spec, place.cache).metrics
        values |= {name: value for name, value in tested.items() if KEPT.search(name)}
    else:
        values |= judged(task, model, spec, place.cache)
    values |= shuffled(model, prepare_test(spec.data, place.cache)["test"], spec, task)
    facts = {"seconds": seconds, "on GPU": float(place.device == "cuda"), "at once": float(place.processes)}
    return {**values, **facts, "parameters": float(sum(each.numel() for each in model.parameters()))}


def _task(spec: RunSpec) -> Task | None:
    try:
        return task_of(spec.data.corpus)
    except SettingError:
        return None


def judged(task: Task, model: TextAutoencoder, spec: RunSpec, cache: Path) -> Values:
    """Returns the score of a model's answers on every test set, its interval, and those of doing nothing."""
    values = {}
    for found in judge_model(task, model, spec, cache, "test"):
        for answerer in found.rows:
            values[f"{found.split}/{answerer.name}"] = answerer.score
            values |= {f"{found.split}/{answerer.name}/{name}": value for name, value in answerer.others.items()}
        values[f"{found.split}/low"], values[f"{found.split}/high"] = found.rows[0].low, found.rows[0].high
        values[f"{found.split}/learnt"] = float(found.is_learnt)
    return values


@torch.no_grad()
def shuffled(
    model: TextAutoencoder, split: TokenizedSplit, spec: RunSpec, task: Task | None, limit: int = 500
) -> Values:
    """Returns scores of texts decoded from the memory of another sentence: what the decoder knows without its own."""
    model.eval()
    device, tokenizer = next(model.parameters()).device, model.require_tokenizer()
    targets, texts = list[str](), list[str]()
    for indices, batch in evaluation_batches(split, spec.evaluate.batch_size, limit=limit):
        batch = batch.to(device)
        memory = model.encode_memory(batch).shifted()
        ids = model.greedy(batch, spec.max_new_tokens, memory=memory)
        texts += tokenizer.batch_decode(ids, skip_special_tokens=True)
        targets += split.texts(indices)
    scores = {"exact_match": exact, "bleu1": bleu1} if task is None else task.scores
    return {
        f"shuffled/{name}": sum(map(score, targets, texts)) / max(1, len(targets)) for name, score in scores.items()
    }


def missing(done: Done, only: str, available: Sequence[str]) -> Iterator[Key]:
    """Yields what is still to be trained: the rows with most seeds first, seed by seed."""
    for number in sorted({row.seeds for row in ROWS.values()}, reverse=True):
        names = [name for name in available if ROWS[name].seeds == number and only in name]
        yield from ((name, seed) for seed in range(number) for name in names if (name, seed) not in done)


def read(file: Path) -> dict[Key, dict[str, float]]:
    """Reads what earlier runs measured; nothing if there is no file."""
    found: dict[Key, dict[str, float]] = {}
    if file.exists():
        with file.open() as lines:
            for line in csv.DictReader(lines):
                found.setdefault((line["row"], int(line["seed"])), {})[line["name"]] = float(line["value"])
    return found


def add(file: Path, key: Key, values: Values) -> None:
    """Adds what was measured of a model."""
    is_new = not file.exists()
    with file.open("a", newline="") as lines:
        writer = csv.writer(lines)
        if is_new:
            writer.writerow(["row", "seed", "name", "value"])
        writer.writerows([*key, name, f"{value:.6g}"] for name, value in sorted(values.items()))


def prepared(names: Sequence[str], place: Place) -> list[str]:
    """Prepares the data of rows once, before they train side by side; returns the rows that have their data."""
    found = []
    for name in names:
        try:
            prepare(ROWS[name].spec(0, place.device).data, place.cache)
            found.append(name)
        except DataError as error:
            print(f"{name}: left out: {error}", flush=True)
    return found


def _job(key: Key, row: Row, place: Place) -> tuple[Key, Values | str]:
    name, seed = key
    try:
        folder = None if place.keep is None or seed else place.keep / name.replace(", ", "-").replace(" ", "")
        return key, measured(row, seed, place, folder)
    except Exception:
        return key, traceback.format_exc(limit=-3)


def _all_measured(jobs: Sequence[tuple[Key, Row]], place: Place, seconds: float) -> Iterator[tuple[Key, Values]]:
    """Yields what is measured of models until the time is over, those that train then included."""
    end = time.monotonic() + seconds
    with ProcessPoolExecutor(place.processes, mp_context=get_context("spawn")) as pool:
        running = [pool.submit(_job, key, row, place) for key, row in jobs]
        for future in as_completed(running):
            if future.cancelled():
                continue
            key, values = future.result()
            if isinstance(values, str):
                print(key, "failed:", values, flush=True)
            else:
                print(key, f"{values['seconds']:.0f} s", flush=True)
                yield key, values
            if time.monotonic() > end:
                for each in running:
                    each.cancel()


def _shortened(row: Row, steps: int) -> Row:
    brief = {"train.max_steps": steps, "train.quantize_from": 0, "optim.warmup_steps": 1, **BRIEF}
    return replace(row, changed={**row.changed, **brief})


def main() -> None:
    """Trains what is missing until the time is over."""
    options = parser(__doc__, minutes=60, processes=1)
    options.add_argument("--device", default="cpu")
    options.add_argument("--only", default="")
    options.add_argument("--state", type=Path, required=True)
    options.add_argument("--keep", type=Path, help="a folder for the checkpoints of seed 0")
    options.add_argument("--try", type=int, dest="steps", help="see that every row works, and write nothing")
    options.set_defaults(output=Path("results_table.md"))  # the rows lie beside it, as a CSV file
    chosen = options.parse_args()
    rows, place = chosen.output.with_suffix(".csv"), Place(chosen.device, chosen.processes, chosen.state, chosen.keep)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    asked = list(missing({} if chosen.steps else read(rows), chosen.only, list(ROWS)))
    names = prepared(list(dict.fromkeys(name for name, _ in asked)), place)
    if chosen.steps:
        jobs = [((name, 0), _shortened(ROWS[name], chosen.steps)) for name in names]
        for key, values in _all_measured(jobs, replace(place, keep=None), 60 * chosen.minutes):
            print(key, {name: float(f"{value:.3g}") for name, value in sorted(values.items())}, flush=True)
        return
    jobs = [((name, seed), ROWS[name]) for name, seed in asked if name in names]
    for key, values in _all_measured(jobs, place, 60 * chosen.minutes):
        add(rows, key, values)
    write(page(read(rows)), chosen.output)


if __name__ == "__main__":
    main()
