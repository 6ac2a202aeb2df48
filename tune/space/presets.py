"""Expands `type: suggested` in a study file into the ranges that variants declare for themselves.

    quantizer: {type: suggested, variants: [ema, vq]}

becomes a choice of `quantizer.name` and every range that the config of `ema` or `vq` declares as its `space`, each
under the condition that its variant is chosen. A single variant needs no choice and no condition.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from t5vqvae.config import Overrides
from t5vqvae.errors import SettingError, did_you_mean
from t5vqvae.quantizers import QuantizerConfig

FAMILIES: dict[str, Any] = {"quantizer": QuantizerConfig}
"""The sections of a run spec whose variants declare a `space`."""

_Plain = dict[str, Any]
"""Plain values as YAML has them: a range or a list of ranges by path."""


def expand(values: Mapping[str, Any]) -> _Plain:
    """Returns the plain values of a space with every `{type: suggested}` replaced by ranges.

    A range that the file gives for a path replaces the one that a variant declares.

    Raises:
        SettingError: If a section has no variants with a `space`, or a variant is unknown.
    """
    expanded: _Plain = {}
    for path, given in values.items():
        if isinstance(given, Mapping) and given.get("type") == "suggested":
            expanded |= {key: ranges for key, ranges in _expand(path, given).items() if key not in values}
        else:
            expanded[path] = given
    return expanded


def _expand(section: str, given: Mapping[str, Any]) -> _Plain:
    if section not in FAMILIES:
        raise SettingError(f"space.{section}: only {', '.join(FAMILIES)} can have type suggested; write a range")
    variants, known = given.get("variants"), FAMILIES[section].variants
    if not isinstance(variants, list) or not variants or set(given) - {"type", "variants"}:
        raise SettingError(
            f"space.{section} of type suggested takes variants alone, a list of {', '.join(known)}; write that list"
        )
    for name in variants:
        if not isinstance(name, str) or name not in known:
            raise SettingError(f"space.{section}.variants={name!r} is unknown{did_you_mean(name, known)}")
    expanded: _Plain = {}
    if len(variants) > 1:
        expanded[f"{section}.name"] = {"type": "choice", "choices": variants}
    for name in variants:
        condition = {f"{section}.name": name} if len(variants) > 1 else {}
        for setting, range_ in known[name].space.items():
            expanded.setdefault(f"{section}.{setting}", []).append(_conditioned(section, range_, condition))
    return expanded


def _conditioned(section: str, range_: Mapping[str, Any], condition: Overrides) -> _Plain:
    """Returns a variant's range with `condition` added to its conditions, whose paths are relative to the section."""
    own = {f"{section}.{setting}": value for setting, value in range_.get("when", {}).items()}
    when = {**condition, **own}
    return {**range_, "when": when} if when else dict(range_)
