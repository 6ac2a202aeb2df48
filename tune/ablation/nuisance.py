"""Retunes the nuisance settings: the same candidates for every arm, on seeds that the comparison does not use.

The candidates are the baseline's values and a stratified sample of the space (a Latin hypercube on the scale of each
range), drawn anew for each tuning seed. All arms try the same candidates: no arm is tuned harder than another, all
candidates run together, and a candidate that two arms share is one run. An adaptive sampler would need a sequence of
trials for each arm, and more trials than an arm gets.

An arm's best candidate on one seed is partly luck. Settings tuned once for all seeds carry the same luck into every
pair, where no test over pairs sees it; settings tuned for each seed anew vary with the pairs, and the error contains
them. `tests/benchmarks/null_tuning.py` simulates both.
"""

from __future__ import annotations

import math
import random
from collections import ChainMap
from collections.abc import Mapping, Sequence
from typing import Any

from tune.analysis.comparison import RunRow
from tune.space.ranges import Range
from tune.space.space import SearchSpace
from tune.spec.objective import Objective


def candidates(space: SearchSpace, base: Mapping[str, Any], num: int, seed: int) -> list[dict[str, Any]]:
    """Returns `num` points of the space as overrides; the first is the baseline's own values.

    Args:
        space: The nuisance settings.
        base: Flat settings of the baseline, for its values and for conditions.
        num: At least 1.
        seed: The seed of the tuning runs.
    """
    rng, strata = random.Random(seed), {}
    for dimension in space.dimensions:
        places = [(i + rng.random()) / max(1, num - 1) for i in range(num - 1)]
        strata[dimension.name] = rng.sample(places, len(places))
    points = [{path: base[path] for path in space.paths if path in base}]
    for i in range(num - 1):
        chosen: dict[str, Any] = {}
        for dimension in space.dimensions:
            if dimension.range.holds(ChainMap(chosen, dict(base))):
                chosen[dimension.path] = _at_fraction(dimension.range, strata[dimension.name][i])
        points.append(chosen)
    return points


def _at_fraction(range_: Range, fraction: float) -> Any:
    """Returns the value at a fraction in [0, 1) of a range, on the range's scale."""
    ends = range_.ends()
    if range_.categorical:
        return ends[int(fraction * len(ends))]
    low, high = float(ends[0]), float(ends[1])
    step = getattr(range_, "step", None)
    whole = isinstance(ends[0], int) and isinstance(ends[1], int)
    if getattr(range_, "log", False):
        value = math.exp(math.log(low) + fraction * (math.log(high) - math.log(low)))
        return round(value) if whole else value
    if step is None:
        return low + fraction * (high - low)
    place = min(int(fraction * (round((high - low) / step) + 1)), round((high - low) / step))
    return range_.written(ends[0] + step * place)


def choose(rows: Sequence[tuple[Mapping[str, Any], RunRow]], objective: Objective) -> Mapping[str, Any] | None:
    """Returns the best candidate on the tuning seed; None if none completed.

    Args:
        rows: Candidates of one arm with their runs; diverged and failed ones lose.
        objective: The objective of the study.
    """
    values = [(row.value(objective.metric), candidate) for candidate, row in rows]
    done = [(objective.sign * value, i) for i, (value, _) in enumerate(values) if value is not None]
    return values[min(done)[1]][1] if done else None


def at_the_edge(
    space: SearchSpace, tuned: Sequence[tuple[Sequence[Mapping[str, Any]], Mapping[str, Any]]]
) -> list[tuple[str, str, int]]:
    """Returns the paths whose chosen value mostly lies at the same end of what was tried; better may lie beyond.

    Args:
        space: The nuisance settings.
        tuned: What was tried and what was chosen, for each seed.

    Returns:
        Path, end (`lowest` or `highest`) and number of seeds, where these are more than half of all.
    """
    found = []
    for path in space.paths:
        ends = [_end(path, tried, chosen) for tried, chosen in tuned]
        for end in ("lowest", "highest"):
            if ends.count(end) > len(ends) / 2:
                found.append((path, end, ends.count(end)))
    return found


def _end(path: str, tried: Sequence[Mapping[str, Any]], chosen: Mapping[str, Any]) -> str | None:
    """Returns the end of the tried numbers at which the chosen one lies, if any."""
    values = [point[path] for point in tried if path in point]
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    if len(set(values)) <= 2 or not numeric:
        return None
    return {min(values): "lowest", max(values): "highest"}.get(chosen.get(path))
