"""How a driver looks for garbage: seldom, and not at its end, for of what it imports next to nothing is any."""

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


def end_without_search() -> None:
    """Ends the interpreter without looking through all that was imported."""
    atexit.register(gc.freeze)
