"""Moves the aliases of a registered model: a new version is challenger, and champion where the gate lets it.

A lock in the state folder keeps two promotions of one machine apart. Promotions of two machines are not locked out:
the alias is read again before it is moved and after, and the one that lost reports it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from t5vqvae.errors import SettingError

if TYPE_CHECKING:
    from t5vqvae.tracking.server.model_registry import Registry, Version

CHAMPION, CHALLENGER = "champion", "challenger"
BEFORE = "champion_before"
"""The tag of a version that became champion: the version that was champion before it."""
ROLLED_BACK = "rolled_back"
"""The tag of a version that lost an alias to the one before it: "true" until it wins one again."""


@dataclass(frozen=True)
class Award:
    """The alias that a version has now, and what was in its way, one sentence each."""

    alias: str
    reasons: tuple[str, ...] = ()


def award(registry: Registry, alias: str, version: Version, seen: Version | None, passed: bool) -> Award:
    """Gives a version its alias.

    Args:
        registry: The registered model.
        alias: The alias to win, `champion` as a rule.
        version: The version.
        seen: The version that held the alias when this one was compared with it; None: no version did.
        passed: Whether the version may take its place.
    """
    if same(seen, version):
        return Award(alias)
    if not passed:
        return _challenger(registry, version)
    present = registry.by_alias(alias)
    if not same(present, seen):
        return _challenger(registry, version, _moved(alias, seen, present))
    registry.tag(version.version, {BEFORE: seen.version if seen is not None else "none", ROLLED_BACK: "false"})
    registry.point(alias, version.version)
    holder = registry.by_alias(alias)
    if not same(holder, version):
        return _challenger(registry, version, _moved(alias, version, holder))
    if same(registry.by_alias(CHALLENGER), version):
        registry.point(CHALLENGER, None)
    return Award(alias)


def _challenger(registry: Registry, version: Version, *reasons: str) -> Award:
    registry.point(CHALLENGER, version.version)
    return Award(CHALLENGER, reasons)


def roll_back(registry: Registry, alias: str = CHAMPION) -> tuple[Version, str]:
    """Gives an alias back to the version before; returns the one that loses it, and the number of the other.

    Raises:
        SettingError: If there is no such alias, or no version before.
    """
    present = registry.by_alias(alias)
    if present is None:
        raise SettingError(f"models:/{registry.name} has no alias {alias}; `t5vqvae promote STUDY` gives it one")
    before = present.tags.get(BEFORE, "none")
    if before not in registry.versions():
        raise SettingError(
            f"version {present.version} of {registry.name} holds {alias}, and no version is known to have held it"
            " before; set the alias in MLflow"
        )
    registry.point(alias, before)
    registry.tag(present.version, {ROLLED_BACK: "true"})
    return present, before


def same(one: Version | None, other: Version | None) -> bool:
    """Returns whether two handles name one version; two that name none are the same."""
    return (None if one is None else one.version) == (None if other is None else other.version)


def _moved(alias: str, seen: Version | None, present: Version | None) -> str:
    names = ["no version" if each is None else f"version {each.version}" for each in (seen, present)]
    return f"another promotion moved {alias} from {names[0]} to {names[1]} meanwhile, and that one stays; promote again"
