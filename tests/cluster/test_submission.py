"""Ray's job page names the study of a search, and links to MLflow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from ray.job_submission import JobStatus, JobSubmissionClient

from cluster import local, service
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


@pytest.mark.ray
@pytest.mark.slow
def test_rays_job_names_the_study_and_links_to_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_ADDRESS", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    ports = [f"--{kind}-port={service.pick_port(None)}" for kind in ("dashboard", "mlflow")]
    words = ["name=seen", "data.corpus.path=missing.txt", "data.corpus.name=text"]  # a job that ends at once
    try:
        local.main(["search", "--state", str(tmp_path), *ports, "--", "quickstart", *words])
        ray, mlflow = (service.running(tmp_path, name) for name in ("ray", "mlflow"))
        assert ray is not None and mlflow is not None
        [job] = JobSubmissionClient(ray["url"]).list_jobs()
    finally:
        local.stop(tmp_path)
    assert job.metadata == {"study": "seen", "MLflow": f"{mlflow['url']}/#/experiments"}
    assert job.submission_id is not None and job.submission_id.startswith("search-seen-2")
    assert job.status == JobStatus.FAILED and "quickstart" in job.entrypoint


def test_the_command_gives_the_words_as_they_are(mlflow: str) -> None:
    job, command = submission("a.b", mlflow, ["quickstart", "question=what is it"])
    assert command[command.index("--submission-id") + 1] == job
    assert json.loads(command[command.index("--metadata-json") + 1]) == {
        "study": "a.b",
        "MLflow": f"{mlflow}/#/experiments/17",
    }
    assert command[command.index("--") + 1 :] == ["python", "tune/search.py", "quickstart", "question=what is it"]
