"""Shows what a command is doing, how far it is, and how long it will take.

    with stage("tokenizing", total=len(texts), unit="sentences") as now:
        now.advance(1000)

Code that may take seconds opens a stage and never prints. A command shows stages inside `shown`: a terminal gets one live
line, a pipe a plain line two seconds after the start of a stage, then one every ten seconds. Outside `shown` (a library,
a worker) stages print nothing. `noted` writes the outermost stage into a file, from which a driver reads it.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text

FIRST_SECONDS = 2.0
"""A stage that takes no longer needs no line in a pipe."""
LINE_SECONDS = 10.0
"""The time between two lines in a pipe."""
DRAW_SECONDS = 0.25
"""The time between two looks at the stages; a terminal's line is drawn as often."""
NOTE_SECONDS = 1.0
"""The shortest time between two writings of a note."""
MARK_SECONDS, NUM_MARKS = 5.0, 7
"""A rate is measured from the oldest of the last marks: what was slow at the start is forgotten."""
STARTING = "starting"


class Stage:
    """One thing that a command does at the moment.

    Attributes:
        name: What is done, such as `training`.
        total: How much there is to do; None: unknown.
        unit: What is counted, in the plural.
        done: How much is done.
        note: Further words, such as the loss.
    """

    def __init__(self, name: str, total: int | None = None, unit: str = "", done: int = 0) -> None:
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
        _stack.note()

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
    _stack.open(opened)
    try:
        yield opened
    finally:
        _stack.close(opened)


@contextmanager
def shown(stream: TextIO | None = None) -> Iterator[None]:
    """Shows the stages of the block on `stream` (None: stderr), and sends every line of output at once.

    Without a terminal Python keeps kilobytes of output back, so a log would be empty until the end.
    """
    for output in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # a stream that something else put there
            output.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    if _stack.display is not None:  # within another block
        yield
        return
    display = _stack.display = _Display(_stack, stream)
    display.start()
    try:
        yield
    finally:
        _stack.display = None
        display.end()


@contextmanager
def hidden() -> Iterator[None]:
    """Shows no stages in the block, because something else is drawn there."""
    display = _stack.display
    if display is not None:
        display.pause(True)
    try:
        yield
    finally:
        if display is not None:
            display.pause(False)


@contextmanager
def noted(path: Path) -> Iterator[None]:
    """Keeps the outermost stage of the block in the file `path`, which goes at the end."""
    before, _stack.path = _stack.path, path
    try:
        yield
    finally:
        _stack.path = before
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


class _Stack:
    """The stages that are open in this process, the outermost first."""

    def __init__(self) -> None:
        self.display: _Display | None = None
        self.path: Path | None = None
        self._open: list[Stage] = []
        self._last = Stage(STARTING)
        self._noted = 0.0
        self._lock = threading.Lock()

    def open(self, opened: Stage) -> None:
        with self._lock:
            self._open.append(opened)

    def close(self, closed: Stage) -> None:
        with self._lock:
            if closed in self._open:
                self._open.remove(closed)
            if not self._open:
                self._last = Stage(f"working after {closed.name}")

    def restart(self) -> None:
        """Begins a command: nothing has been done yet."""
        self._last = Stage(STARTING)

    def now(self) -> list[Stage]:
        """Returns the open stages; between two stages, one that says which was the last."""
        with self._lock:
            return list(self._open) or [self._last]

    def note(self) -> None:
        """Writes the outermost stage into the file of `noted`, unless it was written a moment ago."""
        now = time.monotonic()
        if self.path is None or now - self._noted < NOTE_SECONDS:
            return
        self._noted, first = now, self.now()[0]
        values = {"name": first.name, "done": first.done, "total": first.total, "note": first.note}
        scratch = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        with suppress(OSError):  # a full disk ends no training for the sake of its progress
            scratch.write_text(json.dumps(values), encoding="utf-8")
            scratch.replace(self.path)


class _Display(threading.Thread):
    """Looks at the stages four times a second and shows them; a thread, because a stage may block."""

    def __init__(self, stack: _Stack, stream: TextIO | None) -> None:
        super().__init__(name="stages", daemon=True)
        stack.restart()
        self._stack = stack
        self._stream = stream
        self._ending = threading.Event()
        self._lock = threading.RLock()
        self._paused = False
        self._live: Live | None = None
        self._printed = 0.0
        self._known: Stage | None = None

    def run(self) -> None:
        while not self._ending.wait(DRAW_SECONDS):
            with self._lock:
                if not self._paused and not self._ending.is_set():
                    self._show()

    def end(self) -> None:
        self._ending.set()
        self.join(timeout=2)
        with self._lock:
            self._erase()

    def pause(self, paused: bool) -> None:
        with self._lock:
            self._paused = paused
            self._erase()

    def _show(self) -> None:
        stream = self._stream or sys.stderr
        if self._live is not None:
            return
        if stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown"):
            self._live = _live_line(self._stack, stream)
        else:
            self._print(stream)

    def _print(self, stream: TextIO) -> None:
        """Prints a line if a stage has begun that needs one, or if the last line is old."""
        stages, now = self._stack.now(), time.monotonic()
        outer = stages[0]
        begun = outer is not self._known and now - outer.started >= FIRST_SECONDS
        if begun or (now - max(self._printed, outer.started) >= LINE_SECONDS):
            self._known, self._printed = outer, now
            with suppress(OSError, ValueError):  # a pipe that nobody reads any more
                print(_line(stages), file=stream, flush=True)

    def _erase(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


def _line(stages: list[Stage]) -> str:
    """Returns one line about the open stages: the outermost in brief, the innermost in full."""
    inner = stages[-1].words()
    return inner if len(stages) == 1 else f"{stages[0].brief()}; {inner}"


def _live_line(stack: _Stack, stream: TextIO) -> Live:
    """Returns a line that a terminal redraws in place, started."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    def drawn() -> Text:
        return Text(_line(stack.now()), overflow="ellipsis", no_wrap=True, style="dim")

    live = Live(
        get_renderable=drawn,
        console=Console(file=stream),
        refresh_per_second=1 / DRAW_SECONDS,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # lines for another program go to it, not to the terminal
    )
    live.start()
    return live


_stack = _Stack()
