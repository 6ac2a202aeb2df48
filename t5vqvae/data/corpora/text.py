"""The corpus `text`: a local file or a folder of split files, with one sentence a line or a table with named columns.

This file reads `.txt`, `.tsv`, `.csv` and `.jsonl`; the `datasets` package reads `.parquet`. To add a format, write a
function from a path to rows and give it a line in `READERS`.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from t5vqvae.config import LocalPath, setting
from t5vqvae.data.corpora.base import Corpus, CorpusConfig, Example, drop_shared, split_by_source
from t5vqvae.errors import DataError
from t5vqvae.files import stamp

Row = Mapping[str, Any]
SPLIT_NAMES = {"train": ("train",), "validation": ("validation", "valid", "dev", "val"), "test": ("test",)}


class TextCorpus(CorpusConfig):
    """Sentences of a local file, which is cut into splits, or of a folder with train, validation and test files."""

    name: Literal["text"] = "text"
    path: LocalPath = setting(
        description="a file, or a folder with a train file and optional validation and test files"
    )
    format: Literal["auto", "txt", "tsv", "csv", "jsonl", "parquet"] = setting(
        "auto", description="auto: by the file name's ending"
    )
    source_column: str | None = setting(None, description="source column of a table; None: the first column")
    target_column: str | None = setting(None, description="target column of a table; None: reconstruct the source")
    validation_fraction: float = setting(
        0.1, gt=0, lt=1, description="share of the sentences for validation, without a validation file"
    )
    test_fraction: float = setting(0.1, ge=0, lt=1, description="share of the sentences for test, without a test file")
    drop_shared: bool = setting(False, description="drop from every split the sentences that a later split also has")
    seed: int = setting(0, ge=0, description="seed of the cut into splits")

    def load(self, cache_dir: Path) -> Corpus:
        files = split_files(Path(self.path).expanduser())
        splits = {split: self._examples(path) for split, path in files.items()}
        return assemble(
            splits, (self.validation_fraction, self.test_fraction), self.seed, drop=self.drop_shared, source=self.path
        )

    def stamp(self, cache_dir: Path) -> object:
        return stamp(Path(self.path).expanduser())

    def _examples(self, path: Path) -> list[Example]:
        return to_examples(read_rows(path, self.format), self.source_column, self.target_column, str(path))


def split_files(path: Path) -> dict[str, Path]:
    """Returns the files of a corpus by split: a folder's files by their names; a single file is the training split.

    Raises:
        DataError: If the path does not exist, a split has two files, or a folder has no file named train.
    """
    if path.is_file():
        return {"train": path}
    if not path.is_dir():
        raise DataError(f"data.corpus.path={str(path)!r} is no file and no folder; give the path of one")
    found: dict[str, Path] = {}
    for file in sorted(path.iterdir()):
        for split, names in SPLIT_NAMES.items():
            if file.stem in names and file.suffix.removeprefix(".") in READERS:
                if split in found:
                    raise DataError(
                        f"{path} has two files for the {split} split, {found[split].name} and {file.name}; keep one"
                    )
                found[split] = file
    if "train" not in found:
        raise DataError(f"data.corpus.path={str(path)!r} has no train file; name one train.txt or train.tsv")
    return found


def read_rows(path: Path, kind: str = "auto") -> Iterator[Row]:
    """Yields the rows of a table as mappings, and the lines of plain text as `{"text": line}`; skips empty lines.

    Raises:
        DataError: If the format is unknown, or a row does not fit it.
    """
    kind = path.suffix.removeprefix(".") if kind == "auto" else kind
    if kind not in READERS:
        raise DataError(f"{path}: format {kind!r} is unknown; set data.corpus.format to one of {', '.join(READERS)}")
    try:
        yield from READERS[kind](path)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 ({error.reason} at byte {error.start}); convert it") from None


def to_examples(rows: Iterable[Row], source: str | None, target: str | None, where: str) -> list[Example]:
    """Returns the examples in rows, without those whose source is empty.

    Args:
        rows: Mappings with the same columns.
        source: The column of the source; None: the first column.
        target: The column of the target; None: no target.
        where: The rows' name in errors.

    Raises:
        DataError: If a column is missing.
    """
    examples = []
    for row in rows:
        columns = list(row)
        for setting_name, column in (("source_column", source), ("target_column", target)):
            if column is not None and column not in row:
                raise DataError(
                    f"data.corpus.{setting_name}={column!r} is no column of {where}; it has {', '.join(columns)}"
                )
        text = str(row[source or columns[0]] or "").strip()
        if text:
            examples.append(Example(text, None if target is None else str(row[target] or "").strip()))
    return examples


def assemble(
    splits: Mapping[str, list[Example]],
    fractions: tuple[float, float],
    seed: int,
    drop: bool,
    source: str,
    licence: str | None = None,
) -> Corpus:
    """Returns a corpus of the given splits; missing ones are cut from the training split.

    Args:
        splits: Has "train", and may have "validation" and "test".
        fractions: Shares of the training split's sources for a missing validation split and test split.
        seed: Seed of that cut.
        drop: Whether to drop from every split the sources that a later split also has; False: refuse such a corpus.
        source: Where the corpus comes from.
        licence: Its licence; None: unknown.
    """
    missing = [0.0 if split in splits else part for split, part in zip(("validation", "test"), fractions, strict=True)]
    train, validation, test = split_by_source(splits["train"], (missing[0], missing[1]), seed)
    validation, test = list(splits.get("validation", validation)), list(splits.get("test", test))
    if drop:
        train, validation, test = drop_shared(train, validation, test)
    return Corpus(train, validation, test, source=source, licence=licence)


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            if line := line.rstrip("\r\n"):
                yield line


def _read_txt(path: Path) -> Iterator[Row]:
    return ({"text": line} for line in _lines(path) if line.strip())


def _read_tsv(path: Path) -> Iterator[Row]:
    # Nothing is quoted: a quotation mark is part of the text.
    lines = _lines(path)
    columns = next(lines, "").split("\t")
    for number, line in enumerate(lines, start=2):
        values = line.split("\t")
        if len(values) != len(columns):
            raise DataError(f"{path} line {number} has {len(values)} columns, its header {len(columns)}; fix the line")
        yield dict(zip(columns, values, strict=True))


def _read_csv(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, restkey="", strict=True):
            if None in row.values() or "" in row:
                raise DataError(f"{path} has a row that does not fit its header: {list(row.values())[:3]}; fix it")
            yield row


def _read_jsonl(path: Path) -> Iterator[Row]:
    for number, line in enumerate(_lines(path), start=1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path} line {number} is no JSON ({error.msg}); fix it") from None
        yield row if isinstance(row, dict) else {"text": row}


def _read_parquet(path: Path) -> Iterator[Row]:
    return iter(import_datasets(str(path)).Dataset.from_parquet(str(path)))


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
    "parquet": _read_parquet,
}
