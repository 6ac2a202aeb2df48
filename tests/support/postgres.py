"""A PostgreSQL server of this machine for tests: its own folder, loopback, a password, and never as root."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from cluster.service import pick_port

PASSWORD = "Xq7-swordfish"
"""What no file, page and output may have."""
SETTINGS = {"fsync": "off", "shared_buffers": "16MB", "max_connections": "60"}
"""A test's data need not outlive the machine."""


@dataclass
class Server:
    """A server with its data in a folder; `process` is its postmaster while it runs."""

    folder: Path
    port: int
    process: subprocess.Popen | None = None

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        options = {**SETTINGS, "listen_addresses": "127.0.0.1", "port": str(self.port)}
        options["unix_socket_directories"] = str(self.folder)
        words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        command = _as_user(str(_folder_of_programs() / "postgres"), "-D", str(self.folder / "data"), *words)
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        _wait_until_up(self)

    def stop(self) -> None:
        """Ends the server at once; its connections are cut."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(timeout=30)
            self.process = None

    def address(self, database: str) -> str:
        """Returns the address of a database, which is made if it is missing, with user and password."""
        address = f"postgresql://keeper:{PASSWORD}@127.0.0.1:{self.port}/{database}"
        if (database,) not in self.rows("postgres", "SELECT datname FROM pg_database"):
            self.rows("postgres", f'CREATE DATABASE "{database}"')
        return address

    def rows(self, database: str, query: str) -> list[tuple]:
        """Returns what a query gives."""
        import psycopg

        address = f"postgresql://keeper:{PASSWORD}@127.0.0.1:{self.port}/{database}"
        with psycopg.connect(address, autocommit=True) as connection:
            answer = connection.execute(query)
            return answer.fetchall() if answer.description else []

    def texts(self, database: str) -> list[str]:
        """Returns every row of every table as text."""
        tables = self.rows(database, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return [text for (name,) in tables for (text,) in self.rows(database, f'SELECT t::text FROM "{name}" t')]


def missing() -> str | None:
    """Returns why there is no server to start, or None; with CI=true that fails a test instead of skipping it."""
    if programs() is None:
        return "needs PostgreSQL's server (Debian: postgresql)"
    if os.geteuid() == 0 and (_user() is None or shutil.which("setpriv") is None):
        return "needs a user postgres and setpriv: PostgreSQL does not run as root"
    return None


@contextmanager
def postgres() -> Iterator[Server]:
    """Runs a server; skips the test where there is none to run."""
    if reason := missing():
        assert not os.environ.get("CI"), reason
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="t5vqvae-postgres-"))  # pytest's own folders are closed to other users
    server = Server(folder, pick_port(None))
    try:
        _make(folder)
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _make(folder: Path) -> None:
    """Makes the data of a server that asks for a password."""
    (folder / "password").write_text(PASSWORD)
    if os.geteuid() == 0:
        for path in (folder, folder / "password"):
            shutil.chown(path, "postgres", "postgres")
    words = ["-D", str(folder / "data"), "-U", "keeper", "-A", "scram-sha-256", "--no-sync", "-E", "UTF8"]
    made = _as_user(str(_folder_of_programs() / "initdb"), *words, f"--pwfile={folder / 'password'}")
    subprocess.run(made, check=True, capture_output=True, cwd=folder)


def _wait_until_up(server: Server) -> None:
    import psycopg

    deadline = time.monotonic() + 60
    while True:
        try:
            server.rows("postgres", "SELECT 1")
            return
        except psycopg.OperationalError:
            died = server.process is None or server.process.poll() is not None
            assert not died and time.monotonic() < deadline, (server.folder / "log").read_text()
            time.sleep(0.1)


def _folder_of_programs() -> Path:
    found = programs()
    assert found is not None
    return found


def programs() -> Path | None:
    """Returns the folder of the newest server's programs; Debian has none of them on the path."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda file: int(file.parts[-3]))
    if folders:
        return folders[-1].parent
    found = shutil.which("postgres")
    return Path(found).resolve().parent if found else None


def _user() -> int | None:
    import pwd

    try:
        return pwd.getpwnam("postgres").pw_uid
    except KeyError:
        return None


def _as_user(*command: str) -> list[str]:
    if os.geteuid() != 0:
        return list(command)
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", *command]
