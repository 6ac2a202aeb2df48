"""Ray's job page names the study of a search, and links to MLflow; `tests/end_to_end/test_evening.py` reads it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from cluster.submission import experiment_page, planned_study, submission
from tune.sampling.dry_run import dry_run
from tune.spec.search_spec import SearchSpec


def test_the_study_is_read_from_its_plan() -> None:
    for name in ("quickstart", "a.b-C_1"):
        plan = str(dry_run(SearchSpec.load("quickstart", [f"name={name}"])))
        assert planned_study(plan) == name
    assert planned_study(str(dry_run(SearchSpec.load("quickstart", ["name=plain.", "question=''"])))) == "plain."


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        known = self.path == "/api/2.0/mlflow/experiments/get-by-name?experiment_name=a.b"
        self.send_response(200 if known else 404)
        self.end_headers()
        self.wfile.write(json.dumps({"experiment": {"experiment_id": "17"}} if known else {}).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def mlflow() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_link_leads_to_the_experiment_and_else_to_the_list_of_all(mlflow: str) -> None:
    assert experiment_page(mlflow, "a.b") == f"{mlflow}/#/experiments/17"
    assert experiment_page(mlflow, "new") == f"{mlflow}/#/experiments"
    assert experiment_page("http://127.0.0.1:9", "a.b") == "http://127.0.0.1:9/#/experiments"


def test_the_command_gives_the_words_as_they_are(mlflow: str) -> None:
    job, command = submission("a.b", mlflow, ["quickstart", "question=what is it"])
    assert command[command.index("--submission-id") + 1] == job
    assert json.loads(command[command.index("--metadata-json") + 1]) == {
        "study": "a.b",
        "MLflow": f"{mlflow}/#/experiments/17",
    }
    assert command[command.index("--") + 1 :] == ["python", "tune/search.py", "quickstart", "question=what is it"]
