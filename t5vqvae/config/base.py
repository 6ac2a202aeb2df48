"""Defines configs, variants and the one override language.

A *config* is one section of a spec: frozen, and strict about its fields. A *variant* is a config that its `name`
selects from a family (quantizers, corpora, models). To add a variant, subclass the family's base, give it
`name: Literal["mine"] = "mine"`, and import the file in the family's package. Only `{dotted.path: value}` overrides
change settings (`with_overrides`).
"""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from t5vqvae.config.paths import absolute_address, absolute_folder, absolute_path, flatten, unknown_setting
from t5vqvae.errors import SettingError

Overrides = Mapping[str, Any]
"""Values by dotted path."""

_OWN_FIELD = re.compile(r"\w+=\S+ must be (a number|at most)")
MAX_INTEGER = 2**53
"""Largest whole number of a setting: from here on, a float no longer holds every one."""
LocalPath = Annotated[str, AfterValidator(absolute_path)]
"""A file or folder of this machine; a relative one is kept in full, from the folder where it was said."""
Address = Annotated[str, AfterValidator(absolute_address)]
"""A local folder, kept in full, or an address such as `s3://bucket/folder`."""
LocalOrHub = Annotated[str, AfterValidator(absolute_folder)]
"""A local folder, kept in full, or a name on a hub."""


def setting(default: Any = ..., *, result: bool = True, **kwargs: Any) -> Any:
    """Declares a field of a config.

    Args:
        default: Default value; without one, the field is required.
        result: False for a setting that cannot change a result (number of workers, progress bars): the run id ignores
            it.
        kwargs: Arguments of `pydantic.Field`: `gt`, `ge`, `lt`, `le`, `description`.
    """
    return Field(default, json_schema_extra={"result": result}, **kwargs)


class Config(BaseModel):
    """A section of a spec: frozen, and it refuses unknown fields."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, protected_namespaces=()
    )

    @model_validator(mode="before")
    @classmethod
    def _plain_numbers(cls, values: Any) -> Any:
        """Refuses true and false for a number, and numbers that no machine counts to."""
        for name, value in values.items() if isinstance(values, Mapping) else ():
            types = leaf_types(cls.model_fields[name].annotation) if name in cls.model_fields else []
            if isinstance(value, bool) and {int, float} & set(types) and bool not in types:
                raise ValueError(f"{name}={str(value).lower()} must be a number")
            if isinstance(value, int) and abs(value) > MAX_INTEGER:
                raise ValueError(f"{name}={value} must be at most {MAX_INTEGER}")
        return values

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Returns the config of plain values (from YAML or JSON).

        Raises:
            SettingError: If a setting is unknown or out of range; one line a setting.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise SettingError("\n".join(_explain(cls, detail) for detail in _deepest(error.errors()))) from None

    def as_dict(self, only_results: bool = False) -> dict[str, Any]:
        """Returns plain nested values; the inverse of `parse`.

        Args:
            only_results: Whether to leave out the settings that cannot change a result.
        """
        values = self.model_dump(mode="json")
        return _without_neutral(self, values) if only_results else values

    def as_flat_dict(self) -> dict[str, Any]:
        """Returns `{dotted.path: value}` of all settings."""
        return flatten(self.as_dict())

    def with_overrides(self, overrides: Overrides) -> Self:
        """Returns a copy with `{dotted.path: value}` applied.

        A change of a variant's `name` keeps the non-default settings that both variants have and drops the others:
        `quantizer.name=none` over an `ema` base drops the base's decay without an error.

        Raises:
            SettingError: If a path is unknown or a value out of range.
        """
        return type(self).parse(apply_overrides(type(self), self.as_dict(), overrides))


class Variant(Config):
    """A config that its `name` selects from a family; the direct subclasses of `Variant` are the families."""

    variants: ClassVar[dict[str, type[Self]]]
    name: str

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if Variant in cls.__bases__:
            cls.variants = {}
        elif get_origin(cls.model_fields["name"].annotation) is Literal:
            cls.variants[cls.model_fields["name"].default] = cls  # type: ignore[assignment]

    @classmethod
    def any(cls) -> Any:
        """Returns a field type that accepts every variant registered so far in the family."""
        variants = tuple(cls.variants.values())
        if len(variants) == 1:
            return SerializeAsAny[variants[0]]  # type: ignore[misc, valid-type]
        return SerializeAsAny[Annotated[Union[variants], Field(discriminator="name")]]  # type: ignore  # noqa: UP007


def apply_overrides(config: type[Config], values: dict[str, Any], overrides: Overrides) -> dict[str, Any]:
    """Returns nested values of a config with overrides applied; see `Config.with_overrides`."""
    values = _copy(values)
    for path in sorted(overrides, key=lambda path: not path.endswith(".name")):
        _assign(config, values, path, overrides[path])
    return values


def _assign(config: type[Config], values: dict[str, Any], path: str, value: object) -> None:
    """Sets one path in nested `values`, and switches the variant if the path is a variant's name."""
    *parents, leaf = path.split(".")
    here: Any = values
    fields: type[BaseModel] | None = config
    for depth, parent in enumerate(parents):
        known = fields.model_fields if fields else {}
        fields = _section(fields, parent, here.get(parent)) if fields else None
        if here.get(parent) is None and fields is not None:
            here[parent] = {}
        here = here.get(parent)
        if not isinstance(here, dict):
            raise SettingError(unknown_setting(path, depth, known))
    if leaf == "name" and fields is not None and issubclass(fields, Variant) and value != here.get("name"):
        kept = _shared_settings(fields, here, value)
        here.clear()
        here.update(kept)
    here[leaf] = value


