"""Tracking: laws over journals, names and runs with a SQLite store; one real server that is killed and comes back."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t5vqvae.errors import TrackingError
from t5vqvae.tracking import RunLogger, Tracker
from t5vqvae.tracking.connection import without_password
from t5vqvae.tracking.delivery import next_group
from t5vqvae.tracking.journal import Journal, leftovers
from t5vqvae.tracking.names import STEP, against_tokens, clean_name
from t5vqvae.tracking.plots import effective_codes, usage_svg

DEAD = "http://127.0.0.1:9"  # the discard port: nothing listens, connections are refused at once
METRICS = {"validation/nll": 1.5, "train/nll": 2.0, "cost/step_seconds": 0.1}


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database: its creation takes seconds, a copy none."""
    folder = tmp_path_factory.mktemp("schema")
    Tracker(f"sqlite:///{folder}/mlflow.db", "unused").check()
    return folder / "mlflow.db"


@pytest.fixture
def tracker(schema: Path, tmp_path: Path) -> Tracker:
    shutil.copy(schema, tmp_path / "mlflow.db")
    return Tracker(f"sqlite:///{tmp_path}/mlflow.db", "study")


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "trials" / "00000" / "spool"


def run_of(tracker: Tracker, mlflow_id: str | None) -> Any:
    assert mlflow_id is not None
    return tracker.destination.client.get_run(mlflow_id)


def history(tracker: Tracker, mlflow_id: str | None, name: str) -> list[tuple[int, float]]:
    assert mlflow_id is not None
    return [(point.step, point.value) for point in tracker.destination.client.get_metric_history(mlflow_id, name)]


def open_trial(tracker: Tracker, spool: Path, wait: float = 20) -> RunLogger:
    return tracker.open_logger("parent", "study/00000", "00000", {"quantizer.name": "ema"}, {"a": "b"}, spool, wait)


def find_trial(tracker: Tracker) -> Any:
    """Returns the only trial of the experiment; fails when there are two."""
    (run,) = tracker.destination.client.search_runs(
        [tracker.destination.find_or_create()], "tags.`t5vqvae.kind` = 'trial'"
    )
    return run


def test_a_study_and_a_trial_are_opened_once(tracker: Tracker) -> None:
    earlier = tracker.open_trial(None, "study/00001", "00001", {}, {"t5vqvae.study": "study"})
    parent = tracker.open_study({"seed": 0}, {"question": "why"})
    trial = tracker.open_trial(parent, "study/00000", "00000", {"seed": 0}, {"t5vqvae.study": "study"})
    assert len({earlier, parent, trial}) == 3
    again = pickle.loads(pickle.dumps(tracker))
    assert again.open_study({"seed": 0}, {}) == parent
    assert again.open_trial(parent, "study/00000", "00000", {}, {"t5vqvae.study": "study"}) == trial
    assert run_of(tracker, trial).data.tags["mlflow.parentRunId"] == parent


def test_two_studies_may_share_an_experiment(tracker: Tracker) -> None:
    one = tracker.open_study({}, {"t5vqvae.study": "one"})
    assert tracker.open_study({}, {"t5vqvae.study": "two"}) != one


def test_a_changed_parameter_is_kept_and_tagged(tracker: Tracker) -> None:
    parent = tracker.open_study({"budget.trials": 8}, {})
    tracker.open_study({"budget.trials": 20, "new": 1}, {})
    data = run_of(tracker, parent).data
    assert data.params == {"budget.trials": "8", "new": "1"}
    assert data.tags["now.budget.trials"] == "20"


@pytest.mark.parametrize(
    ("status", "in_mlflow"),
    {
        "completed": "FINISHED",
        "pruned": "KILLED",
        "interrupted": "KILLED",
        "failed": "FAILED",
        "diverged": "FAILED",
    }.items(),
)
def test_close_maps_the_status_and_opening_sets_it_running_again(
    tracker: Tracker, spool: Path, status: str, in_mlflow: str
) -> None:
    trial = tracker.open_trial(None, "study/00000", "00000", {}, {})
    assert tracker.close(trial, status, {"why": "so"}, {"best": 1.0})
    run = run_of(tracker, trial)
    assert (run.info.status, run.data.tags["status"], run.data.tags["why"]) == (in_mlflow, status, "so")
    time.sleep(0.002)  # MLflow counts milliseconds
    tracker.open_trial(None, "study/00000", "00000", {}, {})
    run = run_of(tracker, trial)
    assert (run.info.status, run.data.tags["status"]) == ("RUNNING", "running")
    tracker.close(None, status, metrics={"best": 1.0}, key="study/00000")
    assert run_of(tracker, trial).info.status == in_mlflow
    assert history(tracker, trial, "best") == [(0, 1.0)]


