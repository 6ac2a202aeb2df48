"""Optuna's dashboard shows a copy of a study: every trial, and nothing that it writes reaches the study's file."""

from __future__ import annotations

import json
import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kept_studies import keep_study
from searches import stub_study
from typer.testing import CliRunner

from t5vqvae.errors import EnvironmentFault
from tune.cli import app
from tune.records.study_paths import StudyPaths
from tune.sampling.dashboard import dashboard
from tune.sampling.suggestions import Suggestions


@pytest.fixture
def paths(tmp_path: Path) -> StudyPaths:
    """A search of which Optuna knows three ended trials and a running one."""
    paths = keep_study(tmp_path, ended=0)
    suggestions = Suggestions(stub_study("kept", 4), paths.storage)
    for loss in (0.4, 0.2, 0.3):
        number = suggestions.next().number
        suggestions.end(
            number, "completed", {"progress/step": 40.0, "validation/nll": loss, "rate/bits_per_token": 8.0}
        )
    suggestions.next()
    return paths


@contextmanager
def served(paths: StudyPaths) -> Iterator[tuple[Any, int]]:
    """Yields a function that asks the dashboard, and the number of trials that it says it shows."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with dashboard(paths.storage, "kept", None, ["validation/nll"]) as (server, number):
        thread = threading.Thread(target=server.serve_forever)
        thread.start()

        def ask(place: str, values: object = None) -> Any:
            content = None if values is None else json.dumps(values).encode()
            method = "GET" if values is None else "PUT"
            url, head = f"http://127.0.0.1:{server.server_port}{place}", {"Content-Type": "application/json"}
            with direct.open(urllib.request.Request(url, content, head, method=method), timeout=20) as answer:
                return answer.read()

        try:
            yield ask, number
        finally:
            server.shutdown()
            thread.join()


def test_it_shows_every_trial_and_leaves_the_file_alone(paths: StudyPaths) -> None:
    before = paths.storage.read_bytes()
    with served(paths) as (ask, number):
        assert number == 4 and b"<html" in ask("/dashboard/studies/0").lower()
        found = json.loads(ask("/api/studies/0?after=0"))
        trials = found["trials"]
        assert found["objective_names"] == ["validation/nll"]
        assert [(trial["number"], trial["state"], trial.get("values")) for trial in trials] == [
            (0, "Complete", [0.4]),
            (1, "Complete", [0.2]),
            (2, "Complete", [0.3]),
            (3, "Running", None),
        ]
        ask("/api/studies/0/note", {"body": "mine", "version": 1})
        assert json.loads(ask("/api/studies/0?after=0"))["note"]["body"] == "mine"
    assert paths.storage.read_bytes() == before


def test_a_study_without_a_trial_an_ablation_and_a_taken_port_are_refused(paths: StudyPaths) -> None:
    def refusal(*words: str) -> str:
        done = CliRunner().invoke(app, ["dashboard", *words, "--state", str(paths.state)])
        assert done.exit_code in (1, 2) and done.output.count("\n") == 1, done.output
        return done.output

    keep_study(paths.state, "new", ended=0)
    assert "study new has no trial yet; t5vqvae status new says how far it is" in refusal("new")
    (paths.state / "studies" / "parts").mkdir()
    (paths.state / "studies" / "parts" / "ablation.json").write_text("{}")
    assert "study parts is an ablation; name a search instead" in refusal("parts")
    assert "did you mean kept?" in refusal("kep")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(EnvironmentFault, match="address already in use; give another by --port"):
            dashboard(paths.storage, "kept", port).__enter__()
