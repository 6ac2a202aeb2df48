"""The process of a command: its exit status, its last line on stderr, and its garbage collection."""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from t5vqvae.errors import UserError

THRESHOLDS = (50_000, 20, 100)
"""Of the three generations: collections cost a driver a fifth of its start otherwise."""

REFUSED, STOPPED = 2, 130
"""130 is what a shell says of a process that SIGINT ended."""


def exit_status(command: Callable[[], int]) -> int:
    """Runs a command and returns its own status, `REFUSED` for an error of the user's, `STOPPED` for Ctrl-C."""
    try:
        return command()
    except UserError as error:
        print(error, file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        print("stopped at once; the same command goes on", file=sys.stderr)
        return STOPPED


@contextmanager
def collected_seldom() -> Iterator[None]:
    """Has this process look for garbage seldom for a while. Not where a model trains: cycles may hold its memory."""
    before = gc.get_threshold()
    gc.set_threshold(*THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def end_without_search() -> None:
    """Ends the interpreter without looking through all that was imported."""
    atexit.register(gc.freeze)
