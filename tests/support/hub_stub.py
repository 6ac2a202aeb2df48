"""A tiny hub on the loopback interface: it speaks the requests of one upload, and keeps what it was sent."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_ThisIsNoRealToken"


@dataclass
class HubStub:
    """What the stub received, and how it answers.

    Attributes:
        address: Where it listens.
        status: The status of every answer; None: as a hub in order.
        repos: The visibility that each repository was made with.
        files: The content of each file of the last commit.
        message: The message of that commit.
        requests: The path of every request.
    """

    address: str = ""
    status: int | None = None
    repos: dict[str, str | None] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    message: str = ""
    requests: list[str] = field(default_factory=list)

    def answer(self, path: str, token: str, body: bytes) -> tuple[int, Any]:
        self.requests.append(path)
        if self.status is not None:
            return self.status, {"error": f"it is tried, {token}"}
        if token != f"Bearer {TOKEN}":
            return 401, {"error": "Invalid username or password."}
        if path == "/api/repos/create":
            return self._created(json.loads(body))
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        if "/preupload/" in path:
            sent = json.loads(body)["files"]
            return 200, {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in sent]}
        return self._committed(path, [json.loads(line) for line in body.splitlines()])

    def _created(self, wanted: dict[str, Any]) -> tuple[int, Any]:
        repo = f"{wanted['organization']}/{wanted['name']}"
        url = {"url": f"{self.address}/{repo}"}
        if repo in self.repos:
            return 409, {"error": "You already created this model repo", **url}
        self.repos[repo] = wanted.get("visibility")
        return 200, url

    def _committed(self, path: str, entries: list[dict[str, Any]]) -> tuple[int, Any]:
        sent = [entry["value"] for entry in entries if entry["key"] == "file"]
        self.files = {value["path"]: base64.b64decode(value["content"]) for value in sent}
        self.message = next(entry["value"]["summary"] for entry in entries if entry["key"] == "header")
        repo = path.removeprefix("/api/models/").partition("/commit/")[0]
        return 200, {"success": True, "commitOid": "0" * 40, "commitUrl": f"{self.address}/{repo}/commit/{'0' * 40}"}


@contextmanager
def hub_stub() -> Iterator[HubStub]:
    """Runs a stub."""
    stub = HubStub()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, answer = stub.answer(self.path.partition("?")[0], self.headers.get("Authorization", ""), body)
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stub.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
