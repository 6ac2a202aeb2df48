"""The addresses of tracking servers: which MLFLOW_TRACKING_URI can work, and the path of a local database.

A database's path may hold any character: `%` and `?` are escaped, because SQLAlchemy reads them as escapes and query.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

from t5vqvae.errors import TrackingError, UserError, did_you_mean
from t5vqvae.redaction import redacted

WAY_OUT = "start the server, or set MLFLOW_TRACKING_URI to one that runs or to sqlite:////absolute/path/mlflow.db"
_EXAMPLE = "set MLFLOW_TRACKING_URI to one such as http://127.0.0.1:5000 or sqlite:////absolute/path/mlflow.db"
_DRIVERS = {"postgresql": "psycopg", "mysql": "MySQLdb", "mssql": "pyodbc"}
_PACKAGES = {
    "psycopg": "'psycopg[binary]'",
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
    "pymysql": "PyMySQL",
}
_KNOWN = ("http", "https", "sqlite", *_DRIVERS, "databricks", "databricks-uc")
_HEADER = b"SQLite format 3\0"


class AddressError(TrackingError):
    """A tracking URI that no server can have."""

    status = UserError.status


def resolve(uri: str) -> str:
    """Returns the URI in a form that is valid from every working directory.

    Raises:
        AddressError: If the URI is malformed, or a folder, which MLflow no longer writes to.
    """
    uri = uri.strip()
    scheme, colon, _ = uri.partition(":")
    if not uri:
        raise AddressError(f"the tracking uri is empty; {_EXAMPLE}")
    if uri in ("databricks", "databricks-uc"):
        return uri
    if not colon or scheme == "file" or "/" in scheme:
        raise AddressError(f"tracking uri {redacted(uri)} is a folder, which MLflow no longer writes to; {WAY_OUT}")
    kind = scheme.lower().partition("+")[0]
    if kind == "sqlite":
        return _resolved_file(uri)
    plugins = () if kind in _KNOWN else metadata.entry_points(group="mlflow.tracking_store").names
    if kind not in _KNOWN and kind not in plugins:
        raise AddressError(
            f"tracking uri {redacted(uri)} does not begin with a known scheme{did_you_mean(kind, _KNOWN)}; {_EXAMPLE}"
        )
    if kind in ("http", "https", *_DRIVERS):
        _refuse_malformed(uri, needs_host=kind.startswith("http"))
    return uri


def _resolved_file(uri: str) -> str:
    _, _, rest = uri.partition(":")
    path = _path_in(uri)
    if not rest.startswith("//") or (rest.rstrip("/") and path is None and ":memory:" not in rest):
        raise AddressError(f"tracking uri {redacted(uri)} names no file; write sqlite:////absolute/path/mlflow.db")
    if path is None:  # a database in memory
        return uri
    _, mark, options = rest.partition("?")
    return sqlite_uri(path.expanduser().resolve()) + mark + options


def _refuse_malformed(uri: str, needs_host: bool) -> None:
    try:
        parts = urlsplit(uri)
        valid = (parts.port or 1) > 0 and (bool(parts.hostname) or not needs_host)
    except ValueError:
        valid = False
    if not valid or any(character.isspace() for character in uri):
        raise AddressError(
            f"tracking uri {redacted(uri)} is no address; write scheme://user:password@host:port, with special"
            " characters of the password as %40 and the like"
        )


def sqlite_uri(path: Path) -> str:
    """Returns the URI of a database file."""
    escaped = str(path).replace("%", "%25").replace("?", "%3F")
    # MLflow makes the parent folder of whatever follows sqlite:///, escapes and all.
    return f"sqlite:///{escaped}" if escaped == str(path) else f"sqlite+pysqlite:///{escaped}"


def sqlite_file(uri: str) -> Path | None:
    """Returns the database file of a SQLite URI; None for any other URI, and for a database in memory."""
    return _path_in(uri) if uri.partition(":")[0].lower().partition("+")[0] == "sqlite" else None


def _path_in(uri: str) -> Path | None:
    _, separator, rest = uri.partition(":///")
    path = unquote(rest.partition("?")[0])
    return Path(path) if separator and path and path != ":memory:" else None


def refuse_unusable(uri: str) -> None:
    """Refuses at once what MLflow would try again and again for minutes.

    Raises:
        TrackingError: If the file is no database of MLflow or not writable, or the database's driver is missing.
    """
    file, kind = sqlite_file(uri), uri.partition(":")[0].lower()
    if file is not None:
        if fault := _fault_of(file):
            raise TrackingError(f"tracking uri {redacted(uri)}: {fault}; {_EXAMPLE}")
    elif kind.partition("+")[0] in _DRIVERS:
        driver = kind.partition("+")[2] or _DRIVERS[kind]
        if find_spec(driver) is None:
            package = _PACKAGES.get(driver, driver)
            raise TrackingError(f"tracking uri {redacted(uri)} needs the driver {driver}; pip install {package}")


def _fault_of(file: Path) -> str | None:
    """Returns why a file cannot be MLflow's database, or None; makes its folder."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.is_dir():
            return "it is a folder"
        size = file.stat().st_size if file.exists() else 0
        if not os.access(file if file.exists() else file.parent, os.W_OK):
            return f"{file} is not writable"
        return _fault_of_tables(file) if size else None
    except OSError as error:
        return f"{error.filename or file}: {error.strerror}"


def _fault_of_tables(file: Path) -> str | None:
    with file.open("rb") as stream:
        if stream.read(len(_HEADER)) != _HEADER:
            return f"{file} is no SQLite database"
    try:
        names = _tables(file)
    except sqlite3.OperationalError:
        return None  # locked: MLflow waits
    except sqlite3.DatabaseError as error:
        return f"{file} is damaged ({error})"
    if names and not names & {"experiments", "alembic_version"}:
        return f"{file} is another program's database"
    return None


def has_schema(file: Path) -> bool:
    """Returns whether a database has MLflow's tables."""
    try:
        return file.is_file() and "alembic_version" in _tables(file)
    except sqlite3.DatabaseError:
        return False


def _tables(file: Path) -> set[str]:
    with closing(sqlite3.connect(file, timeout=5)) as database:
        return {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
