"""Keeps the settings of every spec in the user's cache folder, to refuse misspelt ones without importing torch.

The variants of a spec are known only once their modules, and torch with them, are imported, which takes seconds. The
file's name holds a hash over the metadata of the source files: after a change of the source its index is not found.
Where it is missing, damaged or cannot be written, nothing is reported, and the specs themselves check the settings.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple
from pathlib import Path
from typing import Any

from t5vqvae.config.describe import Setting
from t5vqvae.config.paths import unknown_setting
from t5vqvae.files import read_json, write_json

KEPT = 10
"""Index files that stay in the cache folder, the newest; every checkout of the source has its own."""

Index = Mapping[str, Sequence[Setting]]
"""The settings of each spec, by the spec's name."""


def index_file(packages: Iterable[Path]) -> Path | None:
    """Returns where the index of the present source lies; None for a user without a home folder.

    Args:
        packages: The folders of the source.
    """
    digest = hashlib.sha256()
    for package in packages:
        for file in sorted(package.rglob("*.py")):
            try:
                found = file.stat()
            except OSError:  # an editor's lock file is a dangling link; any file may go away meanwhile
                continue
            digest.update(f"{file.relative_to(package)} {found.st_size} {found.st_mtime_ns}\n".encode())
    try:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        return None
    return Path(cache) / "t5vqvae" / f"settings-{digest.hexdigest()[:16]}.json"


def read_index(file: Path) -> Index:
    """Returns the settings of every spec that the file lists; none if it is missing or damaged.

    A damaged file that still reads as an index would refuse a right setting: its checksum finds it.
    """
    try:
        return {spec: [Setting(*row) for row in rows] for spec, rows in read_json(file)["specs"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def write_index(file: Path, index: Index) -> None:
    """Writes the settings of every spec, and deletes the oldest files of other sources; skips what it may not write."""
    with suppress(OSError):
        specs = {spec: [astuple(setting) for setting in settings] for spec, settings in index.items()}
        write_json(file, {"specs": specs})
        others = sorted(file.parent.glob("settings-*.json"), key=lambda path: path.stat().st_mtime_ns)
        for old in others[:-KEPT]:
            old.unlink()


def unknown_settings(
    settings: Iterable[Setting], overrides: Mapping[str, Any], values: Mapping[str, Any] | None = None
) -> list[str]:
    """Returns an error for every override that is a setting of no variant, in the words of the spec itself.

    An override of a spec's part that the index cannot judge (below a plain setting, or of an unknown variant) gives no
    error here.

    Args:
        settings: Of one spec.
        overrides: `{dotted.path: value}`.
        values: The flat values below the overrides, which may choose variants.
    """
    settings = list(settings)
    families = {setting.variant.partition("=")[0] for setting in settings if setting.variant}
    chosen = {setting.path: setting.default for setting in settings if setting.path.removesuffix(".name") in families}
    chosen |= {path: value for path, value in {**(values or {}), **overrides}.items() if path in chosen}
    variants = {f"{path.removesuffix('.name')}={name}" for path, name in chosen.items()}
    anywhere = _components(settings)
    here = _components(setting for setting in settings if setting.variant is None or setting.variant in variants)
    undecided = families - {setting.variant.partition("=")[0] for setting in settings if setting.variant in variants}
    errors = []
    for path in overrides:
        depth = _first_unknown(path, anywhere)
        parent = ".".join(path.split(".")[: depth or 0])
        if depth is not None and not any(f"{parent}.".startswith(f"{family}.") for family in undecided):
            errors.append(unknown_setting(path, depth, here[parent]))
    return errors


def _components(settings: Iterable[Setting]) -> dict[str, set[str]]:
    """Returns the components that can follow each section's path; the whole spec is the section ''."""
    found: dict[str, set[str]] = defaultdict(set)
    for setting in settings:
        parts = setting.path.split(".")
        for depth, part in enumerate(parts):
            found[".".join(parts[:depth])].add(part)
    return found


def _first_unknown(path: str, components: Mapping[str, set[str]]) -> int | None:
    """Returns the place of a path's first component that no section has; None if there is none, or no section."""
    parts = path.split(".")
    for depth, part in enumerate(parts):
        section = ".".join(parts[:depth])
        if section not in components:
            return None
        if part not in components[section]:
            return depth
    return None
