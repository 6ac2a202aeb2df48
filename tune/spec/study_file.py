"""Reads study files and the words of a command line into the plain values of a study.

Order: defaults < study file (YAML) < words. Words whose first component is a field of the study's spec set the study;
all others set the base run.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from t5vqvae.config import Config, apply_overrides, flatten, parse_words, read_yaml, unknown_setting
from t5vqvae.errors import SettingError, did_you_mean
from t5vqvae.files import CHECKSUM

STUDIES = Path(__file__).parents[1] / "studies"
"""The shipped searches."""
ABLATIONS = STUDIES / "ablations"
"""The shipped ablations."""

KEPT = (CHECKSUM, "resolved", "sources", "evidence")
"""The keys of a started study's `study.json` next to the fields of its spec; see `kept_study.py`."""


def studies_in(folder: Path) -> dict[str, Path]:
    """Returns the study files of a folder by their names."""
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))}


def read_study(path_or_name: str | Path, folder: Path) -> dict[str, Any]:
    """Returns the plain values of a study file.

    Args:
        path_or_name: A YAML file, or the name of one in `folder`.
        folder: Holds the shipped studies.

    Raises:
        SettingError: If there is no such file, or it is no YAML mapping.
    """
    path = _find(str(path_or_name), folder)
    values = read_yaml(path, "name, base, space, objectives, ...")
    return {"name": path.stem, **{key: value for key, value in values.items() if key not in KEPT}}


def apply_words(values: Mapping[str, Any], words: list[str], study: type[Config], run: type[Config]) -> dict[str, Any]:
    """Returns a study's plain values with `dotted.path=value` words applied.

    Args:
        values: As `read_study` returns them.
        words: The command line.
        study: The spec of the study, whose fields decide what a word sets.
        run: The spec of a run, of which `base` is.

    Raises:
        SettingError: If a word is no override or names nothing.
    """
    values, parts = dict(values), split_words(words, study.model_fields, run.model_fields)
    if "space" in parts.study:
        values["space"] = parts.study.pop("space")  # the whole first, then the ranges in it
    for section in ("space", "base"):
        if not isinstance(values.get(section) or {}, Mapping):
            raise SettingError(f"{section}={values[section]!r} must be a mapping of dotted paths")
    for path, value in parts.space.items():
        values["space"] = _set_range(values.get("space") or {}, path, value)
    if parts.base:
        asked = values.get("baseline")
        is_named = any(asked.values()) if isinstance(asked, Mapping) else bool(asked)
        is_known = not is_named and not any(path.split(".")[0] == "baseline" for path in parts.study)
        values["base"] = _set_base(run if is_known else None, values.get("base") or {}, parts.base)
    return apply_overrides(study, values, parts.study)


@dataclass(frozen=True)
class _WordParts:
    """The overrides of a command line: of a study's space, of its other settings, and of its base run."""

    space: dict[str, Any] = field(default_factory=dict)
    study: dict[str, Any] = field(default_factory=dict)
    base: dict[str, Any] = field(default_factory=dict)

    def set_base(self, path: str, value: Any) -> None:
        """Sets a setting of the base run; refuses another value for one that has been set."""
        if path in self.base and self.base[path] != value:
            raise SettingError(f"{path} stands twice, as {self.base[path]!r} and as {value!r}; keep one")
        self.base[path] = value


def split_words(words: list[str], study: Collection[str], run: Collection[str]) -> _WordParts:
    """Returns the overrides of a command line by what they set.

    Args:
        words: The command line.
        study: The fields of the study's spec.
        run: The fields of a run's spec.

    Raises:
        SettingError: If a word is no override, or its first component is a field of neither.
    """
    parts = _WordParts()
    for path, value in parse_words(words).items():
        first, _, rest = path.partition(".")
        if first == "space" and rest:
            parts.space[rest] = value
        elif first == "base" and rest:
            parts.set_base(rest, value)
        elif first == "base" and isinstance(value, Mapping):
            for inner, inner_value in value.items():
                parts.set_base(inner, inner_value)
        elif first in study:
            parts.study[path] = value
        elif first in run:
            parts.set_base(path, value)
        else:
            raise SettingError(unknown_setting(path, 0, [*study, *run]))
    return parts


def _set_range(space: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Sets a whole range (`space.PATH`, null drops it) or one field of it (`space.PATH.FIELD`)."""
    owner, _, field = path.rpartition(".")
    if path in space or owner not in space:
        return {**space, path: value}
    if not isinstance(space[owner], Mapping):
        raise SettingError(f"space.{path}: {owner} has several ranges; write all of them anew as space.{owner}=[...]")
    return {**space, owner: {**space[owner], field: value}}


def _set_base(run: type[Config] | None, base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Returns flat `base` with overrides on top, without settings that a newly chosen variant does not have.

    Args:
        run: The spec of a run, on whose defaults the base stands; None: it stands on another study's model, of which
            nothing is known here.
        base: The study's.
        overrides: Of the command line; a value may be a whole section.
    """
    base, paths = flatten(base), [path for name in overrides for path in flatten({name: overrides[name]})]
    if run is None:
        given = {path: value for name in overrides for path, value in flatten({name: overrides[name]}).items()}
        new = [path for path in given if path.endswith(".name") and given[path] != base.get(path)]
        other = [path.removesuffix("name") for path in new]
        kept = {path: value for path, value in base.items() if not any(map(path.startswith, other))}
        return {**kept, **given}
    resolved = run().with_overrides(base).with_overrides(overrides).as_flat_dict()
    return {path: resolved[path] for path in [*base, *paths] if path in resolved}


def _find(path_or_name: str, folder: Path) -> Path:
    path = Path(path_or_name).expanduser()
    if path.is_file():
        return path
    shipped = studies_in(folder)
    if path_or_name in shipped:
        return shipped[path_or_name]
    raise SettingError(f"there is no study file {path_or_name}{did_you_mean(path.stem, shipped)}")
