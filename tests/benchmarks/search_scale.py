"""What a search of ten thousand trials costs its driver: CPU time a trial, memory, requests to MLflow, database sizes.

    python -m tests.benchmarks.search_scale untracked --at 0 1000 3000 9900 [--trials 100] [--output FILE.md]
    python -m tests.benchmarks.search_scale thin --trials 300
    python -m tests.benchmarks.search_scale ray --trials 100

Trials are those of `tests/support/stub.py`: real checkpoints and records, made-up metrics, no training. `ray` runs them
through `tune.search.search` as a user does. `thin` gives the same searcher, halving, recorder, retention and tracking
the calls that Ray Tune gives them, in its order, with the trials in a process of their own (`search_thin.py`): what one
costs without Ray. `untracked` is `thin` without MLflow. CPU time is that of the driver's process, all its threads, from
its first trial's start to its last one's end, without that of its trials. `--at` says how many trials a study has when
the measured ones begin; those before are random ones.
"""

from __future__ import annotations

import cProfile
import multiprocessing
import pstats
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.benchmarks.search_tables import described, parser, write
from tests.benchmarks.search_thin import counted, resident_mb, run_thin
from tune.execution import session
from tune.execution.ray_cluster import connect
from tune.execution.recorder import TrialRecorder
from tune.records.study_paths import StudyPaths
from tune.search import search
from tune.spec.search_spec import SearchSpec

STUB = "tests.support.stub:train"


@dataclass
class Samples:
    """What was seen of a driver at the start of its first trial, at every thousandth one's end, and now.

    Attributes:
        paths: Where the study lives.
        every: Trials between samples that are kept.
        requests: Calls of MLflow's client by the driver, counted as they are made.
        rows: The samples; the newest is the last.
    """

    paths: StudyPaths
    every: int = 1000
    requests: Counter[str] = field(default_factory=Counter)
    rows: list[dict[str, float]] = field(default_factory=list)

    def take(self, trials: int) -> None:
        row = {"trials": trials, "cpu": time.process_time(), "wall": time.monotonic(), "rss": resident_mb()}
        row["requests"] = sum(self.requests.values())
        row["optuna"] = megabytes(self.paths.root, "optuna*")
        row["mlflow"] = megabytes(self.paths.state, "mlflow.db*")
        kept = self.rows[:1] + [old for old in self.rows[1:] if old["trials"] % self.every == 0]
        self.rows = [*kept, row]


def megabytes(folder: Path, pattern: str) -> float:
    """Returns the size of the files that match, in MB."""
    lasting = [file for file in folder.glob(pattern) if not file.name.endswith("-journal")]
    return sum(file.stat().st_size for file in lasting) / 1e6


def study(trials: int) -> SearchSpec:
    """Returns a study of stub trials: three searched settings, halving, four milestones at most."""
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
            "sampler": {"name": "tpe", "num_startup": 10},
            "scheduler": {"name": "asha", "grace_steps": 10, "reduction_factor": 2},
        }
    )


def watched(samples: Samples) -> type[TrialRecorder]:
    """Returns the recorder, sampling."""

    class Watched(TrialRecorder):
        def on_trial_start(self, *args: Any, **info: Any) -> None:
            if not samples.rows:
                samples.take(len(self.records))
            super().on_trial_start(*args, **info)

        def _finish(self, number: int, status: str) -> None:
            super()._finish(number, status)
            samples.take(len(self.records))

    return Watched


def measure(tier: str, trials: int, at: int, profile: Path | None) -> list[dict[str, float]]:
    """Runs a study and returns its driver's samples.

    Args:
        tier: See the file's docstring.
        trials: How many to run.
        at: How many it has before.
        profile: Where to write which functions of the driver's main thread take CPU time.
    """
    spec = study(at + trials)
    profiler = cProfile.Profile(time.thread_time) if profile else None
    with tempfile.TemporaryDirectory() as folder, profiler or nullcontext():
        samples = Samples(StudyPaths(Path(folder), spec.name))
        session.TrialRecorder = watched(samples)  # type: ignore[misc]
        with counted(samples.requests), connect() if tier == "ray" else nullcontext():
            if tier == "ray":
                search(spec, state=samples.paths.state, trainer=STUB)
            else:
                run_thin(spec, samples.paths, STUB, tracked=tier == "thin", earlier=at)
    if profiler is not None and profile is not None:
        with profile.open("w") as file:
            pstats.Stats(profiler, stream=file).sort_stats("tottime").print_stats(60)
            pstats.Stats(profiler, stream=file).sort_stats("cumtime").print_stats(120)
    return samples.rows


def table(found: list[list[dict[str, float]]], title: str, command: str) -> str:
    """Returns the result as Markdown."""
    lines = [f"# {title}", "", *described(command), ""]
    lines += [
        "| trials | driver's CPU time a trial, ms | wall time a trial, ms | driver's memory, MB"
        " | driver's requests to MLflow a trial | Optuna's files, MB | MLflow's database, MB |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for before, after in (pair for rows in found for pair in pairwise(rows)):
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
    words = parser(__doc__, trials=100)
    words.add_argument("tier", choices=["ray", "thin", "untracked"])
    words.add_argument("--at", type=int, nargs="+", default=[0])
    words.add_argument("--profile", type=Path)
    options = words.parse_args()
    found = []
    for at in options.at:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
            found.append(fresh.submit(measure, options.tier, options.trials, at, options.profile).result())
        print(at, found[-1][-1], flush=True)
    command = f"search_scale {options.tier} --trials {options.trials} --at {' '.join(map(str, options.at))}"
    write(table(found, f"The driver of a long search: {options.tier}", command), options.output)


if __name__ == "__main__":
    main()
