"""Defines configs, variants and the one override language.

A *config* is one section of a spec: frozen, and strict about its fields. A *variant* is a config that its `name`
selects from a family (quantizers, corpora, models). To add a variant, subclass the family's base, give it
`name: Literal["mine"] = "mine"`, and import the file in the family's package. Only `{dotted.path: value}` overrides
change settings (`with_overrides`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, Union, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    model_validator,
)

from t5vqvae.config.fields import leaf_types, section_of
from t5vqvae.config.paths import absolute_address, absolute_folder, absolute_path, flatten, unknown_setting
from t5vqvae.config.refused import deepest, explain
from t5vqvae.errors import SettingError

Overrides = Mapping[str, Any]
"""Values by dotted path."""

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

    is_whole: ClassVar[bool] = False
    """Whether a mapping replaces the section instead of changing the settings in it, because they mean one thing."""

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
            raise SettingError("\n".join(explain(cls, detail) for detail in deepest(error.errors()))) from None

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

        A mapping for a section changes the settings in it, as their paths do. A change of a variant's `name` keeps the
        non-default settings that both variants have and drops the others:
        `quantizer.name=none` over an `ema` base drops the base's decay without an error.

        Raises:
            SettingError: If a path is unknown or a value out of range.
        """
        return type(self).parse(apply_overrides(type(self), self.as_dict(), overrides))

    def allows(self, overrides: Overrides) -> bool:
        """Returns whether `with_overrides` takes these values."""
        try:
            self.with_overrides(overrides)
        except SettingError:
            return False
        return True


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
    flat: dict[str, Any] = {}
    for path, value in (found for given in overrides for found in _in_section(config, values, given, overrides[given])):
        if path in flat and flat[path] != value:
            raise SettingError(f"{path} stands twice, as {flat[path]!r} and as {value!r}; keep one")
        flat[path] = value
    # Names first, because another variant starts anew; then whole values before the settings in them.
    for path in sorted(flat, key=lambda path: (not path.endswith(".name"), path.count("."))):
        _assign(config, values, path, flat[path])
    return values


def _in_section(config: type[Config], values: Mapping[str, Any], path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yields what one override sets, by path: of a section that has values already, the settings in the mapping."""
    section: type[BaseModel] | None = config
    here: Any = values
    for part in path.split("."):
        here = here.get(part) if isinstance(here, Mapping) else None
        section = section_of(section, part, here) if section else None
    if isinstance(value, Mapping) and isinstance(here, Mapping) and section and not getattr(section, "is_whole", False):
        if not value:
            raise SettingError(f"{path}={{}} has no setting; give it one, or leave it out")
        for key in value:
            yield from _in_section(config, values, f"{path}.{key}", value[key])
    else:
        yield path, value


def _assign(config: type[Config], values: dict[str, Any], path: str, value: object) -> None:
    """Sets one path in nested `values`, and switches the variant if the path is a variant's name."""
    *parents, leaf = path.split(".")
    here: Any = values
    fields: type[BaseModel] | None = config
    for depth, parent in enumerate(parents):
        known = fields.model_fields if fields else {}
        fields = section_of(fields, parent, here.get(parent)) if fields else None
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
    new = old.variants.get(name) if isinstance(name, str) else None  # what is no name is refused with the rest
    if new is None:
        return {}
    known = set(new.model_fields) & set(old.model_fields) - {"name"}
    return {key: values[key] for key in known if key in values and values[key] != old.model_fields[key].default}


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
