"""The connection to a tracking server: any MLFLOW_TRACKING_URI except a folder, with errors in one line.

Only this file decides which failures are temporary (an unreachable server, a locked database) and which are permanent
(a value that MLflow rejects).
"""

from __future__ import annotations

import logging
import os
import shlex
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from t5vqvae.errors import TrackingError
from t5vqvae.files import locked
from t5vqvae.redaction import redacted
from t5vqvae.tracking.server.addresses import WAY_OUT, has_schema, refuse_unusable, sqlite_file
from t5vqvae.tracking.server.loopback import spare_loopback

if TYPE_CHECKING:
    from mlflow import MlflowClient

Result = TypeVar("Result")

ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # MLflow's 7 would block a call for minutes; the journal retries
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # saves a request per run, and keeps lines out of the live table
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
"""Defaults for MLflow's settings; what the user has set in the environment stays."""

PERMANENT = {
    "INVALID_PARAMETER_VALUE",
    "BAD_REQUEST",
    "RESOURCE_DOES_NOT_EXIST",
    "RESOURCE_ALREADY_EXISTS",
    "INVALID_STATE",
    "NOT_IMPLEMENTED",
}
"""MLflow's error codes for requests that fail however often they are sent."""

VERSIONS = "the server's MLflow is another version ({server}) than the one here ({here}); install the same"


ANOTHER_PROGRAM = "it answers, but not as MLflow does: a proxy or another program is there"


class NotMLflowError(Exception):
    """Something answers at the address, but not as MLflow does, such as a proxy whose server is away."""


def connect(uri: str) -> MlflowClient:
    """Returns the client for a URI, the same one for all callers of this process.

    It sends no request to a server, and creates the schema of a local database.

    Raises:
        TrackingError: If a local file is no database of MLflow, or a driver is missing.
    """
    file = sqlite_file(uri)
    if file is None:
        return _client(uri)
    with _LOCK:
        client = _client(live_uri(uri))
        _INODES[file] = _inode(file)
    return client


_LOCK = threading.RLock()
_INODES: dict[Path, int | None] = {}
_REPLACED: dict[Path, int] = {}
"""How often this process found a database's file replaced by another."""


def live_uri(uri: str) -> str:
    """Returns the URI under which MLflow opens a database's present file.

    MLflow keeps its connections by URI, also those to a file that was deleted since: what is written there is lost.
    """
    file = sqlite_file(uri)
    if file is None:
        return uri
    with _LOCK:
        present = _inode(file)
        if _INODES.setdefault(file, present) != present:
            _REPLACED[file] = _REPLACED.get(file, 0) + 1
            _INODES[file] = present
            _release(uri)
        folder, _, name = uri.rpartition("/")
        return "/".join([folder, *["."] * _REPLACED.get(file, 0), name])


def _release(uri: str) -> None:
    """Closes the connections that MLflow keeps for other users of the URI in this process, such as a notebook's."""
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as RegistryStore
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as TrackingStore

    for store in (TrackingStore, RegistryStore):
        engine = getattr(store, "_engine_map", {}).get(uri)
        if engine is not None:
            engine.dispose()


def _inode(file: Path) -> int | None:
    return file.stat().st_ino if file.exists() else None


@lru_cache(maxsize=8)
def _client(uri: str) -> MlflowClient:
    spare_loopback()
    refuse_unusable(uri)
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    # It prints each of its ten tries, and the traceback of what it also raises: a full disk, a lost file.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    file = sqlite_file(uri)
    if file is None or has_schema(file):
        return MlflowClient(tracking_uri=uri, registry_uri=uri)
    with locked(file):  # two processes that create one schema disturb each other
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        client.search_experiments(max_results=1)
    return client


def probe(uri: str, timeout: float) -> None:
    """Checks that a server answers, by a request for one experiment.

    Args:
        uri: A resolved URI.
        timeout: Seconds to wait for a server. A local database has no limit, because its first use creates the schema.

    Raises:
        TrackingError: If the server does not answer in time or answers with an error.
    """
    with translated(uri):
        client = connect(uri)
        if sqlite_file(uri) is not None:
            client.search_experiments(max_results=1)
        else:
            _within(timeout, lambda: _refuse_another_program(client))


