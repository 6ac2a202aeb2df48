"""The exporter of a driver: its numbers cost the same however many trials have ended, and no trial waits for them."""

from __future__ import annotations

import platform
import threading
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from t5vqvae.files import read_json
from t5vqvae.tracking.outbox.journal import Journal
from tune.monitor import exporter
from tune.monitor.board import Board
from tune.monitor.exporter import Exporter
from tune.monitor.row import Row
from tune.monitor.tally import Tally
from tune.operations import removal
from tune.records.study_paths import StudyPaths
from tune.spec.judging import Judging

METRICS = {"validation/nll": 1.0, "progress/step": 10.0, "progress/fraction": 0.5}


class Untouched(dict):
    """Rows that nobody looks through."""

    def values(self):
        raise AssertionError("all rows are looked at")


@pytest.fixture
def made(tmp_path: Path) -> Exporter:
    paths = StudyPaths(tmp_path, "s")
    paths.root.mkdir(parents=True)
    tally = Tally("s", Judging.parse({"objectives": [{"metric": "validation/nll"}]}))
    board = Board("s", ["validation/nll"], 10, Console(file=StringIO()))
    made = Exporter(paths, tally, board, 1)
    board.seen.append(made.put)
    for number in range(4):
        board.put(Row(number, {}, "completed", METRICS))
    board.put(Row(4, {}, "running", METRICS))
    return made


def values(made: Exporter) -> dict[str, float]:
    return {sample.name.removeprefix("t5vqvae_"): sample.value for sample in made.samples()}


def test_the_time_left_is_the_board_s_and_looks_at_running_trials_alone(made: Exporter) -> None:
    made.board._started -= 100  # the milliseconds between two readings do not count then
    wanted = made.board.seconds_left()
    made.board.rows = Untouched(made.board.rows)
    assert wanted is not None and values(made)["time_left_seconds"] == pytest.approx(wanted, rel=0.2)
    assert made.board._work([Row(4, {}, "running", METRICS)]) == made.tally.running[4].share


def test_the_folder_is_measured_again_when_the_driver_has_worked_long_enough(made, monkeypatch) -> None:
    walked: list[Path] = []
    seconds = iter([0.0, 1.0, 2.0, 1000.0, 1001.0])
    monkeypatch.setattr(exporter, "size_of", lambda folder: walked.append(folder) or 7)
    monkeypatch.setattr(exporter, "process_seconds", lambda: next(seconds))
    clock = iter([10.0, 10.2, 20.0, 20.2])
    monkeypatch.setattr(exporter.time, "thread_time", lambda: next(clock))
    assert "disk_bytes" not in values(made), "what was not measured is not said"
    made._walk()
    made._walk()
    assert len(walked) == 1, "0.2 s of a walk are a share of 0.001 of 200 s"
    made._walk()
    assert len(walked) == 2 and values(made)["disk_bytes"] == 7


def test_a_trial_is_put_while_the_folder_is_measured(made: Exporter, monkeypatch: pytest.MonkeyPatch) -> None:
    walking, goes_on = threading.Event(), threading.Event()

    def slow(_: Path) -> int:
        walking.set()
        assert goes_on.wait(20)
        return 1

    monkeypatch.setattr(exporter, "size_of", slow)
    thread = threading.Thread(target=made._walk)
    thread.start()
    assert walking.wait(20)
    put = threading.Thread(target=made.put, args=(Row(5, {}, "running", METRICS),), daemon=True)
    put.start()
    put.join(5)
    waited = put.is_alive()
    goes_on.set()
    thread.join()
    assert not waited


def test_a_journal_that_was_sent_does_not_wait_for_mlflow(made: Exporter) -> None:
    """A long trial's journal stays until the trial ends; it is no backlog while the server takes it."""
    journal = Journal.create(made.paths.trial(4) / "spool")
    journal.append({"kind": "metrics"})
    assert values(made)["outbox_bytes"] > 0
    journal.consume(journal.pending(1)[1][-1])
    found = values(made)
    assert found["outbox_bytes"] == 0 and found["outbox_age_seconds"] == 0
    journal.append({"kind": "metrics"})
    found = values(made)
    assert found["outbox_bytes"] > 0 and 0 <= found["outbox_age_seconds"] < 60


def test_what_ended_in_this_start_is_told_apart(made: Exporter) -> None:
    with made:
        assert values(made)["trials_ended_in_attempt"] == 0
        made.board.put(Row(4, {}, "completed", METRICS))
        assert values(made)["trials_ended_in_attempt"] == 1 and made.tally.num_ended == 5


def test_the_target_that_a_killed_driver_leaves_behind_names_its_study_and_machine(made: Exporter) -> None:
    made.port = 7
    made.name_targets(["127.0.0.1:8"])
    driver, nodes = read_json(exporter.target(made.paths))
    labels = {"job": "t5vqvae", "study": "s", "node": platform.node()}
    assert driver == {"targets": ["127.0.0.1:7"], "labels": labels}
    assert nodes == {"targets": ["127.0.0.1:8"], "labels": {"job": "ray"}}


def studies_shown(made: Exporter) -> set[str]:
    return {sample.labels.get("study", "") for family in made.collect() for sample in family.samples}


def test_the_last_numbers_of_a_killed_driver_are_shown_and_of_a_removed_study_no_more(made: Exporter) -> None:
    made._write()
    old = replace(made.paths, study="old")
    old.root.mkdir(parents=True)
    for file in (exporter.snapshot(old), exporter.target(old)):  # the target file stays behind a SIGKILL
        file.parent.mkdir(parents=True, exist_ok=True)
    exporter.snapshot(old).write_text(exporter.snapshot(made.paths).read_text().replace('study="s"', 'study="old"'))
    exporter.target(old).write_text("[]")
    assert studies_shown(made) == {"s", "old"}
    with old.locked():
        assert studies_shown(made) == {"s"}, "its own driver shows them"
    removal.delete(old)
    assert studies_shown(made) == {"s"} and not exporter.target(old).exists()
