"""Clients over HTTP that each send their next request when the last one is answered, on connections that stay open."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

Bodies = Callable[[int], Iterator[bytes]]
"""Gives the bodies that a client sends, by the client's number."""


@dataclass
class Load:
    """What clients saw.

    Attributes:
        seconds: How long they asked.
        latencies: Seconds of each answered request.
        refused: Answers with another status than 200, as they came.
    """

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    refused: list[bytes] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Answered requests a second."""
        return len(self.latencies) / self.seconds

    def percentile(self, share: float) -> float:
        """Seconds within which a share of the requests was answered."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def __add__(self, other: Load) -> Load:
        return Load(self.seconds + other.seconds, self.latencies + other.latencies, self.refused + other.refused)


def load(url: str, clients: int, seconds: float, bodies: Bodies) -> Load:
    """Returns what a number of clients saw; a request that ends after the time counts with its time."""
    return asyncio.run(_load(url, clients, seconds, bodies))


async def _load(url: str, clients: int, seconds: float, bodies: Bodies) -> Load:
    found, place = Load(), urlsplit(url)
    assert place.hostname is not None and place.port is not None
    connections = [await asyncio.open_connection(place.hostname, place.port) for _ in range(clients)]
    started = time.perf_counter()
    until = started + seconds
    await asyncio.gather(
        *(
            _client(place.path, *connection, bodies(number), until, found)
            for number, connection in enumerate(connections)
        )
    )
    found.seconds = time.perf_counter() - started
    for _, writer in connections:
        writer.close()
    return found


async def _client(
    path: str,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    bodies: Iterator[bytes],
    until: float,
    found: Load,
) -> None:
    for body in bodies:
        started = time.perf_counter()
        if started >= until:
            return
        writer.write(
            b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
            % (path.encode(), len(body), body)
        )
        status, answer = await _answer(reader)
        if status == 200:
            found.latencies.append(time.perf_counter() - started)
        else:
            found.refused.append(b"%d %s" % (status, answer))


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Reads an answer; returns its status and body."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
    length = next(int(line.split(b":")[1]) for line in head if line.startswith(b"content-length:"))
    return int(head[0].split()[1]), await reader.readexactly(length)


def as_json(values: object) -> bytes:
    """Returns a body."""
    return json.dumps(values).encode()