def _shared_settings(old: type[Variant], values: Mapping[str, Any], name: Any) -> dict[str, Any]:
    """Returns the non-default values of the variant `old` that the variant called `name` has, too."""
    new = old.variants.get(name)
    if new is None:
        return {}
    known = set(new.model_fields) & set(old.model_fields) - {"name"}
    return {key: values[key] for key in known if key in values and values[key] != old.model_fields[key].default}


def _section(fields: type[BaseModel], name: str, values: object) -> type[BaseModel] | None:
    """Returns the config class of field `name`; of a family, the variant that `values["name"]` selects."""
    info = fields.model_fields.get(name)
    if info is None:
        return None
    candidates = [t for t in leaf_types(info.annotation) if isinstance(t, type) and issubclass(t, BaseModel)]
    if len(candidates) > 1 and isinstance(values, Mapping):
        named = [t for t in candidates if t.model_fields["name"].default == values.get("name")]
        return (named or candidates)[0]
    return candidates[0] if candidates else None


def leaf_types(annotation: Any) -> list[Any]:
    """Returns the plain types that an annotation is made of: a union's members, without `Annotated`."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return leaf_types(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [leaf for part in get_args(annotation) for leaf in leaf_types(part)]
    return [annotation]


def _copy(values: Any) -> Any:
    return {key: _copy(value) for key, value in values.items()} if isinstance(values, dict) else values


def _without_neutral(config: BaseModel, values: dict[str, Any]) -> dict[str, Any]:
    """Returns `values` without the settings declared `result=False`, at every depth."""
    kept = {}
    for key, value in values.items():
        extra = type(config).model_fields[key].json_schema_extra
        if isinstance(extra, dict) and extra.get("result") is False:
            continue
        inner = getattr(config, key)
        kept[key] = _without_neutral(inner, value) if isinstance(inner, BaseModel) else value
    return kept


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


def _deepest(details: list[ErrorDetails]) -> list[ErrorDetails]:
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


def _explain(config: type[Config], detail: ErrorDetails) -> str:
    """Returns one pydantic error as one line: setting, value, rule."""
    names, fields = _walk(config, detail["loc"])
    path = ".".join(names)
    kind, value = detail["type"], detail["input"]
    info = fields.model_fields.get(names[-1]) if fields and names else None
    if kind == "extra_forbidden":
        return unknown_setting(path, len(names) - 1, fields.model_fields if fields else ())
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
    section = _section(fields, path.rpartition(".")[2], value) if fields else None
    return f", such as {', '.join(f'{path}.{name}' for name in list(section.model_fields)[:3])}" if section else ""


def _walk(config: type[Config], location: tuple[int | str, ...]) -> tuple[list[str], type[BaseModel] | None]:
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
