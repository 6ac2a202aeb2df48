"""What several machines share, on this one: an S3 store (moto's server), and MLflow on PostgreSQL with artifacts there.

The servers are processes of their own on loopback, which their context ends.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from cluster.service import pick_port

KEY = "AKIA-t5vqvae-test"
SECRET = "hR2-barracuda"
BUCKET = "kept"


@contextmanager
def object_store(folder: Path) -> Iterator[dict[str, str]]:
    """Runs an S3 store with one bucket; yields the environment by which boto3 and s3fs reach it."""
    port = pick_port(None)
    words = ["-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", str(port)]
    url = f"http://127.0.0.1:{port}"
    known = {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": url,
        "MLFLOW_S3_ENDPOINT_URL": url,
    }
    with _served(words, {}, folder / "moto.log", f"{url}/moto-api/"):
        import boto3
        from s3fs import S3FileSystem

        S3FileSystem.clear_instance_cache()  # an earlier store of this process had another address

        boto3.client("s3", endpoint_url=url, aws_access_key_id=KEY, aws_secret_access_key=SECRET).create_bucket(
            Bucket=BUCKET
        )
        yield known


@contextmanager
def tracking_server(folder: Path, database: str, store: Mapping[str, str]) -> Iterator[str]:
    """Runs an MLflow server on a database, with artifacts in the store; yields its address."""
    url = f"http://127.0.0.1:{(port := pick_port(None))}"
    words = ["-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    words += ["--backend-store-uri", database, "--artifacts-destination", f"s3://{BUCKET}/mlflow", "--serve-artifacts"]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with _served(words, {**store, **quiet}, folder / "mlflow.log", f"{url}/health"):
        yield url


@contextmanager
def _served(words: Sequence[str], environment: Mapping[str, str], log: Path, health: str) -> Iterator[None]:
    known = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "AWS_"))}
    with log.open("w") as output:
        server = subprocess.Popen(
            [sys.executable, *words], env={**known, **environment}, stdout=output, stderr=output, cwd=log.parent
        )
    try:
        _wait_for(health, server, log)
        yield
    finally:
        server.terminate()
        server.wait(timeout=30)


def _wait_for(health: str, server: subprocess.Popen, log: Path) -> None:
    direct, deadline = urllib.request.build_opener(urllib.request.ProxyHandler({})), time.monotonic() + 120
    while True:
        try:
            direct.open(health, timeout=5).close()
            return
        except OSError:
            assert server.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
