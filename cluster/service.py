"""A background service of this machine: started once, found again, and ended by process id alone.

A service leaves a record `<state>/run/<name>.json`: process id, the process's start time (so that a reused id is
never mistaken for it), a random mark and what its users need to know (`facts`: URL, ports). The mark stands in the
environment of the service and is inherited by everything it starts, so `stop` also finds what survived a killed
parent, and never anything else.

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
from typing import Any

import psutil

from t5vqvae.files import read_json, write_json

MARK = "T5VQVAE_SERVICE"


class ServiceError(RuntimeError):
    """A service did not start, or its port is taken; one line and a way out."""


@dataclass(frozen=True)
class Service:
    """How to start one service and how to see that it is ready."""

    name: str
    state: Path
    command: Sequence[str]
    health_url: str
    facts: Mapping[str, Any]
    environment: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None

    def start(self) -> None:
        """Starts the service in a session of its own and leaves its record; does not wait (see `wait`)."""
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
        record = {"pid": process.pid, "started": psutil.Process(process.pid).create_time(), "mark": mark}
        record |= {"health_url": self.health_url, "facts": dict(self.facts)}
        write_json(record_path(self.state, self.name), record, indent=2)


def record_path(state: Path, name: str) -> Path:
    """Returns where the record of a service lies."""
    return state / "run" / f"{name}.json"


def log_path(state: Path, name: str) -> Path:
    """Returns where the output of a service goes."""
    return state / "logs" / f"{name}.log"


def read_record(state: Path, name: str) -> dict[str, Any] | None:
    """Returns the record of a service, or None where there is none or it is damaged."""
    try:
        return read_json(record_path(state, name))
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def running(state: Path, name: str) -> dict[str, Any] | None:
    """Returns the facts of a service whose process lives, else None."""
    record = read_record(state, name)
    return record["facts"] if record and _process(record) else None


def healthy(url: str, timeout: float = 2.0) -> bool:
    """Says whether `url` answers within `timeout` seconds, with a success or by asking who is there."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            return 200 <= answer.status < 300
    except urllib.error.HTTPError as error:
        return error.code in (401, 403)
    except (urllib.error.URLError, OSError):
        return False


def wait(state: Path, names: Sequence[str], timeout: float, say: Callable[[str], None]) -> None:
    """Waits until every service answers, and says how it goes.

    Args:
        timeout: Seconds, over all of them.
        say: Takes one line every few seconds.

    Raises:
        ServiceError: If a service ends or is not ready in time; its last lines of output are in the message.
    """
    begin = time.monotonic()
    waiting = list(names)
    said = begin
    while waiting:
        for name in list(waiting):
            if healthy(_known(state, name)["health_url"]):
                waiting.remove(name)
                say(f"{name} is up after {time.monotonic() - begin:.0f} s")
            elif running(state, name) is None:
                raise ServiceError(f"{name} ended while it started{_last_lines(state, name)}")
        if waiting and time.monotonic() - begin > timeout:
            raise ServiceError(f"{waiting[0]} is not ready after {timeout:.0f} s{_last_lines(state, waiting[0])}")
        if waiting and time.monotonic() - said > 5:
            said = time.monotonic()
            say(f"waiting for {' and '.join(waiting)} ({said - begin:.0f} s)")
        time.sleep(0.2 if waiting else 0)


def stop(state: Path, name: str, patience: float = 15.0) -> int:
    """Ends a service and all it started, politely first; returns how many processes there were.

    Args:
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

    Raises:
        ServiceError: If `required` and the preferred port is taken.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", preferred or 0))
        except OSError:
            if required:
                raise ServiceError(f"port {preferred} is taken; name another one or leave the choice to us") from None
            return pick_port(None)
        return probe.getsockname()[1]


def _process(record: Mapping[str, Any]) -> psutil.Process | None:
    """Returns the living process of a record; None if it ended, even when its id was given to another."""
    try:
        process = psutil.Process(record["pid"])
        same = abs(process.create_time() - record["started"]) < 1.0
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


def _family(record: Mapping[str, Any]) -> list[psutil.Process]:
    """Returns the service's process, its descendants, and orphans that carry its mark.

    The mark alone is not enough: a process that renames itself, as Ray's workers do, may overwrite what others see
    of its environment.
    """
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


def _known(state: Path, name: str) -> dict[str, Any]:
    record = read_record(state, name)
    if record is None:
        raise ServiceError(f"{name} has no record under {state}; somebody stopped it while it started")
    return record


def _last_lines(state: Path, name: str, num_lines: int = 12) -> str:
    log = log_path(state, name)
    lines = log.read_text(errors="replace").splitlines()[-num_lines:] if log.exists() else []
    return f"; see {log}:\n" + "\n".join(f"  {line}" for line in lines)


def print_line(line: str) -> None:
    """Prints at once, also into a pipe."""
    print(line, flush=True, file=sys.stdout)
