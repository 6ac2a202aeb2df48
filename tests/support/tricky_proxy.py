"""A real MLflow server in this process, behind a proxy that at times answers in its place."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from werkzeug.serving import WSGIRequestHandler, make_server

from t5vqvae.tracking.server.addresses import sqlite_uri

PAGE = "<html><body>502: the upstream is away</body></html>"


class Proxy:
    """A WSGI application in front of another.

    Attributes:
        instead: Status, content type and text that answer every request; None: the server answers.
        only: Which requests (method and path) are answered so; all by default.
        uri: The address.
    """

    def __init__(self, application: Any) -> None:
        self._application = application
        self.instead: tuple[str, str, str] | None = None
        self.only: Callable[[str, str], bool] = lambda method, path: True
        self.uri = ""

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if self.instead is None or not self.only(environ["REQUEST_METHOD"], environ["PATH_INFO"]):
            return self._application(environ, start_response)
        status, kind, text = self.instead
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start_response(status, [("Content-Type", kind)])
        return [text.encode()]


class _Quiet(WSGIRequestHandler):
    def log(self, *_: Any, **__: Any) -> None:
        pass


@contextmanager
def proxied_server(database: Path) -> Iterator[Proxy]:
    """Yields the proxy of an MLflow server over a database."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("_MLFLOW_SERVER_FILE_STORE", sqlite_uri(database))
        patch.setenv("_MLFLOW_SERVER_ARTIFACT_DESTINATION", str(database.parent / "served"))
        patch.setenv("_MLFLOW_SERVER_SERVE_ARTIFACTS", "true")
        patch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", "mlflow-artifacts:/")
        patch.setenv("MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE", "true")
        from mlflow.server import app, handlers

        for name in ("_tracking_store", "_artifact_repo", "_model_registry_store"):
            if hasattr(handlers, name):
                patch.setattr(handlers, name, None)
        from mlflow.tracking._model_registry import utils as registry
        from mlflow.tracking._tracking_service import utils as tracking

        # The server makes its own store the default of this process: undone at the end.
        patch.setattr(tracking, "_tracking_uri", None)
        patch.setattr(registry, "_registry_uri", None)
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
            patch.setenv(name, "")
            patch.delenv(name)
        proxy = Proxy(app)
        server = make_server("127.0.0.1", 0, proxy, threaded=True, request_handler=_Quiet)
        proxy.uri = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
