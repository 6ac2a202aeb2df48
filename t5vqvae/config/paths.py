"""Dotted paths of settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from t5vqvae.errors import did_you_mean


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested mappings as `{dotted.path: leaf}`."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{path}.")
        else:
            flat[path] = value
    return flat


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """Returns each path's last component (of a variant's name, its family), or the whole path where two end alike."""
    leaves = [path.removesuffix(".name").rsplit(".", 1)[-1] for path in paths]
    return {path: leaf if leaves.count(leaf) == 1 else path for path, leaf in zip(paths, leaves, strict=True)}


def unknown_setting(path: str, depth: int, known: Iterable[str]) -> str:
    """Returns the error of a path that no config has.

    Args:
        path: As the user wrote it.
        depth: Place of its unknown component, from 0.
        known: The components that could stand there.
    """
    parts = path.split(".")
    return f"{path} is unknown{did_you_mean(parts[depth], known, parts[:depth])}"
