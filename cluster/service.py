"""Background services on this machine: started once, found by their records, and ended by process id alone.

The record of a service, `<state>/run/<name>.json`, holds its process id, the start time of the process (so that a
reused id is never mistaken for it), a mark, and facts for its users (URL, ports). The mark names the service and its
state folder; it is in the environment of the service, and every process that the service starts inherits it. So `stop`
also finds processes that survived a killed parent or a lost record, and never any others: a copied state folder has
another mark.

To add a service, build a `Service` in `cluster/local.py`.
"""

from __future__ import annotations

import errno
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

import psutil

from t5vqvae.errors import EnvironmentFault
from t5vqvae.files import read_json, write_json
from t5vqvae.tracking.server.loopback import reaching_loopback
from tune.monitor.formats import shortened

MARK = "T5VQVAE_SERVICE"
"""The environment variable that holds the mark of a service."""

Facts = Mapping[str, str | int]


class _Record(TypedDict):
    """The record of a service, as it lies on the disk; `started` is in seconds since 1970."""

    pid: int
    started: float
    mark: str
    health_url: str
    facts: Facts


_KINDS = {"pid": int, "started": float, "mark": str, "health_url": str, "facts": dict}


class ServiceError(EnvironmentFault):
    """A service did not start, or its port is taken; the message gives the reason."""


@dataclass(frozen=True)
class Service:
    """How to start one service and how to check that it is ready.

    Attributes:
        name: Names its record and its log.
        state: The state folder.
        command: The command line.
        health_url: An address that answers when the service is ready.
        facts: What its users need, such as its URL and ports; plain values, kept in the record.
        environment: Variables added to those of this process.
        cwd: The working directory; None: that of this process.
    """

    name: str
    state: Path
    command: Sequence[str]
    health_url: str
    facts: Facts
    environment: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None

    def start(self) -> None:
        """Starts the service in a new session and writes its record; does not wait until it is ready (see `wait`)."""
        mark = _mark(self.state, self.name)
        log = log_path(self.state, self.name)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**reaching_loopback(os.environ), **self.environment, MARK: mark},
                cwd=self.cwd,
                start_new_session=True,
            )
        record: _Record = {
            "pid": process.pid,
            "started": psutil.Process(process.pid).create_time(),
            "mark": mark,
            "health_url": self.health_url,
            "facts": dict(self.facts),
        }
        write_json(record_path(self.state, self.name), record, indent=2)


def record_path(state: Path, name: str) -> Path:
    """Returns the path of a service's record."""
    return state / "run" / f"{name}.json"


def log_path(state: Path, name: str) -> Path:
    """Returns the path of a service's output."""
    return state / "logs" / f"{name}.log"


def read_record(state: Path, name: str) -> _Record | None:
    """Returns the record of a service; None if it is missing, damaged, or came with a copy of another state folder."""
    try:
        values = read_json(record_path(state, name))
        whole = all(isinstance(values[key], kind) for key, kind in _KINDS.items())
        record: _Record = values
        return record if whole and _belongs(record["mark"], _mark(state, name)) else None
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError):
        return None


def _mark(state: Path, name: str) -> str:
    return f"{name}:{state.absolute()}"


def _belongs(mark: str, own: str) -> bool:
    """Returns whether a record is this folder's own, or that of one which was moved here."""
    _, _, folder = mark.partition(":")
    return mark == own or not folder or not Path(folder).exists()


def running(state: Path, name: str) -> Facts | None:
    """Returns the facts of a running service, else None."""
    record = read_record(state, name)
    return record["facts"] if record and _process(record) else None


def healthy(url: str, timeout: float = 2.0) -> bool:
    """Returns whether `url` answers within `timeout` seconds, with success or with a request to log in.

    It goes through no proxy: the services listen on the loopback interface, which no other machine reaches.
    """
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url, timeout=timeout) as answer:
            return 200 <= answer.status < 300
    except urllib.error.HTTPError as error:
        return error.code in (401, 403)
    except (OSError, ValueError, http.client.HTTPException):  # what listens there may speak another protocol
        return False


