"""Rows of a command: a readable table with changed words marked, or the same rows as JSON, CSV or Parquet."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import stat
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t5vqvae.errors import SettingError
from t5vqvae.files import atomic_write
from t5vqvae.stages import hidden
from tune.monitor.formats import plain_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

MARK = "bold underline"
UNMARKED = "dropped words are not marked"
"""What a note about marked words ends with: a word that a text lacks has no place in it."""
WIDEST = 100_000
"""Columns of the terminal that a table in a file is drawn for."""
PrintedRow = Mapping[str, Any]


class Format(StrEnum):
    """The forms in which rows are printed."""

    table = "table"
    json = "json"
    csv = "csv"
    parquet = "parquet"

    @classmethod
    def of(cls, file: Path | None) -> Format:
        """Returns the form that a file's ending names, such as `.csv`; a table for any other ending and no file."""
        ending = "" if file is None else file.suffix.lower().removeprefix(".")
        return cls(ending) if ending in cls.__members__ else cls.table


@dataclass(frozen=True)
class Rows:
    """The result of a command.

    Attributes:
        rows: What is printed; all rows have the same keys.
        notes: Lines that explain the rows: below a table, else on stderr.
        compared: For each row, the text whose words its column `text` is compared with; None: nothing is marked.
        hidden: Columns that are too wide for a printed table; a file and the other forms have them.
        yielding: Columns that a narrow printed table leaves out, the last of them first.
        titles: The heads of columns that are not their names.
        columns: The names of the columns, where there may be no row.
    """

    rows: Sequence[PrintedRow]
    notes: Sequence[str] = ()
    compared: Sequence[str | None] | None = None
    hidden: Sequence[str] = ("codes",)
    yielding: Sequence[str] = ()
    titles: Mapping[str, str] = field(default_factory=dict)
    columns: Sequence[str] = ()

    def write(self, form: Format | None, output: Path | None) -> None:
        """Prints the rows, or writes them to a file.

        Args:
            form: Their form; None: the one that the file's ending names, else a table.
            output: The file; None: they are printed.

        Raises:
            SettingError: If Parquet would be printed on a terminal, or the file cannot be written.
        """
        form = form or Format.of(output)
        if form is Format.parquet and output is None and sys.stdout.isatty():
            raise SettingError("--format parquet is binary; add --output FILE, or redirect it")
        with hidden():  # a live line would share the terminal's last line with the rows
            self._print() if form is Format.table and output is None else self._write(form, output)

    def _write(self, form: Format, output: Path | None) -> None:
        content = self.content(form)
        if output is not None:
            _write_file(output, content)
        elif form is Format.parquet:
            sys.stdout.buffer.write(content)
        else:
            sys.stdout.write(content.decode())
        for note in self.notes:
            print(note, file=sys.stderr)

    def content(self, form: Format) -> bytes:
        """Returns the rows as the content of a file; a table has every column, and is as wide as they need."""
        if form is Format.table:
            return self._whole_table().encode()
        if form is Format.json:
            lines = ",\n".join(json.dumps(_finite(row), ensure_ascii=False) for row in self.rows)
            return f"[\n{lines}\n]\n".encode()
        names = list(self.rows[0]) if self.rows else list(self.columns)
        return _csv(names, self.rows) if form is Format.csv else _parquet(names, self.rows)

    def _whole_table(self) -> str:
        from rich.console import Console

        page = io.StringIO()
        console = Console(file=page, width=WIDEST)
        console.print(self._table(list(self.rows[0]) if self.rows else [], marked=False), crop=False)
        return "".join(f"{line.rstrip()}\n" for line in page.getvalue().removesuffix("\n").split("\n"))

    def _print(self) -> None:
        from rich.console import Console

        console = Console()
        table, left_out = self._fitted(console)
        if self.rows:
            console.print(table)
        for note in [*self.notes, *left_out]:
            console.print(plain_text(note), highlight=False, markup=False, soft_wrap=_is_copied(note))

    def _fitted(self, console: Console) -> tuple[Table, list[str]]:
        """Returns the table that fits the console, and a line about the columns that it leaves out."""
        from rich.measure import Measurement

        names = [name for name in self.rows[0] if name not in self.hidden] if self.rows else []
        giving_way = [name for name in self.yielding if name in names]
        unlimited = console.options.update(max_width=WIDEST)
        table = self._table(names, console.is_terminal)
        left_out: list[str] = []
        while giving_way and Measurement.get(console, unlimited, table).maximum > console.width:
            left_out.insert(0, giving_way.pop())
            table = self._table([name for name in names if name not in left_out], console.is_terminal)
        if not left_out:
            return table, []
        named = ", ".join(self.titles.get(name, name) for name in left_out)
        return table, [f"left out at {console.width} columns: {named}; COLUMNS=200 or --format csv shows them"]

    def _table(self, names: Sequence[str], marked: bool) -> Table:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for name in names:
            number = all(isinstance(row[name], int | float | None) for row in self.rows)
            title = plain_text(self.titles.get(name, name.replace("_", " ")))
            # A number that is broken over two lines reads as two others.
            table.add_column(Text(title), justify="right" if number else "left", overflow="fold", no_wrap=number)
        for place, row in enumerate(self.rows):
            compared = self.compared[place] if self.compared else None
            table.add_row(*(_cell(name, row[name], compared, marked) for name in names))
        return table


