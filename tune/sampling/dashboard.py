"""Serves Optuna's dashboard over a copy of a study, on the loopback interface."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna

from t5vqvae.errors import EnvironmentFault, SettingError
from tune.sampling.database import Database
from tune.sampling.storage import copied_storage

HOST, PORT = "127.0.0.1", 8080


class _Server(ThreadingMixIn, WSGIServer):
    """Answers several requests of one page at once."""

    daemon_threads = True


class _Silent(WSGIRequestHandler):
    """Prints no line for each request."""

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@contextmanager
def dashboard(
    path: Path | Database, study: str, port: int | None, objectives: Sequence[str] = ()
) -> Iterator[tuple[WSGIServer, int]]:
    """Yields a server of the dashboard, and the number of trials that it shows.

    It shows a copy in memory: what is noted there goes with it, and the study's file stays as it is.

    Args:
        path: The study's file, or its database.
        study: Its name.
        port: Its port; None: 8080 if free, else any.
        objectives: What the pages call its objectives; empty: by their place.

    Raises:
        SettingError: If the study has no trial yet.
        EnvironmentFault: If the port is taken.
        DamagedFileError: If the file is damaged.
    """
    from optuna_dashboard import wsgi

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", module="optuna")  # the pages say on how few trials their importance rests
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    logging.getLogger("optuna_dashboard").setLevel(logging.WARNING)
    try:
        storage = copied_storage(path)
        name = path.study if isinstance(path, Database) else study
        shown = optuna.load_study(study_name=name, storage=storage)
        trials = shown.get_trials(deepcopy=False)
        if objectives:
            shown.set_metric_names(list(objectives))
    except (FileNotFoundError, KeyError):
        raise SettingError(f"study {study} has no trial yet; t5vqvae status {study} says how far it is") from None
    server = _bound(wsgi(storage), port)
    try:
        yield server, len(trials)
    finally:
        server.server_close()


def _bound(app: Any, port: int | None) -> WSGIServer:
    """Returns a server on a port, or on any free one where the usual one is taken."""
    for wanted in [port] if port is not None else [PORT, 0]:
        try:
            return make_server(HOST, wanted, app, _Server, _Silent)
        except OSError as error:
            reason = error.strerror or str(error)
    raise EnvironmentFault(f"port {port}: {reason.lower()}; give another by --port, or none to get a free one")