def _refuse_another_program(client: MlflowClient) -> None:
    """Refuses an address at which `200 {}` answers everything: MLflow lists an experiment, or lacks the default one."""
    if not client.search_experiments(max_results=1):
        default = client.get_experiment_by_name("Default")
        if default is not None:
            known_id(default.experiment_id)


def known_id(value: str | None) -> str:
    """Returns an id that a server gave.

    Raises:
        NotMLflowError: If it is empty, as in the answer `200 {}` of a proxy.
    """
    if not value:
        raise NotMLflowError(ANOTHER_PROGRAM)
    return value


def _within(timeout: float, call: Callable[[], Result]) -> Result:
    """Returns the result of `call`, or raises its error, or TimeoutError; MLflow has no timeout for a single call."""
    outcome: Future[Result] = Future()

    def target() -> None:
        try:
            outcome.set_result(call())
        except Exception as error:
            outcome.set_exception(error)

    threading.Thread(target=target, daemon=True).start()
    wait([outcome], timeout)
    if not outcome.done():
        raise TimeoutError(f"no answer within {timeout:g} s")
    return outcome.result()


@contextmanager
def translated(uri: str) -> Iterator[None]:
    """Turns any error of MLflow into a TrackingError of one line."""
    try:
        yield
    except TrackingError:
        raise
    except Exception as error:
        where = "tracking server" if uri.startswith("http") else "tracking database"
        raise TrackingError(f"{where} {redacted(uri)}: {one_line(error)}; {_way_out(uri, error)}") from error


def one_line(error: BaseException) -> str:
    """Returns the cause of an error in at most 200 characters: a known network failure, or its first line."""
    text = str(error)
    for known in ("Connection refused", "timed out", "Name or service not known", "Read timed out", "No route to host"):
        if known in text:
            return known
    if "in a valid JSON format" in text or "body: '<" in text:
        return ANOTHER_PROGRAM
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return redacted(lines[0] if lines else type(error).__name__)[:200]


def _way_out(uri: str, error: Exception) -> str:
    """Returns what the user can do about an error."""
    text, code = str(error), getattr(error, "error_code", None)
    if "out-of-date database schema" in text:
        return _schema_way_out(uri, text)
    if code in ("UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED", "PERMISSION_DENIED") or "error code 401" in text:
        return "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or give both in MLFLOW_TRACKING_URI"
    if code in ("ENDPOINT_NOT_FOUND", "NOT_IMPLEMENTED") and (server := _server_version(uri)):
        from mlflow import __version__

        return VERSIONS.format(server=server, here=__version__)
    if "database is locked" in text:
        return "another process writes to it: wait for that, and run the same command again"
    if code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_STATE"):
        return "it was deleted in MLflow: restore it there, or run the same command again"
    return WAY_OUT


def _schema_way_out(uri: str, text: str) -> str:
    """Returns the way out of a database that another version of MLflow made; no version goes back."""
    import mlflow

    versions = Path(mlflow.__file__).parent / "store" / "db_migrations" / "versions"
    found = text.partition("found version ")[2].partition(",")[0]
    if found in ("", "None") or any(versions.glob(f"{found}_*.py")):
        return f"copy it, then run: mlflow db upgrade {shlex.quote(redacted(uri))}"
    return f"a newer MLflow than {mlflow.__version__} made it: install that one, or set MLFLOW_TRACKING_URI to another"


def _server_version(uri: str) -> str | None:
    """Returns the version that a server states, or None."""
    import requests

    try:
        answer = requests.get(f"{uri.rstrip('/')}/version", timeout=3)
    except (requests.RequestException, ValueError):
        return None
    text = answer.text.strip()
    return text if answer.ok and text[:1].isdigit() and len(text) < 30 else None


def is_permanent(error: BaseException) -> bool:
    """Returns whether the same request would fail again."""
    if isinstance(error, FileNotFoundError | IsADirectoryError | KeyError | TypeError):
        return True
    if getattr(error, "error_code", None) not in PERMANENT:
        return False
    # A proxy's page has a status, too, from which MLflow makes an error code; MLflow's own answer holds the code.
    answer = getattr(error, "json", None)
    return "API request to" not in str(error) if answer is None else "error_code" in answer
