"""Bounds on metrics as users write them: `rate/bits_per_token <= 10`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal, Self


@dataclass(frozen=True)
class Bound:
    """An inclusive bound on a metric."""

    metric: str
    relation: Literal["<=", ">="]
    bound: float

    @classmethod
    def read(cls, text: object) -> Self | None:
        """Returns the bound of `metric <= number` or `metric >= number` with a finite number; None for all else."""
        match = re.fullmatch(r"\s*([\w/]+)\s*(<=|>=)\s*(\S+)\s*", text) if isinstance(text, str) else None
        bound = _number(match[3]) if match else None
        if match is None or bound is None:
            return None
        return cls(match[1], match[2], bound)  # type: ignore[arg-type]  # the pattern allows no other relation

    def __str__(self) -> str:
        return f"{self.metric} {self.relation} {self.bound:g}"


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
