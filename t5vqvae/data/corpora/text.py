"""The corpus `text`: a local file or a folder of split files, with one sentence a line or a table with named columns.

`rows.py` reads the files, and `columns.py` says what is missing, what is empty and what a value's text is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from t5vqvae.config import LocalPath, setting
from t5vqvae.data.corpora.base import CorpusConfig
from t5vqvae.data.corpora.columns import to_examples
from t5vqvae.data.corpora.corpus import Corpus, Example, drop_shared, spaced, split_by_source
from t5vqvae.data.corpora.rows import READERS, kind_of, read_rows
from t5vqvae.errors import DataError
from t5vqvae.files import stamp

LATER = "in a later split"
"""The reason why a row is left out with `drop_shared`."""
SPLIT_NAMES = {"train": ("train",), "validation": ("validation", "valid", "dev", "val"), "test": ("test",)}


class TextCorpus(CorpusConfig):
    """Sentences of a local file, which is cut into splits, or of a folder with train, validation and test files."""

    name: Literal["text"] = "text"
    path: LocalPath = setting(
        description="a file, or a folder with a train file and optional validation and test files"
    )
    format: Literal["auto", "txt", "roles", "tsv", "csv", "jsonl", "json", "parquet"] = setting(
        "auto", description="auto: by the file name's ending"
    )
    source_column: str | None = setting(None, description="source column of a table; None: the first column")
    target_column: str | None = setting(None, description="target column of a table; None: reconstruct the source")
    roles_column: str | None = setting(
        None, description="column with a role for each source word, or its parse in Penn brackets; None: no roles"
    )
    validation_fraction: float = setting(
        0.1, gt=0, lt=1, description="share of the sentences for validation, without a validation file"
    )
    test_fraction: float = setting(0.1, ge=0, lt=1, description="share of the sentences for test, without a test file")
    drop_shared: bool = setting(False, description="drop from every split the sentences that a later split also has")
    seed: int = setting(0, ge=0, description="seed of the cut into splits")

    def load(self, cache_dir: Path) -> Corpus:
        files = split_files(Path(self.path).expanduser())
        splits = {split: self._part(path) for split, path in files.items()}
        return assemble(
            splits, (self.validation_fraction, self.test_fraction), self.seed, drop=self.drop_shared, source=self.path
        )

    def stamp(self, cache_dir: Path) -> object:
        return stamp(Path(self.path).expanduser())

    def _part(self, path: Path) -> Part:
        rows, kind = read_rows(path, self.format), kind_of(path, self.format)
        roles = self.roles_column or ("roles" if kind == "roles" else None)
        return Part(*to_examples(rows, self.source_column, self.target_column, roles), name=str(path))


@dataclass(frozen=True)
class Part:
    """The examples that were read for one split, and how many rows were left out, by reason."""

    examples: Sequence[Example]
    left_out: Mapping[str, int] = field(default_factory=dict)
    name: str = ""
    """The file, or what else errors should name."""

    def refuse_empty(self) -> None:
        """Refuses a part without an example, with the reason.

        Raises:
            DataError: If nothing was read, or everything was left out.
        """
        if not self.examples:
            reasons = ", ".join(f"{number} {reason}" for reason, number in self.left_out.items())
            number = sum(self.left_out.values())
            why = f"all of its {number} rows are left out ({reasons})" if reasons else "it is empty"
            raise DataError(f"{self.name} has no sentence: {why}; add some")


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
            if file.stem.lower() in names and file.suffix.removeprefix(".").lower() in READERS and file.is_file():
                if split in found:
                    raise DataError(
                        f"{path} has two files for the {split} split, {found[split].name} and {file.name}; keep one"
                    )
                found[split] = file
    if "train" not in found:
        seen = ", ".join(file.name for file in sorted(path.iterdir())[:5]) or "nothing"
        raise DataError(
            f"data.corpus.path={str(path)!r} has no train file (it has {seen}); name one train.txt or train.tsv"
        )
    return found


def assemble(
    parts: Mapping[str, Part],
    fractions: tuple[float, float],
    seed: int,
    drop: bool,
    source: str,
    licence: str | None = None,
) -> Corpus:
    """Returns a corpus of the given splits; missing ones are cut from the training split.

    Args:
        parts: Has "train", and may have "validation" and "test".
        fractions: Shares of the training split's sources for a missing validation split and test split.
        seed: Seed of that cut.
        drop: Whether to drop from every split the sources that a later split also has; False: refuse such a corpus.
        source: Where the corpus comes from.
        licence: Its licence; None: unknown.

    Raises:
        DataError: If the training or validation split has no sentence.
    """
    for split in ("train", "validation"):
        if split in parts:
            parts[split].refuse_empty()
    missing = [0.0 if split in parts else part for split, part in zip(("validation", "test"), fractions, strict=True)]
    cut = split_by_source(parts["train"].examples, (missing[0], missing[1]), seed)
    train, validation, test = (
        list(parts[split].examples) if split in parts and split != "train" else rest
        for split, rest in zip(("train", "validation", "test"), cut, strict=True)
    )
    _refuse_small_cut(parts["train"], train, validation, missing[0])
    num_read = len(train), len(validation)
    if drop:
        train, validation, test = _without_shared(train, validation, test, source)
    left_out = {split: Counter(part.left_out) for split, part in parts.items()}
    for split, number, kept in zip(("train", "validation"), num_read, (train, validation), strict=True):
        left_out[split] = left_out.get(split, Counter()) + Counter({LATER: number - len(kept)})
    left_out = {split: counts for split, counts in left_out.items() if counts}
    return Corpus(train, validation, test, source=source, licence=licence, left_out=left_out)


def _refuse_small_cut(part: Part, train: list[Example], validation: list[Example], fraction: float) -> None:
    """Refuses a cut that leaves the training or validation split without a sentence, with the numbers behind it."""
    if train and validation:
        return
    different = len({spaced(example.shown) for example in part.examples})
    split = "train" if validation else "validation"
    raise DataError(
        f"the {split} split has no sentence: {part.name} has {len(part.examples)} sentences, {different} of them "
        f"different, and data.corpus.validation_fraction={fraction:g} (equal ones stay together) leaves it none; add "
        "sentences or a validation file, or change the fraction"
    )


def _without_shared(
    train: list[Example], validation: list[Example], test: list[Example], source: str
) -> tuple[list[Example], list[Example], list[Example]]:
    kept = drop_shared(train, validation, test)
    for split, before, after in zip(("train", "validation"), (train, validation), kept, strict=False):
        if not after:
            raise DataError(
                f"{source}: the {split} split has no sentence: a later split has all {len(before)} of them too, and "
                "such sentences are dropped (drop_shared); remove them from the later split"
            )
    return kept
