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
    """A running server; `process` is its postmaster."""

    process: subprocess.Popen
    port: int

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


def missing() -> str | None:
    """Returns why there is no server to start, or None; with CI=true that fails a test instead of skipping it."""
    if _programs() is None:
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
    process = None
    try:
        server = _started(folder, pick_port(None))
        process = server.process
        yield server
    finally:
        if process is not None:
            process.send_signal(signal.SIGINT)  # its fast shutdown: connections are cut
            process.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


def _started(folder: Path, port: int) -> Server:
    programs = _programs()
    assert programs is not None
    (folder / "password").write_text(PASSWORD)
    if os.geteuid() == 0:
        for path in (folder, folder / "password"):
            shutil.chown(path, "postgres", "postgres")
    words = ["-D", str(folder / "data"), "-U", "keeper", "-A", "scram-sha-256", "--no-sync", "-E", "UTF8"]
    made = _as_user(str(programs / "initdb"), *words, f"--pwfile={folder / 'password'}")
    subprocess.run(made, check=True, capture_output=True, cwd=folder)
    options = {**SETTINGS, "listen_addresses": "127.0.0.1", "port": str(port), "unix_socket_directories": str(folder)}
    command = [str(programs / "postgres"), "-D", str(folder / "data")]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            _as_user(*command, *(word for name, value in options.items() for word in ("-c", f"{name}={value}"))),
            stdout=log,
            stderr=log,
            cwd=folder,
        )
    server = Server(process, port)
    _wait_until_up(server, folder / "log")
    return server


def _wait_until_up(server: Server, log: Path) -> None:
    import psycopg

    deadline = time.monotonic() + 60
    while True:
        try:
            server.rows("postgres", "SELECT 1")
            return
        except psycopg.OperationalError:
            assert server.process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)


def _programs() -> Path | None:
    """Returns the folder of the newest server's programs; Debian has none of them on the path."""
    found = shutil.which("postgres")
    if found and shutil.which("initdb"):
        return Path(found).parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda file: int(file.parts[-3]))
    return folders[-1].parent if folders else None


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
