"""Designs: rules that make the arms of an ablation.

To add a design, write a `DesignConfig` with a name and an `arms`. Arms are overrides over the baseline; the baseline is
the arm called `baseline` and is in no design's list. A factor is a dotted path, and its base level is the baseline's
value.
"""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import model_validator

from t5vqvae.config import Config, Variant, setting, short_names
from t5vqvae.errors import SettingError
from t5vqvae.spec.run import RunSpec
from tune.ablation.components import components
from tune.analysis import Fraction, smallest_fraction
from tune.analysis.factorial import Cell, Contrast, fraction_contrasts, full_contrasts
from tune.space.ranges import Scalar, same
from tune.spec.study_spec import Flat

BASELINE = "baseline"
MAX_CELLS = 64


class Arm(Config):
    """One variation of the baseline, and the question that it answers."""

    name: str = setting(pattern=r"^[^/\s][^/]*$", description="name of its runs; without a slash")
    question: str = setting("", description="the question that it answers")
    overrides: Flat = setting({}, description="{dotted.path: value} over the baseline")
    cell: Cell | None = setting(None, description="of a factorial: the level of each factor, 0 for the baseline's")


class DesignConfig(Variant):
    """A rule that makes arms; `name` selects it."""

    @abstractmethod
    def arms(self, base: RunSpec) -> list[Arm]:
        """Returns the arms without the baseline.

        Raises:
            SettingError: If there are none, or a factor is unknown.
        """

    def factors_of(self, base: RunSpec) -> tuple[str, ...]:
        """Returns the factors of a factorial, in the order of an arm's cell; empty for other designs."""
        return ()

    def contrasts(self, base: RunSpec) -> list[Contrast]:
        """Returns the tested main effects and interactions; none where each arm is one test."""
        return []

    def fraction(self, base: RunSpec) -> Fraction | None:
        """Returns the aliasing structure of a fractional factorial; None for other designs."""
        return None

    def notes(self, base: RunSpec) -> list[str]:
        """Returns remarks on the design for the readers of the plan."""
        return []


class _LeaveOneOut(DesignConfig):
    """Switches off one part of the baseline in each arm; `components.py` lists the parts."""

    name: Literal["leave_one_out"] = "leave_one_out"
    only: tuple[str, ...] | None = setting(None, description="paths of the parts to leave out; None: all")
    keep: tuple[str, ...] = setting((), description="paths of parts that stay")

    def arms(self, base: RunSpec) -> list[Arm]:
        found = {component.path: component for component in components(base)}
        for field, paths in (("only", self.only or ()), ("keep", self.keep)):
            for path in paths:
                if path not in found:
                    raise SettingError(f"design.{field}: {path} is no part that is on here; on: {', '.join(found)}")
        chosen = [c for path, c in found.items() if path in (self.only or found) and path not in self.keep]
        labels = short_names([component.path for component in chosen])
        return [
            Arm(
                name=f"without {c.part.label or labels[c.path]}",
                question=f"What does {c.part.what} give?",
                overrides=dict(c.overrides),
            )
            for c in chosen
        ]


class _OneAtATime(DesignConfig):
    """Changes one factor in each arm, to each of its levels."""

    name: Literal["one_at_a_time"] = "one_at_a_time"
    factors: dict[str, tuple[Scalar, ...]] = setting(min_length=1, description="{path: levels}")

    def arms(self, base: RunSpec) -> list[Arm]:
        labels, levels = short_names(list(self.factors)), _other_levels(base, self.factors)
        pairs = [(path, level) for path, values in levels.items() for level in values]
        return [Arm(name=f"{labels[path]}={_text(level)}", overrides={path: level}) for path, level in pairs]


class _Sweep(DesignConfig):
    """Sets one number to several values."""

    name: Literal["sweep"] = "sweep"
    path: str
    values: tuple[Scalar, ...] = setting(min_length=1)

    def arms(self, base: RunSpec) -> list[Arm]:
        return _OneAtATime(factors={self.path: self.values}).arms(base)


