"""A RAY_ADDRESS that cannot work is refused in one line within seconds, without a search having prepared anything."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from t5vqvae.errors import EnvironmentFault, SettingError, UserError
from tune.execution import ray_address
from tune.execution.ray_address import check_cluster, one_line_for_refusals, usable_address

MISMATCH = (
    "Version mismatch: The cluster was started with:\n    Ray: 2.9.0\n    Python: 3.10.1\n"
    "This process on node 10.0.0.2 was started with:\n    Ray: 2.60.0\n    Python: 3.11.4\n"
)


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr(ray_address, "_found_here", lambda: None)


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def web() -> Iterator[str]:
    """A server of web pages."""
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def refusal(address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("RAY_ADDRESS", address)
    began = time.monotonic()
    with pytest.raises(UserError) as caught:
        check_cluster()
    assert time.monotonic() - began < 4 * ray_address.SECONDS
    line = str(caught.value)
    assert f"RAY_ADDRESS={address}" in line and "\n" not in line and "to start Ray here" in line
    return line


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://127.0.0.1:8265", "a server for jobs"),
        ("https://head.example:8265", "RAY_API_SERVER_ADDRESS=https://head.example:8265 ray job submit"),
        ("ray://127.0.0.1:10001", "client server"),
        ("127.0.0.1:1", "no Ray cluster answers there (Connection refused)"),
        ("[::1]:1", "no Ray cluster answers there"),
        ("no-such-host.invalid:6379", "no Ray cluster answers there"),
        ("auto", "no Ray cluster runs on this machine"),
        ("nonsense", "must be HOST:PORT"),
        ("head:port", "must be HOST:PORT"),
        ("head:99999", "must be HOST:PORT"),
        ("head:0", "must be HOST:PORT"),
        ("127.0.0.1", "must be HOST:PORT"),
        (":6379", "must be HOST:PORT"),
        (" ", "must be HOST:PORT"),
        ("redis://127.0.0.1:6379", "must be HOST:PORT"),
        ("[bad", "must be HOST:PORT"),
        ("127.0.0.1:6379/x", "must be HOST:PORT"),
    ],
)
def test_an_address_that_cannot_work_is_refused_by_name(
    address: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert said in refusal(address, monkeypatch)


def test_a_server_that_is_no_cluster_is_refused(silent: str, web: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for address in (silent, web):
        assert "another kind of server" in refusal(address, monkeypatch)


def test_a_proxy_is_not_asked_for_the_cluster(monkeypatch: pytest.MonkeyPatch, web: str) -> None:
    for name in ("http_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, f"http://{web}")
    assert "Connection refused" in refusal("127.0.0.1:1", monkeypatch)


def test_a_name_that_is_looked_up_for_ever_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_address, "SECONDS", 0.1)
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: time.sleep(5))
    assert "no answer in time" in refusal("slow.example:6379", monkeypatch)


@pytest.mark.parametrize("address", ["", "local"])
def test_without_an_address_ray_is_started(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert usable_address() == (None if address else "local")


def test_the_address_that_a_dead_cluster_left_behind_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray_address, "_found_here", lambda: "127.0.0.1:1")
    assert usable_address() == "local"


def test_a_process_that_is_connected_asks_no_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: True)
    monkeypatch.setenv("RAY_ADDRESS", "nonsense")
    check_cluster()


def test_a_cluster_of_other_versions_is_named_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    with pytest.raises(EnvironmentFault) as caught, one_line_for_refusals():
        raise RuntimeError(MISMATCH)
    assert str(caught.value).startswith(
        "RAY_ADDRESS=10.0.0.1:6379 runs Ray 2.9.0 and Python 3.10.1, this process Ray 2.60.0 and Python 3.11.4;"
    )
    with pytest.raises(RuntimeError, match="a bug"), one_line_for_refusals():
        raise RuntimeError("a bug")


def test_a_refused_token_is_named_also_as_the_cause_of_a_failed_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    cause = RuntimeError("RPC error: InvalidAuthToken: Authentication token is missing or incorrect.")
    with pytest.raises(EnvironmentFault, match="6379 refuses the token of this process; set"), one_line_for_refusals():
        raise ConnectionError("Failed to connect to Ray cluster at 10.0.0.1:6379") from cause
    with pytest.raises(EnvironmentFault, match="no Ray cluster answers there"), one_line_for_refusals():
        raise ConnectionError("Failed to connect to Ray cluster at 10.0.0.1:6379")


@pytest.mark.parametrize("mode", ["token", ""])
def test_a_token_s_file_that_is_gone_is_refused(mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "local")
    monkeypatch.setenv("RAY_AUTH_MODE", mode)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "gone"))
    with pytest.raises(SettingError) as caught:
        check_cluster()
    way_out = 'after t5vqvae up, say eval "$(t5vqvae env)" again, or unset it'
    assert str(caught.value) == f"RAY_AUTH_TOKEN_PATH={tmp_path}/gone is no file; {way_out}"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "goes before the file")
    check_cluster()
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    check_cluster()
    (tmp_path / "gone").write_text("back")
    monkeypatch.setenv("RAY_AUTH_MODE", mode)
    check_cluster()


@pytest.mark.ray
def test_a_real_cluster_is_taken_and_one_of_another_python_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess
    import sys

    import ray

    monkeypatch.undo()
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    address = ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False).address_info["gcs_address"]
    try:
        code = """
from unittest import mock
from tune.execution.ray_cluster import connect
from t5vqvae.errors import UserError
import ray, ray._private.utils
with connect():
    print("connected", ray.is_initialized())
try:
    with mock.patch("ray._private.utils.compute_version_info", lambda: ("1.0", "2.7")), connect():
        pass
except UserError as error:
    print(error)
"""
        told = subprocess.run(
            [sys.executable, "-c", code], env={**__import__("os").environ, "RAY_ADDRESS": address}, capture_output=True
        )
    finally:
        ray.shutdown()
    first, second = told.stdout.decode().splitlines()
    assert first == "connected True" and "this process Ray 1.0 and Python 2.7" in second
