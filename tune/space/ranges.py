"""The ranges a setting can be searched over: `float`, `int` and `choice`.

A range is plain values in a study file and knows the few things the search asks of it: whether a value lies in it, its
ends, a random draw, and its Optuna distribution (Optuna is imported when asked). To add a kind, write its class here
and enter it in `RANGES`.
"""

from __future__ import annotations

import math
import random
from abc import abstractmethod
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, FiniteFloat, StrictBool, StrictInt, StrictStr, model_validator

from t5vqvae.config import Config, setting
from t5vqvae.errors import SettingError

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.distributions import BaseDistribution

Scalar = StrictBool | StrictInt | FiniteFloat | StrictStr | None
GRID_TOLERANCE = 1e-8


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


class Range(Config):
    """What a searched setting may be, and under which condition it is searched at all."""

    categorical: ClassVar[bool] = False

    when: dict[str, Annotated[tuple[Scalar, ...], BeforeValidator(_as_list)]] = setting(
        {}, description="{path: value or list of values}: searched only where all of them hold"
    )

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Returns whether the condition holds where settings are `values`."""
        return all(any(same(values.get(path), value) for value in allowed) for path, allowed in self.when.items())

    @property
    @abstractmethod
    def distribution(self) -> BaseDistribution:
        """The Optuna distribution."""

    @abstractmethod
    def suggest(self, trial: Trial, name: str) -> Any:
        """Returns what Optuna suggests for a trial, under the name that it knows the range by."""

    @abstractmethod
    def contains(self, value: Any) -> bool:
        """Returns whether `value` can be drawn."""

    @abstractmethod
    def ends(self) -> list[Any]:
        """Returns the values that show whether the spec allows the range: both ends, or every choice."""

    @abstractmethod
    def draw(self, rng: random.Random) -> Any:
        """Returns a random value, evenly (on the log scale where `log` is set)."""

    def meets(self, other: Range) -> bool:
        """Returns whether some value lies in both."""
        candidates = [*self.ends(), *other.ends()]
        return any(self.contains(value) and other.contains(value) for value in candidates)


class _Numbers(Range):
    """What number ranges share."""

    low: Any
    high: Any
    log: bool = setting(False, description="search its logarithm")
    step: Any = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.low >= self.high:
            raise SettingError(f"low={self.low} must be less than high={self.high}; set one value in base instead")
        if self.log and self.low <= 0:
            raise SettingError(f"low={self.low} must be more than 0 with log")
        if self.log and self.step not in (None, 1):
            raise SettingError(f"step={self.step} does not go with log; leave one out")
        if self.step is not None and (_decimal(self.high) - _decimal(self.low)) % _decimal(self.step):
            raise SettingError(f"high={self.high} must be low={self.low} plus a multiple of step={self.step}")
        return self

    def contains(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        if self.step is None:
            return True
        places = (value - self.low) / self.step
        return abs(places - round(places)) <= GRID_TOLERANCE

    def ends(self) -> list[Any]:
        return [self.low, self.high]

    def _fraction(self, rng: random.Random) -> float:
        """Returns a value between the ends, evenly on the scale of the range."""
        if self.log:
            return math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        return rng.uniform(self.low, self.high)


class FloatRange(_Numbers):
    """Real numbers, both ends included."""

    type: Literal["float"] = "float"
    low: FiniteFloat
    high: FiniteFloat
    step: float | None = setting(None, gt=0, description="distance of the grid's points; None: no grid")

    @property
    def distribution(self) -> BaseDistribution:
        from optuna.distributions import FloatDistribution

        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def suggest(self, trial: Trial, name: str) -> float:
        return trial.suggest_float(name, self.low, self.high, log=self.log, step=self.step)

    def draw(self, rng: random.Random) -> float:
        if self.step is None:
            return min(self.high, max(self.low, self._fraction(rng)))
        places = rng.randint(0, round((self.high - self.low) / self.step))
        return min(self.high, self.low + self.step * places)


class IntRange(_Numbers):
    """Whole numbers, both ends included."""

    type: Literal["int"] = "int"
    low: int
    high: int
    step: int = setting(1, ge=1, description="distance of the grid's points")

    @property
    def distribution(self) -> BaseDistribution:
        from optuna.distributions import IntDistribution

        return IntDistribution(self.low, self.high, log=self.log, step=self.step)

    def suggest(self, trial: Trial, name: str) -> int:
        return trial.suggest_int(name, self.low, self.high, log=self.log, step=self.step)

    def contains(self, value: Any) -> bool:
        return super().contains(value) and float(value).is_integer()

    def draw(self, rng: random.Random) -> int:
        if self.log:
            return min(self.high, max(self.low, round(self._fraction(rng))))
        return self.low + self.step * rng.randint(0, (self.high - self.low) // self.step)


class ChoiceRange(Range):
    """One of several scalars, without an order."""

    categorical: ClassVar[bool] = True

    type: Literal["choice"] = "choice"
    choices: tuple[Scalar, ...] = setting(min_length=2)

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if len(self.choices) != len({(type(choice), choice) for choice in self.choices}):
            raise SettingError(f"choices={list(self.choices)} names one twice")
        return self

    @property
    def distribution(self) -> BaseDistribution:
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.choices)

    def suggest(self, trial: Trial, name: str) -> Any:
        return trial.suggest_categorical(name, self.choices)

    def contains(self, value: Any) -> bool:
        return any(same(value, choice) for choice in self.choices)

    def ends(self) -> list[Any]:
        return list(self.choices)

    def draw(self, rng: random.Random) -> Any:
        return rng.choice(self.choices)


def _decimal(value: float) -> Decimal:
    """Returns the number that is written: Optuna, too, reckons grids with it, and 0.3 is a multiple of 0.1."""
    return Decimal(str(value))


RANGES: dict[str, type[Range]] = {"float": FloatRange, "int": IntRange, "choice": ChoiceRange}


def same(one: Any, other: Any) -> bool:
    """Returns whether two scalars are equal; True is not 1."""
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def parse_range(path: str, values: Any) -> Range:
    """Returns the range of plain values, as a study file has them.

    Args:
        path: The setting it is for, named in errors.
        values: `{type: int, low: 2, high: 8}` and the like.

    Raises:
        SettingError: If they make no range; one line a fault.
    """
    if not isinstance(values, Mapping):
        raise SettingError(f"space.{path}={values!r} must be a range such as {{type: float, low: 0.1, high: 1}}")
    kind = RANGES.get(values.get("type", None))
    if kind is None:
        raise SettingError(f"space.{path}.type={values.get('type')!r} must be one of {', '.join(RANGES)}")
    try:
        return kind.parse(values)
    except SettingError as error:
        raise SettingError("\n".join(f"space.{path}.{line}" for line in str(error).splitlines())) from None
