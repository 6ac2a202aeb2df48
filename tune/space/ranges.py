"""Declares the ranges that a setting can be searched over: `float`, `int` and `choice`.

A study file gives a range as plain values. A range can test a value, return its ends, draw a random value and build
its Optuna distribution. To add a kind of range, write its class here and enter it in `RANGES`.
"""

from __future__ import annotations

import math
import random
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from itertools import chain, islice
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, FiniteFloat, StrictBool, StrictInt, StrictStr, model_validator

from t5vqvae.config import Config, setting
from t5vqvae.errors import SettingError

# Optuna is imported inside the functions that need it, so that reading a study file does not load it.
if TYPE_CHECKING:
    from optuna import Trial
    from optuna.distributions import BaseDistribution

Scalar = StrictBool | StrictInt | FiniteFloat | StrictStr | None
GRID_TOLERANCE = 1e-8
"""Distance from the nearest grid point, in steps, up to which a value still counts as that point."""
MAX_COMPARED = 10_000
"""Grid points that are looked up in another range."""


def _as_list(value: object) -> list[object] | tuple[object, ...]:
    return value if isinstance(value, list | tuple) else [value]


class Range(Config):
    """Declares the values that a searched setting may have, and the condition under which it is searched."""

    categorical: ClassVar[bool] = False

    when: dict[str, Annotated[tuple[Scalar, ...], BeforeValidator(_as_list)]] = setting(
        {}, description="{path: value or list of values}: searched only where all of them hold"
    )

    def holds(self, values: Mapping[str, object]) -> bool:
        """Returns whether the condition holds for the settings `values`."""
        return all(any(same(values.get(path), value) for value in allowed) for path, allowed in self.when.items())

    @property
    @abstractmethod
    def distribution(self) -> BaseDistribution:
        """The Optuna distribution of the same values."""

    @abstractmethod
    def suggest(self, trial: Trial, name: str) -> Scalar:
        """Returns the value that Optuna suggests for a trial; `name` is the range's name in Optuna."""

    @abstractmethod
    def contains(self, value: object) -> bool:
        """Returns whether `value` can be drawn."""

    @abstractmethod
    def ends(self) -> list[Any]:
        """Returns the values to test against the spec: both ends of a number range, or every choice."""

    @abstractmethod
    def values(self) -> Iterable[Scalar] | None:
        """Returns all values, in order; None where there is no end of them."""

    def written(self, value: Any) -> Any:
        """Returns a value of Optuna as it was written: on a grid the decimal, 0.3 and not 0.30000000000000004."""
        return value

    def own(self, value: Any) -> Any:
        """Returns a value that the range contains as the range itself would give it: 0, and not a setting's 0.0."""
        return value

    @abstractmethod
    def draw(self, rng: random.Random) -> Scalar:
        """Returns a uniformly random value, uniform on the log scale where `log` is set."""

    def meets(self, other: Range) -> bool:
        """Returns whether the two ranges share a value."""
        grids = (islice(each.values() or (), MAX_COMPARED) for each in (self, other))
        candidates = chain(self.ends(), other.ends(), *grids)
        return any(self.contains(value) and other.contains(value) for value in candidates)


