"""A thread that does what may wait for a server or a disk."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from t5vqvae.errors import UserError


class BackgroundQueue:
    """Does what may wait, one after the other, in a thread."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Callable[[], object] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, daemon=True, name="chores")
        self._thread.start()

    def put(self, chore: Callable[[], object]) -> None:
        """Adds a chore; returns at once."""
        self._queue.put(chore)

    def finish(self, timeout: float = 60.0) -> bool:
        """Waits until all is done; False when that takes longer than `timeout` seconds."""
        self._queue.put(None)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (chore := self._queue.get()) is not None:
            try:
                chore()
            except (UserError, OSError) as error:
                print(f"left undone: {error}")
