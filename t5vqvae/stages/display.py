"""Shows the open stages of this process: one live line on a terminal, plain lines in a pipe."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TextIO

from t5vqvae.stages.open_stages import STACK, Stage

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text

FIRST_SECONDS = 2.0
"""A stage that takes no longer needs no line in a pipe."""
LINE_SECONDS = 10.0
"""The time between two lines in a pipe."""
DRAW_SECONDS = 0.25
"""The time between two looks at the stages; a terminal's line is drawn as often."""

FINISHING = "finishing"
"""What a command does after something else, such as the board of a search, was drawn instead of stages."""

_displays: list[_Display] = []


@contextmanager
def shown(stream: TextIO | None = None) -> Iterator[None]:
    """Shows the stages of the block on `stream` (None: stderr)."""
    if _displays:  # within another block
        yield
        return
    display = _Display(stream)
    _displays.append(display)
    display.start()
    try:
        yield
    finally:
        _displays.remove(display)
        display.end()


@contextmanager
def hidden() -> Iterator[None]:
    """Shows no stages in the block, because something else is drawn there."""
    display = _displays[-1] if _displays else None
    if display is not None:
        display.pause(True)
    try:
        yield
    finally:
        if display is not None:
            display.pause(False)


class _Display(threading.Thread):
    """Looks at the stages four times a second and shows them; a thread, because a stage may block."""

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__(name="stages", daemon=True)
        STACK.restart()
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
            if not paused:
                STACK.restart(FINISHING)

    def _show(self) -> None:
        stream = self._stream or sys.stderr
        if self._live is not None:
            return
        if stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown"):
            self._live = _live_line(stream)
        else:
            self._print(stream)

    def _print(self, stream: TextIO) -> None:
        """Prints a line if a stage has begun that needs one, or if the last line is old."""
        stages, now = STACK.now(), time.monotonic()
        outer = stages[0]
        begun = outer is not self._known and not outer.between and now - outer.started >= FIRST_SECONDS
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


def _live_line(stream: TextIO) -> Live:
    """Returns a line that a terminal redraws in place, started."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    def drawn() -> Text:
        return Text(_line(STACK.now()), overflow="ellipsis", no_wrap=True, style="dim")

    live = Live(
        get_renderable=drawn,
        console=Console(file=stream),
        refresh_per_second=1 / DRAW_SECONDS,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # lines for another program go to it, not to the terminal
    )
    live.start()
    return live
