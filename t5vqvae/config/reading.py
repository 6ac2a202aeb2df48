"""Reads YAML and the words of a command line; the only reader of both."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from t5vqvae.errors import SettingError


class _Loader(yaml.SafeLoader):
    """YAML as people write numbers: 1e-3 is one, too."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:float"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.inf|\.nan)$"),
    list("-+0123456789."),
)


def read_yaml(path: Path, holds: str) -> dict[str, Any]:
    """Returns the mapping of a YAML file; an empty file holds none.

    Args:
        path: The file.
        holds: What the mapping holds, for the error.

    Raises:
        SettingError: If there is no such file, it is no text or no valid YAML, or it holds no mapping.
    """
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise SettingError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SettingError(f"{path} is no UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f", line {mark.line + 1}"
        raise SettingError(f"{path}{where} is no valid YAML: {getattr(error, 'problem', error)}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise SettingError(f"{path} must hold a mapping ({holds})")
    return values


def parse_words(words: list[str]) -> dict[str, Any]:
    """Returns the overrides of `dotted.path=value` words; values are read as YAML, so `null` and `[1, 2]` work.

    Raises:
        SettingError: If a word has no `=`.
    """
    overrides: dict[str, Any] = {}
    for word in words:
        path, equals, value = word.partition("=")
        if not equals or not path:
            raise SettingError(f"{word!r} is no override; write dotted.path=value, as in quantizer.codebook_size=1024")
        overrides[path] = read_value(value)
    return overrides


def read_value(text: str) -> Any:
    """Reads one scalar or list as YAML does, with `1e-3` as a number.

    Raises:
        SettingError: If the text is no valid YAML.
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise SettingError(f"{text!r} is no value: {getattr(error, 'problem', error)}; put it in quotes") from None
