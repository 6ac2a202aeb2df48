"""The connection to a tracking server: any MLFLOW_TRACKING_URI but a folder, and errors told in one line.

The only place that decides which failures pass by themselves (a server away, a locked database) and which never will
(a value that MLflow refuses).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from t5vqvae.errors import TrackingError

if TYPE_CHECKING:
    from mlflow import MlflowClient

Result = TypeVar("Result")

ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # MLflow's 7 would hold a call for minutes; the journal tries again
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # saves a request a run, and lines in the live table
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
"""What MLflow reads from the environment, unless the user has said otherwise."""

PERMANENT = {
    "INVALID_PARAMETER_VALUE",
    "BAD_REQUEST",
    "RESOURCE_DOES_NOT_EXIST",
    "RESOURCE_ALREADY_EXISTS",
    "INVALID_STATE",
    "NOT_IMPLEMENTED",
}
"""MLflow's error codes for requests that fail again however often they are sent."""

WAY_OUT = "start the server, or set MLFLOW_TRACKING_URI to one that runs or to sqlite:////absolute/path/mlflow.db"


def resolve(uri: str) -> str:
    """Returns the URI as it means the same from every directory.

    Raises:
        TrackingError: If it is a folder, which MLflow no longer writes to.
    """
    scheme, colon, rest = uri.partition(":")
    if not colon or scheme == "file" or "/" in scheme:
        raise TrackingError(f"tracking uri {uri} is a folder, which MLflow no longer writes to; {WAY_OUT}")
    if scheme == "sqlite" and rest.startswith("///") and not rest.startswith("////") and rest != "///:memory:":
        return f"sqlite:///{Path(rest.removeprefix('///')).expanduser().resolve()}"
    return uri


def sqlite_file(uri: str) -> Path | None:
    """Returns the database file of a SQLite URI, None of any other."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def without_password(uri: str) -> str:
    """Returns a URI fit for messages, links and reports."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


@lru_cache(maxsize=8)
def connect(uri: str) -> MlflowClient:
    """Returns the client for a URI, one a process; sends nothing yet."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    file = sqlite_file(uri)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def probe(uri: str, timeout: float) -> None:
    """Asks the server for one experiment.

    Args:
        uri: A resolved URI.
        timeout: Seconds to wait for a server; a local database is not timed, since its first use creates the schema.

    Raises:
        TrackingError: If it does not answer in time or refuses.
    """
    with translated(uri):
        client = connect(uri)
        if sqlite_file(uri) is not None:
            client.search_experiments(max_results=1)
        else:
            _within(timeout, lambda: client.search_experiments(max_results=1))


def _within(timeout: float, call: Callable[[], Result]) -> Result:
    """Returns what `call` returns, or raises what it raises, or TimeoutError; MLflow has no timeout for one call."""
    outcome: dict[str, Any] = {}

    def target() -> None:
        try:
            outcome["value"] = call()
        except Exception as error:
            outcome["error"] = error

    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    thread.join(timeout)
    if thread.is_alive():
        raise TimeoutError(f"no answer within {timeout:g} s")
    if "error" in outcome:
        raise outcome["error"]
    return outcome["value"]


@contextmanager
def translated(uri: str) -> Iterator[None]:
    """Turns whatever MLflow raises into a TrackingError of one line."""
    try:
        yield
    except TrackingError:
        raise
    except Exception as error:
        raise TrackingError(f"tracking server {without_password(uri)}: {one_line(error)}; {WAY_OUT}") from error


def one_line(error: BaseException) -> str:
    """Returns the innermost reason of an error, in at most 200 characters."""
    text = str(error)
    for known in ("Connection refused", "timed out", "Name or service not known", "Read timed out", "No route to host"):
        if known in text:
            return known
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]


def is_permanent(error: BaseException) -> bool:
    """Returns whether sending the same again is bound to fail again."""
    if isinstance(error, FileNotFoundError | IsADirectoryError | KeyError | TypeError):
        return True
    return getattr(error, "error_code", None) in PERMANENT
