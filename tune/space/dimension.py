"""Joins a range to the setting that it is for; a search space is a list of such dimensions."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from t5vqvae.config import Overrides
from tune.space.ranges import Range, Scalar


@dataclass(frozen=True)
class Dimension:
    """One range of one setting, with its name in Optuna.

    Attributes:
        path: Dotted path of the setting.
        name: The path; with the range's condition where a path has several ranges.
        range: The range.
    """

    path: str
    name: str
    range: Range

    @classmethod
    def named(cls, path: str, range_: Range, num_ranges: int) -> Dimension:
        """Returns the dimension of a path that has `num_ranges` ranges."""
        if num_ranges == 1:
            return cls(path, path, range_)
        condition = ",".join(f"{key}={alternatives(values)}" for key, values in sorted(range_.when.items()))
        return cls(path, f"{path}[{condition}]", range_)


def choose(dimensions: Iterable[Dimension], base: Overrides, choice: Callable[[Dimension], Scalar]) -> dict[str, Any]:
    """Returns `{path: value}` of the active dimensions, each with the value that `choice` returns for it.

    Args:
        dimensions: Those that conditions depend on come first.
        base: Flat settings of the base spec, for conditions on settings that are not searched.
        choice: Called for active dimensions only, in order.
    """
    chosen: dict[str, Any] = {}
    values = ChainMap(chosen, dict(base))
    for dimension in dimensions:
        if dimension.range.holds(values):
            chosen[dimension.path] = choice(dimension)
    return chosen


def choose_all(dimensions: Sequence[Dimension], base: Overrides) -> Iterator[dict[str, Any]]:
    """Yields every `{path: value}` of the active dimensions; an endless range must not be among them.

    Args:
        dimensions: Those that conditions depend on come first.
        base: Flat settings of the base spec, for conditions on settings that are not searched.
    """
    first, rest = dimensions[:1], dimensions[1:]
    if not first:
        yield {}
    elif not first[0].range.holds(base):
        yield from choose_all(rest, base)
    else:
        for value in first[0].range.values() or ():
            for others in choose_all(rest, {**base, first[0].path: value}):
                yield {first[0].path: value, **others}


def alternatives(values: Iterable[Scalar]) -> str:
    """Returns the values of a condition as text: `ema|vq`."""
    return "|".join(map(str, values))
