"""A headless Chromium (Debian's) and a real MLflow server, for tests that read what a user sees."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def mlflow_server(uri: str, log: Path, seconds: float = 90) -> Iterator[str]:
    """Serves a database on the loopback, with MLflow's own pages; yields its address within some seconds."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1", "--no-serve-artifacts"]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with log.open("w") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output, env=environment, start_new_session=True)
    try:
        address = f"http://127.0.0.1:{port}"
        _wait(f"{address}/health", server, log, seconds)
        yield address
    finally:
        os.killpg(server.pid, 15)
        server.wait(20)


def _wait(url: str, server: subprocess.Popen[bytes], log: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.3)
    raise AssertionError(f"the server did not answer: {log.read_text()[-2000:]}")


@contextmanager
def chromium(width: int = 1280, height: int = 900) -> Iterator[Any]:
    """Yields a page of Debian's Chromium; skips without it, and fails where CI=true."""
    program = shutil.which("chromium")
    if program is None:
        message = "chromium is not installed (apt-get install chromium)"
        assert os.environ.get("CI") != "true", message
        pytest.skip(message)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            page = browser.new_page(viewport={"width": width, "height": height})
            page.set_default_timeout(60_000)
            yield page
        finally:
            browser.close()
