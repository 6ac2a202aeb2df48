"""Decides how many trials share a GPU, by the measured memory of earlier trials.

With `resources.gpus=auto` the first trial has a GPU to itself. Its memory decides how many trials share a GPU from then
on, and later trials refine that. Memory depends on the searched settings: there is room for three trials of four. Room
for the largest would leave every other trial alone on its GPU. A trial that needs more runs out of memory once and gets
more in its next attempt (`t5vqvae.runs.attempt`), at the price of an evaluation interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from t5vqvae.errors import DamagedFileError
from t5vqvae.files import read_json, write_json
from t5vqvae.runs.attempt import Attempt, share_of

FILE = "memory.json"
MARGIN = 0.1
"""Reserve on top of the memory of earlier trials, as a part of it."""
FITTING = 0.75
"""The part of the earlier trials that must fit."""
LATEST = 100
"""How many trials count: the sampler moves through the space, and its trials' memory with it."""
MOST = 16
"""Most trials on one GPU: processes take turns there, and each has a context of hundreds of MB."""


@dataclass(frozen=True)
class MemorySeen:
    """The measured memory of earlier trials, in MB.

    Attributes:
        reserved_mb: The most that the allocator of each of the latest trials took, by trial number.
        outside_mb: The least that was in use next to it: a process's CUDA context, and other use of the GPU.
        device_mb: The memory of the smallest GPU.
    """

    reserved_mb: Mapping[int, float]
    outside_mb: float
    device_mb: float

    @property
    def usual_mb(self) -> float:
        """The most that `FITTING` of the trials need, with the memory outside the allocator."""
        ranked = sorted(self.reserved_mb.values())
        return ranked[math.ceil(FITTING * len(ranked)) - 1] * (1 + MARGIN) + self.outside_mb

    @property
    def per_gpu(self) -> int:
        """Number of trials of the usual size that fit on a GPU, 1 to `MOST`."""
        return max(1, min(MOST, math.floor(self.device_mb / self.usual_mb)))

    def limit_mb(self, gpus: float) -> float | None:
        """Returns the limit of the allocator of a trial on a part of a GPU; None on a whole one."""
        return None if gpus >= 1 else max(0.0, self.device_mb * gpus - self.outside_mb)

    def write(self, path: Path) -> None:
        """Writes it as JSON, whole or not at all."""
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Reads what `write` wrote; None before the first trial."""
        try:
            values = read_json(path)
            return cls(**{**values, "reserved_mb": {int(number): mb for number, mb in values["reserved_mb"].items()}})
        except (FileNotFoundError, DamagedFileError, KeyError, TypeError, ValueError, AttributeError):
            return None  # damaged: it is measured again


def seen_also(seen: MemorySeen | None, number: int, report: Mapping[str, Any]) -> MemorySeen | None:
    """Returns the memory seen after a report of trial `number`; unchanged if the report has none, as on a CPU."""
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
    """Returns the first attempt of a trial on its GPU.

    Args:
        seen: The memory of earlier trials; None: there is none yet.
        gpus: GPUs a worker, by the study; with `packed`, of the first trial.
        packed: Whether `seen` decides.
    """
    if not packed or seen is None:
        return Attempt(gpus)
    return limited(Attempt(share_of(seen.per_gpu)), seen)


def limited(attempt: Attempt, seen: MemorySeen | None) -> Attempt:
    """Returns the attempt with a limit of memory, so that its process leaves its neighbours their part."""
    return attempt if seen is None else replace(attempt, limit_mb=seen.limit_mb(attempt.gpus))
