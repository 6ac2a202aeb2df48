"""Dotted paths of settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


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
