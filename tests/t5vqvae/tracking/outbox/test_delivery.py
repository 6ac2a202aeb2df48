"""Logged entries arrive despite an absent server, a killed process, a torn line or a rejected entry."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tracking_runs import DEAD, METRICS, find_trial, history, open_trial, run_of

from t5vqvae.evaluation.metric import STEP
from t5vqvae.tracking import Tracker
from t5vqvae.tracking.outbox.delivery import next_group
from t5vqvae.tracking.outbox.journal import Journal, leftovers


def test_an_absent_server_costs_no_time_and_a_replay_sends_everything(tracker: Tracker, spool: Path) -> None:
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
    assert (run.info.status, run.data.tags["why"], run.data.params) == ("FINISHED", "rung 2", {"quantizer.name": "ema"})
    assert [step for step, _ in history(tracker, run.info.run_id, STEP)] == list(range(50, 1050, 50))
    assert not list(spool.glob("*.jsonl"))
    assert tracker.replay(spool.parent.parent) == 0


def test_a_run_that_does_not_exist_yet_is_not_reported_as_an_unreachable_server(
    tracker: Tracker, spool: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("WARNING", "t5vqvae.tracking"):
        assert not tracker.close(None, "pruned", key="study/00000", spool=spool)
        assert caplog.records == []
        assert not Tracker(DEAD, "study").close(None, "pruned", key="study/00000", spool=spool)
    messages = [record.message for record in caplog.records if record.name == "t5vqvae.tracking"]
    assert ["is unreachable (Connection refused)" in message for message in messages] == [True]


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


def test_an_entry_that_mlflow_rejects_is_moved_aside(tracker: Tracker, spool: Path, tmp_path: Path) -> None:
    big = tmp_path / "weights.bin"
    big.write_bytes(b"0" * 1_000_001)
    with open_trial(Tracker(DEAD, "study"), spool, wait=0) as logger:
        logger.artifact(big)
        big.unlink()
        logger.log(METRICS, 50)
    assert tracker.replay(spool) == 0
    assert "weights.bin" in (spool / "rejected.txt").read_text()
    assert [step for step, _ in history(tracker, find_trial(tracker).info.run_id, STEP)] == [50]


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
        journal.consume(batch[1][-1])
    assert sorted(seen) == [1, 2, 3]
    assert list(leftovers(tmp_path)) == []  # its writer is alive
    with journal.path.open("a") as file:
        file.write('{"kind": "ta')
    journal.close(delete=False)
    (left,) = leftovers(tmp_path)
    assert [entry["n"] for entry in left.pending(10)[0]] == [1, 3]
    left.close(delete=True)
    assert list(tmp_path.glob("*.jsonl")) == []


def test_a_journal_read_while_it_is_written_gives_every_entry_once_in_order(tmp_path: Path) -> None:
    """Appending moves a descriptor's position: a reader that relies on it skips entries, or joins parts of two."""
    journal, count = Journal.create(tmp_path), 3000
    entries = [
        {"kind": "tags", "tags": {"number": str(number), "long": "x" * (number % 700)}} for number in range(count)
    ]
    written: list[dict[str, object]] = []

    def write() -> None:
        for entry in entries:
            journal.append(entry)
            written.append(entry)

    writer = threading.Thread(target=write)
    writer.start()
    read: list[dict[str, object]] = []
    while len(read) < count:
        there = len(written) - len(read)
        found, marks = journal.pending(100)
        assert len(found) >= min(there, 100), "the reader stopped before the end of the journal"
        part = found[: 1 + len(found) // 2]  # as many as one request takes
        read += part
        if part:
            journal.consume(marks[len(part) - 1])
    writer.join()
    assert read == entries


def test_entries_are_joined_up_to_the_limit_of_a_request() -> None:
    log = {"kind": "log", "step": 1, "tokens": None, "time": 0, "metrics": {f"m{i}": 1.0 for i in range(299)}}
    tags = {"kind": "tags", "tags": {}}
    assert len(next_group([log, tags, log, log, log])) == 4
    assert len(next_group([tags, {"kind": "artifact"}, tags])) == 1
    assert len(next_group([{"kind": "artifact"}, tags])) == 1
    assert len(next_group([{**log, "metrics": {f"m{i}": 1.0 for i in range(2000)}}])) == 1
