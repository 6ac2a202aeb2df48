"""What serving costs: `t5vqvae serve` against `mlflow models serve`, and against plain batched decoding.

    python -m tests.benchmarks.serving [--rounds 5] [--seconds 4] [--model FOLDER] [--output FILE.md]

Every side is one process with one thread, on the same model (quickstart's, trained here unless `--model` names a
checkpoint) and the same sentences. The sides take turns within a round: the machine's other work meets all of them
alike, and a ratio is that of a round. Aims: 5 times MLflow's requests a second at 32 clients with one sentence a
request; .8 of the sentences a second of plain decoding with 32 sentences a request.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.benchmarks.load_generator import Bodies, Load, as_json, load
from tests.benchmarks.search_tables import described, parser, write

sys.path.insert(0, str(Path(__file__).parent.parent / "support"))
from mlflow_server import model_served

CLIENTS = (1, 8, 32, 128)
TOGETHER = 32
"""Sentences of a large request, and of a batch of plain decoding."""
SETTINGS = {"max_new_tokens": 64}
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "MLFLOW_TRACKING_URI": ""}

PREPARE = """
import json, sys
from pathlib import Path
from t5vqvae.data import prepare
from t5vqvae.training.checkpoint import read_spec
from t5vqvae.training.trainer import train
from tune.spec.search_spec import SearchSpec
state, given = Path(sys.argv[1]), sys.argv[2]
if not given:
    *_, last = train(SearchSpec.load("quickstart").run_spec({}), cache_dir=state / "cache")
    last.state.save(state)
folder = Path(given) if given else next(state.glob("step-*"))
split = prepare(read_spec(folder).data, state / "cache").validation
print(json.dumps([str(folder.resolve()), split.sources(range(len(split)))]))
"""

REGISTER = """
import sys
from pathlib import Path
from t5vqvae.tracking import Tracker
tracker = Tracker(sys.argv[1], "benchmark")
trial = tracker.open_trial(tracker.open_study({}, {"t5vqvae.study": "benchmark"}), "benchmark/0", "0", {}, {})
print(tracker.log_model(trial, Path(sys.argv[2])))
"""

PLAIN = """
import json, random, sys, time
from t5vqvae.models.contract import load_model, reconstruct
model, texts = load_model(sys.argv[1]).eval(), json.loads(sys.argv[2])
together, most = int(sys.argv[3]), int(sys.argv[4])
draw = random.Random(0)
reconstruct(model, texts[:together], most)
print("ready", flush=True)
for line in sys.stdin:
    started, number = time.perf_counter(), 0
    while time.perf_counter() - started < float(line):
        reconstruct(model, draw.choices(texts, k=together), most)
        number += together
    print(number / (time.perf_counter() - started), flush=True)
"""


def python(code: str, *words: str) -> str:
    """Returns the last line that a program prints."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *words], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    )
    assert done.returncode == 0
    return done.stdout.splitlines()[-1]


