"""Declares the search space of a study: `{dotted.path: range}` over the settings of a run, with conditions.

    quantizer.name: {type: choice, choices: [ema, vq]}
    quantizer.decay: {type: float, low: 0.8, high: 0.999, when: {quantizer.name: ema}}
    quantizer.codebook_size:                       # two ranges under two conditions
      - {type: int, low: 256, high: 4096, log: true, when: {quantizer.name: ema}}
      - {type: int, low: 64, high: 512, log: true, when: {quantizer.name: vq}}

A path with several ranges has one name in Optuna for each, because a parameter of Optuna has one range. Ranges are in
`ranges.py`, what variants suggest for themselves (`type: suggested`) in `presets.py`, refusals in `checks.py`.
"""

from __future__ import annotations

import itertools
import random
from collections import ChainMap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from t5vqvae.config import Config, Overrides
from t5vqvae.errors import SettingError
from tune.space.checks import in_order, refuse_disallowed, refuse_simultaneous
from tune.space.dimension import Dimension, choose, choose_all
from tune.space.presets import expand
from tune.space.ranges import Range, parse_range

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

NUM_DRAWS = 256
"""Draws among which a replacement for settings that were tried already is looked for."""


@dataclass(frozen=True)
class SearchSpace:
    """The settings that a study varies; a dimension comes after those that its condition depends on."""

    dimensions: tuple[Dimension, ...] = ()

    @classmethod
    def parse(cls, values: object) -> SearchSpace:
        """Returns the space of `{path: range or list of ranges}`; a path set to null is not searched.

        Raises:
            SettingError: If a range is malformed or conditions depend on each other; one line a fault.
        """
        if isinstance(values, cls):
            return values
        if not isinstance(values, Mapping):
            raise SettingError(f"space={values!r} must be a mapping of dotted paths to ranges")
        for path in values:
            if not isinstance(path, str):
                raise SettingError(f"space.{path}: the key {path!r} is no path of a setting; write one as text")
        dimensions, faults = [], []
        for path, given in expand(values).items():
            listed = given if isinstance(given, list | tuple) else [] if given is None else [given]
            for item in listed:
                try:
                    dimensions.append(Dimension.named(path, parse_range(path, item), len(listed)))
                except SettingError as error:
                    faults.append(str(error))
        if faults:
            raise SettingError("\n".join(faults))
        refuse_simultaneous(dimensions)
        return cls(tuple(in_order(dimensions)))

    def as_dict(self) -> dict[str, Any]:
        """Returns plain values; the inverse of `parse`."""
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
        """The paths that are searched only under a condition."""
        return list(dict.fromkeys(d.path for d in self.dimensions if d.range.when))

    @property
    def categorical(self) -> list[str]:
        """The paths whose values have no order."""
        return list(dict.fromkeys(d.path for d in self.dimensions if d.range.categorical))

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """The Optuna distributions, by their names in Optuna."""
        return {dimension.name: dimension.range.distribution for dimension in self.dimensions}

    def of(self, path: str) -> list[Dimension]:
        """Returns the dimensions of one path."""
        return [dimension for dimension in self.dimensions if dimension.path == path]

    def sample(self, trial: optuna.Trial, base: Overrides) -> dict[str, Any]:
        """Returns the overrides that Optuna suggests for a trial; requests the active settings only.

        Args:
            trial: Of Optuna; a setting that it has already keeps its value.
            base: Flat settings of the base spec, for conditions on settings that are not searched.
        """
        return choose(self.dimensions, base, lambda dimension: dimension.range.suggest(trial, dimension.name))

    def read(self, point: Overrides, base: Overrides) -> dict[str, Any] | None:
        """Returns the overrides of a point in Optuna, as `sample` returns them; None if it lacks a value."""
        try:
            return choose(self.dimensions, base, lambda dimension: dimension.range.written(point[dimension.name]))
        except KeyError:
            return None

    def count(self, base: Overrides, limit: int) -> int:
        """Returns the number of different settings in the space, at most `limit`."""
        if any(dimension.range.values() is None for dimension in self.dimensions):
            return self._count_endless(base, limit)
        return sum(1 for _ in itertools.islice(choose_all(self.dimensions, base), limit))

    def _count_endless(self, base: Overrides, limit: int) -> int:
        """Returns `count` of a space with an endless range: below the limit only if that range is never searched."""
        discrete = [dimension for dimension in self.dimensions if dimension.range.values() is not None]
        endless = [dimension for dimension in self.dimensions if dimension not in discrete]
        points = list(itertools.islice(choose_all(discrete, base), limit))
        searched = any(dimension.range.holds(ChainMap(point, dict(base))) for point in points for dimension in endless)
        return limit if searched else len(points)

    def another(self, point: Overrides, base: Overrides, is_tried: Callable[[Overrides], bool], seed: int) -> Any:
        """Returns settings that were not tried and agree with `point` in as many settings as possible; None: all were.

        Args:
            point: Settings that were tried, `{path: value}`.
            base: Flat settings of the base spec.
            is_tried: Whether settings were tried.
            seed: Of the draws among which the nearest is taken.
        """
        rng = random.Random(seed)
        drawn = [choose(self.dimensions, base, lambda d: d.range.draw(rng)) for _ in range(NUM_DRAWS)]
        untried = [candidate for candidate in drawn if not is_tried(candidate)]
        if not untried and all(dimension.range.values() is not None for dimension in self.dimensions):
            untried = list(itertools.islice((c for c in choose_all(self.dimensions, base) if not is_tried(c)), 1))
        return max(untried, key=lambda candidate: len(candidate.items() & point.items()), default=None)

    def place(self, values: Overrides) -> dict[str, Any] | None:
        """Returns the point of the space that the settings of a run correspond to.

        Args:
            values: Flat settings of a resolved run spec.

        Returns:
            `{name in Optuna: value}` of the active dimensions, each as its range would give it, or None if a value lies
            outside its range.
        """
        if self.outside(values):
            return None
        active = [dimension for dimension in self.dimensions if dimension.range.holds(values)]
        return {dimension.name: dimension.range.own(values[dimension.path]) for dimension in active}

    def overrides(self, point: Overrides) -> dict[str, Any]:
        """Returns `{path: value}` of a point `{name in Optuna: value}`."""
        paths = {dimension.name: dimension.path for dimension in self.dimensions}
        return {paths[name]: value for name, value in point.items()}

    def outside(self, values: Overrides) -> list[Dimension]:
        """Returns the active dimensions whose range does not contain the setting of a run."""
        active = [dimension for dimension in self.dimensions if dimension.range.holds(values)]
        return [dimension for dimension in active if not dimension.range.contains(values.get(dimension.path))]

    def overlap(self, other: SearchSpace) -> list[str]:
        """Returns the paths that both spaces search over ranges with a common value."""
        pairs = itertools.product(self.dimensions, other.dimensions)
        return list(dict.fromkeys(a.path for a, b in pairs if a.path == b.path and a.range.meets(b.range)))

    def check(self, base: Config, refuse: Callable[[Any], None] | None = None) -> None:
        """Refuses a space that could suggest settings which the spec does not allow; see `refuse_disallowed`.

        Args:
            base: The base spec.
            refuse: Refuses a spec for more than its own validation does; None: nothing more.

        Raises:
            SettingError: One line a fault.
        """
        refuse_disallowed(self.dimensions, base, refuse)


def _plain(range_: Range) -> dict[str, Any]:
    values = range_.model_dump(mode="json", exclude_defaults=True)
    values = {"type": range_.model_dump()["type"], **values}
    if range_.when:
        values["when"] = {path: v[0] if len(v) == 1 else list(v) for path, v in range_.when.items()}
    return values