def wait(state: Path, names: Sequence[str], timeout: float, show: Callable[[str], None]) -> None:
    """Waits until every service answers, and shows the progress.

    Args:
        state: The state folder.
        names: The services.
        timeout: Seconds for all services together.
        show: Receives one line every few seconds.

    Raises:
        ServiceError: If a service ends or is not ready in time; the message has its last line of output.
    """
    begin = shown = time.monotonic()
    waiting = list(names)
    while waiting:
        for name in list(waiting):
            if healthy(_known(state, name)["health_url"]):
                waiting.remove(name)
                show(f"{name} is ready after {time.monotonic() - begin:.0f} s")
            elif running(state, name) is None:
                raise ServiceError(f"{name} ended during its start{_last_line(state, name)}")
        if waiting and time.monotonic() - begin > timeout:
            raise ServiceError(f"{waiting[0]} is not ready after {timeout:.0f} s{_last_line(state, waiting[0])}")
        if waiting and time.monotonic() - shown > 5:
            shown = time.monotonic()
            show(f"waiting for {' and '.join(waiting)} ({shown - begin:.0f} s)")
        time.sleep(0.2 if waiting else 0)


def stop(state: Path, name: str, patience: float = 15.0) -> int:
    """Ends a service and all processes that it started; returns how many there were.

    Args:
        state: The state folder.
        name: The service.
        patience: Seconds from SIGTERM to SIGKILL.
    """
    record = read_record(state, name)
    mark = record["mark"] if record else _mark(state, name)
    root = _process(record) if record else None
    family = _family(root, mark)
    if root is not None:
        _signal([root], signal.SIGTERM)
        psutil.wait_procs([root], timeout=patience)
    left = {process.pid: process for process in [*family, *_family(None, mark)] if process.is_running()}
    _signal(list(left.values()), signal.SIGTERM)
    _, stubborn = psutil.wait_procs(list(left.values()), timeout=patience)
    _signal(stubborn, signal.SIGKILL)
    psutil.wait_procs(stubborn, timeout=5)
    record_path(state, name).unlink(missing_ok=True)
    return len({process.pid for process in [*family, *left.values()]})


def pick_port(
    preferred: int | None, required: bool = False, way_out: str = "use another port, or omit it to get a free one"
) -> int:
    """Returns `preferred` if nothing listens there, else any free port of the loopback interface.

    Args:
        preferred: The port to try first; None: any.
        required: Whether only the preferred port will do.
        way_out: The end of the error.

    Raises:
        ServiceError: If the preferred port is required, but taken.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", preferred or 0))
        except OSError as error:
            if required:
                raise ServiceError(f"port {preferred} is {_taken_by(preferred or 0, error)}; {way_out}") from None
            return pick_port(None)
        return probe.getsockname()[1]


def _taken_by(port: int, error: OSError) -> str:
    """Returns why a port cannot be had, with the program that listens there, if it may be seen."""
    if error.errno == errno.EACCES:
        return "reserved for the system's administrator"
    with suppress(psutil.Error, OSError):
        for one in psutil.net_connections("tcp"):
            if one.status == psutil.CONN_LISTEN and one.laddr.port == port and one.pid:
                return f"taken by {shortened(psutil.Process(one.pid).name())} (process {one.pid})"
    return "taken by another program"


def _process(record: _Record) -> psutil.Process | None:
    """Returns the process of a record; None if it has ended, even when another process has its id now."""
    try:
        process = psutil.Process(record["pid"])
        # The clock may have been set since; then the mark says whether it is the same process.
        same = abs(process.create_time() - record["started"]) < 1.0 or _marked(process, record["mark"])
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


def _family(root: psutil.Process | None, mark: str) -> list[psutil.Process]:
    """Returns the service's process, its descendants, and orphans with its mark."""
    # Not by the mark alone: a process that renames itself, as Ray's workers do, may overwrite its visible environment.
    family = [root, *root.children(recursive=True)] if root else []
    known = {process.pid for process in family}
    for process in psutil.process_iter():
        if process.pid not in known and _marked(process, mark):
            family.append(process)
    return family


def _marked(process: psutil.Process, mark: str) -> bool:
    try:
        return process.environ().get(MARK) == mark
    except (psutil.Error, OSError):
        return False


def _signal(processes: Sequence[psutil.Process], number: int) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _known(state: Path, name: str) -> _Record:
    record = read_record(state, name)
    if record is None:
        raise ServiceError(f"{name} was stopped during its start: it has no record under {state}; start it again")
    return record


def _last_line(state: Path, name: str) -> str:
    """Returns the end of an error: the last line of a service's log, and where the rest is."""
    log = log_path(state, name)
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()] if log.exists() else []
    last = next((line for line in reversed(lines) if any(map(str.isalnum, line))), None)
    return f"{f': {shortened(last, 200)}' if last else ''}; see {log}"


def print_line(line: str) -> None:
    """Prints a line at once, also into a pipe."""
    print(line, flush=True, file=sys.stdout)
