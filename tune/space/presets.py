"""The search spaces that variants suggest for themselves, expanded where a study file asks for them.

    quantizer: {type: suggested, variants: [ema, vq]}

stands for a choice of `quantizer.name` and, under the condition of that name, every range that the variant's config
declares as its `space`. With one variant there is nothing to choose and no condition.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from t5vqvae.errors import SettingError, did_you_mean
from t5vqvae.quantizers import QuantizerConfig

FAMILIES: dict[str, Any] = {"quantizer": QuantizerConfig}
"""The sections of a run spec whose variants declare a `space`."""


def expand(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a space's plain values with `{type: suggested}` replaced; what the file says of a path itself wins.

    Raises:
        SettingError: If a section has no such variants.
    """
    expanded: dict[str, Any] = {}
    for path, given in values.items():
        if isinstance(given, Mapping) and given.get("type") == "suggested":
            expanded |= {key: ranges for key, ranges in _expand(path, given).items() if key not in values}
        else:
            expanded[path] = given
    return expanded


def _expand(section: str, given: Mapping[str, Any]) -> dict[str, Any]:
    if section not in FAMILIES:
        raise SettingError(f"space.{section}: only {', '.join(FAMILIES)} can have type suggested; write a range")
    variants, known = given.get("variants"), FAMILIES[section].variants
    if not isinstance(variants, list) or not variants or set(given) - {"type", "variants"}:
        raise SettingError(f"space.{section} needs variants, a list of {', '.join(known)}, and nothing else")
    for name in variants:
        if name not in known:
            raise SettingError(f"space.{section}.variants={name!r} is unknown{did_you_mean(name, known)}")
    expanded: dict[str, Any] = {}
    if len(variants) > 1:
        expanded[f"{section}.name"] = {"type": "choice", "choices": variants}
    for name in variants:
        condition = {f"{section}.name": name} if len(variants) > 1 else {}
        for setting, range_ in known[name].space.items():
            expanded.setdefault(f"{section}.{setting}", []).append(_conditioned(section, range_, condition))
    return expanded


def _conditioned(section: str, range_: Mapping[str, Any], condition: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a variant's range with its own conditions, relative to the section, and `condition`."""
    own = {f"{section}.{setting}": value for setting, value in range_.get("when", {}).items()}
    when = {**condition, **own}
    return {**range_, "when": when} if when else dict(range_)