def test_close_refuses_what_it_cannot_mean(tracker: Tracker) -> None:
    with pytest.raises(TrackingError, match="status='done' must be one of running, completed"):
        tracker.close("x", "done")
    with pytest.raises(TrackingError, match="both are None"):
        tracker.close(None, "completed")


def test_running_names_the_trials_left_open(tracker: Tracker) -> None:
    parent = tracker.open_study({}, {})
    trials = {key: tracker.open_trial(parent, key, key, {}, {}) for key in ("study/0", "study/1")}
    tracker.close(trials["study/0"], "completed")
    assert tracker.running(parent) == {"study/1": trials["study/1"]}


def test_metrics_stand_against_steps_and_tokens(tracker: Tracker, spool: Path) -> None:
    with open_trial(tracker, spool) as logger:
        logger.log(METRICS, 50, tokens=5000)
        logger.log({**METRICS, "validation/nll": 1.0}, 100, tokens=9000)
    assert history(tracker, logger.mlflow_id, "validation/nll") == [(50, 1.5), (100, 1.0)]
    assert history(tracker, logger.mlflow_id, "tokens/validation/nll") == [(5000, 1.5), (9000, 1.0)]
    names = run_of(tracker, logger.mlflow_id).data.metrics
    assert "tokens/cost/step_seconds" not in names
    assert names["system/process_memory_megabytes"] > 1
    assert names[STEP] == 100


def test_a_resumed_run_logs_no_step_twice(tracker: Tracker, spool: Path) -> None:
    with open_trial(tracker, spool) as first:
        for step in (50, 100):
            first.log(METRICS, step)
    with open_trial(tracker, spool) as second:
        for step in (100, 150):
            second.log(METRICS, step)
    assert first.mlflow_id == second.mlflow_id
    for name in ("validation/nll", STEP, "system/process_memory_megabytes"):
        assert [step for step, _ in history(tracker, first.mlflow_id, name)] == [50, 100, 150]


def test_values_that_are_not_finite_become_tags(tracker: Tracker, spool: Path) -> None:
    with open_trial(tracker, spool) as logger:
        logger.log({"train/loss": float("nan"), "train/nll": float("-inf"), "a=b": 1.0}, 50)
    data = run_of(tracker, logger.mlflow_id).data
    assert data.tags["not_finite/train/loss"] == "nan at step 50"
    assert data.tags["not_finite/train/nll"] == "-inf at step 50"
    assert data.metrics["a_b"] == 1.0
    assert "train/loss" not in data.metrics


def test_artifacts_arrive_and_the_spool_is_empty_after(
    tracker: Tracker, spool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracker.uri)  # for `load_table`
    spec = tmp_path / "spec.json"
    spec.write_text("{}")
    with open_trial(tracker, spool) as logger:
        logger.artifact(spec, "settings")
        spec.unlink()  # a small file is the logger's own from the moment it was logged
        logger.table([{"source": "a b", "decoded": "a"}, {"source": "c", "codes": "1 2"}], "reconstructions")
        logger.codebook_usage([[5, 0, 3], [1, 1, 1]])
        logger.data("math", "f" * 64, {"size": 10}, {"train": 8})
    client = tracker.destination.client
    assert {file.path for file in client.list_artifacts(logger.mlflow_id, "settings")} == {"settings/spec.json"}
    frame = client.load_table(tracker.destination.find_or_create(), "reconstructions.json", [logger.mlflow_id])
    assert frame["source"].tolist() == ["a b", "c"]
    inputs = run_of(tracker, logger.mlflow_id).inputs.dataset_inputs
    assert {(i.dataset.name, i.tags[0].value) for i in inputs} == {
        ("math/train", "training"),
        ("math/validation", "validation"),
    }
    assert not any(path.is_file() for path in spool.rglob("*"))


