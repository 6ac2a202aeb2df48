"""`logs`, `stop`, `rerun` and `remove`: what they do to a study, and what they leave alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from kept_studies import keep_study, start_trial
from promotions import STUDY, add_trial, save_checkpoint
from typer.testing import CliRunner, Result

from t5vqvae.files import held
from t5vqvae.tracking import Tracker
from t5vqvae.training import checkpoint
from tune.cli import app
from tune.promote import promote
from tune.records.events import STOP, TRIAL, StudyEvents
from tune.records.record import TrialRecord
from tune.records.study_paths import StudyPaths
from tune.spec.search_spec import SearchSpec

HOLDING = """
import signal, sys, time
from pathlib import Path
from tune.records.study_paths import StudyPaths
signal.signal(signal.SIGTERM, {handler})
with StudyPaths(Path(sys.argv[1]), "kept").locked():
    print("held", flush=True)
    time.sleep(60)
"""
GENTLE, DEAF = "lambda *_: sys.exit(0)", "signal.SIG_IGN"


def run(state: Path, *words: str) -> Result:
    return CliRunner(env={"COLUMNS": "80"}).invoke(app, [*words, "--state", str(state)])


def refusal(state: Path, *words: str) -> str:
    done = run(state, *words)
    assert done.exit_code == 2 and done.output.count("\n") == 1, done.output
    return done.output.rstrip("\n")


def driver(state: Path, handler: str = GENTLE) -> subprocess.Popen[str]:
    """A process that holds the study `kept`."""
    command = [sys.executable, "-c", HOLDING.format(handler=handler), str(state)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_a_log_has_the_events_of_all_starts_and_a_failed_trial_its_traceback(tmp_path: Path) -> None:
    paths = keep_study(tmp_path, trials=6, ended=2)
    start_trial(paths, 2, planned=6, before=2, ago=10, step=20)
    events = StudyEvents(paths.root)
    events.append(TRIAL, number=2, status="failed", metrics={}, error="RuntimeError: it broke")
    events.append(STOP, reason=None)
    (paths.trial(2) / "error.txt").write_text("Traceback (most recent call last):\n  it broke\n")
    rows = json.loads(run(tmp_path, "logs", "kept", "--format", "json").stdout)
    assert [row["what"] for row in rows] == ["start", "running", "running", "failed", "stop"]
    assert [row["objective"] for row in rows] == [None, None, 0.7, None, None] and rows[2]["step"] == 10
    one = run(tmp_path, "logs", "kept", "2").stdout
    assert "Traceback (most recent call last)" in one and "it broke" in one and "start" not in one
    followed = run(tmp_path, "logs", "kept", "--follow").stdout.splitlines()
    assert len(followed) == 5 and followed[3].endswith("2  failed  RuntimeError: it broke")


def test_a_running_study_is_stopped_by_the_process_that_holds_it(tmp_path: Path) -> None:
    keep_study(tmp_path, trials=6, ended=2)
    process = driver(tmp_path)
    done = run(tmp_path, "stop", "kept")
    assert done.exit_code == 0 and "study kept is stopped, 2 trials done" in done.output
    assert process.wait(timeout=10) == 0
    assert "study kept does not run; t5vqvae status kept" in refusal(tmp_path, "stop", "kept")


def test_one_that_does_not_end_in_time_is_said(tmp_path: Path) -> None:
    keep_study(tmp_path)
    process = driver(tmp_path, DEAF)
    try:
        started = time.monotonic()
        done = run(tmp_path, "stop", "kept", "--wait", "0.3")
        assert done.exit_code == 1 and "has not ended after 0 s; stop --now does not wait" in done.output
        assert time.monotonic() - started < 30
    finally:
        process.kill()
        process.wait()


def test_a_process_that_does_not_hold_the_study_is_left_alone(tmp_path: Path) -> None:
    lock = keep_study(tmp_path).root / "lock"
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        with held(lock, "x", "y", f"process {bystander.pid} on {os.uname().nodename}"):
            said = refusal(tmp_path, "stop", "kept", "--wait", "1")
        assert f"held by a process that is not {bystander.pid} of this machine" in said
        with held(lock, "x", "y", "process 1 on elsewhere, the Ray job search-7 (ray job stop search-7)"):
            said = refusal(tmp_path, "stop", "kept", "--wait", "1")
        assert "runs as process 1 on elsewhere; stop it on that machine, or say ray job stop search-7" in said
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with a database and one trained checkpoint."""
    state = tmp_path_factory.mktemp("state")
    Tracker(f"sqlite:///{state}/mlflow.db", "tiny").check()
    save_checkpoint(state, "checkpoint")
    return state


