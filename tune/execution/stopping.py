"""Stops a study before its trials are used up: at a signal, after its hours, or after too many failures.

While trials run, the first signal stops gently: they end where they are and keep their checkpoints, and the next start
resumes them; a second signal stops at once. Before and after, where nothing could be lost, the first stops at once too.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import ray.tune

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop(ray.tune.Stopper):
    """Decides whether a study has to stop, and why.

    Attributes:
        reason: Why it stopped; None while it runs.
    """

    def __init__(self, hours: float | None, failed: Callable[[], str | None] = lambda: None) -> None:
        self.reason: str | None = None
        self.failed = failed
        self._deadline = None if hours is None else time.monotonic() + hours * 3600
        self._at_once = False
        self._gently = False

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        self._interrupt()
        if self.reason is None and self._deadline is not None and time.monotonic() >= self._deadline:
            self.reason = "its hours are used up"
        if self.reason is None:
            self.reason = self.failed()
        return self.reason is not None

    def __reduce__(self) -> tuple[Any, ...]:
        return Stop, (None,)  # Tune pickles it into a snapshot that nothing reads

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Handles SIGINT and SIGTERM alike; restores the old handlers at the end.

        Raises:
            KeyboardInterrupt: At a signal that stops at once. Python swallows it in a finalizer; then at the end.
        """
        before = {number: signal.getsignal(number) for number in SIGNALS}
        self.listen()
        try:
            yield
            self._interrupt()
        finally:
            if _has_signals():
                for number, handler in before.items():
                    signal.signal(number, handler)

    @contextmanager
    def gently(self) -> Iterator[None]:
        """Has the first signal end the trials that run in the block; elsewhere it raises `KeyboardInterrupt`."""
        self._gently = True
        try:
            yield
        finally:
            self._gently = False

    def listen(self) -> None:
        """Installs the handlers, in the main thread only, where Python has signals."""
        if _has_signals():
            for number in SIGNALS:
                signal.signal(number, self._handle)

    def _handle(self, number: int, frame: Any) -> None:
        self._at_once = self.reason is not None or not self._gently
        self._interrupt()
        self.reason = f"it received {signal.Signals(number).name}"
        with suppress(RuntimeError):  # Python refuses to print while the signal interrupts another print
            print(
                "stopping gently: running trials keep their checkpoints, and the same command resumes them; a second"
                " signal stops at once",
                flush=True,
            )

    def _interrupt(self) -> None:
        if self._at_once:
            raise KeyboardInterrupt


def _has_signals() -> bool:
    return threading.current_thread() is threading.main_thread()
