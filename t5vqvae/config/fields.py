"""The fields of config classes: the types that an annotation is made of, and the class of a section."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel


def leaf_types(annotation: Any) -> list[Any]:
    """Returns the plain types that an annotation is made of: a union's members, without `Annotated`."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return leaf_types(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [leaf for part in get_args(annotation) for leaf in leaf_types(part)]
    return [annotation]


def section_of(fields: type[BaseModel], name: str, values: object) -> type[BaseModel] | None:
    """Returns the config class of field `name`; of a family, the variant that `values["name"]` selects."""
    info = fields.model_fields.get(name)
    if info is None:
        return None
    candidates = [t for t in leaf_types(info.annotation) if isinstance(t, type) and issubclass(t, BaseModel)]
    if len(candidates) > 1 and isinstance(values, Mapping):
        named = [t for t in candidates if t.model_fields["name"].default == values.get("name")]
        return (named or candidates)[0]
    return candidates[0] if candidates else None
