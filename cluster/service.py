"""Background services on this machine: started once, found by their records, and ended by process id alone.

The record of a service, `<state>/run/<name>.json`, holds its process id, the start time of the process (so that a
reused id is never mistaken for it), a random mark, and facts for its users (URL, ports). The mark is in the environment
of the service, and every process that the service starts inherits it. So `stop` also finds processes that survived a
killed parent, and never any others.

To add a service, build a `Service` in `cluster/local.py`.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

import psutil

from t5vqvae.files import read_json, write_json

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


class ServiceError(RuntimeError):
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
        mark = uuid.uuid4().hex
        log = log_path(self.state, self.name)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment, MARK: mark},
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
    """Returns the record of a service; None if it is missing or damaged."""
    try:
        return read_json(record_path(state, name))
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def running(state: Path, name: str) -> Facts | None:
    """Returns the facts of a running service, else None."""
    record = read_record(state, name)
    return record["facts"] if record and _process(record) else None


def healthy(url: str, timeout: float = 2.0) -> bool:
    """Returns whether `url` answers within `timeout` seconds, with success or with a request to log in."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            return 200 <= answer.status < 300
    except urllib.error.HTTPError as error:
        return error.code in (401, 403)
    except (urllib.error.URLError, OSError):
        return False


def wait(state: Path, names: Sequence[str], timeout: float, show: Callable[[str], None]) -> None:
    """Waits until every service answers, and shows the progress.

    Args:
        state: The state folder.
        names: The services.
        timeout: Seconds for all services together.
        show: Receives one line every few seconds.

    Raises:
        ServiceError: If a service ends or is not ready in time; the message has its last lines of output.
    """
    begin = shown = time.monotonic()
    waiting = list(names)
    while waiting:
        for name in list(waiting):
            if healthy(_known(state, name)["health_url"]):
                waiting.remove(name)
                show(f"{name} is ready after {time.monotonic() - begin:.0f} s")
            elif running(state, name) is None:
                raise ServiceError(f"{name} ended during its start{_last_lines(state, name)}")
        if waiting and time.monotonic() - begin > timeout:
            raise ServiceError(f"{waiting[0]} is not ready after {timeout:.0f} s{_last_lines(state, waiting[0])}")
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
    if record is None:
        return 0
    family = _family(record)
    root = _process(record)
    if root is not None:
        _signal([root], signal.SIGTERM)
        psutil.wait_procs([root], timeout=patience)
    left = {process.pid: process for process in [*family, *_family(record)] if process.is_running()}
    _signal(list(left.values()), signal.SIGTERM)
    _, stubborn = psutil.wait_procs(list(left.values()), timeout=patience)
    _signal(stubborn, signal.SIGKILL)
    psutil.wait_procs(stubborn, timeout=5)
    record_path(state, name).unlink(missing_ok=True)
    return len({process.pid for process in [*family, *left.values()]})


def pick_port(preferred: int | None, required: bool = False) -> int:
    """Returns `preferred` if nothing listens there, else any free port of the loopback interface.

    Args:
        preferred: The port to try first; None: any.
        required: Whether only the preferred port will do.

    Raises:
        ServiceError: If the preferred port is required, but taken.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", preferred or 0))
        except OSError:
            if required:
                raise ServiceError(
                    f"port {preferred} is taken; use another port, or omit it to get a free one"
                ) from None
            return pick_port(None)
        return probe.getsockname()[1]


def _process(record: _Record) -> psutil.Process | None:
    """Returns the process of a record; None if it has ended, even when another process has its id now."""
    try:
        process = psutil.Process(record["pid"])
        same = abs(process.create_time() - record["started"]) < 1.0
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


def _family(record: _Record) -> list[psutil.Process]:
    """Returns the service's process, its descendants, and orphans with its mark."""
    # Not by the mark alone: a process that renames itself, as Ray's workers do, may overwrite its visible environment.
    root = _process(record)
    family = [root, *root.children(recursive=True)] if root else []
    known = {process.pid for process in family}
    for process in psutil.process_iter():
        if process.pid not in known and _marked(process, record["mark"]):
            family.append(process)
    return family


def _marked(process: psutil.Process, mark: str) -> bool:
    try:
        return process.environ().get(MARK) == mark
    except (psutil.Error, OSError):
        return False


def _signal(processes: Sequence[psutil.Process], number: int) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue


def _known(state: Path, name: str) -> _Record:
    record = read_record(state, name)
    if record is None:
        raise ServiceError(f"{name} was stopped during its start: it has no record under {state}; start it again")
    return record


def _last_lines(state: Path, name: str, num_lines: int = 12) -> str:
    log = log_path(state, name)
    lines = log.read_text(errors="replace").splitlines()[-num_lines:] if log.exists() else []
    return f"; see {log}:\n" + "\n".join(f"  {line}" for line in lines)


def print_line(line: str) -> None:
    """Prints a line at once, also into a pipe."""
    print(line, flush=True, file=sys.stdout)
