"""How a driver looks for garbage: seldom, for it imports half a million objects, and all but none of them is any.

Python looks through a process's objects after every 700 new ones, which is a fifth of the time that imports take, and
again at its end.
"""

from __future__ import annotations

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager

THRESHOLDS = (50_000, 20, 100)


@contextmanager
def collected_seldom() -> Iterator[None]:
    """Has this process look for garbage seldom for a while. Not where a model trains: cycles may hold its memory."""
    before = gc.get_threshold()
    gc.set_threshold(*THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def keep_what_is_there() -> None:
    """Leaves what was imported out of later searches for garbage; one before would take .3 s, and find next to none."""
    gc.freeze()


def end_without_search() -> None:
    """Ends the interpreter without looking through all that was imported."""
    atexit.register(gc.freeze)
