r"""Reads the rows of a file: one reader for every format, and one rule for what the values of a row mean.

- A file is UTF-8; a byte order mark at its start is skipped. A line ends with `\n` or `\r\n`, in a file without any
  `\n` with `\r`; blank lines are skipped.
- `txt`: a line is a text, in the column `text`. `roles`: a line is `sentence & roles`, in columns of these names.
  `tsv`: nothing is quoted. `csv`: as spreadsheets write it. `jsonl`: an object a line (a plain value is the column
  `text`). `json`: a list of such values, or their lines. `parquet`.
- Columns without a name, and those that pandas names for its index, are no columns of text.

To add a format, write a function from a path to rows and give it a line in `READERS`.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from t5vqvae.errors import DataError

INDEX_COLUMN = re.compile(r"\s*|Unnamed: \d+|__index_level_\d+__")
PACKED = ("gz", "bz2", "xz", "zst", "zip", "tar", "7z", "xlsx")


@dataclass(frozen=True)
class Row:
    """One row of a table: its values by column, and its place for errors ("FILE line 3")."""

    cells: Mapping[str, Any]
    place: str

    @property
    def first_column(self) -> str:
        """The name of the first column that is no index.

        Raises:
            DataError: If there is none.
        """
        named = [name for name in self.cells if not INDEX_COLUMN.fullmatch(name)]
        if not named:
            raise DataError(f"{self.place} has no named column; give the column of the texts a name, such as text")
        return named[0]


def kind_of(path: Path, kind: str = "auto") -> str:
    """Returns the format of a file: by its ending, unless it is given.

    Raises:
        DataError: If there is no such format.
    """
    found = path.suffix.removeprefix(".").lower() if kind == "auto" else kind
    if found in PACKED and kind == "auto":
        raise DataError(f"{path} is packed ({found}); unpack it and name the file that was in it")
    if found not in READERS:
        known = ", ".join(READERS)
        raise DataError(f"{path}: format {found!r} is unknown; set data.corpus.format to one of {known}")
    return found


def read_rows(path: Path, kind: str = "auto") -> Iterator[Row]:
    """Yields the rows of a file in its order.

    Raises:
        DataError: If the format is unknown, or a row does not fit it.
    """
    reader = READERS[kind_of(path, kind)]
    try:
        yield from reader(path)
    except UnicodeDecodeError:
        _refuse_encoding(path)


def _refuse_encoding(path: Path) -> NoReturn:
    """Names the first line that is not UTF-8."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                found = f"{path} line {number} is not UTF-8 ({error.reason} at byte {error.start} of the line)"
                raise DataError(f"{found}; convert the file, as by iconv -f LATIN1 -t UTF-8") from None
    raise DataError(f"{path} is not UTF-8; convert it")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yields the lines of a file that are not blank, with their numbers."""
    _refuse_utf16(path)
    with path.open(encoding="utf-8-sig", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            whole_file = number == 1 and not line.endswith("\n")
            for place, part in enumerate(line.split("\r") if whole_file else [line], start=number):
                if part.strip(" \r\n"):
                    yield place, part.rstrip("\r\n")


def _refuse_utf16(path: Path) -> None:
    # Text of two bytes a letter is valid UTF-8, with a zero next to every letter.
    with path.open("rb") as file:
        start = file.read(64)
    unmarked = any(
        len(zeros) >= 4 and not any(zeros) and all(letters) and letters.isascii()
        for letters, zeros in ((start[::2], start[1::2]), (start[1::2], start[::2]))
    )
    if unmarked or start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(f"{path} is UTF-16, not UTF-8; convert it, as by iconv -f UTF-16 -t UTF-8")


def _read_txt(path: Path) -> Iterator[Row]:
    return (Row({"text": line}, f"{path} line {number}") for number, line in _lines(path) if line.strip())


def _read_roles(path: Path) -> Iterator[Row]:
    for number, line in _lines(path):
        sentence, found, roles = line.rpartition(" & ")
        if not found:
            raise DataError(f"{path} line {number} has no ` & ` between sentence and roles; write `a bat & ARG0 ARG0`")
        yield Row({"sentence": sentence, "roles": roles}, f"{path} line {number}")


def _read_tsv(path: Path) -> Iterator[Row]:
    # Nothing is quoted: a quotation mark is part of the text.
    columns: list[str] | None = None
    for number, line in _lines(path):
        values, place = line.split("\t"), f"{path} line {number}"
        if columns is None:
            columns = _checked_header(values, place)
        else:
            yield Row(_fitted(columns, values, place), place)


def _read_csv(path: Path) -> Iterator[Row]:
    _refuse_utf16(path)
    csv.field_size_limit(2**31 - 1)  # a long text is read, and left out by its length
    columns: list[str] | None = None
    for number, values in _csv_rows(path):
        place = f"{path} line {number}"
        if columns is None:
            columns = _checked_header(values, place)
        else:
            yield Row(_fitted(columns, values, place), place)


def _csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yields rows that are not blank, with the number of the line where each begins."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        while True:
            number = reader.line_num + 1
            try:
                values = next(reader, None)
            except csv.Error as error:
                opened = "unexpected end" in str(error)
                reason = "a quotation mark opens here and is never closed" if opened else str(error)
                raise DataError(f"{path} line {number}: {reason}; fix the quotation marks") from None
            if values is None:
                return
            if len(values) > 1 or "".join(values).strip():
                yield number, values


def _checked_header(columns: list[str], place: str) -> list[str]:
    twice = [name for name, number in Counter(columns).items() if number > 1 and name.strip()]
    if twice:
        raise DataError(f"{place} names the column {twice[0]!r} twice; rename one")
    return columns


def _fitted(columns: list[str], values: list[str], place: str) -> dict[str, str]:
    if len(values) != len(columns):
        found = f"{place} has {len(values)} columns, its header {len(columns)}"
        raise DataError(f"{found}, so it does not fit its header; fix the line")
    return {name: value for name, value in zip(columns, values, strict=True) if name.strip()}


def _read_jsonl(path: Path) -> Iterator[Row]:
    for number, line in _lines(path):
        place = f"{path} line {number}"
        if line.strip():
            yield _json_row(_parsed(line, place), place)


def _read_json(path: Path) -> Iterator[Row]:
    _refuse_utf16(path)
    if not path.read_text("utf-8-sig").lstrip().startswith("["):
        yield from _read_jsonl(path)
        return
    rows = _parsed(path.read_text("utf-8-sig"), str(path))
    for number, row in enumerate(rows, start=1):
        yield _json_row(row, f"{path} row {number}")


class _Object(dict[str, Any]):
    """A JSON object that knows whether a key was in it twice."""

    twice: str | None = None

    @classmethod
    def of(cls, pairs: list[tuple[str, Any]]) -> _Object:
        found = cls(pairs)
        if len(found) < len(pairs):
            found.twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        return found


def _parsed(text: str, place: str) -> Any:
    # Whole numbers are kept as they are spelt: Python refuses to convert very long ones.
    try:
        return json.loads(text, object_pairs_hook=_Object.of, parse_int=str)
    except json.JSONDecodeError as error:
        where = f", line {error.lineno}" if error.lineno > 1 else ""
        raise DataError(f"{place} is no JSON ({error.msg}{where}, column {error.colno}); fix it") from None
    except RecursionError:
        raise DataError(f"{place} is JSON with too many levels; give every row plain columns") from None


def _json_row(value: Any, place: str) -> Row:
    if not isinstance(value, _Object):
        return Row({"text": value}, place)
    if value.twice is not None:
        raise DataError(f"{place} has the key {value.twice!r} twice; rename one")
    return Row(value, place)


def _read_parquet(path: Path) -> Iterator[Row]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise DataError(f"{path} needs the package pyarrow; install it: pip install pyarrow") from None
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            _checked_header(file.schema_arrow.names, str(path))
            rows = (row for batch in file.iter_batches() for row in batch.to_pylist())
            for number, row in enumerate(rows, start=1):
                yield Row(row, f"{path} row {number}")
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path} cannot be read as Parquet: {reason}; write it anew") from error


def rows_of(table: Iterable[Mapping[str, Any]], name: str) -> Iterator[Row]:
    """Yields the mappings of a table in memory as rows."""
    return (Row(row, f"{name} row {number}") for number, row in enumerate(table, start=1))


def import_datasets(what: str) -> ModuleType:
    """Returns the `datasets` package.

    Raises:
        DataError: If it is not installed.
    """
    try:
        import datasets
    except ImportError:
        raise DataError(f"{what} needs the package datasets; install it: pip install datasets") from None
    return datasets


READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    "txt": _read_txt,
    "tsv": _read_tsv,
    "csv": _read_csv,
    "jsonl": _read_jsonl,
    "json": _read_json,
    "parquet": _read_parquet,
    "roles": _read_roles,
}
