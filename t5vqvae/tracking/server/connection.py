"""The connection to a tracking server: any MLFLOW_TRACKING_URI except a folder, with errors in one line.

Only this file decides which failures are temporary (an unreachable server, a locked database) and which are permanent
(a value that MLflow rejects).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit, urlunsplit

from t5vqvae.errors import TrackingError

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

WAY_OUT = "start the server, or set MLFLOW_TRACKING_URI to one that runs or to sqlite:////absolute/path/mlflow.db"


def resolve(uri: str) -> str:
    """Returns the URI in a form that is valid from every working directory.

    Raises:
        TrackingError: If the URI is a folder, which MLflow no longer writes to.
    """
    scheme, colon, rest = uri.partition(":")
    if not colon or scheme == "file" or "/" in scheme:
        raise TrackingError(f"tracking uri {uri} is a folder, which MLflow no longer writes to; {WAY_OUT}")
    if scheme == "sqlite" and rest.startswith("///") and not rest.startswith("////") and rest != "///:memory:":
        return f"sqlite:///{Path(rest.removeprefix('///')).expanduser().resolve()}"
    return uri


def sqlite_file(uri: str) -> Path | None:
    """Returns the database file of a SQLite URI; None for any other URI."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def without_password(uri: str) -> str:
    """Returns a URI without user and password, for messages, links and reports."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


@lru_cache(maxsize=8)
def connect(uri: str) -> MlflowClient:
    """Returns the client for a URI, the same one for all callers of this process; sends no request."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    file = sqlite_file(uri)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


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
            _within(timeout, lambda: client.search_experiments(max_results=1))


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
        raise TrackingError(f"tracking server {without_password(uri)}: {one_line(error)}; {WAY_OUT}") from error


def one_line(error: BaseException) -> str:
    """Returns the cause of an error in at most 200 characters: a known network failure, or its first line."""
    text = str(error)
    for known in ("Connection refused", "timed out", "Name or service not known", "Read timed out", "No route to host"):
        if known in text:
            return known
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]


def is_permanent(error: BaseException) -> bool:
    """Returns whether the same request would fail again."""
    if isinstance(error, FileNotFoundError | IsADirectoryError | KeyError | TypeError):
        return True
    return getattr(error, "error_code", None) in PERMANENT
