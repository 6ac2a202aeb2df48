"""Dotted paths of settings."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from t5vqvae.errors import SettingError, did_you_mean


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested mappings as `{dotted.path: leaf}`.

    Raises:
        SettingError: If two keys name one path, as in `{train.max_steps: 3, train: {max_steps: 4}}`.
    """
    flat: dict[str, Any] = {}
    for key, value in values.items():
        path = f"{prefix}{key}"
        found = flatten(value, f"{path}.") if isinstance(value, Mapping) and value else {path: value}
        for twice in found.keys() & flat:
            raise SettingError(f"{twice} stands twice, as {flat[twice]!r} and as {found[twice]!r}; keep one")
        flat |= found
    return flat


def absolute_path(place: str) -> str:
    """Returns a path of this machine in full: it then means the same in every process."""
    return os.path.abspath(os.path.expanduser(place)) if place else place


def absolute_address(place: str) -> str:
    """Returns a local folder in full, and an address such as `s3://bucket/folder` as it is."""
    return place if "://" in place else absolute_path(place)


def absolute_folder(place: str) -> str:
    """Returns a local folder in full, and a name on a hub as it is: what starts with neither `.`, `~` nor `/`, and is
    no folder here."""
    is_local = place.startswith((".", "~", os.sep)) or os.path.isdir(place)
    return absolute_path(place) if is_local else place


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """Returns each path's last component (of a variant's name, its family), or the whole path where two end alike."""
    leaves = [path.removesuffix(".name").rsplit(".", 1)[-1] for path in paths]
    return {path: leaf if leaves.count(leaf) == 1 else path for path, leaf in zip(paths, leaves, strict=True)}


def unknown_setting(path: str, depth: int, known: Iterable[str], elsewhere: Sequence[str] = ()) -> str:
    """Returns the error of a path that no config has.

    Args:
        path: As the user wrote it.
        depth: Place of its unknown component, from 0.
        known: The components that could stand there.
        elsewhere: Names of other variants of the section that have such a component.
    """
    parts = path.split(".")
    if elsewhere and depth:
        section = ".".join(parts[:depth])
        some = [*elsewhere[:3], "others"] if len(elsewhere) > 4 else list(elsewhere)
        others = f"{', '.join(some[:-1])} and {some[-1]} have" if len(some) > 1 else f"{some[0]} has"
        own, way_out = ", ".join(sorted(known)), f"set {section}.name={elsewhere[0]}, for one"
        return f"{path} is no setting of this {section} (known: {own}); {others} it: {way_out}"
    return f"{path} is unknown{did_you_mean(parts[depth], known, parts[:depth])}"
