"""Runs a server: binds its address, loads the model, and starts one process, or several under a supervisor."""

from __future__ import annotations

import ipaddress
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t5vqvae.errors import SettingError
from t5vqvae.files import write_json
from t5vqvae.stages import hidden
from tune.records.study_paths import state_dir

if TYPE_CHECKING:
    from t5vqvae.serving.serve_settings import ServeSettings
    from tune.operations.model_source import ModelSource

APPLICATION = "tune.operations.served_app:application"
PARTING_SECONDS = 30
"""Seconds in which a server that ends answers what it has."""


def serve(source: ModelSource, settings: ServeSettings, listener: socket.socket, workers: int) -> None:
    """Serves a model until a signal ends it.

    Raises:
        UserError: If the model cannot be loaded.
    """
    name, number = listener.getsockname()[:2]
    address = f"http://[{name}]:{number}" if ":" in name else f"http://{name}:{number}"
    if workers == 1:
        _one(source, settings, listener, address)
    else:
        _several(source, settings, listener, address, workers)


@contextmanager
def _scraped(source: ModelSource, address: str) -> Iterator[None]:
    """Names the server to the Prometheus of the state folder, as drivers do; its metrics need no token."""
    place = address.removeprefix("http://")
    target = state_dir(source.state) / "prometheus" / "targets" / f"serve:{place.rpartition(':')[2]}.json"
    with suppress(OSError):  # a folder that is read-only stops no server
        write_json(target, [{"targets": [place], "labels": {"job": "serve"}}])
    try:
        yield
    finally:
        with suppress(OSError):
            target.unlink(missing_ok=True)


def _one(source: ModelSource, settings: ServeSettings, listener: socket.socket, address: str) -> None:
    import uvicorn

    from t5vqvae.serving.app import create_app

    app = create_app(source, settings)
    _announce(source, address, settings)
    with hidden(), _scraped(source, address):
        uvicorn.Server(uvicorn.Config(app, **_OPTIONS)).run(sockets=[listener])


def _several(source: ModelSource, settings: ServeSettings, listener: socket.socket, address: str, workers: int) -> None:
    import uvicorn
    from uvicorn.supervisors import Multiprocess

    from t5vqvae.serving.serve_metrics import FOLDER
    from tune.operations.served_app import WORKER

    source.load(source.newest())  # refused here in one line, and downloaded once
    with tempfile.TemporaryDirectory(prefix="t5vqvae-serve-") as folder:
        file, counts = Path(folder) / "worker.json", Path(folder) / "metrics"
        counts.mkdir()
        write_json(file, {**_as_values(source), "settings": settings.as_dict()})
        os.environ.update({WORKER: str(file), FOLDER: str(counts)})
        config = uvicorn.Config(APPLICATION, factory=True, workers=workers, **_OPTIONS)
        _announce(source, address, settings)
        try:
            with hidden(), _scraped(source, address):
                Multiprocess(config, sockets=[listener]).run()
        finally:
            for name in (WORKER, FOLDER):
                os.environ.pop(name, None)


_OPTIONS: dict[str, Any] = {
    "log_level": "warning",
    "access_log": False,
    "timeout_graceful_shutdown": PARTING_SECONDS,
    "timeout_worker_healthcheck": 120,  # a worker that loads a large model answers late
    "lifespan": "on",
}


def _as_values(source: ModelSource) -> dict[str, Any]:
    return {
        "model": source.model,
        "state": None if source.state is None else str(source.state),
        "texts": None if source.texts is None else str(source.texts),
        "sentences": source.sentences,
    }


def _announce(source: ModelSource, address: str, settings: ServeSettings) -> None:
    what = "the playground is" if settings.page else "operations are listed"
    print(
        f"{source.model} is served; {what} at {address}/{'' if settings.page else 'docs'}; Ctrl-C ends it", flush=True
    )


def bound(host: str, port: int, token: str | None) -> socket.socket:
    """Returns a socket bound to an address; an address that others reach needs a token.

    Raises:
        SettingError: If the address cannot be used.
    """
    if not _is_loopback(host) and token is None:
        raise SettingError(
            f"--host {host} is open to other machines; set T5VQVAE_TOKEN to what callers must send, or leave it out"
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (")[0]
        raise SettingError(
            f"--host {host} --port {port}: {reason}; give another --port, or 0 for any free one"
        ) from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
