"""A start of a study, without Ray: what ends it early, and how it is said."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from kept_studies import record
from searches import stub_study

from t5vqvae.errors import DiskError, UserError
from tune.cli import main
from tune.execution.session import Session, locked
from tune.execution.trial import TrialPlan
from tune.records.study_paths import StudyPaths
from tune.search import SearchResult


def test_a_signal_ends_the_wait_for_a_tracking_server_that_is_away(tmp_path: Path) -> None:
    spec, paths = stub_study("s", 1), StudyPaths(tmp_path, "s")
    tracker: Any = SimpleNamespace(replay=lambda folder: 1, check=lambda: None)  # something always waits to be sent
    with pytest.raises(KeyboardInterrupt), locked(paths, spec) as stop:
        session = Session(spec, TrialPlan("s", spec.base_spec, paths, tracker=tracker), {}, stop)
        began = time.monotonic()
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
        session.settle()
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), sqlite3.OperationalError("database or disk is full")],
)
def test_a_disk_that_fills_up_anywhere_in_a_start_is_one_line(error: Exception, tmp_path: Path) -> None:
    if isinstance(error, sqlite3.Error):
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
    with pytest.raises(DiskError, match=f"the disk of {tmp_path} is full"), locked(StudyPaths(tmp_path, "s"), SPEC):
        try:
            raise error
        except Exception as cause:
            raise RuntimeError("as Ray Tune wraps it") from cause


SPEC = stub_study("s", 1)


def test_what_follows_from_a_full_disk_does_not_hide_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tune.execution.session.connect", lambda: __import__("contextlib").nullcontext())
    room = SimpleNamespace(wait=lambda ended: None)
    monkeypatch.setattr("tune.execution.session.Room", lambda plan, wanted, is_own: room)

    def close(*_: object, **__: object) -> None:
        raise UserError("the tracking server is away")

    tracker: Any = SimpleNamespace(close=close)
    plan = TrialPlan("s", SPEC.base_spec, StudyPaths(tmp_path, "s"), tracker=tracker, parent_id="p")
    stop: Any = SimpleNamespace(listen=lambda: None, stop_all=lambda: False, reason=None)
    with pytest.raises(DiskError, match="first"), Session(SPEC, plan, {}, stop).on_ray():
        raise DiskError("first")


@pytest.mark.parametrize(("reason", "status"), [("it received SIGINT", 130), ("it received SIGTERM", 130), (None, 0)])
def test_a_search_that_a_signal_stopped_ends_with_130(
    reason: str | None, status: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    result = SearchResult("quickstart", [], None, [], None, reason)
    monkeypatch.setattr("tune.search.search", lambda *_, **__: result)
    assert main(["search", "--state", str(tmp_path)]) == status


def test_a_start_whose_end_was_sent_late_leaves_the_next_one_running(tmp_path: Path) -> None:
    from t5vqvae.tracking import Tracker

    paths = StudyPaths(tmp_path, "s")
    paths.root.mkdir(parents=True)
    tracker, stop = Tracker(f"sqlite:///{tmp_path}/mlflow.db", "s", home=paths.root), SimpleNamespace()
    session = Session(SPEC, TrialPlan("s", SPEC.base_spec, paths, tracker=tracker), {}, cast(Any, stop))
    mlflow_id = tracker.open_study({}, {"t5vqvae.study": "s"})
    with pytest.MonkeyPatch.context() as away:
        away.setattr("t5vqvae.tracking.logger.Delivery.send", lambda *_: (_ for _ in ()).throw(ConnectionError("away")))
        assert not tracker.close(mlflow_id, "interrupted", key="s", spool=paths.root / "spool")
    session.open(planned=1, rank=lambda found: found)
    session.page.logger.close() if session.page is not None else None
    assert session.parent_id == mlflow_id
    assert tracker.destination.client.get_run(mlflow_id).info.status == "RUNNING"
    assert not list((paths.root / "spool").glob("*.jsonl"))


def test_a_record_whose_settings_are_refused_now_stops_no_start(tmp_path: Path) -> None:
    refused = record("s", 3, overrides={"train.quantize_from": 40})
    said: list[Any] = []
    tracker: Any = SimpleNamespace(
        open_study=lambda *_: "p",
        describe=lambda *_: None,
        replay=lambda folder: 0,
        trials=lambda parent: {},
        link=lambda parent: parent,
        logger=lambda *_: SimpleNamespace(artifact=lambda file: None, tags=said.append),
    )
    stop: Any = SimpleNamespace()
    plan = TrialPlan("s", SPEC.base_spec, StudyPaths(tmp_path, "s"), tracker=tracker)
    plan.paths.root.mkdir(parents=True)
    session = Session(SPEC, plan, {3: refused}, stop)
    session.open(planned=4, rank=lambda found: found)
    assert session.ended == [refused]
    assert "1 of 4 trials have ended" in str(said)
