"""`t5vqvae serve` as a process: its workers count together, and it follows an alias of MLflow."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from places import ROOT
from promotions import save_checkpoint
from served import PATIENCE_SECONDS, answers, ask, counts

from t5vqvae.latent.latent_space import LatentSpace
from t5vqvae.models.contract import load_model
from t5vqvae.tracking import Tracker
from t5vqvae.training import checkpoint
from tune.cli import main

TEXTS = ["x + y", "\\cos{x}", "x - 2"]
STEP = "step-00000002"


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with two checkpoints, `first` and `second`, that decode differently."""
    folder = tmp_path_factory.mktemp("serving")
    save_checkpoint(folder, "first")
    save_checkpoint(folder, "second", **{"seed": 7})
    return folder


@contextmanager
def served(state: Path, model: str, *words: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Runs `t5vqvae serve`; gives its address and its process, which SIGTERM must end."""
    command = [sys.executable, "-m", "tune.cli", "serve", model, "--port", "0", "--state", str(state), *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MLFLOW_TRACKING_URI": "", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=state, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        try:
            line = process.stdout.readline()
            found = re.search(r"http://127\.0\.0\.1:\d+", line)
            assert found, process.stderr.read()
            yield found[0], process
        finally:
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=PATIENCE_SECONDS)  # a worker that still loads ends after that
        assert process.returncode in (0, 130) and "Traceback" not in errors, errors


def decoded(folder: Path) -> list[str]:
    space = LatentSpace(load_model(folder / STEP / "model"), checkpoint.read_spec(folder / STEP).max_new_tokens)
    return space.reconstruct(space.encode(TEXTS))


def totals(url: str) -> dict[str, float]:
    """What may never fall: counters, and the counts of histograms."""
    return {name: value for name, value in counts(url).items() if re.search(r"_(total|count|sum|bucket)\b", name)}


@pytest.mark.slow
def test_two_workers_count_together_and_nothing_falls_when_one_is_killed(state: Path) -> None:
    expected = decoded(state / "first")
    with served(state, str(state / "first" / STEP), "--workers", "2") as (url, _):
        workers, before, number = set[int](), dict[str, float](), 0
        deadline = time.monotonic() + 180
        while len(workers) < 2 and time.monotonic() < deadline:
            workers.add(ask(f"{url}/health")[1]["worker"])
        assert len(workers) == 2
        for turn in range(40):
            found = [each["text"] for each in answers(f"{url}/reconstruct", {"texts": TEXTS})]
            assert found == expected
            number += 1
            after = totals(url)
            assert not [name for name, value in before.items() if after.get(name, 0) < value]
            before = after
            if turn == 20:
                os.kill(workers.pop(), signal.SIGKILL)
                wait_for_answer(url)
        found_now = counts(url)
        assert found_now['t5vqvae_serve_requests_total{route="/reconstruct",status="200"}'] == number
        assert found_now["t5vqvae_serve_queue_length"] == 0
        assert sum("model_info" in name for name in found_now) == 1


def wait_for_answer(url: str) -> None:
    """Waits until the killed worker's connections are gone: the kernel resets those that it had accepted."""
    for _ in range(20):
        try:
            ask(f"{url}/health")
            return
        except OSError:
            time.sleep(0.2)


@pytest.mark.slow
def test_the_server_follows_the_alias_under_load_without_a_dropped_request(state: Path) -> None:
    tracker = Tracker(f"sqlite:///{state}/mlflow.db", "tiny")
    parent, registry = tracker.open_study({}, {"t5vqvae.study": "tiny"}), tracker.registry("t5vqvae")
    for name in ("first", "second"):
        trial = tracker.open_trial(parent, f"tiny/{name}", f"tiny/{name}", {}, {})
        registry.register(tracker.log_model(trial, state / name / STEP), trial, name, {}, "")
    registry.point("champion", "1")
    expected = {"1": decoded(state / "first"), "2": decoded(state / "second")}
    assert expected["1"] != expected["2"]
    seen: list[tuple[int, object, object]] = []
    stop = threading.Event()

    def hammer(url: str) -> None:
        while not stop.is_set():
            status, found = ask(f"{url}/reconstruct", {"texts": TEXTS})
            seen.append((status, found["model"]["version"], [each["text"] for each in found["answers"]]))

    with served(state, "models:/t5vqvae@champion", "--refresh", "0.2") as (url, _):
        threads = [threading.Thread(target=hammer, args=(url,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        registry.point("champion", "2")
        deadline = time.monotonic() + 60
        while ask(f"{url}/health")[1]["model"]["version"] != "2" and time.monotonic() < deadline:
            time.sleep(0.05)
        answers(f"{url}/reconstruct", {"texts": TEXTS})
        stop.set()
        for thread in threads:
            thread.join()
        assert ask(f"{url}/health")[1]["model"] == {"name": "t5vqvae", "version": "2"}
    assert {status for status, *_ in seen} == {200} and "1" in {version for _, version, _ in seen}
    assert all(texts == expected[str(version)] for _, version, texts in seen)


def test_what_cannot_be_served_is_one_line(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        asked = [
            (["serve", "nosuch", "--port", "0"], "there is no study nosuch under"),
            (["serve", "nosuch", "--port", port], f"--port {port}: Address already in use; give another --port"),
            (["serve", "nosuch", "--host", "0.0.0.0"], "open to other machines; set T5VQVAE_TOKEN"),
            (["serve", "models:/t5vqvae@nosuch", "--port", "0"], "mlflow.db"),
            (["playground", "nosuch", "--port", port, "--texts", "nowhere"], "nowhere cannot be read: No such file"),
            (["serve", "nosuch", "--refresh", "0"], "--refresh 0 must be a number of seconds above 0, such as 10"),
        ]
        for words, reason in asked:
            assert main([*words, "--state", str(state / "empty")]) in (1, 2)
            error = capsys.readouterr().err
            assert reason in error and error.count("\n") == 1, error