def _is_copied(note: str) -> bool:
    """Returns whether a line is a command, or a name and one word: a line break of ours would be copied, too."""
    return note.startswith("next: ") or len(note.split()) == 2


def changed_words(text: str, compared: str) -> set[int]:
    """Returns the places of the words of a text that are not words of another one, in their order."""
    from t5vqvae.data.texts import kept_places

    words = text.split()
    return set(range(len(words))) - kept_places(words, compared.split())


def _cell(name: str, value: object, compared: str | None, marked: bool) -> Text:
    from rich.text import Text

    if name != "text" or compared is None:
        return Text(_plain(value))
    changed, cell = changed_words(str(value), compared), Text()
    for place, word in enumerate(str(value).split()):
        cell.append(" " if place else "")
        shown = plain_text(word)
        cell.append(shown if marked or place not in changed else f"[{shown}]", MARK if place in changed else None)
    return cell


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        is_position = all(isinstance(each, int) for each in value)  # its codes, as decode reads them
        parts = [value] if is_position else value
        return " ".join(",".join(map(str, each)) if isinstance(each, list) else str(each) for each in parts)
    return "" if value is None else plain_text(value)


def _csv(names: Sequence[str], rows: Sequence[PrintedRow]) -> bytes:
    """Returns CSV, with a head where there is no row, too; lists are written as JSON."""
    page = io.StringIO()
    writer = csv.writer(page, lineterminator="\n")
    if names:
        writer.writerow(names)
    for row in rows:
        writer.writerow(json.dumps(value) if isinstance(value, list) else value for value in row.values())
    return page.getvalue().encode()


def _finite(row: PrintedRow) -> PrintedRow:
    """Returns a row in which NaN and infinities, which JSON does not know, are null."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in row.items()
    }


def _parquet(names: Sequence[str], rows: Sequence[PrintedRow]) -> bytes:
    """Returns Parquet; in a column with texts next to other values these are texts, too."""
    import pyarrow
    import pyarrow.parquet

    columns = {name: [row[name] for row in rows] for name in names}
    for name, values in columns.items():
        kinds = {type(value) for value in values} - {type(None)}
        if len(kinds) > 1 and kinds != {int, float}:
            columns[name] = [
                value if value is None or isinstance(value, str) else json.dumps(value) for value in values
            ]
    page = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), page)
    return page.getvalue()


def _write_file(file: Path, content: bytes) -> None:
    try:
        if _is_stream(file):
            with file.open("wb") as stream:
                stream.write(content)
            return
        target = Path(os.path.realpath(file))  # the file behind a link, which stays one
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(target) as scratch:
            scratch.write_bytes(content)
    except OSError as error:
        raise SettingError(f"--output {file} cannot be written: {error.strerror or error}; name another file") from None


def _is_stream(file: Path) -> bool:
    """Returns whether a path is a pipe or a device, never to be replaced; or a folder, which cannot be opened."""
    try:
        return not stat.S_ISREG(os.stat(file).st_mode)
    except FileNotFoundError:
        return False
