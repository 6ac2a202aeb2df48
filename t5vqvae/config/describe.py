"""Describes every setting of a spec as text: path, default, range and meaning, read from its declaration.

Nothing is listed by hand: a new field or variant appears by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from t5vqvae.config import Config, Variant
from t5vqvae.config.fields import leaf_types

SIGNS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}


@dataclass(frozen=True)
class Setting:
    """One setting of a spec.

    Attributes:
        path: Its dotted path, as overrides use it.
        variant: `quantizer=ema`: the setting exists only for this variant; None: always.
        default: Its default as YAML writes it; empty without a default.
        rule: Its range or its choices; empty where its type is the only limit.
        doc: Its meaning; may be empty.
    """

    path: str
    variant: str | None
    default: str
    rule: str
    doc: str

    def __str__(self) -> str:
        only = f" [{self.variant}]" if self.variant else ""
        rule = f"  ({self.rule})" if self.rule else ""
        return f"{self.path}={self.default}{only}{rule}{f'  {self.doc}' if self.doc else ''}"


def settings(config: type[BaseModel], prefix: str = "", variant: str | None = None) -> Iterator[Setting]:
    """Yields the settings of a config class, sections and variants included, in the order of declaration."""
    for name, info in config.model_fields.items():
        path = f"{prefix}{name}"
        sections = _sections(info.annotation)
        if sections and info.default is None:
            yield Setting(path, variant, "null", "null, or the settings below", info.description or "")
        if not sections:
            yield Setting(path, variant, _default(info), _rule(info), info.description or "")
        elif issubclass(sections[0], Variant):
            yield from _family(sections, path, info)
        else:
            yield from settings(sections[0], f"{path}.", variant)


def _family(variants: list[type[BaseModel]], path: str, info: FieldInfo) -> Iterator[Setting]:
    """Yields the `name` of a family once, then every variant's own settings."""
    names = [variant.model_fields["name"].default for variant in variants]
    chosen = info.get_default(call_default_factory=True)
    yield Setting(f"{path}.name", None, getattr(chosen, "name", ""), " | ".join(names), "picks the variant")
    for name, variant in zip(names, variants, strict=True):
        for setting in settings(variant, f"{path}.", f"{path}={name}"):
            if setting.path != f"{path}.name":
                yield setting


def _sections(annotation: Any) -> list[type[BaseModel]]:
    """Returns the configs behind a field: none for a plain value, several for a family of variants."""
    return [leaf for leaf in leaf_types(annotation) if isinstance(leaf, type) and issubclass(leaf, Config)]


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return ""
    value = info.get_default(call_default_factory=True)
    if value is None:
        return "null"
    if isinstance(value, tuple):
        return str(list(value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _rule(info: FieldInfo) -> str:
    """Returns the range of a number or the choices of a word."""
    bounds = [f"{SIGNS[key]} {getattr(m, key):g}" for m in info.metadata for key in SIGNS if hasattr(m, key)]
    if bounds:
        return " and ".join(bounds)
    choices = re.findall(r"'([^']*)'", str(info.annotation)) if "Literal" in str(info.annotation) else []
    return " | ".join(choices)
