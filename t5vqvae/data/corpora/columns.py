"""From rows to examples: which columns count, what a value's text is, and what is left out and counted.

A row whose parse has other words than its text ("do n't" for "don't") is left out too: its tags are not those of words.

One rule for all readers: null and NaN are missing, and a text of white space is empty; such rows are left out and
counted. Every other value is its text: a string as it stands, also "null", "NA" and "007"; 0 is "0" and false is
"false". White space and byte order marks around a text are no part of it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable

from t5vqvae.data.corpora.corpus import Example
from t5vqvae.data.corpora.rows import Row
from t5vqvae.errors import DataError

MISSING, EMPTY, OTHER_WORDS = "missing", "empty", "parsed into other words"
_BEFORE = re.compile(r"[\s\ufeff]+")


def to_examples(
    rows: Iterable[Row], source: str | None, target: str | None, roles: str | None = None
) -> tuple[list[Example], Counter[str]]:
    """Returns the examples in rows, and the number of rows that were left out, by reason.

    Args:
        rows: The rows of one table.
        source: The column of the source; None: the first row's first column.
        target: The column of the target; None: no target.
        roles: The column of the roles of the source's words, or its parse in Penn brackets; None: no roles.

    Raises:
        DataError: If a row lacks a column, a value is no text, or a source has not one role for each word.
    """
    examples: list[Example] = []
    left_out: Counter[str] = Counter()
    default: str | None = None
    for row in rows:
        default = default or source or row.first_column
        text = _cell(row, default, "source_column" if source else None)
        answer = text if target is None else _cell(row, target, "target_column")
        named = None if roles is None else _cell(row, roles, "roles_column")
        if text is None or answer is None:
            left_out[MISSING] += 1
        elif not text or not answer:
            left_out[EMPTY] += 1
        else:
            own = None if not named else _fitting_labels(text, named, row.place)
            if named and own is None:
                left_out[OTHER_WORDS] += 1
            else:
                examples.append(Example(text, None if target is None else answer, own))
    return examples, left_out


def tags_of(text: str, parse: str) -> tuple[str, ...] | None:
    """Returns the tag of every word, by a constituency parse in Penn brackets; None if that has other words."""
    leaves = re.findall(r"\(([^\s()]+) ([^\s()]+)\)", parse)
    return tuple(tag for tag, _ in leaves) if [word for _, word in leaves] == text.split() else None


def _fitting_labels(text: str, labels: str, place: str) -> tuple[str, ...] | None:
    """Returns one label a word: white space is between them, or they are the tags of a parse in Penn brackets.

    None: the parse has other words than the text.
    """
    if labels.startswith("("):
        return tags_of(text, labels)
    found, number = tuple(labels.split()), len(text.split())
    if len(found) != number:
        raise DataError(f"{place}: {text!r:.60} has {number} words but {len(found)} roles; give every word one")
    return found


def _cell(row: Row, column: str, setting: str | None) -> str | None:
    """Returns the text in a column of a row; `setting` is the setting that names the column, None for the default."""
    if column not in row.cells:
        named = f"data.corpus.{setting}={column!r}" if setting else f"{column!r}, the first row's first column,"
        has = ", ".join(map(str, row.cells)) or "none"
        way_out = "name another, or give the row one (null leaves it out)"
        raise DataError(f"{named} is no column of {row.place}; it has {has}; {way_out}")
    try:
        text = text_of(row.cells[column])
    except DataError as error:
        raise DataError(f"{row.place}, column {column!r}: {error}") from None
    return text if text is None else _trimmed(text)


def _trimmed(text: str) -> str:
    """Returns a text without the white space around it and without byte order marks in front."""
    found = _BEFORE.match(text)
    return text[found.end() if found else 0 :].rstrip()


def text_of(value: object) -> str | None:
    """Returns the text of a value; None if it is missing.

    Raises:
        DataError: If it is a list or bytes or the like, or a string with half a character.
    """
    if isinstance(value, str):
        return refuse_half_characters(value)
    if hasattr(value, "item"):  # a number of NumPy
        value = value.item()
    if value is None or type(value).__name__ in ("NAType", "NaTType") or value != value:
        return None
    if isinstance(value, bool | float):
        return json.dumps(value)
    if isinstance(value, bytes | bytearray | dict | list | tuple | set):
        kind = type(value).__name__.lstrip("_").lower()
        raise DataError(f"a value of type {kind} is no text; name a column of texts")
    return str(value)


def refuse_half_characters(text: str) -> str:
    """Returns a text unchanged.

    Raises:
        DataError: If it has half of a surrogate pair, which no encoding can write.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        half = f"\\u{ord(text[error.start]):04x}"
        raise DataError(f"{text[:40]!a} has half a character ({half}); repair or delete it") from None
    return text
