"""Refuses search spaces that could suggest settings which the run spec does not allow.

All checks run before a study starts, so that no trial can fail on its settings hours later.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from t5vqvae.config import Config, Overrides
from t5vqvae.errors import SettingError, did_you_mean
from tune.space.dimension import Dimension, alternatives, choose
from tune.space.ranges import Scalar, same

Refuse = Callable[[Overrides], None]
"""Raises a `SettingError` for overrides that are not allowed."""
NUM_PROBES = 64
"""Random draws of the whole space that are tested for combinations which the spec refuses."""


def in_order(dimensions: Sequence[Dimension]) -> list[Dimension]:
    """Returns the dimensions sorted so that conditions only depend on earlier ones, otherwise in the given order.

    Raises:
        SettingError: If conditions depend on each other in a circle.
    """
    waiting, done = list(dimensions), []
    while waiting:
        open_paths = {dimension.path for dimension in waiting}
        ready = [d for d in waiting if not open_paths & (set(d.range.when) - {d.path}) and d.path not in d.range.when]
        if not ready:
            paths = ", ".join(sorted(open_paths))
            raise SettingError(f"space: the conditions of {paths} depend on each other; remove one of them")
        done += ready[:1]
        waiting.remove(ready[0])
    return done


def refuse_simultaneous(dimensions: Sequence[Dimension]) -> None:
    """Refuses two ranges of one path whose conditions do not exclude each other.

    Raises:
        SettingError: With the path.
    """
    for one, other in itertools.combinations(dimensions, 2):
        if one.path != other.path:
            continue
        shared = set(one.range.when) & set(other.range.when)
        if not any(_disjoint(one.range.when[path], other.range.when[path]) for path in shared):
            raise SettingError(
                f"space.{one.path} has two ranges that can hold at once; give them conditions that exclude each other"
            )


def refuse_disallowed(
    dimensions: Sequence[Dimension], base: Config, refuse: Callable[[Any], None] | None = None
) -> None:
    """Refuses ranges and conditions that do not fit the base spec.

    Each end and each choice is tested alone, then in combination with random draws of the rest.

    Args:
        dimensions: The dimensions of the space.
        base: The base spec.
        refuse: Refuses a spec for more than its own validation does; None: nothing more.

    Raises:
        SettingError: One line a fault; combinations are tested only if there is no other fault.
    """

    def refuse_drawn(drawn: Overrides) -> None:
        spec = base.with_overrides(drawn)
        if refuse is not None:
            refuse(spec)

    flat = base.as_flat_dict()
    faults = [fault for dimension in dimensions for fault in _condition_faults(dimension, dimensions, flat)]
    if not faults:
        faults = [fault for dimension in dimensions for fault in _range_faults(dimension, dimensions, refuse_drawn)]
    if not faults:
        faults = list(itertools.islice(_combination_faults(dimensions, refuse_drawn, flat), 1))
    if faults:
        raise SettingError("\n".join(dict.fromkeys(faults)))


def _condition_faults(dimension: Dimension, dimensions: Sequence[Dimension], flat: Overrides) -> Iterator[str]:
    paths = {other.path for other in dimensions}
    for path, allowed in dimension.range.when.items():
        place = f"space.{dimension.path}.when"
        if path not in flat and path not in paths:
            yield f"{place}.{path} is unknown{did_you_mean(path, {*flat, *paths})}"
        elif not _reachable(path, allowed, dimensions, flat):
            now = f"{path} is {flat.get(path)!r} in base" if path not in paths else f"not in {path}'s range"
            condition = f"{path}={alternatives(allowed)}"
            yield f"{place}: {condition} can never hold ({now}); search that value or remove this range"


def _reachable(path: str, allowed: tuple[Scalar, ...], dimensions: Sequence[Dimension], flat: Overrides) -> bool:
    ranges = [dimension.range for dimension in dimensions if dimension.path == path]
    if any(range_.contains(value) for range_ in ranges for value in allowed):
        return True
    # Where every range of the path has a condition, the setting keeps its base value in some trials.
    keeps_base = all(range_.when for range_ in ranges)
    return keeps_base and any(same(flat.get(path), value) for value in allowed)


def _range_faults(dimension: Dimension, dimensions: Sequence[Dimension], refuse: Refuse) -> Iterator[str]:
    paths = {other.name: other.path for other in dimensions}
    context = {paths[name]: value for name, value in _activation(dimension, dimensions).items()}
    for value in dimension.range.ends():
        try:
            refuse({**context, dimension.path: value})
        except SettingError as error:
            yield from (f"space.{dimension.path}: {line}" for line in str(error).splitlines())


def _activation(dimension: Dimension, dimensions: Sequence[Dimension]) -> dict[str, Scalar]:
    """Returns values, by name, that make the conditions of a range hold."""
    forced: dict[str, Scalar] = {}
    for path, allowed in dimension.range.when.items():
        pairs = itertools.product([other for other in dimensions if other.path == path], allowed)
        found = next(((other, value) for other, value in pairs if other.range.contains(value)), None)
        if found is not None:
            forced |= {**_activation(found[0], dimensions), found[0].name: found[1]}
    return forced


def _combination_faults(dimensions: Sequence[Dimension], refuse: Refuse, flat: Overrides) -> Iterator[str]:
    for drawn in _probes(dimensions, flat):
        try:
            refuse(drawn)
        except SettingError as error:
            shown = ", ".join(f"{path}={value}" for path, value in drawn.items())
            reason = str(error).splitlines()[0]
            yield f"space can draw {shown}, but {reason}; narrow a range or give one a condition (`when`)"


def _probes(dimensions: Sequence[Dimension], flat: Overrides) -> Iterator[dict[str, Any]]:
    """Yields random draws: one with each end and each choice forced, then `NUM_PROBES` free ones. Seeded."""
    rng = random.Random(0)
    forced: list[dict[str, Scalar]] = [
        {**_activation(dimension, dimensions), dimension.name: value}
        for dimension in dimensions
        for value in dimension.range.ends()
    ]
    for force in forced + [{}] * NUM_PROBES:

        def choice(dimension: Dimension, force: dict[str, Scalar] = force) -> Scalar:
            return force[dimension.name] if dimension.name in force else dimension.range.draw(rng)

        yield choose(dimensions, flat, choice)


def _disjoint(ones: tuple[Scalar, ...], others: tuple[Scalar, ...]) -> bool:
    return not any(same(one, other) for one in ones for other in others)
