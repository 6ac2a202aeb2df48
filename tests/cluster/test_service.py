"""A background service is found by its record, ended by process id, and not mistaken for another process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from cluster import service
from cluster.service import Service, ServiceError

WEB_SERVER = """
import subprocess, sys
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
print(subprocess.Popen(sleep, start_new_session=True).pid, subprocess.Popen(sleep, env={}).pid, flush=True)
from http.server import ThreadingHTTPServer, SimpleHTTPRequestHandler
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), SimpleHTTPRequestHandler).serve_forever()
"""


def web_service(state: Path) -> Service:
    port = service.pick_port(None)
    url = f"http://127.0.0.1:{port}/"
    return Service("web", state, [sys.executable, "-c", WEB_SERVER, str(port)], url, {"url": url}, cwd=state)


@pytest.fixture
def web(tmp_path: Path):
    """A running service with a child in a separate session."""
    web_service(tmp_path).start()
    try:
        service.wait(tmp_path, ["web"], timeout=30, show=lambda line: None)
        yield tmp_path
    finally:
        service.stop(tmp_path, "web")


def children_of(state: Path) -> list[psutil.Process]:
    """Returns two children: one in a separate session with the mark, and one in the service's session without it."""
    return [psutil.Process(int(word)) for word in service.log_path(state, "web").read_text().split()[:2]]


def test_stop_ends_the_service_and_what_it_started(web: Path) -> None:
    assert service.running(web, "web") is not None
    processes = [psutil.Process(service.read_record(web, "web")["pid"]), *children_of(web)]
    assert service.stop(web, "web") == 3
    assert not any(process.is_running() for process in processes)
    assert service.running(web, "web") is None
    assert service.stop(web, "web") == 0


def test_orphans_of_a_killed_service_are_found_by_their_mark(web: Path) -> None:
    child, unmarked = children_of(web)
    os.kill(service.read_record(web, "web")["pid"], signal.SIGKILL)
    psutil.wait_procs([psutil.Process(service.read_record(web, "web")["pid"])], timeout=5)
    assert service.running(web, "web") is None
    assert child.is_running()
    service.stop(web, "web")
    assert not child.is_running()
    unmarked.kill()


def test_a_reused_process_id_is_left_alone(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        started = psutil.Process(other.pid).create_time() - 3600
        record = {"pid": other.pid, "started": started, "mark": "nobody's", "health_url": "", "facts": {}}
        path = service.record_path(tmp_path, "web")
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(record))
        assert service.running(tmp_path, "web") is None
        assert service.stop(tmp_path, "web") == 0
        assert other.poll() is None
        assert not path.exists()
    finally:
        other.kill()
        other.wait()


def test_a_service_that_ends_is_reported_with_its_last_output(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('the disk is full')"]
    Service("web", tmp_path, command, "http://127.0.0.1:9/", {}).start()
    with pytest.raises(ServiceError, match=r"(?s)web ended during its start: the disk is full; see "):
        service.wait(tmp_path, ["web"], timeout=30, show=lambda line: None)
    service.stop(tmp_path, "web")


def test_a_taken_port_is_refused_or_replaced() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        taken = listener.getsockname()[1]
        assert service.pick_port(taken) != taken
        with pytest.raises(ServiceError, match=f"port {taken} is taken"):
            service.pick_port(taken, required=True)
    assert service.pick_port(None) > 0


def test_the_program_that_takes_a_port_is_named() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        taken = listener.getsockname()[1]
        with pytest.raises(ServiceError, match=rf"\(process {os.getpid()}\); give another$"):
            service.pick_port(taken, required=True, way_out="give another")


def test_a_proxy_is_not_asked_about_this_machine(web: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("urllib.request._opener", None)  # which keeps the proxies of its first use
    assert service.healthy(service.read_record(web, "web")["health_url"])


WRONG = '{"pid": 1, "started": 1.0, "mark": 3, "health_url": "", "facts": 1}'
DAMAGE = ["", "{", "[]", "{}", "null", '{"pid": "1"}', WRONG]


@pytest.mark.parametrize("damage", [text.encode() for text in DAMAGE] + [b"\xff\xfe", None])
def test_what_a_damaged_or_lost_record_named_is_found_by_its_mark(web: Path, damage: bytes | None) -> None:
    process = psutil.Process(service.read_record(web, "web")["pid"])
    unmarked = children_of(web)[1]
    path = service.record_path(web, "web")
    path.unlink() if damage is None else path.write_bytes(damage)
    assert service.running(web, "web") is None
    assert service.stop(web, "web") == 2
    assert not process.is_running()
    unmarked.kill()


def test_a_copied_state_folder_does_not_own_the_services(web: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    copy = tmp_path_factory.mktemp("copy") / "state"
    shutil.copytree(web, copy)
    assert service.running(copy, "web") is None
    assert service.stop(copy, "web") == 0
    assert service.running(web, "web") is not None


def test_a_moved_state_folder_still_owns_its_services(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    web_service(before).start()
    service.wait(before, ["web"], timeout=30, show=lambda line: None)
    before.rename(after)
    assert service.running(after, "web") is not None
    assert service.stop(after, "web") == 3


def test_a_clock_that_was_set_does_not_hide_a_service(web: Path) -> None:
    record = service.read_record(web, "web")
    service.record_path(web, "web").write_text(json.dumps({**record, "started": record["started"] - 3600}))
    assert service.running(web, "web") is not None


def test_what_speaks_another_protocol_is_not_healthy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        answer = threading.Thread(target=lambda: listener.accept()[0].sendall(b"SSH-2.0-OpenSSH\r\n\r\n"))
        answer.start()
        assert not service.healthy(url)
        answer.join()
