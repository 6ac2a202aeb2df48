"""What the start of a trial takes: seconds from the moment it may start to its first optimizer step, and memory.

    python -m tests.benchmarks.search_start [--trials 5] [--output FILE.md]
    MLFLOW_TRACKING_URI=http://127.0.0.1:5000 python -m tests.benchmarks.search_start

One search of tiny trials through Ray Tune, the process runner and tracking, one trial at a time, its data tokenized
before. The first trial may start when the search has connected to Ray; a later one when the trial before it has ended.
Memory is that of the process that trains: resident (RSS), its share of what it shares (PSS), and what is its own (USS).
Without a server it also holds MLflow's database code.
The goal: 2 s and 600 MB for a trial with one worker in reused processes.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path

from t5vqvae.data import prepare
from tests.benchmarks.search_noted import read
from tests.benchmarks.search_tables import described, parser, write
from tune.execution.ray_cluster import connect
from tune.search import search
from tune.spec.search_spec import SearchSpec

TRAINER = "tests.benchmarks.search_noted:train"
BASE = {
    "data.corpus.name": "math",
    "data.corpus.size": 2000,
    "model.d_model": 64,
    "model.d_ff": 128,
    "train.max_steps": 4,
    "train.eval_every": 2,
    "train.device": "cpu",
    "evaluate.num_examples": 50,
    "evaluate.num_generated": 5,
}


def study(trials: int) -> SearchSpec:
    """Returns a search of tiny models, one at a time."""
    return SearchSpec.parse(
        {
            "name": "start",
            "base": BASE,
            "space": {"optim.learning_rate": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True}},
            "objectives": [{"metric": "validation/nll"}],
            "budget": {"trials": trials, "concurrent": 1},
            "sampler": {"name": "random"},
            "scheduler": {"name": "none"},
        }
    )


def measure(trials: int) -> list[dict[str, float]]:
    """Runs the search and returns a note a trial, with `start`: the seconds it took to begin."""
    spec = study(trials)
    with tempfile.TemporaryDirectory() as folder, connect():
        prepare(spec.base_spec.data, Path(folder) / "cache")
        begun = time.time()
        search(spec, state=folder, trainer=TRAINER)
        notes = read(Path(folder))
    for note, may_start in zip(notes, [begun, *(note["ended"] for note in notes)], strict=False):
        note["start"] = note["stepped"] - may_start
    return notes


def table(notes: list[dict[str, float]], command: str) -> str:
    """Returns the result as Markdown."""
    first, later = notes[0], notes[1:]
    rows = [
        ("first, in a new process", first["start"], first),
        ("later, in the same process (median)", statistics.median(note["start"] for note in later), later[-1]),
    ]
    lines = [
        "# The start of a trial",
        "",
        *described(command),
        f"Trials log {'to a server' if os.environ.get('MLFLOW_TRACKING_URI') else 'into SQLite by themselves'}.",
        "",
        "| trial | seconds to its first step | RSS, MB | PSS, MB | USS, MB |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [f"| {name} | {s:.2f} | {n['rss']:.0f} | {n['pss']:.0f} | {n['uss']:.0f} |" for name, s, n in rows]
    detail = f"The first trial's trainer was called {first['asked'] - (first['stepped'] - first['start']):.2f} s"
    lines += ["", f"{detail} after the search began, at {first['cpu']:.2f} s of CPU time of its process."]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measures, prints and writes the table."""
    options = parser(__doc__, trials=5).parse_args()
    write(table(measure(options.trials), f"search_start --trials {options.trials}"), options.output)


if __name__ == "__main__":
    main()
