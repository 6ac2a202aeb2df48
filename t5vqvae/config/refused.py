"""What is wrong with a refused value, in one line a setting: its path, the value, and the rule."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from t5vqvae.config.fields import leaf_types, section_of
from t5vqvae.config.paths import unknown_setting

_OWN_FIELD = re.compile(r"\w+=\S+ must be (a number|at most)")
_RULES = {
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "string_pattern_mismatch": "must consist of letters, digits, '.', '_' and '-', and begin with a letter or digit",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must have at least {min_length} characters",
    "too_short": "must have at least {min_length} items",
    "scalar": "must be a number, text, true or false",
    "literal_error": "must be one of {expected}",
    "union_tag_invalid": "must be one of {expected_tags}",
}
"""The rule that a value broke, by pydantic's name for it."""
_MAPPING_KINDS = ("model_type", "model_attributes_type", "dict_type")
_TYPE_TAGS = ("bool", "int", "float", "str")


def deepest(details: list[ErrorDetails]) -> list[ErrorDetails]:
    """Returns one error a place: of a union's, the first; of a list and an item in it, the item's.

    What a refused setting would have decided (the direction of an unknown metric) is not called missing.
    """
    refused = {detail["loc"][:-1] for detail in details if detail["type"] == "value_error"} - {()}
    details = [d for d in details if d["type"] != "missing" or d["loc"][:-1] not in refused]
    kept: dict[tuple[int | str, ...], ErrorDetails] = {}
    for detail in details:
        is_union = bool(detail["loc"]) and detail["loc"][-1] in _TYPE_TAGS
        place = detail["loc"][:-1] if is_union else detail["loc"]
        kept.setdefault(place, {**detail, "loc": place, "type": "scalar"} if is_union else detail)
    return [d for place, d in kept.items() if not any(p != place and p[: len(place)] == place for p in kept if place)]


def explain(config: type[BaseModel], detail: ErrorDetails) -> str:
    """Returns one pydantic error as one line: setting, value, rule."""
    names, fields = _walk(config, detail["loc"])
    path = ".".join(names)
    kind, value = detail["type"], detail["input"]
    info = fields.model_fields.get(names[-1]) if fields and names else None
    if kind == "extra_forbidden":
        family: dict[str, type[BaseModel]] = getattr(fields, "variants", {})
        elsewhere = [name for name, variant in family.items() if names[-1] in variant.model_fields]
        return unknown_setting(path, len(names) - 1, fields.model_fields if fields else (), elsewhere)
    if kind == "missing":
        return f"{path} is missing; it has no default"
    if kind == "value_error":
        return _own_words(path, detail["msg"].removeprefix("Value error, "))
    if kind in _MAPPING_KINDS and names:
        return f"{path}={value!r} must be a mapping of settings{_example(path, fields, value)}"
    if kind == "union_tag_not_found":
        return f"{path}.name is missing; it says which {names[-1]}"
    if kind == "union_tag_invalid":
        path, value = f"{path}.name", value.get("name") if isinstance(value, Mapping) else value
    if kind in ("greater_than", "greater_than_equal", "less_than", "less_than_equal") and info is not None:
        return f"{path}={value!r} {_range_rule(info)}"
    message = detail["msg"]
    rule = _RULES.get(kind, f": {message[0].lower()}{message[1:]}").format_map(detail.get("ctx", {}))
    return f"{path}={value!r} {rule}".replace(" : ", ": ")


def _own_words(path: str, message: str) -> str:
    """Returns the message of one of this project's own checks, with the path of its setting in front."""
    if path and _OWN_FIELD.match(message):
        return f"{path}.{message}"
    return f"{path}: {message}" if path and not message.startswith(path) else message


def _example(path: str, fields: type[BaseModel] | None, value: object) -> str:
    section = section_of(fields, path.rpartition(".")[2], value) if fields else None
    return f", such as {', '.join(f'{path}.{name}' for name in list(section.model_fields)[:3])}" if section else ""


def _walk(config: type[BaseModel], location: tuple[int | str, ...]) -> tuple[list[str], type[BaseModel] | None]:
    """Returns the field names in a pydantic location, without union tags, and the class with the last of them."""
    names: list[str] = []
    owner: type[BaseModel] | None = config
    inside: type[BaseModel] | None = config
    parts = list(location)
    while parts:
        part = str(parts.pop(0))
        names.append(part)
        owner = inside
        info = owner.model_fields.get(part) if owner else None
        models = [] if info is None else [t for t in leaf_types(info.annotation) if hasattr(t, "model_fields")]
        inside = models[0] if models else None
        tags = {m.model_fields["name"].default: m for m in models if "name" in m.model_fields}
        if parts and parts[0] in tags:
            inside = tags[parts.pop(0)]
    return names, owner


def _range_rule(info: FieldInfo) -> str:
    """Returns the range of a number field in words, with inclusive or exclusive bounds."""
    bounds = {key: getattr(m, key) for m in info.metadata for key in ("gt", "ge", "lt", "le") if hasattr(m, key)}
    if "gt" in bounds and "lt" in bounds:
        return f"must lie strictly between {bounds['gt']:g} and {bounds['lt']:g}"
    low = (
        [f"more than {bounds['gt']:g}"] if "gt" in bounds else [f"at least {bounds['ge']:g}"] if "ge" in bounds else []
    )
    high = (
        [f"less than {bounds['lt']:g}"] if "lt" in bounds else [f"at most {bounds['le']:g}"] if "le" in bounds else []
    )
    return "must be " + " and ".join(low + high)