@pytest.fixture
def tiny(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyPaths:
    """The search `tiny`, whose only trial has what its training recorded."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copytree(template, tmp_path / "var")
    paths = StudyPaths(tmp_path / "var", "tiny")
    paths.root.mkdir(parents=True)
    SearchSpec.parse(STUDY).write(paths.spec)
    (trained,) = (paths.state / "checkpoint").glob("step-*")
    add_trial(paths, 0, nll=checkpoint.read_milestone(trained)["metrics"]["validation/nll"])
    return paths


def test_a_trial_run_again_repeats_and_with_another_seed_differs(tiny: StudyPaths) -> None:
    same = run(tiny.state, "rerun", "tiny", "0", "--format", "json")
    assert same.exit_code == 0, same.output
    (found, _) = json.loads(same.stdout)
    assert found["metric"] == "validation/nll" and found["difference"] == pytest.approx(0, abs=1e-6)
    other = run(tiny.state, "rerun", "tiny", "0", "--seed", "3")
    assert other.exit_code == 0 and "seed 3" in other.output, other.output
    assert "next: t5vqvae compare tiny/0 " in " ".join(other.output.split())
    rows = json.loads(run(tiny.state, "rerun", "tiny", "0", "--seed", "3", "--format", "json").stdout)
    assert abs(rows[0]["difference"]) > 1e-4
    record = json.loads((tiny.trial(0) / "record.json").read_text())
    assert record["metrics"]["validation/nll"] == found["trial"], "the trial stays as it is"
    replace(TrialRecord.read(tiny.trial(0)), status="pruned", steps=1, checkpoint=None).write(tiny.trial(0))
    pruned = run(tiny.state, "rerun", "tiny", "0", "--seed", "3").output
    assert "trial 0 was pruned at step 1; the new run went on to its end" in pruned
    assert "next: t5vqvae evaluate " in pruned and "compare" not in pruned, "no checkpoint of it is left"


def test_a_study_is_removed_after_it_was_listed_and_agreed_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    paths, other = keep_study(tmp_path), keep_study(tmp_path, "other")
    done = run(tmp_path, "remove", "kept")
    assert done.exit_code == 2 and "nobody can answer here; add --yes" in done.output and paths.spec.is_file()
    monkeypatch.setattr("tune.operations.lifecycle_commands._can_ask", lambda: True)
    denied = CliRunner().invoke(app, ["remove", "kept", "--state", str(tmp_path)], input="n\n")
    assert denied.exit_code == 1 and "nothing was removed" in denied.output and paths.spec.is_file()
    agreed = CliRunner().invoke(app, ["remove", "kept", "--state", str(tmp_path)], input="y\n")
    assert agreed.exit_code == 0 and "records of trials" in agreed.output, agreed.output
    assert not paths.root.exists() and other.spec.is_file()
    assert sorted(os.listdir(tmp_path / "studies")) == ["other"]


def test_a_running_study_and_the_source_of_a_champion_are_not_removed(tiny: StudyPaths) -> None:
    with tiny.locked():
        assert "study tiny runs; t5vqvae stop tiny stops it" in refusal(tiny.state, "remove", "tiny", "--yes")
    promote(tiny)
    said = run(tiny.state, "remove", "tiny", "--yes")
    assert said.exit_code == 2 and tiny.spec.is_file()
    assert "study tiny is the source of models:/t5vqvae@champion (version 1, trial 0)" in said.output
    registry = Tracker(f"sqlite:///{tiny.state}/mlflow.db", "tiny").registry("t5vqvae")
    registry.point("champion", None)
    assert run(tiny.state, "remove", "tiny", "--yes").exit_code == 0 and not tiny.root.exists()


@pytest.mark.parametrize(
    "words, said",
    [
        ("logs kep", "did you mean kept?"),
        ("logs kept", "study kept kept no log of this; t5vqvae trials kept lists its trials"),
        ("logs kept 9", "study kept has no trial 9; it has trials 0 to 3"),
        ("logs kept --follow --format csv", "--follow prints lines as they come; leave out --format and --output"),
        ("stop kep", "did you mean kept?"),
        ("rerun kept 9", "study kept has no trial 9; it has trials 0 to 3"),
        ("rerun kep 1", "did you mean kept?"),
        ("remove kep", "did you mean kept?"),
        ("remove ../kept --yes", "'../kept' is no study's name"),
    ],
)
def test_wrong_words_are_refused_in_one_line(tmp_path: Path, words: str, said: str) -> None:
    keep_study(tmp_path)
    assert said in refusal(tmp_path, *words.split())
