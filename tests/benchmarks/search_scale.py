"""What a search of ten thousand trials costs its driver: CPU time a trial, memory, requests to MLflow, database sizes.

    python -m tests.benchmarks.search_scale thin --trials 10000 [--every 1000] [--output FILE.md]
    python -m tests.benchmarks.search_scale ray --trials 1000 [--every 100] [--output FILE.md]

Trials are those of `tests/tune/stub.py`: real checkpoints and records, made-up metrics, no training. `ray` runs them
through `tune.search.search` as a user does. `thin` gives the same searcher, halving, ledger, retention and tracking the
calls that Ray Tune gives them, in its order, with the trials in a process of their own (`search_thin.py`): what one
costs without Ray. CPU time is that of the driver's process, all its threads, without that of its trials.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import tempfile
import time
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.search_tables import described, write
from tests.benchmarks.search_thin import counted, resident_mb, run_thin
from tune import session
from tune.callbacks import Ledger
from tune.cluster import connect
from tune.search import search
from tune.state import StudyPaths
from tune.study import SearchSpec

GOAL_MS = 50
STUB = "tests.tune.stub:train"


@dataclass
class Samples:
    """What was seen of a driver each time that `every` more trials had ended.

    Attributes:
        paths: Where the study lives.
        every: Trials between two samples.
        requests: Calls of MLflow's client by the driver, counted as they are made.
    """

    paths: StudyPaths
    every: int
    requests: Counter[str] = field(default_factory=Counter)
    rows: list[dict[str, float]] = field(default_factory=list)
    _ended: int = 0

    def trial_ended(self) -> None:
        self._ended += 1
        if self._ended % self.every == 0:
            self.take()

    def take(self) -> None:
        row = {"trials": self._ended, "cpu": time.process_time(), "wall": time.monotonic(), "rss": resident_mb()}
        row["requests"] = sum(self.requests.values())
        row["optuna"] = megabytes(self.paths.root, "optuna*")
        row["mlflow"] = megabytes(self.paths.state, "mlflow.db*")
        self.rows.append(row)


def megabytes(folder: Path, pattern: str) -> float:
    """Returns the size of the files that match, in MB."""
    return sum(file.stat().st_size for file in folder.glob(pattern)) / 1e6


def study(trials: int, sampler: str) -> SearchSpec:
    """Returns a study of stub trials: three searched settings, halving, four milestones at most."""
    tpe = {"name": "tpe", "num_startup": 10}
    return SearchSpec.parse(
        {
            "name": "scale",
            "base": {"train.max_steps": 40, "train.eval_every": 10, "optim.warmup_steps": 0},
            "space": {
                "optim.learning_rate": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True},
                "optim.beta1": {"type": "float", "low": 0.5, "high": 0.95},
                "quantizer.codebook_size": {"type": "int", "low": 64, "high": 1024, "log": True},
            },
            "objectives": [{"metric": "validation/nll"}],
            "constraints": ["rate/bits_per_token <= 10"],
            "budget": {"trials": trials, "max_failures": trials},
            "sampler": tpe if sampler == "tpe" else {"name": sampler},
            "scheduler": {"name": "asha", "grace_steps": 10, "reduction_factor": 2},
        }
    )


def watched(samples: Samples) -> type[Ledger]:
    """Returns the ledger, sampling whenever a trial has ended."""

    class Watched(Ledger):
        def _finish(self, number: int, status: str) -> None:
            super()._finish(number, status)
            samples.trial_ended()

    return Watched


def measure(tier: str, spec: SearchSpec, every: int, state: Path) -> Samples:
    """Runs a study and returns what was seen of its driver."""
    samples = Samples(StudyPaths(state, spec.name), every)
    session.Ledger = watched(samples)  # type: ignore[misc]
    with counted(samples.requests), connect() if tier == "ray" else nullcontext():
        samples.take()
        if tier == "ray":
            search(spec, state=state, trainer=STUB)
        else:
            run_thin(spec, samples.paths, STUB)
    return samples


def table(samples: Samples, title: str, command: str) -> str:
    """Returns the result as Markdown."""
    lines = [f"# {title}", "", *described(command), ""]
    lines += [
        "| trials | driver's CPU time a trial, ms | wall time a trial, ms | driver's memory, MB"
        " | driver's requests to MLflow a trial | Optuna's files, MB | MLflow's database, MB |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for before, after in zip(samples.rows, samples.rows[1:], strict=False):
        count = after["trials"] - before["trials"]
        cpu, wall = (1000 * (after[clock] - before[clock]) / count for clock in ("cpu", "wall"))
        requests = (after["requests"] - before["requests"]) / count
        lines.append(
            f"| {before['trials'] + 1:,.0f} to {after['trials']:,.0f} | {cpu:.1f} | {wall:.0f} | {after['rss']:.0f}"
            f" | {requests:.2f} | {after['optuna']:.1f} | {after['mlflow']:.1f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measures, prints and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tier", choices=["thin", "ray"])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--every", type=int, default=100)
    parser.add_argument("--sampler", default="tpe")
    parser.add_argument("--profile", type=Path, help="write cProfile's lines here")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    spec = study(options.trials, options.sampler)
    profiler = cProfile.Profile(time.thread_time) if options.profile else None
    with tempfile.TemporaryDirectory() as folder, profiler or nullcontext():
        samples = measure(options.tier, spec, options.every, Path(folder))
    if profiler is not None:
        with options.profile.open("w") as file:
            pstats.Stats(profiler, stream=file).sort_stats("tottime").print_stats(60).sort_stats("cumtime").print_stats(
                120
            )
    command = (
        f"search_scale {options.tier} --trials {options.trials} --every {options.every} --sampler {options.sampler}"
    )
    write(table(samples, f"A search of {options.trials:,} trials, {options.tier}", command), options.output)


if __name__ == "__main__":
    main()