@contextmanager
def served(model: str) -> Iterator[str]:
    """Runs `t5vqvae serve`; gives its address."""
    command = [sys.executable, "-m", "tune.cli", "serve", model, "--port", "0", "--threads", "1"]
    with subprocess.Popen(command, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        assert found, "the server did not start"
        try:
            yield found[0]
        finally:
            process.send_signal(signal.SIGTERM)


class Plain:
    """A process that decodes batches without a server, when it is asked to."""

    def __init__(self, model: str, texts: list[str]) -> None:
        words = [model, json.dumps(texts), str(TOGETHER), str(SETTINGS["max_new_tokens"])]
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", PLAIN, *words],
            env=ENVIRONMENT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self._line() == "ready"

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def rate(self, seconds: float) -> float:
        """Returns sentences a second."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        return float(self._line())

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.communicate()


def bodies(texts: list[str], number: int, mlflow: bool) -> Bodies:
    """Returns what clients send: requests of so many sentences, drawn anew for each."""

    def of(client: int) -> Iterator[bytes]:
        draw = random.Random(client)
        while True:
            own = draw.choices(texts, k=number)
            frame = {"dataframe_split": {"columns": ["text"], "data": [[text] for text in own]}, "params": SETTINGS}
            yield as_json(frame if mlflow else {"texts": own, **SETTINGS})

    return of


def measure(
    ours: str, theirs: str, plain: Plain, texts: list[str], rounds: int, seconds: float
) -> dict[str, list[Any]]:
    """Returns the loads by side and number of clients, and the rates of plain decoding, one a round."""
    found: dict[str, list[Any]] = {}
    sides = {
        "serve": (f"{ours}/reconstruct", bodies(texts, 1, False)),
        "mlflow": (f"{theirs}/invocations", bodies(texts, 1, True)),
    }
    large = bodies(texts, TOGETHER, False)
    for turn in range(rounds + 1):  # the first one warms up
        for clients in CLIENTS:
            for name in list(sides)[:: 1 if turn % 2 else -1]:
                url, own = sides[name]
                found.setdefault(f"{name} {clients}", []).append(load(url, clients, seconds, own))
        for clients in (1, 4):
            found.setdefault(f"large {clients}", []).append(load(sides["serve"][0], clients, seconds, large))
            found.setdefault(f"plain {clients}", []).append(plain.rate(seconds))
        print(f"round {turn} of {rounds}, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    return {name: each[1:] for name, each in found.items()}


def row(name: str, clients: int, loads: list[Load], ratio: str) -> str:
    """Returns one line of the table: medians of the rounds, percentiles of all requests."""
    whole = sum(loads[1:], loads[0])
    rate, spread = statistics.median(each.rate for each in loads), [each.rate for each in loads]
    times = " | ".join(f"{1000 * whole.percentile(share):.0f}" for share in (0.5, 0.99))
    return f"| {name} | {clients} | {times} | {rate:.0f} ({min(spread):.0f} to {max(spread):.0f}) | {ratio} |"


def ratios(over: list[float], under: list[float]) -> str:
    """Returns the median ratio of the rounds, with the smallest and the largest."""
    each = [a / b for a, b in zip(over, under, strict=True)]
    return f"{statistics.median(each):.2f} ({min(each):.2f} to {max(each):.2f})"


def table(found: dict[str, list[Any]]) -> list[str]:
    """Returns the lines of the results."""
    lines = ["| side | clients | p50, ms | p99, ms | requests/s | ratio to MLflow |", f"|{' --- |' * 6}"]
    for clients in CLIENTS:
        ours, theirs = found[f"serve {clients}"], found[f"mlflow {clients}"]
        lines.append(row("mlflow models serve", clients, theirs, "1"))
        rates = [[each.rate for each in side] for side in (ours, theirs)]
        lines.append(row("t5vqvae serve", clients, ours, ratios(*rates)))
    lines += ["", f"With {TOGETHER} sentences a request, against batches of {TOGETHER} without a server:", ""]
    lines += ["| clients | serve, sentences/s | plain, sentences/s | ratio |", f"|{' --- |' * 4}"]
    for clients in (1, 4):
        ours, plain = [TOGETHER * each.rate for each in found[f"large {clients}"]], found[f"plain {clients}"]
        medians = f"{statistics.median(ours):.0f} | {statistics.median(plain):.0f}"
        lines.append(f"| {clients} | {medians} | {ratios(ours, plain)} |")
    for name, loads in found.items():
        refused = [each for one in loads if isinstance(one, Load) for each in one.refused]
        if refused:
            lines += [
                "",
                f"{len(refused)} requests of `{name}` were refused, the first with `{refused[0].decode():.200}`.",
            ]
    return lines


def main() -> None:
    """Measures, prints and writes the table."""
    line = parser(__doc__, rounds=5, seconds=4)
    line.add_argument("--model", default="", help="a checkpoint; default: quickstart's, trained here")
    options = line.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as open_now:
        state = Path(folder)
        model, texts = json.loads(python(PREPARE, folder, options.model))
        store = f"sqlite:///{state}/mlflow.db"
        uri = python(REGISTER, store, model)
        theirs = open_now.enter_context(model_served(uri, store, state / "mlflow.log"))
        ours = open_now.enter_context(served(model))
        plain = Plain(f"{model}/model", texts)
        open_now.callback(plain.close)
        found = measure(ours, theirs, plain, texts, options.rounds, options.seconds)
    command = f"serving --rounds {options.rounds} --seconds {options.seconds}"
    write("\n".join(["# Serving", "", *described(command), "", *table(found)]) + "\n", options.output)


if __name__ == "__main__":
    main()