class Factorial(DesignConfig):
    """Combines all levels of all factors, for main effects and two-factor interactions."""

    name: Literal["factorial"] = "factorial"
    factors: dict[str, tuple[Scalar, ...]] = setting(min_length=2, description="{path: levels}")

    def arms(self, base: RunSpec) -> list[Arm]:
        levels = _other_levels(base, self.factors)
        num_cells = math.prod(1 + len(values) for values in levels.values())
        if num_cells > MAX_CELLS:
            raise SettingError(f"design.factors make {num_cells} cells, more than {MAX_CELLS}; take name=fractional")
        cells = itertools.product(*(range(1 + len(values)) for values in levels.values()))
        return [_cell_arm(levels, cell) for cell in cells if any(cell)]

    def factors_of(self, base: RunSpec) -> tuple[str, ...]:
        return tuple(self.factors)

    def contrasts(self, base: RunSpec) -> list[Contrast]:
        return full_contrasts({path: 1 + len(values) for path, values in _other_levels(base, self.factors).items()})


class _Fractional(DesignConfig):
    """A two-level fractional factorial: fewer cells, but some effects cannot be separated."""

    name: Literal["fractional"] = "fractional"
    factors: dict[str, Scalar] = setting(min_length=3, max_length=8, description="{path: its other level}")
    resolution: Literal[3, 4, 5] = setting(4, description="3: main effects mix with interactions; 5: no effects mix")
    generators: dict[str, tuple[str, ...]] | None = setting(
        None, description="{path: the paths whose product it follows}; None: the fewest cells of the resolution"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.generators is not None:
            try:
                found = Fraction(tuple(self.factors), self.generators).resolution
            except ValueError as error:
                raise SettingError(f"design.{error}") from None
            if found is not None and found < self.resolution:
                raise SettingError(f"design.generators have resolution {found}, less than resolution={self.resolution}")
        return self

    def fraction(self, base: RunSpec) -> Fraction:
        if self.generators is not None:
            return Fraction(tuple(self.factors), self.generators)
        return smallest_fraction(tuple(self.factors), self.resolution)

    def arms(self, base: RunSpec) -> list[Arm]:
        levels = _other_levels(base, {path: (level,) for path, level in self.factors.items()})
        cells = [tuple(int(sign > 0) for sign in row) for row in self.fraction(base).signs]
        return [_cell_arm(levels, cell) for cell in cells if any(cell)]

    def factors_of(self, base: RunSpec) -> tuple[str, ...]:
        return tuple(self.factors)

    def contrasts(self, base: RunSpec) -> list[Contrast]:
        return fraction_contrasts(self.fraction(base))

    def notes(self, base: RunSpec) -> list[str]:
        fraction = self.fraction(base)
        if fraction.resolution is None:
            return ["no smaller design has this resolution: the factorial is run in full"]
        labels = short_names(list(self.factors))
        words = [" x ".join(labels[path] for path in self.factors if path in word) for word in fraction.words]
        return [
            f"fractional factorial of resolution {fraction.resolution}: {len(fraction.signs)} of"
            f" {2 ** len(self.factors)} cells; constant products: {'; '.join(words)}"
        ]


def _other_levels(base: RunSpec, factors: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """Returns the levels of each factor without the baseline's level."""
    flat, levels = base.as_flat_dict(), {}
    for path, values in factors.items():
        base.with_overrides({path: values[0]})
        levels[path] = [value for value in values if not same(value, flat.get(path))]
        if not levels[path]:
            raise SettingError(f"design: {path} has no level but the baseline's {flat.get(path)!r}; give another one")
    return levels


def _cell_arm(levels: Mapping[str, Sequence[Any]], cell: Cell) -> Arm:
    labels = short_names(list(levels))
    overrides = {path: levels[path][at - 1] for path, at in zip(levels, cell, strict=True) if at}
    name = ", ".join(f"{labels[path]}={_text(value)}" for path, value in overrides.items())
    return Arm(name=name, overrides=overrides, cell=cell)


def _text(level: Any) -> str:
    """Returns a level as YAML writes it, without slashes, because names of arms are parts of paths."""
    words = {None: "null", True: "true", False: "false"}
    text = (
        words[level]
        if level is None or isinstance(level, bool)
        else f"{level:g}"
        if isinstance(level, float)
        else str(level)
    )
    return text.replace("/", "-")
