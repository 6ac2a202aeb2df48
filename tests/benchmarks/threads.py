"""What threads cost: a training and the test of a trial, with all cores, one thread, and as many as are free.

    python -m tests.benchmarks.threads [--load 8] [--steps 60] [--repeats 3] [--output FILE.md]

The numbers of threads take turns, each in a process of its own, first on the machine as it is, then with `--load`
processes that compute without end (without `all`, which waits for its slowest thread then). `free` is what
`t5vqvae train` and `promote` take: see `t5vqvae.training.threads`. Imports are not counted; the model is quickstart's
after 240 steps. The goals: `free` takes at most 1.05 times as long as `all` on an idle machine, and at most 1.3 times
as long as `one` under load.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.search_tables import described, parser, write

WAYS = ("all", "one", "free")
BURN = "while True: pass"
LIMIT_SECONDS = 900

WORK = """
import sys, time, json
from pathlib import Path
way, task, steps, state = sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
import torch
from t5vqvae.data import prepare
from t5vqvae.evaluation.final_test import evaluate_test
from t5vqvae.models.contract import load_model
from t5vqvae.stages import Stage
from t5vqvae.training.threads import free_threads, use_threads
from t5vqvae.training.trainer import Trainer, train
from tune.spec.search_spec import SearchSpec
spec = SearchSpec.load("quickstart").run_spec({})
if task == "prepare":
    *_, last = train(spec, cache_dir=state / "cache")
    last.state.save(state)
    sys.exit()
if way == "free":
    use_threads(free_threads())
elif way == "one":
    use_threads(1)
prepared = prepare(spec.data, state / "cache")
if task == "train":
    spec = spec.with_overrides({"train.max_steps": steps, "train.eval_every": steps, "optim.warmup_steps": 0})
    trainer = Trainer(spec, prepared)
    started = time.perf_counter()
    trainer.advance(Stage("training"))
else:
    model = load_model(next(state.glob("step-*")) / "model")
    started = time.perf_counter()
    evaluate_test(model, spec, state / "cache")
print(json.dumps([time.perf_counter() - started, torch.get_num_threads()]))
"""


def seconds(way: str, task: str, steps: int, state: Path) -> tuple[float, int]:
    """Returns the seconds of one task in a process of its own, and its threads; the limit where it took longer."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    command = [sys.executable, "-W", "ignore", "-c", WORK, way, task, str(steps), str(state)]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True, timeout=LIMIT_SECONDS
        )
    except subprocess.TimeoutExpired:
        return LIMIT_SECONDS, 0
    return tuple(json.loads(done.stdout)) if done.stdout else (0.0, 0)  # type: ignore[return-value]


@contextmanager
def burning(number: int) -> Iterator[None]:
    """Keeps a number of processes busy in the block."""
    burners = [subprocess.Popen([sys.executable, "-c", BURN]) for _ in range(number)]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


def measure(load: int, steps: int, repeats: int, state: Path) -> list[str]:
    """Returns the rows of one load: seconds and threads of each task and way, and the two ratios."""
    rows = []
    for task in ("train", "test"):
        taken: dict[str, list[tuple[float, int]]] = {way: [] for way in (WAYS[1:] if load else WAYS)}
        with burning(load):
            for _ in range(repeats):
                for way in taken:
                    taken[way].append(seconds(way, task, steps, state))
        medians = {way: statistics.median(each for each, _ in found) for way, found in taken.items()}
        threads = "/".join(str(taken[way][-1][1]) if way in taken else "-" for way in WAYS)
        times = " | ".join(f"{medians[way]:.1f}" if way in medians else "-" for way in WAYS)
        ratios = " | ".join(
            f"{medians['free'] / medians[way]:.2f}" if way in medians else "-" for way in ("all", "one")
        )
        rows.append(f"| {task} | {load} | {threads} | {times} | {ratios} |")
    return rows


def main() -> None:
    """Measures, prints and writes the table."""
    options = parser(__doc__, load=8, steps=60, repeats=3).parse_args()
    loads, command = sorted({0, options.load}), f"threads --load {options.load} --steps {options.steps}"
    with tempfile.TemporaryDirectory() as folder:
        seconds("one", "prepare", 0, Path(folder))
        before = f"{os.getloadavg()[0]:.1f}"
        rows = [row for load in loads for row in measure(load, options.steps, options.repeats, Path(folder))]
    heading = ["task", "processes beside it", "threads", *(f"{way}, s" for way in WAYS), "free/all", "free/one"]
    lines = [
        "# Threads",
        "",
        *described(f"{command} --repeats {options.repeats}"),
        f"The load before it began: {before}. `train`: {options.steps} steps; `test`: quickstart's five test sets.",
        "",
        f"| {' | '.join(heading)} |",
        f"| {' | '.join('---' for _ in heading)} |",
        *rows,
    ]
    write("\n".join(lines) + "\n", options.output)


if __name__ == "__main__":
    main()
