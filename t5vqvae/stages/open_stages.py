"""A stage: its name, how far it is, its rate and the time left; and the stages that are open in this process."""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

NOTE_SECONDS = 1.0
"""The shortest time between two writings of a note."""
MARK_SECONDS, NUM_MARKS = 5.0, 7
"""A rate is measured from the oldest of the last marks: what was slow at the start is forgotten."""
STARTING = "starting"
PROGRESS = "progress.json"
"""The file of a run's folder that says, while the run trains, how far it is; see `noted`."""


class Stage:
    """One thing that a command does at the moment.

    Attributes:
        name: What is done, such as `training`.
        total: How much there is to do; None: unknown.
        unit: What is counted, in the plural.
        done: How much is done.
        note: Further words, such as the loss.
        between: Whether it stands for the time between two stages, in which a command may also be refused at once.
    """

    def __init__(
        self, name: str, total: int | None = None, unit: str = "", done: int = 0, *, between: bool = False
    ) -> None:
        self.between = between
        self.name = name
        self.total = total
        self.unit = unit
        self.done = done
        self.note = ""
        self.started = time.monotonic()
        self._marks = deque([(self.started, done)], maxlen=NUM_MARKS)

    def advance(self, number: int = 1, note: str | None = None) -> None:
        """Adds to what is done."""
        self.set(self.done + number, note=note)

    def set(self, done: int, total: int | None = None, note: str | None = None) -> None:
        """Sets what is done; `total` and `note` stay as they were when None."""
        if (now := time.monotonic()) - self._marks[-1][0] >= MARK_SECONDS:
            self._marks.append((now, self.done))
        self.done = done
        self.total = self.total if total is None else total
        self.note = self.note if note is None else note
        STACK.note()

    @property
    def rate(self) -> float | None:
        """Units a second in the last half minute; None before the first unit."""
        since, first = self._marks[0]
        fresh, seconds = self.done - first, time.monotonic() - since
        return fresh / seconds if fresh > 0 and seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """Seconds to the end of this stage at its present rate; None while unknown."""
        rate = self.rate
        return None if rate is None or self.total is None else max(0.0, self.total - self.done) / rate

    def words(self) -> str:
        """Returns this stage in words: name, how far, rate, time left, note."""
        seconds = time.monotonic() - self.started
        if not self.done and self.total is None:
            return f"{self.name}, {duration(seconds)} so far"
        of = "" if self.total is None else f" of {self.total:,}"
        parts = [f"{self.name}: {self.done:,}{of} {self.unit}".rstrip(), self.note]
        if (rate := self.rate) is not None:
            parts.insert(1, f"{rate:,.3g}/s" if rate < 1000 else f"{rate:,.0f}/s")
        if (left := self.seconds_left) is not None:
            parts.insert(2, f"{duration(left)} left")
        return ", ".join(part for part in parts if part)

    def brief(self) -> str:
        """Returns this stage as the beginning of a line about a stage within it."""
        left = "" if (seconds := self.seconds_left) is None else f", {duration(seconds)} left"
        of = "" if self.total is None else f" {self.done:,} of {self.total:,}"
        return f"{self.name}{of}{left}"


@contextmanager
def stage(name: str, total: int | None = None, unit: str = "", done: int = 0) -> Iterator[Stage]:
    """Opens a stage, within those that are open, and closes it at the end of the block."""
    opened = Stage(name, total, unit, done)
    STACK.open(opened)
    try:
        yield opened
    finally:
        STACK.close(opened)


@contextmanager
def noted(path: Path) -> Iterator[None]:
    """Keeps the outermost stage of the block in the file `path`, which goes at the end."""
    before, STACK.path = STACK.path, path
    STACK.noted = -math.inf  # the first step of a run is noted at once
    try:
        yield
    finally:
        STACK.path = before
        with suppress(OSError):
            path.unlink(missing_ok=True)


def read_note(path: Path) -> dict[str, Any]:
    """Returns the name, `done`, `total` and `note` of a stage that another process keeps in a file; {} without one."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none yet, or half of one
        return {}
    return found if isinstance(found, dict) else {}


def duration(seconds: float) -> str:
    """Returns seconds as people read them: `12 s`, `3:05 min`, `2:10 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"


class Stack:
    """The stages that are open in this process, the outermost first."""

    def __init__(self) -> None:
        self.path: Path | None = None
        self._open: list[Stage] = []
        self._last = Stage(STARTING, between=True)
        self.noted = -math.inf
        self._lock = threading.Lock()

    def open(self, opened: Stage) -> None:
        with self._lock:
            self._open.append(opened)

    def close(self, closed: Stage) -> None:
        with self._lock:
            if closed in self._open:
                self._open.remove(closed)
            if not self._open:
                self._last = Stage(f"working after {closed.name}", between=True)

    def restart(self, name: str = STARTING) -> None:
        """Says what a command does while no stage is open, from now on."""
        self._last = Stage(name, between=True)

    def now(self) -> list[Stage]:
        """Returns the open stages; between two stages, one that says which was the last."""
        with self._lock:
            return list(self._open) or [self._last]

    def note(self) -> None:
        """Writes the outermost stage into the file of `noted`, unless it was written a moment ago."""
        now = time.monotonic()
        if self.path is None or now - self.noted < NOTE_SECONDS:
            return
        self.noted, first = now, self.now()[0]
        values = {"name": first.name, "done": first.done, "total": first.total, "note": first.note}
        scratch = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        with suppress(OSError):  # a full disk ends no training for the sake of its progress
            scratch.write_text(json.dumps(values), encoding="utf-8")
            scratch.replace(self.path)


STACK = Stack()
"""The stages of this process."""
