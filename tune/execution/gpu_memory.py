"""How many trials share a GPU, by the memory of those that were seen.

The first trial of a study with `resources.gpus=auto` has a GPU to itself; what it says of its memory decides how many
of its like share one from then on, and those that follow refine it. Memory depends on the settings under search: room
is made for three trials of four, not for the largest, which would leave all others alone on a GPU for its sake. A trial
that needs more is met by its next attempt (`t5vqvae.runs.attempt`), at the price of an evaluation interval.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from t5vqvae.files import atomic_write
from t5vqvae.runs.attempt import Attempt, share_of

FILE = "memory.json"
MARGIN = 0.1
"""What a trial may need beyond those seen, as a part of that."""
FITTING = 0.75
"""The part of the trials seen that room is made for."""
LATEST = 100
"""How many trials are remembered: a sampler moves on, and with it what its trials take."""
MOST = 16
"""Trials on one GPU at most: processes there take turns, and each brings a context of hundreds of MB."""


@dataclass(frozen=True)
class MemorySeen:
    """What trials have said of their memory, in MB.

    Attributes:
        reserved_mb: The most that the allocator of each of the latest trials took, by trial number.
        outside_mb: The least that was in use beside it: a process's CUDA context, and what was there before.
        device_mb: What the smallest GPU has.
    """

    reserved_mb: Mapping[int, float]
    outside_mb: float
    device_mb: float

    @property
    def usual_mb(self) -> float:
        """What `FITTING` of the trials need at most, outside the allocator included."""
        ranked = sorted(self.reserved_mb.values())
        return ranked[math.ceil(FITTING * len(ranked)) - 1] * (1 + MARGIN) + self.outside_mb

    @property
    def per_gpu(self) -> int:
        """How many trials of the usual size fit onto a GPU, 1 to `MOST`."""
        return max(1, min(MOST, math.floor(self.device_mb / self.usual_mb)))

    def limit_mb(self, gpus: float) -> float | None:
        """Returns what the allocator of a trial on a part of a GPU may take; None on a whole one."""
        return None if gpus >= 1 else max(0.0, self.device_mb * gpus - self.outside_mb)

    def write(self, path: Path) -> None:
        """Writes it as JSON, whole or not at all."""
        with atomic_write(path) as scratch:
            scratch.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Returns what `write` wrote; None if nothing was seen yet."""
        if not path.exists():
            return None
        values = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{**values, "reserved_mb": {int(number): mb for number, mb in values["reserved_mb"].items()}})


def seen_also(seen: MemorySeen | None, number: int, report: Mapping[str, Any]) -> MemorySeen | None:
    """Returns what is known after a report of trial `number`; the same if it says nothing of a GPU, as on a CPU."""
    names = ("cost/reserved_memory_mb", "cost/outside_memory_mb", "cost/device_memory_mb")
    if not all(name in report for name in names):
        return seen
    reserved, outside, device = (float(report[name]) for name in names)
    if seen is None:
        return MemorySeen({number: reserved}, outside, device)
    before = dict(seen.reserved_mb)
    latest = {**before, number: max(before.pop(number, 0.0), reserved)}
    latest = {key: latest[key] for key in sorted(latest)[-LATEST:]}
    return MemorySeen(latest, min(seen.outside_mb, outside), min(seen.device_mb, device))


def first_attempt(seen: MemorySeen | None, gpus: float, packed: bool) -> Attempt:
    """Returns how a trial is fitted onto its GPU at first.

    Args:
        seen: What earlier trials said; None: nothing yet.
        gpus: GPUs a worker, as the study says; of the first trial, when `packed`.
        packed: Whether `seen` decides.
    """
    if not packed or seen is None:
        return Attempt(gpus)
    return limited(Attempt(share_of(seen.per_gpu)), seen)


def limited(attempt: Attempt, seen: MemorySeen | None) -> Attempt:
    """Returns an attempt whose process is held to its part of the GPU, so that it leaves its neighbours theirs."""
    return attempt if seen is None else replace(attempt, limit_mb=seen.limit_mb(attempt.gpus))
