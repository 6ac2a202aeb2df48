"""Reads YAML and the words of a command line; the only reader of both."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from t5vqvae.errors import SettingError

MAX_VALUES = 100_000
"""Most values that a file may hold once its aliases are followed."""


class _Loader(yaml.SafeLoader):
    """YAML as people write numbers: 1e-3 is one, too. A key that stands twice in a mapping is refused."""

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        first: dict[tuple[str, str], Any] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and (same := first.setdefault((key.tag, key.value), key)) is not key:
                problem = f"{key.value} stands twice, first in line {same.start_mark.line + 1}; keep one"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
        return node


_NUMBERS = ("tag:yaml.org,2002:float", "tag:yaml.org,2002:int")
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _NUMBERS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.inf|\.nan)$"),
    list("-+0123456789."),
)
_Loader.add_implicit_resolver(  # without YAML 1.1's 10:00 for 600 and 010 for 8
    "tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9_]*)$"), list("-+0123456789")
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
        values = _load(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SettingError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SettingError(f"{path} is no UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f", line {mark.line + 1}"
        raise SettingError(f"{path}{where} is no valid YAML: {_problem(error)}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise SettingError(f"{path} holds a {_kind(values)}; it must hold a mapping ({holds})")
    for key in values:
        if not isinstance(key, str):
            raise SettingError(f"{path}: the key {key!r} is no name; write the name of a setting")
    return values


def _load(text: str) -> Any:
    """Returns the value of a YAML text, whose aliases may neither lead into themselves nor multiply."""
    try:
        value = yaml.load(text, _Loader)
        count = _num_values(value, {})
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply, or an alias leads into itself") from None
    except (ValueError, OverflowError) as error:  # a date such as 2026-13-45
        raise yaml.YAMLError(f"{error}; put it in quotes") from None
    if count > MAX_VALUES:
        raise yaml.YAMLError(f"its aliases expand to more than {MAX_VALUES} values")
    return value


def _has_comment(text: str) -> bool:
    """Returns whether a YAML text has a comment: a # outside of all its tokens."""
    end = 0
    for token in yaml.scan(text, _Loader):
        if "#" in text[end : token.start_mark.index]:
            return True
        end = max(end, token.end_mark.index)
    return False


def _num_values(value: Any, counted: dict[int, int]) -> int:
    """Returns the number of values in a nested value, each alias counted as often as it is used."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in counted:
        inner = value.values() if isinstance(value, dict) else value
        counted[id(value)] = 1 + sum(_num_values(part, counted) for part in inner)
    return counted[id(value)]


def _problem(error: yaml.YAMLError) -> str:
    return str(getattr(error, "problem", None) or getattr(error, "reason", None) or error)


def _kind(value: object) -> str:
    return {list: "list", str: "text", bool: "truth value"}.get(type(value), "number")


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
        try:
            overrides[path] = read_value(value)
        except SettingError as error:
            raise SettingError(f"{path}={error}") from None
    return overrides


def read_value(text: str) -> Any:
    """Reads one scalar or list as YAML does, with `1e-3` as a number.

    Raises:
        SettingError: If the text is no valid YAML, or YAML would drop a part of it as a comment.
    """
    try:
        value = _load(text)
        if "#" in text and _has_comment(text):
            raise yaml.YAMLError("YAML takes what begins with # there for a comment")
        return value
    except yaml.YAMLError as error:
        raise SettingError(f"{text!r} is no value: {_problem(error)}; put it in quotes") from None
