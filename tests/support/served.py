"""A server in this process on loopback, of a model whose answers are known by hand, and how tests speak to it."""

from __future__ import annotations

import json
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from spelling_model import Spelling

from t5vqvae.latent.latent_space import LatentSpace
from t5vqvae.serving.app import create_app
from t5vqvae.serving.serve_settings import ServeSettings
from t5vqvae.serving.served_model import ServedModel

SENTENCES = ["a bat eats honey", "a cat eats eggs in trees", "old bat and big bat"]

PATIENCE_SECONDS = 180
"""How long an answer may take: on a busy machine a worker imports its libraries for a minute."""


class Spelled:
    """The source of a model that spells; its alias moves when `version` is set."""

    follows = True

    def __init__(self, quantizer: str = "vq") -> None:
        self.version, self.quantizer = "1", quantizer
        self.loaded: list[str] = []

    def newest(self) -> str:
        return self.version

    def load(self, version: str) -> ServedModel:
        self.loaded.append(version)
        return ServedModel(LatentSpace(Spelling(self.quantizer)), "spelling", version, lambda: SENTENCES)


@contextmanager
def serving(source: Any, **settings: Any) -> Iterator[str]:
    """Runs a server in a thread; gives its address."""
    app = create_app(source, ServeSettings.parse({"threads": 1, **settings}))
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="on"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server ended"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=30)
        assert not thread.is_alive()


def ask(url: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    """Returns status and values of an answer; a body makes it a POST, text is sent as it is."""
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def answers(url: str, body: Any) -> list[Any]:
    status, found = ask(url, body)
    assert status == 200, found
    return found["answers"]


def counts(url: str) -> dict[str, float]:
    """The metrics of a server by name and labels."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=60) as reply:
        page = reply.read().decode()
    return {name: float(value) for name, value in re.findall(r"^([a-z].*) (\S+)$", page, re.MULTILINE)}
