"""The process of a command: its exit status, its last line on stderr, and its garbage collection."""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from t5vqvae.errors import UserError

THRESHOLDS = (50_000, 20, 100)
"""Thresholds of the three generations; Python's own cost a driver a fifth of its start."""

NOTHING_WORKED, REFUSED, STOPPED = 1, 2, 130
"""Exit statuses. 130 is what a shell reports for a process that SIGINT ended."""


def exit_status(command: Callable[[], int]) -> int:
    """Runs a command; returns its own status, `REFUSED` after a `UserError`, or `STOPPED` after Ctrl-C."""
    try:
        return command()
    except UserError as error:
        print(error, file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        print("stopped at once; run the same command again to resume", file=sys.stderr)
        return STOPPED


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
