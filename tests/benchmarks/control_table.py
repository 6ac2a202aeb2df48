"""Control of every quantizer, at both ends of the encoder, on two corpora with known factors.

    python -m tests.benchmarks.control_table --minutes 600 --output tests/benchmarks/results/control_table.md

Every model of the table is trained alike, without tuning: see `control_rows.py`. What is measured goes to a CSV file
beside the output, a row for every model and seed, and the command goes on from there: seed by seed, so that an
interrupted run has every quantizer once. When all have three seeds, the five best by edits of validation sentences are
trained again on six fresh ones, and their intervals come from those alone. What the table shows is measured on test
sentences. `--minutes 0` trains nothing and writes the page from the file.

With `--processes N` as many models train at once, each on one thread, all on one GPU with `--device cuda`. Processes
measure; the parent alone writes. A model that fails is reported, and tried again by the next run.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import time
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ProcessPoolExecutor, wait
from importlib.util import find_spec
from pathlib import Path

import torch

from t5vqvae.measures.probing import probe
from t5vqvae.spec.probe import ProbeSpec
from t5vqvae.spec.run import RunSpec
from t5vqvae.training.trainer import train
from tests.benchmarks.control_page import page
from tests.benchmarks.control_rows import CHOSEN_BY, MEASURED, ON_GPU, Key, Values, missing, read, save
from tests.benchmarks.search_tables import parser, write

MEASURES = ("control", "smoothness", "disentanglement")
NEEDED = {"ot": "POT", "gensim": "gensim", "sklearn": "scikit-learn"}
"""What the measures import on their way, and the names of the packages."""


def measured(spec: RunSpec, cache: Path) -> Values:
    """Trains a model and returns what is measured of it."""
    *_, last = train(spec, cache_dir=cache)
    probed = probe(last.state.model, spec, ProbeSpec(split="test"), cache, MEASURES)
    known = {**last.metrics, **probed.metrics}
    found = {name: known[key] for name, key in MEASURED.items() if key in known}
    chosen_by = {name: last.metrics[key] for name, key in CHOSEN_BY.items() if key in last.metrics}
    return {**found, **chosen_by, ON_GPU: float(spec.train.device == "cuda")}


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
