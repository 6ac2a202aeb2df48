"""The commands of pods, run here: MLflow asks for its login, and PostgreSQL has a user and a database for trials."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kubernetes_objects import pods, read
from places import ROOT
from postgres import PASSWORD, postgres

from cluster.service import healthy, pick_port

DATABASE = "postgresql+psycopg://mlflow:$PASSWORD@postgres/mlflow"
SECRETS = {"PASSWORD": "x", "LOGIN_NAME": "reader", "MLFLOW_AUTH_ADMIN_PASSWORD": "a long % password"}


@contextmanager
def started(folder: Path, database: str) -> Iterator[int]:
    """Runs the pod's command with its files below `folder`; yields the port."""
    port = pick_port(None)
    command, environment = _here(folder, database, port)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 240
        while not healthy(f"http://127.0.0.1:{port}/health") and time.monotonic() < deadline:
            assert process.poll() is None, (folder / "log").read_text()[-2000:]
            time.sleep(0.5)
        yield port
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def _here(folder: Path, database: str, port: int) -> tuple[list[str], dict[str, str]]:
    """Returns the pod's command and environment with the places of this machine."""
    [deployment] = [thing for thing in read(_text("mlflow.yaml")) if thing["kind"] == "Deployment"]
    [(_, pod)] = pods(deployment)
    [container] = pod["spec"]["containers"]
    [script] = container["args"]
    assert script.count(DATABASE) == 2
    for theirs, ours in {DATABASE: database, "/tmp/": f"{folder}/", "/artifacts": f"{folder}/artifacts"}.items():
        script = script.replace(theirs, ours)
    values = {one["name"]: one.get("value", SECRETS.get(one["name"], "k" * 40)) for one in container["env"]}
    values = {name: value.replace("/tmp", str(folder)) for name, value in values.items()}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, **values, "PATH": path, "OMP_NUM_THREADS": "1"}
    return [*container["command"], script.replace("5000", str(port))], environment


def _text(name: str) -> str:
    return (ROOT / "cluster" / "kuberay" / "services" / name).read_text()


def status(port: int, login: str | None, host: str | None = None) -> int:
    """Returns how MLflow answers a search for experiments."""
    url = f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/search?max_results=5"
    headers = {"Authorization": f"Basic {b64encode(login.encode()).decode()}"} if login else {}
    request = urllib.request.Request(url, headers=headers | ({"Host": host} if host else {}))
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.slow
def test_mlflow_asks_for_its_login_and_for_its_own_name(tmp_path: Path) -> None:
    with started(tmp_path, f"sqlite:///{tmp_path}/mlflow.db") as port:
        right = f"{SECRETS['LOGIN_NAME']}:{SECRETS['MLFLOW_AUTH_ADMIN_PASSWORD']}"
        assert status(port, right) == 200
        assert status(port, None) == 401
        assert status(port, "reader:wrong") == 401
        assert status(port, right, host="elsewhere.example") == 403
    assert stat.S_IMODE((tmp_path / "login.ini").stat().st_mode) == 0o600


def test_the_databases_are_made_apart_each_for_its_user() -> None:
    import psycopg

    [script] = [thing["data"]["trials.sh"] for thing in read(_text("postgres.yaml")) if thing["kind"] == "ConfigMap"]
    with postgres() as server:
        server.rows("postgres", "CREATE DATABASE mlflow")
        place = {"PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGPASSWORD": PASSWORD}
        own = {"POSTGRES_USER": "keeper", "POSTGRES_DB": "mlflow", "TRIALS_PASSWORD": "it's $HOME"}
        subprocess.run(["bash", "-ec", script], env={**os.environ, **place, **own}, check=True, timeout=60)
        words = {"host": "127.0.0.1", "port": server.port, "user": "trials", "password": own["TRIALS_PASSWORD"]}
        with psycopg.connect(dbname="trials", autocommit=True, **words) as connection:
            connection.execute("CREATE TABLE numbers (number integer)")
        for database, password in (("mlflow", own["TRIALS_PASSWORD"]), ("trials", "wrong")):
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(dbname=database, **{**words, "password": password})
