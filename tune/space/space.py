"""The search space of a study: `{dotted.path: range}` over the settings of a run, with conditions.

    quantizer.name: {type: choice, choices: [ema, vq]}
    quantizer.decay: {type: float, low: 0.8, high: 0.999, when: {quantizer.name: ema}}
    quantizer.codebook_size:                       # two ranges under two conditions
      - {type: int, low: 256, high: 4096, log: true, when: {quantizer.name: ema}}
      - {type: int, low: 64, high: 512, log: true, when: {quantizer.name: vq}}

A path with several ranges has as many names in Optuna, since a parameter of Optuna's has one range. Ranges are in
`ranges.py`; what variants suggest for themselves (`type: suggested`) in `suggested.py`. A space is checked against the
run spec before anything starts, so that no trial can be refused later.
"""

from __future__ import annotations

import itertools
import random
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from t5vqvae.config import Config
from t5vqvae.errors import SettingError, did_you_mean
from tune.space.presets import expand
from tune.space.ranges import Range, parse_range, same

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

NUM_PROBES = 64
"""Random draws that a space is checked with, for combinations that the spec refuses."""


@dataclass(frozen=True)
class Dimension:
    """One range of one setting, under the name that Optuna knows it by."""

    path: str
    name: str
    range: Range


@dataclass(frozen=True)
class SearchSpace:
    """What a study varies; conditions come before what depends on them."""

    dimensions: tuple[Dimension, ...] = ()

    @classmethod
    def parse(cls, values: Any) -> SearchSpace:
        """Returns the space of `{path: range or list of ranges}`; a path set to null is not searched.

        Raises:
            SettingError: If a range makes no sense or conditions go in a circle; one line a fault.
        """
        if isinstance(values, cls):
            return values
        if not isinstance(values, Mapping):
            raise SettingError(f"space={values!r} must be a mapping of dotted paths to ranges")
        dimensions, faults = [], []
        for path, given in expand(values).items():
            listed = given if isinstance(given, list | tuple) else [] if given is None else [given]
            for item in listed:
                try:
                    range_ = parse_range(path, item)
                    dimensions.append(Dimension(path, _name(path, range_, len(listed)), range_))
                except SettingError as error:
                    faults.append(str(error))
        if faults:
            raise SettingError("\n".join(faults))
        _refuse_simultaneous(dimensions)
        return cls(tuple(_in_order(dimensions)))

    def as_dict(self) -> dict[str, Any]:
        """Returns plain values, `parse`'s inverse."""
        values: dict[str, Any] = {}
        for path in self.paths:
            ranges = [_plain(dimension.range) for dimension in self.of(path)]
            values[path] = ranges[0] if len(ranges) == 1 else ranges
        return values

    @property
    def paths(self) -> list[str]:
        """The searched paths, each once."""
        return list(dict.fromkeys(dimension.path for dimension in self.dimensions))

    @property
    def conditional(self) -> list[str]:
        """The paths that are searched under a condition only."""
        return list(dict.fromkeys(d.path for d in self.dimensions if d.range.when))

    @property
    def categorical(self) -> list[str]:
        """The paths whose values have no order."""
        return list(dict.fromkeys(d.path for d in self.dimensions if d.range.categorical))

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """The Optuna distributions by Optuna's names."""
        return {dimension.name: dimension.range.distribution for dimension in self.dimensions}

    def of(self, path: str) -> list[Dimension]:
        """Returns the ranges of one path."""
        return [dimension for dimension in self.dimensions if dimension.path == path]

    def sample(self, trial: optuna.Trial, base: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the overrides that Optuna suggests for a trial, asking for active settings alone.

        Args:
            trial: Of Optuna; what it was told already is given again.
            base: Flat settings of the base spec, for conditions on settings that are not searched.
        """
        return self._choose(base, lambda dimension: dimension.range.suggest(trial, dimension.name))

    def draw(self, rng: random.Random, base: Mapping[str, Any]) -> dict[str, Any]:
        """Returns random overrides, without Optuna."""
        return self._choose(base, lambda dimension: dimension.range.draw(rng))

    def place(self, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """Returns the point of the space where the settings of a run lie, by Optuna's names.

        Args:
            values: Flat settings of a resolved run spec.

        Returns:
            `{name: value}` of the active ranges, or None if a value lies outside its range.
        """
        point = {}
        for dimension in self.dimensions:
            if dimension.range.holds(values):
                if not dimension.range.contains(values.get(dimension.path)):
                    return None
                point[dimension.name] = values[dimension.path]
        return point

    def overrides(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """Returns `{path: value}` of a point `{name: value}`."""
        paths = {dimension.name: dimension.path for dimension in self.dimensions}
        return {paths[name]: value for name, value in point.items()}

    def outside(self, values: Mapping[str, Any]) -> list[Dimension]:
        """Returns the active ranges that the settings of a run lie outside of."""
        active = [dimension for dimension in self.dimensions if dimension.range.holds(values)]
        return [dimension for dimension in active if not dimension.range.contains(values.get(dimension.path))]

    def overlap(self, other: SearchSpace) -> list[str]:
        """Returns the paths that both search, over ranges that share a value."""
        pairs = itertools.product(self.dimensions, other.dimensions)
        return list(dict.fromkeys(a.path for a, b in pairs if a.path == b.path and a.range.meets(b.range)))

    def check(self, base: Config) -> None:
        """Refuses a space that could suggest what the spec does not allow.

        Every end and choice is tried alone, then random draws of the whole space.

        Raises:
            SettingError: One line a fault.
        """
        flat = base.as_flat_dict()
        faults = [fault for dimension in self.dimensions for fault in self._condition_faults(dimension, flat)]
        if not faults:
            faults = [fault for dimension in self.dimensions for fault in self._range_faults(dimension, base, flat)]
        if not faults:
            faults = list(itertools.islice(self._combination_faults(base, flat), 1))
        if faults:
            raise SettingError("\n".join(dict.fromkeys(faults)))

    def _choose(
        self,
        base: Mapping[str, Any],
        choose: Callable[[Dimension], Any],
        forced: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        chosen: dict[str, Any] = {}
        values = ChainMap(chosen, dict(base))
        for dimension in self.dimensions:
            if dimension.range.holds(values):
                name = dimension.name
                chosen[dimension.path] = forced[name] if forced and name in forced else choose(dimension)
        return chosen

    def _condition_faults(self, dimension: Dimension, flat: Mapping[str, Any]) -> Iterator[str]:
        for path, allowed in dimension.range.when.items():
            place = f"space.{dimension.path}.when"
            if path not in flat and path not in self.paths:
                yield f"{place}.{path} is unknown{did_you_mean(path, {*flat, *self.paths})}"
            elif not self._reachable(path, allowed, flat):
                now = f"{path} is {flat.get(path)!r} in base" if path not in self.paths else f"{path}'s range says no"
                yield f"{place}: {path}={_listed(allowed)} can never hold ({now}); search that value or drop this range"

    def _reachable(self, path: str, allowed: tuple[Any, ...], flat: Mapping[str, Any]) -> bool:
        if any(d.range.contains(value) for d in self.of(path) for value in allowed):
            return True
        certain = any(not dimension.range.when for dimension in self.of(path))
        return not certain and any(same(flat.get(path), value) for value in allowed)

    def _activation(self, dimension: Dimension) -> dict[str, Any]:
        """Returns choices, by name, that make the conditions of a range hold."""
        forced: dict[str, Any] = {}
        for path, allowed in dimension.range.when.items():
            pairs = itertools.product(self.of(path), allowed)
            found = next(((d, value) for d, value in pairs if d.range.contains(value)), None)
            if found is not None:
                forced |= {**self._activation(found[0]), found[0].name: found[1]}
        return forced

    def _range_faults(self, dimension: Dimension, base: Config, flat: Mapping[str, Any]) -> Iterator[str]:
        context = self.overrides(self._activation(dimension))
        for value in dimension.range.ends():
            try:
                base.with_overrides({**context, dimension.path: value})
            except SettingError as error:
                yield from (f"space.{dimension.path}: {line}" for line in str(error).splitlines())

    def _combination_faults(self, base: Config, flat: Mapping[str, Any]) -> Iterator[str]:
        rng = random.Random(0)
        forced: list[dict[str, Any]] = [
            {**self._activation(dimension), dimension.name: value}
            for dimension in self.dimensions
            for value in dimension.range.ends()
        ]
        for force in forced + [{}] * NUM_PROBES:
            drawn = self._choose(flat, lambda dimension: dimension.range.draw(rng), force)
            try:
                base.with_overrides(drawn)
            except SettingError as error:
                shown = ", ".join(f"{path}={value}" for path, value in drawn.items())
                reason = str(error).splitlines()[0]
                yield f"space can draw {shown}, but {reason}; narrow a range or give one a condition (`when`)"


def _name(path: str, range_: Range, num_ranges: int) -> str:
    if num_ranges == 1:
        return path
    condition = ",".join(f"{key}={_listed(values)}" for key, values in sorted(range_.when.items()))
    return f"{path}[{condition}]"


def _listed(values: tuple[Any, ...]) -> str:
    return "|".join(map(str, values))


def _plain(range_: Range) -> dict[str, Any]:
    values = range_.model_dump(mode="json", exclude_defaults=True)
    values = {"type": range_.model_dump()["type"], **values}
    if range_.when:
        values["when"] = {path: v[0] if len(v) == 1 else list(v) for path, v in range_.when.items()}
    return values


def _refuse_simultaneous(dimensions: list[Dimension]) -> None:
    """Two ranges of one path need conditions that exclude each other."""
    for one, other in itertools.combinations(dimensions, 2):
        if one.path != other.path:
            continue
        shared = set(one.range.when) & set(other.range.when)
        if not any(_disjoint(one.range.when[path], other.range.when[path]) for path in shared):
            raise SettingError(f"space.{one.path} has two ranges that can hold at once; give them other conditions")


def _disjoint(ones: tuple[Any, ...], others: tuple[Any, ...]) -> bool:
    return not any(same(one, other) for one in ones for other in others)


def _in_order(dimensions: list[Dimension]) -> list[Dimension]:
    """Returns the ranges with every condition's setting before what depends on it, otherwise as given."""
    waiting, done = list(dimensions), []
    while waiting:
        open_paths = {dimension.path for dimension in waiting}
        ready = [d for d in waiting if not open_paths & (set(d.range.when) - {d.path}) and d.path not in d.range.when]
        if not ready:
            raise SettingError(f"space: the conditions of {', '.join(sorted(open_paths))} depend on each other")
        done += ready[:1]
        waiting.remove(ready[0])
    return done
