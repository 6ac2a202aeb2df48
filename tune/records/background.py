"""A thread for work that may wait for a server or a disk."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from t5vqvae.errors import UserError


class BackgroundQueue:
    """Runs tasks in a thread, one after the other."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Callable[[], object] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, daemon=True, name="background")
        self._thread.start()

    def put(self, task: Callable[[], object]) -> None:
        """Adds a task and returns at once."""
        self._queue.put(task)

    def finish(self, timeout: float = 60.0) -> bool:
        """Waits until all tasks are done; returns False when that takes longer than `timeout` seconds."""
        self._queue.put(None)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (task := self._queue.get()) is not None:
            try:
                task()
            except (UserError, OSError) as error:
                print(f"a task in the background failed: {error}")
