"""Nothing is taken for delivered that another program answered in MLflow's place; everything arrives once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tracking_runs import METRICS, find_trial, history, open_trial, run_of
from tricky_proxy import PAGE, Proxy, proxied_server

from t5vqvae.errors import TrackingError
from t5vqvae.evaluation.metric import STEP
from t5vqvae.tracking import Tracker
from t5vqvae.tracking.outbox import replay

NONSENSE = {
    "an empty object": ("200 OK", "application/json", "{}"),
    "an empty list": ("200 OK", "application/json", "[]"),
    "nothing": ("200 OK", "text/plain", ""),
    "a page": ("200 OK", "text/html", PAGE),
    "not found": ("404 Not Found", "text/html", PAGE),
    "bad request": ("400 Bad Request", "text/html", PAGE),
    "not found as JSON": ("404 Not Found", "application/json", '{"detail": "Not Found"}'),
    "a fault": ("500 Internal Server Error", "application/json", '{"message": "no"}'),
}


@pytest.fixture
def proxy(schema: Path, tmp_path: Path) -> Iterator[Proxy]:
    (tmp_path / "server.db").write_bytes(schema.read_bytes())
    with proxied_server(tmp_path / "server.db") as proxy:
        yield proxy


@pytest.mark.parametrize("kind", NONSENSE)
def test_what_is_no_mlflow_is_refused_in_one_line(proxy: Proxy, kind: str) -> None:
    Tracker(proxy.uri, "study").check()
    proxy.instead = NONSENSE[kind]
    with pytest.raises(TrackingError, match=rf"tracking server {proxy.uri}") as error:
        Tracker(proxy.uri, "study").check()
    assert "\n" not in str(error.value)
    with pytest.raises(TrackingError):
        Tracker(proxy.uri, "study").open_study({}, {})


@pytest.mark.parametrize("kind", NONSENSE)
def test_what_a_proxy_swallowed_arrives_later(proxy: Proxy, spool: Path, kind: str) -> None:
    tracker = Tracker(proxy.uri, "study")
    with open_trial(tracker, spool) as logger:
        logger.log(METRICS, 50)
        _wait_for(tracker, logger.mlflow_id, [50])
        proxy.instead = NONSENSE[kind]
        logger.log(METRICS, 100)
        logger.params({"late": 1})
        logger.tags({"word": "b"})
        logger.table([{"source": "a"}], "reconstructions")
        time.sleep(0.3)
    assert logger.close(timeout=5) is False
    assert not tracker.close(logger.mlflow_id, "completed", key="study/00000", spool=spool)
    proxy.instead = None
    assert tracker.replay(spool) == 0
    run = run_of(tracker, logger.mlflow_id)
    assert history(tracker, logger.mlflow_id, STEP) == [(50, 50.0), (100, 100.0)]
    assert (run.info.status, run.data.tags["word"], run.data.params["late"]) == ("FINISHED", "b", "1")
    names = {file.path for file in tracker.destination.client.list_artifacts(logger.mlflow_id)}
    assert names == {"reconstructions.json"}
    assert not (spool / "rejected.txt").exists() and not list(spool.glob("*.jsonl"))


def test_batches_that_a_proxy_swallowed_in_the_middle_arrive_before_the_journal_is_deleted(
    proxy: Proxy, spool: Path
) -> None:
    """The batches alone are answered by `{}`, as MLflow does, so that nothing else shows the loss."""
    tracker = Tracker(proxy.uri, "study")
    with open_trial(tracker, spool) as logger:
        logger.log(METRICS, 50)
        _wait_for(tracker, logger.mlflow_id, [50])
        proxy.instead, proxy.only = NONSENSE["an empty object"], lambda _, path: path.endswith("log-batch")
        logger.log(METRICS, 100)
        time.sleep(0.3)
        proxy.instead = None
        logger.log(METRICS, 150)
    tracker.replay(spool)
    assert [step for step, _ in history(tracker, logger.mlflow_id, STEP)] == [50, 100, 150]


def test_a_search_that_a_proxy_swallowed_makes_no_second_run(proxy: Proxy, spool: Path) -> None:
    tracker = Tracker(proxy.uri, "study")
    first = tracker.open_trial(None, "study/00000", "00000", {}, {})
    calls: list[str] = []

    def first_search(_: str, path: str) -> bool:
        calls.append(path)
        return path.endswith("runs/search") and sum(call.endswith("runs/search") for call in calls) == 1

    proxy.instead, proxy.only = NONSENSE["an empty object"], first_search
    assert Tracker(proxy.uri, "study").open_trial(None, "study/00000", "00000", {}, {}) == first
    proxy.instead = None
    assert find_trial(tracker).info.run_id == first


def test_a_store_of_artifacts_that_fails_is_said_once_and_stops_nothing_else(
    proxy: Proxy, spool: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "_BROKEN", set())
    tracker = Tracker(proxy.uri, "study")
    proxy.instead = NONSENSE["a fault"]
    proxy.only = lambda _, path: "mlflow-artifacts/artifacts" in path
    with open_trial(tracker, spool) as logger:
        logger.table([{"source": "a"}], "one")
        logger.table([{"source": "a"}], "two")
        logger.tags({"last": "tag"})
        logger.log(METRICS, 50)
    assert tracker.close(logger.mlflow_id, "completed", key="study/00000", spool=spool)
    run = run_of(tracker, logger.mlflow_id)
    assert (run.info.status, run.data.tags["last"], run.data.metrics[STEP]) == ("FINISHED", "tag", 50)
    messages = [record.getMessage() for record in caplog.records if record.name == "t5vqvae.tracking"]
    assert len(messages) == 1 and "takes no artifacts" in messages[0]
    proxy.instead = None
    assert tracker.replay(spool) == 0
    names = {file.path for file in tracker.destination.client.list_artifacts(logger.mlflow_id)}
    assert names == {"one.json", "two.json"}
    assert not any(path.is_file() for path in spool.rglob("*"))


def _wait_for(tracker: Tracker, mlflow_id: str | None, steps: list[int]) -> None:
    deadline = time.monotonic() + 30
    while [step for step, _ in history(tracker, mlflow_id, STEP)] != steps and time.monotonic() < deadline:
        time.sleep(0.05)