def test_a_server_away_costs_no_time_and_a_replay_brings_everything(tracker: Tracker, spool: Path) -> None:
    away = Tracker(DEAD, "study")
    began = time.monotonic()
    logger = open_trial(away, spool, wait=0)
    for step in range(50, 1050, 50):
        logger.log(METRICS, step, tokens=10 * step)
    logger.table([{"source": "a"}], "reconstructions")
    assert time.monotonic() - began < 2
    assert logger.mlflow_id is None
    assert not logger.close(timeout=20)
    assert not away.close(None, "pruned", {"why": "rung 2"}, key="study/00000", spool=spool)
    assert tracker.replay(spool.parent.parent) == 0
    run = find_trial(tracker)
    assert (run.info.status, run.data.tags["why"], run.data.params) == ("KILLED", "rung 2", {"quantizer.name": "ema"})
    assert [step for step, _ in history(tracker, run.info.run_id, STEP)] == list(range(50, 1050, 50))
    assert not list(spool.glob("*.jsonl"))
    assert tracker.replay(spool.parent.parent) == 0


def test_a_run_that_does_not_exist_yet_is_not_told_as_a_server_away(
    tracker: Tracker, spool: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("WARNING", "t5vqvae.tracking"):
        assert not tracker.close(None, "pruned", key="study/00000", spool=spool)
        assert caplog.records == []
        assert not Tracker(DEAD, "study").close(None, "pruned", key="study/00000", spool=spool)
    told = [record.message for record in caplog.records if record.name == "t5vqvae.tracking"]
    assert ["is away (Connection refused)" in message for message in told] == [True]


def test_an_old_opening_sent_late_does_not_open_a_closed_run(tracker: Tracker, spool: Path) -> None:
    logger = open_trial(Tracker(DEAD, "study"), spool, wait=0)
    logger.close(timeout=20)
    time.sleep(0.002)
    trial = tracker.open_trial(None, "study/00000", "00000", {}, {})
    tracker.close(trial, "completed")
    assert tracker.replay(spool) == 0
    assert run_of(tracker, trial).info.status == "FINISHED"


def test_a_killed_process_loses_nothing_and_sends_nothing_twice(tracker: Tracker, spool: Path) -> None:
    script = """
import os, signal, sys, time
from pathlib import Path
from t5vqvae.tracking import Tracker
uri, spool = sys.argv[1:]
tracker = Tracker(uri, "study")
logger = tracker.open_logger(None, "study/00000", "00000", {}, {}, Path(spool), wait=60)
logger.log({"validation/nll": 1.0}, 50)
while not tracker.destination.client.get_metric_history(logger.mlflow_id, "validation/nll"):
    time.sleep(0.05)
logger._delivery.send = lambda entries: time.sleep(60)  # a server that hangs
logger.log({"validation/nll": 0.5}, 100)
time.sleep(0.2)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", script, tracker.uri, str(spool)], timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list(spool.glob("*.jsonl"))) == 1
    with open_trial(tracker, spool) as logger:
        logger.log({"validation/nll": 0.4}, 100)  # the resumed run computes the step again
        logger.log({"validation/nll": 0.3}, 150)
    assert history(tracker, logger.mlflow_id, "validation/nll") == [(50, 1.0), (100, 0.5), (150, 0.3)]
    assert not list(spool.glob("*.jsonl"))


def test_what_mlflow_refuses_for_good_is_set_aside(tracker: Tracker, spool: Path, tmp_path: Path) -> None:
    big = tmp_path / "weights.bin"
    big.write_bytes(b"0" * 1_000_001)
    with open_trial(Tracker(DEAD, "study"), spool, wait=0) as logger:
        logger.artifact(big)
        big.unlink()
        logger.log(METRICS, 50)
    assert tracker.replay(spool) == 0
    assert "weights.bin" in (spool / "rejected.txt").read_text()
    assert [step for step, _ in history(tracker, find_trial(tracker).info.run_id, STEP)] == [50]


def test_a_trial_needs_few_requests(tracker: Tracker, spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker.open_study({}, {})
    store = tracker.destination.client._tracking_client.store
    calls: list[str] = []
    for name in ("search_runs", "create_run", "log_batch", "update_run_info", "get_metric_history", "get_run"):
        method = getattr(store, name)
        monkeypatch.setattr(
            store, name, lambda *a, _name=name, _method=method, **k: (calls.append(_name), _method(*a, **k))[1]
        )
    with open_trial(tracker, spool) as logger:
        for step in range(10):
            logger.log(METRICS, step)
    tracker.close(logger.mlflow_id, "completed")
    assert len(calls) <= 1 + 1 + 11 + 1 + 1, calls  # find, create, a batch a milestone, the last tags, the status
    assert "get_metric_history" not in calls  # nothing to ask of a run that is new


def test_the_journal_survives_torn_lines_and_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal.create(tmp_path)
    journal.append({"kind": "tags", "n": 1})
    real = os.write

    monkeypatch.setattr(os, "write", lambda descriptor, line: real(descriptor, line[: len(line) // 2]))
    journal.append({"kind": "tags", "n": 2})
    monkeypatch.undo()
    journal.append({"kind": "tags", "n": 3})
    seen = []
    while (batch := journal.pending(10))[0]:
        seen += [entry["n"] for entry in batch[0]]
        journal.consume(batch[1])
    assert sorted(seen) == [1, 2, 3]
    assert list(leftovers(tmp_path)) == []  # its writer lives
    with journal.path.open("a") as file:
        file.write('{"kind": "ta')
    journal.close(delete=False)
    (left,) = leftovers(tmp_path)
    assert [entry["n"] for entry in left.pending(10)[0]] == [1, 3]
    left.close(delete=True)
    assert list(tmp_path.glob("*.jsonl")) == []


def test_entries_are_joined_up_to_the_limit_of_a_request() -> None:
    log = {"kind": "log", "step": 1, "tokens": None, "time": 0, "metrics": {f"m{i}": 1.0 for i in range(299)}}
    tags = {"kind": "tags", "tags": {}}
    assert len(next_group([log, tags, log, log, log])) == 4
    assert len(next_group([tags, {"kind": "artifact"}, tags])) == 1
    assert len(next_group([{"kind": "artifact"}, tags])) == 1
    assert len(next_group([{**log, "metrics": {f"m{i}": 1.0 for i in range(2000)}}])) == 1


@given(st.text(max_size=300))
def test_every_name_becomes_one_that_mlflow_takes(name: str) -> None:
    from mlflow.utils.validation import _validate_metric_name

    cleaned = clean_name(name)
    _validate_metric_name(cleaned)
    assert clean_name(cleaned) == cleaned


def test_only_what_is_worth_comparing_stands_against_tokens() -> None:
    assert against_tokens({"validation/nll": 1.0, "train/nll": 2.0, "cost/x": 3.0, "train/loss": 4.0}) == {
        "tokens/validation/nll": 1.0,
        "tokens/train/nll": 2.0,
    }


def test_the_usage_plot_is_well_formed_and_says_what_is_used() -> None:
    svg = usage_svg([[8, 8, 0, 0], [1, 0, 0, 0], [0, 0]])
    texts = [element.text for element in ElementTree.fromstring(svg).iter() if element.text]
    assert "codebook 0: 2 of 4 codes used, perplexity 2.0" in texts
    assert "codebook 2: 0 of 2 codes used, perplexity 0.0" in texts
    assert len(usage_svg([list(range(20000))])) < 20_000
    assert effective_codes([3, 3, 3]) == pytest.approx(3)


@pytest.mark.parametrize("uri", ["mlruns", "/tmp/mlruns", "file:///tmp/mlruns", "./x:y/z"])
def test_a_folder_is_refused_with_the_way_out(uri: str) -> None:
    with pytest.raises(TrackingError, match=r"is a folder, which MLflow no longer writes to; start the server"):
        Tracker(uri, "study")


def test_a_server_that_is_not_there_is_told_in_one_line() -> None:
    with pytest.raises(TrackingError, match=r"^tracking server http://127\.0\.0\.1:9: Connection refused;") as error:
        Tracker("http://127.0.0.1:9", "study").check(timeout=20)
    assert "\n" not in str(error.value)


def test_a_server_that_hangs_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        uri = f"http://user:secret@127.0.0.1:{server.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(TrackingError, match=r"no answer within 0\.3 s") as error:
            Tracker(uri, "study").check(timeout=0.3)
        assert time.monotonic() - began < 10
    assert "secret" not in str(error.value)


def test_relative_databases_mean_the_same_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Tracker("sqlite:///mlflow.db", "study").uri == f"sqlite:///{tmp_path}/mlflow.db"
    assert without_password("https://a:b@host:1/x") == "https://host:1/x"
    assert without_password("sqlite:////tmp/mlflow.db") == "sqlite:////tmp/mlflow.db"


def test_importing_tracking_loads_neither_mlflow_nor_torch() -> None:
    code = "import sys, t5vqvae.tracking; print([m for m in ('mlflow', 'torch', 'ray') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class Server:
    """An `mlflow server` of its own process group on one port, to be killed and started again."""

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


def test_a_killed_server_is_caught_up_with_when_it_is_back(server: Server, spool: Path) -> None:
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
    assert url is not None and url.startswith(f"{server.uri}/#/experiments/") and url.endswith(parent)
