"""Answers the items of many requests together: a bounded queue, and one thread that computes.

While a batch is computed, the next one gathers. A batch begins with the item that has waited longest and takes those
nearest to it in length, because the longest text of a batch decides how long it takes.

There is no fixed waiting time. Callers whose requests were answered together tend to send their next ones together,
some before the others; without a wait, such callers split into two batches for ever, each of which takes nearly as
long as one with all of them. So where fewer items are there than the last batch had, the thread waits for the rest, at
most a quarter of the time that the last batch took. One caller alone never waits.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from typing import Any

from t5vqvae.errors import UserError

PATIENCE, MOST_PATIENCE = 0.25, 0.1
"""How long a batch may wait to become as large as the last one: a share of that one's time, and seconds at most."""

Call = Callable[[Any, Sequence[Any]], Sequence[Any]]
"""Computes the answers to items that share a key."""


class BusyError(UserError):
    """The queue is full; the same request may be answered later."""


class _Request:
    """What one caller waits for."""

    def __init__(self, number: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[list[Any]] = self.loop.create_future()
        self.answers: list[Any] = [None] * number
        self.missing = number

    def deliver(self, place: int, found: Any) -> None:
        """Takes one answer, or an error, which is then the answer to the whole request."""
        if self.future.done():
            return
        if isinstance(found, BaseException):
            self.future.set_exception(found)
            return
        self.answers[place], self.missing = found, self.missing - 1
        if not self.missing:
            self.future.set_result(self.answers)


class _Job:
    """One item in the queue."""

    __slots__ = ("item", "key", "length", "place", "request", "size")

    def __init__(self, key: Hashable, item: Any, length: int, request: _Request, place: int, size: int) -> None:
        self.key, self.item, self.length, self.request, self.place = key, item, length, request, place
        self.size = size


class Batcher:
    """The queue and the thread; one in a process.

    Args:
        call: See `Call`.
        most: Most sentences of a batch; an item of more is a batch alone.
        capacity: Most sentences that wait.
        seen: Receives the number of items of every batch.
        waiting: Receives the number of waiting sentences whenever it changes.
        begin: Runs first in the thread.
    """

    def __init__(
        self,
        call: Call,
        most: int,
        capacity: int,
        seen: Callable[[int], object] = lambda size: None,
        waiting: Callable[[int], object] = lambda number: None,
        begin: Callable[[], object] = lambda: None,
    ) -> None:
        self.most, self.capacity = most, capacity
        self._call, self._seen, self._waiting, self._begin = call, seen, waiting, begin
        self._jobs: list[_Job] = []
        self._changed = threading.Condition()
        self._closed = False
        self._last_size, self._last_seconds = 0, 0.0
        self._thread = threading.Thread(target=self._run, name="batcher", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def __len__(self) -> int:
        return _size(self._jobs)

    async def answers(
        self, key: Hashable, items: Sequence[Any], length: Callable[[Any], int], size: int = 1
    ) -> list[Any]:
        """Returns the answers to a request's items, computed with those of others that have the same key.

        Args:
            key: What items that are computed together agree in.
            items: The items of the request.
            length: Returns how long an item takes, in any unit.
            size: Sentences that an item counts for: those that it decodes.

        Raises:
            BusyError: If the queue has no room for them.
            UserError: If one of them cannot be answered.
        """
        request = _Request(len(items))
        jobs = [_Job(key, item, length(item), request, place, size) for place, item in enumerate(items)]
        with self._changed:
            if self._closed or len(self) + _size(jobs) > self.capacity:
                raise BusyError(f"{len(self)} sentences wait, and {self.capacity} can; try again in a second")
            self._jobs += jobs
            self._waiting(len(self))
            self._changed.notify()
        return await request.future

    def close(self) -> None:
        """Answers what waits, and ends the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        self._begin()
        while batch := self._next():
            self._seen(len(batch))
            started = time.perf_counter()
            found = self._found(batch)
            self._last_size, self._last_seconds = len(batch), time.perf_counter() - started
            for loop in {job.request.loop for job in batch}:
                own = [(job, each) for job, each in zip(batch, found, strict=True) if job.request.loop is loop]
                with suppress(RuntimeError):  # the loop has ended, and nobody waits
                    loop.call_soon_threadsafe(_deliver, own)

    def _next(self) -> list[_Job]:
        """Waits for items and takes a batch; empty once the batcher is closed and nothing waits."""
        with self._changed:
            while not self._jobs and not self._closed:
                self._changed.wait()
            self._gather()
            self._jobs = [
                job for job in self._jobs if not job.request.future.done()
            ]  # its caller left, or has an error
            batch = self._chosen() if self._jobs else []
            taken = set(map(id, batch))
            self._jobs = [job for job in self._jobs if id(job) not in taken]
            self._waiting(len(self))
        return batch if batch or self._closed else self._next()

    def _gather(self) -> None:
        """Waits for as many items as the last batch had, a little; see the head of this file."""
        until = time.monotonic() + min(PATIENCE * self._last_seconds, MOST_PATIENCE)
        while len(self._jobs) < self._last_size and not self._closed and (left := until - time.monotonic()) > 0:
            self._changed.wait(left)

    def _chosen(self) -> list[_Job]:
        first = self._jobs[0]
        like = [job for job in self._jobs if job.key == first.key]
        number = max(1, self.most // first.size)  # items of one key have one size
        return sorted(like, key=lambda job: abs(job.length - first.length))[:number]

    def _found(self, batch: Sequence[_Job]) -> Sequence[Any]:
        """Returns an answer or an error for each; where a batch fails, its items are asked one by one."""
        try:
            return self._call(batch[0].key, [job.item for job in batch])
        except Exception as error:  # of one item, for all that is known: the others are answered
            return [error] if len(batch) == 1 else [self._found([job])[0] for job in batch]


def _size(jobs: Sequence[_Job]) -> int:
    """Returns how many sentences some items count for."""
    return sum(job.size for job in jobs)


def _deliver(found: Sequence[tuple[_Job, Any]]) -> None:
    for job, each in found:
        job.request.deliver(job.place, each)