class _Numbers(Range):
    """Holds what number ranges share."""

    low: float
    high: float
    log: bool = setting(False, description="search its logarithm")
    step: float | None = None
    plain_step: ClassVar[int | None] = None
    """The step that is no grid of its own."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.low >= self.high:
            raise SettingError(f"low={self.low} must be less than high={self.high}; set one value in base instead")
        if self.log and self.low <= 0:
            raise SettingError(f"low={self.low} must be more than 0 with log")
        if self.log and self.step not in (None, self.plain_step):
            raise SettingError(f"step={self.step} cannot be combined with log; remove one of them")
        if self.step is not None and not _is_multiple(_decimal(self.high) - _decimal(self.low), _decimal(self.step)):
            raise SettingError(f"high={self.high} must be low={self.low} plus a multiple of step={self.step}")
        return self

    def contains(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        if self.step is None:
            return True
        places = (value - self.low) / self.step
        return abs(places - round(places)) <= GRID_TOLERANCE

    def ends(self) -> list[Any]:
        return [self.low, self.high]

    def _fraction(self, rng: random.Random) -> float:
        """Returns a uniformly random value between the ends, on the scale of the range."""
        if self.log:
            return math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        return rng.uniform(self.low, self.high)


class _FloatRange(_Numbers):
    """Searches real numbers, both ends included."""

    type: Literal["float"] = "float"
    low: FiniteFloat
    high: FiniteFloat
    step: float | None = setting(None, gt=0, description="distance between grid points; None: no grid")

    @property
    def distribution(self) -> BaseDistribution:
        from optuna.distributions import FloatDistribution

        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def suggest(self, trial: Trial, name: str) -> float:
        return self.written(trial.suggest_float(name, self.low, self.high, log=self.log, step=self.step))

    def written(self, value: float) -> float:
        return value if self.step is None else self.at(round((value - self.low) / self.step))

    def at(self, place: int) -> float:
        """Returns the decimal of a place on the grid, counted from 0 at its low end."""
        assert self.step is not None
        return float(_decimal(self.low) + place * _decimal(self.step))

    @property
    def _places(self) -> int:
        """The place of the high end on the grid."""
        assert self.step is not None
        return int((_decimal(self.high) - _decimal(self.low)) / _decimal(self.step))

    def values(self) -> Iterable[float] | None:
        return None if self.step is None else map(self.at, range(self._places + 1))

    def draw(self, rng: random.Random) -> float:
        if self.step is None:
            return min(self.high, max(self.low, self._fraction(rng)))
        return self.at(rng.randint(0, self._places))


class _IntRange(_Numbers):
    """Searches whole numbers, both ends included."""

    plain_step: ClassVar[int | None] = 1

    type: Literal["int"] = "int"
    low: int
    high: int
    step: int = setting(1, ge=1, description="distance between grid points")

    @property
    def distribution(self) -> BaseDistribution:
        from optuna.distributions import IntDistribution

        return IntDistribution(self.low, self.high, log=self.log, step=self.step)

    def suggest(self, trial: Trial, name: str) -> int:
        return trial.suggest_int(name, self.low, self.high, log=self.log, step=self.step)

    def contains(self, value: object) -> bool:
        return isinstance(value, int | float) and super().contains(value) and float(value).is_integer()

    def own(self, value: float) -> int:
        return int(value)

    def values(self) -> Iterable[int]:
        return range(self.low, self.high + 1, self.step)

    def draw(self, rng: random.Random) -> int:
        if self.log:
            return min(self.high, max(self.low, round(self._fraction(rng))))
        return self.low + self.step * rng.randint(0, (self.high - self.low) // self.step)


class _ChoiceRange(Range):
    """Searches a list of scalars without an order."""

    categorical: ClassVar[bool] = True

    type: Literal["choice"] = "choice"
    choices: tuple[Scalar, ...] = setting(min_length=2)

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if len(self.choices) != len({(type(choice), choice) for choice in self.choices}):
            raise SettingError(f"choices={list(self.choices)} contains one value twice; remove one of them")
        return self

    @property
    def distribution(self) -> BaseDistribution:
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.choices)

    def suggest(self, trial: Trial, name: str) -> Scalar:
        return trial.suggest_categorical(name, self.choices)

    def contains(self, value: object) -> bool:
        return any(same(value, choice) for choice in self.choices)

    def own(self, value: Scalar) -> Scalar:
        alike = [choice for choice in self.choices if same(value, choice)]
        return next((choice for choice in alike if type(choice) is type(value)), alike[0])

    def ends(self) -> list[Any]:
        return list(self.choices)

    def values(self) -> Iterable[Scalar]:
        return self.choices

    def draw(self, rng: random.Random) -> Scalar:
        return rng.choice(self.choices)


RANGES: dict[str, type[Range]] = {"float": _FloatRange, "int": _IntRange, "choice": _ChoiceRange}
"""The class of each `type` in a study file."""


def _decimal(value: float) -> Decimal:
    # The written decimal, not the binary fraction: 0.3 is a multiple of 0.1. Optuna computes grids in the same way.
    return Decimal(str(value))


def _is_multiple(width: Decimal, step: Decimal) -> bool:
    try:
        return width % step == 0
    except InvalidOperation:  # more steps than a decimal has digits
        return False


def same(one: object, other: object) -> bool:
    """Returns whether two scalars are equal; True and 1 are different."""
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def parse_range(path: str, values: object) -> Range:
    """Returns the range of plain values, as a study file has them.

    Args:
        path: The setting that is searched, named in errors.
        values: A mapping such as `{type: int, low: 2, high: 8}`.

    Raises:
        SettingError: If the values do not form a range; one line a fault.
    """
    if not isinstance(values, Mapping):
        raise SettingError(f"space.{path}={values!r} must be a range such as {{type: float, low: 0.1, high: 1}}")
    named = values.get("type")
    kind = RANGES.get(named) if isinstance(named, str) else None
    if kind is None:
        raise SettingError(f"space.{path}.type={values.get('type')!r} must be one of {', '.join(RANGES)}")
    try:
        return kind.parse(values)
    except SettingError as error:
        raise SettingError("\n".join(f"space.{path}.{line}" for line in str(error).splitlines())) from None
