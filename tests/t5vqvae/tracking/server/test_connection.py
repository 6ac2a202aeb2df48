"""The connection to a server: folders are refused, failures take one line, and a killed server is caught up with."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tracking_runs import METRICS, history, run_of

from t5vqvae.errors import TrackingError
from t5vqvae.evaluation.metric import STEP
from t5vqvae.redaction import redacted as without_password
from t5vqvae.tracking import Tracker
from t5vqvae.tracking.server import connection


@pytest.mark.parametrize("uri", ["mlruns", "/tmp/mlruns", "file:///tmp/mlruns", "./x:y/z"])
def test_a_folder_is_refused_with_the_way_out(uri: str) -> None:
    with pytest.raises(TrackingError, match=r"is a folder, which MLflow no longer writes to; start the server"):
        Tracker(uri, "study")


def test_an_absent_server_is_reported_in_one_line() -> None:
    with pytest.raises(TrackingError, match=r"^tracking server http://127\.0\.0\.1:9: Connection refused;") as error:
        Tracker("http://127.0.0.1:9", "study").check(timeout=20)
    assert "\n" not in str(error.value)


def test_a_server_that_hangs_is_reported_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        uri = f"http://user:secret@127.0.0.1:{server.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(TrackingError, match=r"no answer within 0\.3 s") as error:
            Tracker(uri, "study").check(timeout=0.3)
        assert time.monotonic() - began < 10
    assert "secret" not in str(error.value)


def test_a_relative_database_is_resolved_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Tracker("sqlite:///mlflow.db", "study").uri == f"sqlite:///{tmp_path}/mlflow.db"
    assert without_password("https://a:b@host:1/x") == "https://host:1/x"
    assert without_password("sqlite:////tmp/mlflow.db") == "sqlite:////tmp/mlflow.db"


def test_a_database_that_was_lost_or_replaced_is_opened_anew(schema: Path, tmp_path: Path) -> None:
    """MLflow would go on to write into the deleted file, which its connections hold."""
    database = tmp_path / "mlflow.db"
    shutil.copy(schema, database)
    tracker = Tracker(f"sqlite:///{database}", "study")
    first = tracker.open_study({}, {})
    assert tracker.known(first) == first
    database.rename(tmp_path / "lost.db")
    shutil.copy(schema, database)
    assert Tracker(tracker.uri, "study").known(first) is None
    second = Tracker(tracker.uri, "study").open_study({}, {})
    assert second != first
    assert tracker.open_study({}, {}) == second, "a tracker that read the lost one opens the new one, too"
    database.unlink()
    assert Tracker(tracker.uri, "study").open_study({}, {}) not in (first, second)


def test_importing_tracking_loads_neither_mlflow_nor_torch() -> None:
    code = "import sys, t5vqvae.tracking; print([m for m in ('mlflow', 'torch', 'ray') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class Server:
    """An `mlflow server` on one port in a separate process group, which a test can kill and restart."""

    def __init__(self, folder: Path, database: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.folder, self.database = folder, database
        self.uri = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        options = ["--backend-store-uri", f"sqlite:///{self.database}", "--workers", "1"]
        artifacts = ["--artifacts-destination", str(self.folder / "artifacts")]
        quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        self.process = subprocess.Popen(
            command + options + artifacts,
            env={**os.environ, **quiet},
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "server.log").open("ab"),
            start_new_session=True,
        )
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=1)
                return
            except OSError:
                time.sleep(0.2)
        raise TimeoutError((self.folder / "server.log").read_text()[-2000:])

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def server(schema: Path, tmp_path: Path) -> Iterator[Server]:
    shutil.copy(schema, tmp_path / "server.db")
    server = Server(tmp_path, tmp_path / "server.db")
    try:
        yield server
    finally:
        server.kill()


def test_a_restarted_server_receives_the_entries_that_it_missed(server: Server, spool: Path) -> None:
    tracker = Tracker(server.uri, "study")
    tracker.check()
    parent = tracker.open_study({"seed": 0}, {})
    logger = tracker.open_logger(parent, "study/00000", "00000", {"a": 1}, {}, spool, wait=30)
    logger.log(METRICS, 50, tokens=500)
    deadline = time.monotonic() + 30
    while not (sent := history(tracker, logger.mlflow_id, STEP)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert sent == [(50, 50.0)]
    server.kill()
    slowest = 0.0
    for step in (100, 150, 200):
        began = time.monotonic()
        logger.log(METRICS, step, tokens=10 * step)
        slowest = max(slowest, time.monotonic() - began)
    logger.table([{"source": "a", "decoded": "b"}], "reconstructions")
    assert slowest < 0.5
    restart = threading.Thread(target=server.start)
    restart.start()
    logger.log(METRICS, 250, tokens=2500)
    restart.join()
    assert logger.close(timeout=60)
    tracker.close(logger.mlflow_id, "completed", spool=spool)
    tracker.close(parent, "completed")
    assert [step for step, _ in history(tracker, logger.mlflow_id, "validation/nll")] == [50, 100, 150, 200, 250]
    assert run_of(tracker, logger.mlflow_id).info.status == "FINISHED"
    assert tracker.running(parent) == {}
    names = {file.path for file in tracker.destination.client.list_artifacts(logger.mlflow_id)}
    assert names == {"reconstructions.json"}
    url = tracker.url(parent)
    assert url is not None and url.startswith(f"{server.uri}/#/experiments/") and f"/runs/{parent}?" in url


def test_a_database_on_a_full_disk_leaves_no_traceback_on_the_terminal(
    tracker: Tracker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """MLflow raises the error and logs its traceback besides; SQLite's own limit stands for the disk."""
    from sqlalchemy import event

    client = connection.connect(tracker.uri)
    engine = client._tracking_client.store.engine

    @event.listens_for(engine, "connect")
    def limit(database: Any, _: object) -> None:
        database.execute("pragma max_page_count = 1")

    engine.dispose()
    with pytest.raises(TrackingError, match="database or disk is full"), connection.translated(tracker.uri):
        client.create_experiment("new", tags={name: name * 4_000 for name in "abcdef"})
    assert caplog.text == ""
