"""A single training ends its MLflow run as it ended, and says once that the server is away."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from t5vqvae.errors import TrackingError
from t5vqvae.evaluation.metric import STEP
from t5vqvae.runs import in_process
from t5vqvae.runs.in_process import run_here
from t5vqvae.runs.ownership import OWNER
from t5vqvae.spec.run import RunSpec
from t5vqvae.tracking import Tracker

STUB = "stub:train"
DEAD = "http://user:hunter2@127.0.0.1:9"


def spec_of(**overrides: Any) -> RunSpec:
    settings = {"train.max_steps": 40, "train.eval_every": 10, "optim.warmup_steps": 0}
    return RunSpec().with_overrides({**settings, **overrides})


def trained(into: Path, state: Path, **overrides: Any) -> str:
    """Returns what is printed."""
    console = Console(file=io.StringIO(), width=400)
    run_here(spec_of(**overrides), into, state, console, STUB)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def runs(uri: str) -> list[Any]:
    tracker = Tracker(uri, "runs")
    return list(tracker.destination.client.search_runs([tracker.destination.find_or_create()]))


def steps(uri: str, run: Any) -> list[int]:
    return sorted(m.step for m in Tracker(uri, "runs").destination.client.get_metric_history(run.info.run_id, STEP))


@pytest.fixture
def uri(schema: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    shutil.copy(schema, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return uri


def test_a_training_that_ends_closes_its_run(uri: str, tmp_path: Path) -> None:
    trained(tmp_path / "a'b", tmp_path)
    (run,) = runs(uri)
    assert (run.info.status, run.data.tags["status"], steps(uri, run)) == ("FINISHED", "completed", [10, 20, 30, 40])
    trained(tmp_path / "a'b", tmp_path)
    (again,) = runs(uri)
    assert (again.info.run_id, again.info.status) == (run.info.run_id, "FINISHED")
    trained(tmp_path / "elsewhere" / "a'b", tmp_path)
    assert len(runs(uri)) == 2, "another folder of the same name is another run"


@pytest.mark.parametrize(
    ("error", "status"), [(RuntimeError("it broke\nhere"), "FAILED"), (KeyboardInterrupt(), "KILLED")]
)
def test_a_training_that_breaks_closes_its_run_and_resumes_it(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, status: str
) -> None:
    follow = in_process.follow

    def broken(run: Any) -> Iterator[Any]:
        reports = follow(run)
        yield next(reports)
        reports.close()
        raise error

    monkeypatch.setattr(in_process, "follow", broken)
    with pytest.raises(type(error)):
        trained(tmp_path / "run", tmp_path)
    (run,) = runs(uri)
    assert run.info.status == status
    monkeypatch.setattr(in_process, "follow", follow)
    trained(tmp_path / "run", tmp_path)
    (run,) = runs(uri)
    assert (run.info.status, steps(uri, run)) == ("FINISHED", [10, 20, 30, 40])


def test_a_training_that_another_process_took_over_leaves_its_run_open(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    follow = in_process.follow

    def taken(run: Any) -> Iterator[Any]:
        for report in follow(run):
            yield report
            (run.directory / OWNER).write_text("host 1 abc")

    monkeypatch.setattr(in_process, "follow", taken)
    with pytest.raises(ValueError, match="resumed by another process"):
        trained(tmp_path / "run", tmp_path)
    (run,) = runs(uri)
    assert run.info.status == "RUNNING"


def test_an_absent_server_is_said_once_and_the_next_command_sends_the_points(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", DEAD)
    said = trained(tmp_path / "runs" / "one", tmp_path)
    (line,) = [line for line in said.splitlines() if "127.0.0.1:9" in line]
    assert "Connection refused" in line and str(tmp_path / "runs" / "one" / "spool") in line and "sends them" in line
    assert "hunter2" not in said
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    trained(tmp_path / "runs" / "two", tmp_path)
    assert sorted((run.info.run_name, run.info.status, *steps(uri, run)) for run in runs(uri)) == [
        ("runs/one", "FINISHED", 10, 20, 30, 40),
        ("runs/two", "FINISHED", 10, 20, 30, 40),
    ]
    assert not any("hunter2" in path.read_text(errors="ignore") for path in (tmp_path / "runs").rglob("*.json"))


def test_a_malformed_address_is_refused_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://u:hunter2@[bad")
    with pytest.raises(TrackingError, match=r"http://\[bad is no address"):
        trained(tmp_path / "run", tmp_path)
    assert not (tmp_path / "run").exists()
