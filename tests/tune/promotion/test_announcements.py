"""Events: signed so that the receiver can check them, tried three times, and kept until they arrive."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from t5vqvae.errors import SettingError
from tune.promotion.announcements import SECRET, Receivers, announce, deliver, refuse_address, run_command


class Receiver:
    """An HTTP server on the loopback that answers with the statuses it is given, 200 afterwards."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.gets = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests.append(({key.lower(): value for key, value in self.headers.items()}, body))
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 200)
                self.send_header("Location", receiver.url)
                self.end_headers()

            def do_GET(self) -> None:
                receiver.gets += 1
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setenv(SECRET, "s3cret")
    found = Receiver()
    yield found
    found.server.shutdown()
    found.server.server_close()


EVENT = {"event": "promoted", "version": "2"}


def test_a_receiver_can_check_the_signature_over_time_and_body(receiver: Receiver, tmp_path: Path) -> None:
    assert announce(receiver.url, EVENT, tmp_path / "outbox") == []
    ((headers, body),) = receiver.requests
    signed = hmac.new(b"s3cret", headers["x-t5vqvae-timestamp"].encode() + b"." + body, hashlib.sha256).hexdigest()
    assert headers["x-t5vqvae-signature"] == f"sha256={signed}"
    event = json.loads(body)
    assert event | EVENT == event and event["id"] == headers["x-t5vqvae-id"]
    assert list((tmp_path / "outbox").iterdir()) == []


def test_three_tries_then_the_outbox_then_sent_again_with_the_same_id(receiver: Receiver, tmp_path: Path) -> None:
    receiver.statuses = [500, 503, 500]
    waits: list[float] = []
    (line,) = announce(receiver.url, EVENT, tmp_path, waits.append)
    assert (
        "HTTP 500, 3 times; the next promotion or rollback with --notify sends it" in line
        and len(receiver.requests) == 3
    )
    assert waits == [0.5, 2.0] and len(list(tmp_path.glob("*.json"))) == 1
    receiver.statuses = [500]
    assert announce(receiver.url, {"event": "second"}, tmp_path, waits.append) == []
    ids = [headers["x-t5vqvae-id"] for headers, _ in receiver.requests]
    assert len(set(ids[:5])) == 1 and ids[5] != ids[0], "the oldest first, in the same words"
    assert list(deliver(tmp_path)) == [] and len(receiver.requests) == 6


def test_an_absent_receiver_costs_a_line_and_an_address_that_cannot_work_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(SECRET, "s3cret")
    (line,) = announce("http://user:hunter2@127.0.0.1:9/x", EVENT, tmp_path, lambda _: None)
    assert "not announced" in line and "hunter2" not in line
    for url in (
        "ftp://host",
        "http://",
        "http://h:80a/x",
        "http://h/a b",
        "http://[h/x",
        "http://:80/x",
        "http://u:p@h",
    ):
        with pytest.raises(SettingError, match="is no address"):
            refuse_address(url)
    refuse_address("http://[::1]:8080/hook?key=a%20b")
    monkeypatch.delenv(SECRET)
    with pytest.raises(SettingError, match=f"needs a secret to sign with; set {SECRET}"):
        refuse_address("http://host/x")


def test_a_command_gets_the_event_and_its_failure_is_said(tmp_path: Path) -> None:
    command = f'cat > "{tmp_path}/event.json"; echo "$T5VQVAE_VERSION" > "{tmp_path}/version"'
    assert run_command(command, EVENT) is None
    assert json.loads((tmp_path / "event.json").read_text()) == EVENT
    assert (tmp_path / "version").read_text() == "2\n"
    assert run_command("exit 3", EVENT) == "--on-promote ended with status 3: exit 3"


@pytest.mark.parametrize("status", [301, 302, 303, 307])
def test_a_redirect_is_not_followed_and_the_event_is_kept(receiver: Receiver, tmp_path: Path, status: int) -> None:
    receiver.statuses = [status] * 3
    (line,) = announce(receiver.url, EVENT, tmp_path, lambda _: None)
    assert f"HTTP {status}, 3 times" in line and receiver.gets == 0 and len(list(tmp_path.glob("*.json"))) == 1


def test_what_speaks_no_http_and_an_address_that_cannot_work_cost_a_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(SECRET, "s3cret")
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_speak, args=(server,), daemon=True).start()
        (line,) = announce(f"http://127.0.0.1:{server.getsockname()[1]}/x", EVENT, tmp_path / "a", lambda _: None)
    assert "no HTTP: BadStatusLine, 3 times" in line
    for place, url in enumerate(("http://u:hunter2@h/x", "http://h:80a/x", "http://h/a b")):
        (line,) = announce(url, EVENT, tmp_path / str(place), lambda _: None)
        assert "no HTTP: InvalidURL" in line and "hunter2" not in line


def _speak(server: socket.socket) -> None:
    """Answers three requests in another protocol."""
    for _ in range(3):
        connection, _address = server.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"220 mail ready\r\n")


def test_without_an_event_only_the_outbox_is_sent(receiver: Receiver, tmp_path: Path) -> None:
    receiver.statuses = [500] * 3
    announce(receiver.url, EVENT, tmp_path, lambda _: None)
    receivers = Receivers(receiver.url, f'touch "{tmp_path}/ran"')
    assert receivers.announce(None, tmp_path) == [] and len(receiver.requests) == 4
    assert list(tmp_path.iterdir()) == [], "nothing is left, and no command ran"


def test_an_event_that_another_process_sends_meanwhile_is_passed_over(receiver: Receiver, tmp_path: Path) -> None:
    receiver.statuses = [500] * 9
    for number in range(2):
        announce(receiver.url, {"event": str(number)}, tmp_path, lambda _: None)
    receiver.statuses = [500]
    files = list(tmp_path.glob("*.json"))
    assert len(files) == 2
    assert list(deliver(tmp_path, lambda _: [file.unlink() for file in files])) == []
    assert len({body for _, body in receiver.requests[-2:]}) == 1, "the second was not sent"
