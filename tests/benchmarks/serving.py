"""What serving costs: `t5vqvae serve` against `mlflow models serve`, and against plain batched decoding.

    python -m tests.benchmarks.serving [--rounds 5] [--seconds 4] [--part both] [--model FOLDER] [--output FILE.md]

Every side is one process with one thread, on the same model (quickstart's, trained here unless `--model` names a
checkpoint) and the same sentences. The sides take turns within a round: the machine's other work meets all of them
alike, and a ratio is that of a round. Aims: 5 times MLflow's requests a second at 32 clients with one sentence a
request; .8 of the sentences a second of plain decoding with 32 sentences a request. On a machine with other work, a
server that waits for its next request loses its core; its CPU seconds a sentence do not depend on that.
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
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.benchmarks.load_generator import Bodies, Load, as_json, load
from tests.benchmarks.search_tables import described, parser, write

sys.path.insert(0, str(Path(__file__).parent.parent / "support"))
from mlflow_server import model_served

CLIENTS, FEW_CLIENTS = (1, 8, 32, 128), (1, 4)
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
    started, spent, number = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - started < float(line):
        reconstruct(model, draw.choices(texts, k=together), most)
        number += together
    print(number / (time.perf_counter() - started), (time.process_time() - spent) / number, flush=True)
"""


def python(code: str, *words: str) -> str:
    """Returns the last line that a program prints."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *words], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    )
    assert done.returncode == 0
    return done.stdout.splitlines()[-1]


@contextmanager
def served(model: str) -> Iterator[tuple[str, psutil.Process]]:
    """Runs `t5vqvae serve`; gives its address and its process."""
    command = [sys.executable, "-m", "tune.cli", "serve", model, "--port", "0", "--threads", "1"]
    with subprocess.Popen(command, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        assert found, "the server did not start"
        try:
            yield found[0], psutil.Process(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)


@dataclass(frozen=True)
class Decoding:
    """Sentences a second, and CPU seconds a sentence."""

    rate: float
    cpu: float


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

    def rate(self, seconds: float) -> Decoding:
        """Decodes for some seconds."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        return Decoding(*map(float, self._line().split()))

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


def against_mlflow(ours: str, theirs: str, texts: list[str], rounds: int, seconds: float) -> dict[str, list[Load]]:
    """Returns the loads by side and number of clients, one a round."""
    found: dict[str, list[Load]] = {}
    sides = {
        "serve": (f"{ours}/reconstruct", bodies(texts, 1, False)),
        "mlflow": (f"{theirs}/invocations", bodies(texts, 1, True)),
    }
    for turn in range(rounds + 1):  # the first one warms up
        for clients in CLIENTS:
            for name in list(sides)[:: 1 if turn % 2 else -1]:
                url, own = sides[name]
                found.setdefault(f"{name} {clients}", []).append(load(url, clients, seconds, own))
        print(f"round {turn} of {rounds}, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    return {name: each[1:] for name, each in found.items()}


def against_plain(
    url: str, server: psutil.Process, plain: Plain, texts: list[str], rounds: int, seconds: float
) -> dict[int, list[tuple[Decoding, Decoding]]]:
    """Returns what the server and plain decoding did in each round, by the number of clients."""
    found: dict[int, list[tuple[Decoding, Decoding]]] = {clients: [] for clients in FEW_CLIENTS}
    for turn in range(rounds + 1):
        for clients, pairs in found.items():
            before = sum(server.cpu_times()[:2])
            seen = load(f"{url}/reconstruct", clients, seconds, bodies(texts, TOGETHER, False))
            spent = sum(server.cpu_times()[:2]) - before
            served_now = Decoding(TOGETHER * seen.rate, spent / (TOGETHER * len(seen.latencies)))
            pairs.append((served_now, plain.rate(seconds)))
        print(f"round {turn} of {rounds}, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    return {clients: pairs[1:] for clients, pairs in found.items()}


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


def mlflow_table(found: dict[str, list[Load]]) -> list[str]:
    """Returns the lines about requests of one sentence."""
    lines = ["| side | clients | p50, ms | p99, ms | requests/s | ratio to MLflow |", f"|{' --- |' * 6}"]
    for clients in CLIENTS:
        ours, theirs = found[f"serve {clients}"], found[f"mlflow {clients}"]
        lines.append(row("mlflow models serve", clients, theirs, "1"))
        rates = [[each.rate for each in side] for side in (ours, theirs)]
        lines.append(row("t5vqvae serve", clients, ours, ratios(*rates)))
    for name, loads in found.items():
        refused = [each for one in loads for each in one.refused]
        if refused:
            lines += [
                "",
                f"{len(refused)} requests of `{name}` were refused, the first with `{refused[0].decode():.200}`.",
            ]
    return lines


def plain_table(found: dict[int, list[tuple[Decoding, Decoding]]]) -> list[str]:
    """Returns the lines about requests of many sentences."""
    lines = [f"With {TOGETHER} sentences a request, against batches of {TOGETHER} without a server:", ""]
    lines += ["| clients | serve, sentences/s | plain, sentences/s | ratio | ratio of CPU time, plain to serve |"]
    lines += [f"|{' --- |' * 5}"]
    for clients, pairs in found.items():
        ours, plain = zip(*pairs, strict=True)
        medians = " | ".join(f"{statistics.median(each.rate for each in side):.0f}" for side in (ours, plain))
        rates = ratios([each.rate for each in ours], [each.rate for each in plain])
        cpu = ratios([each.cpu for each in plain], [each.cpu for each in ours])
        lines.append(f"| {clients} | {medians} | {rates} | {cpu} |")
    return lines


def main() -> None:
    """Measures, prints and writes the tables."""
    line = parser(__doc__, rounds=5, seconds=4)
    line.add_argument("--model", default="", help="a checkpoint; default: quickstart's, trained here")
    line.add_argument("--part", choices=("both", "mlflow", "plain"), default="both")
    options = line.parse_args()
    turns, lines = (options.rounds, options.seconds), list[str]()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as open_now:
        state = Path(folder)
        model, texts = json.loads(python(PREPARE, folder, options.model))
        url, server = open_now.enter_context(served(model))
        if options.part != "plain":
            store = f"sqlite:///{state}/mlflow.db"
            uri = python(REGISTER, store, model)
            with model_served(uri, store, state / "mlflow.log") as theirs:
                lines += [*mlflow_table(against_mlflow(url, theirs, texts, *turns)), ""]
        if options.part != "mlflow":
            plain = Plain(f"{model}/model", texts)
            open_now.callback(plain.close)
            lines += plain_table(against_plain(url, server, plain, texts, *turns))
    command = f"serving --rounds {options.rounds} --seconds {options.seconds} --part {options.part}"
    write("\n".join(["# Serving", "", *described(command), "", *lines]).rstrip() + "\n", options.output)


if __name__ == "__main__":
    main()
