"""Stops a pure computation in Python that takes too long, in whatever thread it is wanted.

The computation runs in a separate thread, and only that thread is ever interrupted. A signal would reach the main
thread alone, and Ray Tune trains in another one; a second process would cost every trial seconds and memory, because
it must import SymPy again.
"""

from __future__ import annotations

import ctypes
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")
PATIENCE = 0.05
"""Seconds between two interrupts: one that meets a destructor is swallowed there."""
MAX_INTERRUPTS = 100
"""Interrupts after which a thread is left alone: a call into C notices none before it returns."""


class _Worker(threading.Thread, Generic[T]):
    """Runs a computation; `found` holds its result, or `error` what it raised."""

    def __init__(self, compute: Callable[[], T]) -> None:
        super().__init__(daemon=True)
        self._compute, self._lock = compute, threading.Lock()
        self._clock: int | None = None
        self._is_over = False
        self.found: list[T] = []
        self.error: Exception | None = None

    def run(self) -> None:
        if sys.platform == "linux":
            self._clock = time.pthread_getcpuclockid(threading.get_ident())
        try:
            try:
                self.found.append(self._compute())
            except Exception as error:
                self.error = error
            with self._lock:
                self._is_over = True
        except SystemExit:  # wherever above the interrupt came: it passes every `except Exception` of the computation
            self._is_over = True  # without the lock, which the interrupting thread may hold

    def used(self) -> float:
        """Returns the processor time that the thread has used, in seconds; 0 before it starts and after it ends."""
        if self._clock is None:
            return 0.0
        with suppress(OSError):
            return time.clock_gettime(self._clock)
        return 0.0

    def interrupt(self) -> None:
        """Ends the computation; returns when it has ended, or after many attempts."""
        for _ in range(MAX_INTERRUPTS):
            # With the lock, so that the thread still exists, and its number is not another thread's. One that is
            # interrupted while it takes the lock may keep it.
            if self._lock.acquire(timeout=PATIENCE):
                try:
                    if self._is_over or not self.is_alive():
                        return
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(
                        ctypes.c_ulong(self.ident or 0), ctypes.py_object(SystemExit)
                    )
                finally:
                    self._lock.release()
            self.join(PATIENCE)


def within(seconds: float, compute: Callable[[], T]) -> T:
    """Returns the result of a computation, which is stopped when it takes too long.

    Args:
        seconds: Processor time that it may take, so that other processes do not slow it down. Where the system does not
            count the time of a thread, as outside Linux, it is time on the clock.
        compute: The computation. It changes nothing that others read, because it may end anywhere.

    Raises:
        TimeoutError: If it takes longer.
        Exception: What the computation raises.
    """
    worker = _Worker(compute)
    started = time.monotonic()
    worker.start()
    while worker.is_alive():
        left = seconds - (worker.used() if sys.platform == "linux" else time.monotonic() - started)
        if left <= 0:
            worker.interrupt()
            raise TimeoutError(f"a computation took more than {seconds:g} s")
        worker.join(left)
    if worker.error is not None:
        raise worker.error
    if not worker.found:
        raise TimeoutError("a computation was interrupted")
    return worker.found[0]
