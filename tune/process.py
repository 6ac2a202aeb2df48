"""The process of a command: its exit status, its last line on stderr, and its garbage collection.

Whatever a user, a file, a disk, memory, a server or the environment does ends in one line. `--debug` adds the
traceback. An exception that no code expected is a fault of this project: its traceback goes to a log.
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from t5vqvae.errors import UserError
from t5vqvae.machine_errors import environment_fault
from t5vqvae.redaction import redacted

THRESHOLDS = (50_000, 20, 100)
"""Thresholds of the three generations; Python's own cost a driver a fifth of its start."""

NOTHING_WORKED, REFUSED, FAULT, STOPPED, READER_LEFT = 1, 2, 70, 130, 141
"""Exit statuses. 70 is `sysexits.h`'s for a fault of a program; 130 and 141 are what a shell reports for a process
that SIGINT, or SIGPIPE, ended."""

MOST_LINES = 3
"""Most errors of one command that its last line names."""

DEBUG = "T5VQVAE_DEBUG"
"""Environment variable that `--debug` sets, so that started processes see it."""


def exit_status(
    command: Callable[[], int], kept: str = "run the same command again", passed: tuple[type[Exception], ...] = ()
) -> int:
    """Runs a command; returns its own status, or that of the error which ended it.

    Args:
        command: The command.
        kept: What an interrupted command leaves and how to resume, for the line after Ctrl-C or SIGTERM.
        passed: Exceptions that the caller handles.
    """
    try:
        with _terminated_as_interrupted():
            status = command()
            sys.stdout.flush()  # here, where a full disk or a closed pipe still has its line
            return status
    except KeyboardInterrupt as error:
        _say(f"interrupted; {kept}", error)
        return STOPPED
    except BrokenPipeError:  # the reader of a pipe has enough, as in `t5vqvae config | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_LEFT
    except passed:
        raise
    except Exception as error:
        return _reported(error)


def _reported(error: Exception) -> int:
    """Prints an error in one line; returns the status to end with."""
    expected = error if isinstance(error, UserError) else environment_fault(error)
    if expected is None:
        _say(f"fault of t5vqvae: {type(error).__name__}: {error}; please report it with {_logged(error)}", error)
        return FAULT
    log = f" (log: {_logged(error)})" if expected.status == NOTHING_WORKED else ""
    _say(f"{expected}{log}", error)
    return expected.status


def _say(message: str, error: BaseException) -> None:
    """Prints one line on stderr, without secrets; its traceback first under `--debug`."""
    if os.environ.get(DEBUG):
        print(redacted("".join(traceback.format_exception(error))), file=sys.stderr, end="")
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    more = f"; and {len(lines) - MOST_LINES} more" if len(lines) > MOST_LINES else ""
    print(redacted("; ".join(lines[:MOST_LINES]) + more), file=sys.stderr, flush=True)


def _logged(error: BaseException) -> str:
    """Writes the traceback of an error to a new file that only this user can read; returns its path."""
    try:
        handle, path = tempfile.mkstemp(prefix="t5vqvae-", suffix=".log")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(redacted(f"{' '.join(sys.argv)}\n{''.join(traceback.format_exception(error))}"))
        return path
    except OSError as full:
        return f"no log: {full.strerror}"


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Makes SIGTERM interrupt the block as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def printing_anything() -> None:
    """Lets stdout and stderr print any text in any encoding, line by line also into a pipe; either may be closed."""
    _replace_closed()
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):  # a test's or a notebook's stream
            stream.reconfigure(errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]


def _replace_closed() -> None:
    """Makes a closed stdout (`>&-`), which Python sets to None, a pipe that nobody reads, and a closed stderr empty."""
    if sys.stdout is None:
        place, writer = os.pipe()
        os.dup2(writer, place)  # closes the end that reads; its number, the lowest free one, is that of stdout
        os.close(writer)
        sys.stdout = os.fdopen(place, "w")
    if sys.stderr is None:  # `print` would write its lines to stdout
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - it stays open


@contextmanager
def collected_seldom() -> Iterator[None]:
    """Makes Python collect garbage seldom in the block. Not where a model trains: cycles may hold its memory."""
    before = gc.get_threshold()
    gc.set_threshold(*THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def skip_last_collection() -> None:
    """Ends the interpreter without a last garbage collection over all imported modules."""
    atexit.register(gc.freeze)
