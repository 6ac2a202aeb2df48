"""Reads further sentences for the first of two training stages, without those that a held-out row contains.

A line is left out if it, or one of its sentences, is a source, a second text or a target of any split but the training
split, or one of their sentences. A sentence ends at a mark (. ! ? ; : and the ellipsis) before white space; those of
held-out rows end at every `;` and `/`, too. Words alone are compared, in lower case and one form of each character
(NFKC): runs of letters, digits, underscores and the marks on them, so neither white space nor punctuation counts. Of a
text without a word everything but white space is compared.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from t5vqvae.data.corpora.columns import to_examples
from t5vqvae.data.corpora.corpus import Example, spaced
from t5vqvae.data.corpora.rows import READERS, read_rows
from t5vqvae.data.split import Tokenized
from t5vqvae.errors import DataError

HELD_OUT = "in a held-out row"
_MARKS = ".!?;:\u2026"
logger = logging.getLogger(__name__)
_BETWEEN = re.compile(rf"(?<=[{_MARKS}])\s+")
_BETWEEN_HELD_OUT = re.compile(rf"{_BETWEEN.pattern}|[;/]")


@dataclass(frozen=True)
class ExtraText:
    """The sentences that no held-out row contains, and how many rows were left out, by reason."""

    path: str
    rows: Sequence[Example]
    left_out: Mapping[str, int]


def read_extra_text(path: str, held_out: Iterable[Example]) -> ExtraText:
    """Returns the texts in the first column of a file, or of every file of a folder.

    Args:
        path: The file or folder.
        held_out: The rows that are never trained on.

    Raises:
        DataError: If there is no file, or a row does not fit its format.
    """
    rows: list[Example] = []
    left_out: Counter[str] = Counter()
    for file in _files(Path(path)):
        found, without = to_examples(read_rows(file), None, None)
        rows += found
        left_out += without
    texts = (text for e in held_out for text in (e.source, e.second, e.target) if text is not None)
    known = {part for text in texts for part in _parts(text, _BETWEEN_HELD_OUT)}
    kept = [row for row in rows if known.isdisjoint(_parts(row.source, _BETWEEN))]
    return ExtraText(path, kept, left_out + Counter({HELD_OUT: len(rows) - len(kept)}))


def sift_extra_text(
    extra: ExtraText, tokenized: Iterable[Tokenized], unknown: int, max_length: int
) -> tuple[list[Tokenized], dict[str, int]]:
    """Returns the sentences that can be trained on, and the number of those kept and left out, by reason.

    Args:
        extra: What was read.
        tokenized: Its sentences as token ids.
        unknown: The id of the token for the unknown.
        max_length: The limit of sources, in tokens; a sentence is its own target, whose limit does not count.

    Raises:
        DataError: If none is left.
    """
    found = list(tokenized)
    spelt = [each for each in found if unknown not in each.source_ids]
    kept = [each for each in spelt if len(each.source_ids) <= max_length]
    further = Counter({"unspellable": len(found) - len(spelt), "too long": len(spelt) - len(kept)})
    left_out = Counter(extra.left_out) + further
    reasons = ", ".join(f"{number} {reason}" for reason, number in left_out.items())
    if not kept:
        raise DataError(f"data.extra_text={extra.path!r} leaves no sentence ({reasons or 'it is empty'}); add some")
    if reasons:
        logger.warning("%d rows of data.extra_text are left out: %s", left_out.total(), reasons)
    return kept, {"kept": len(kept), **left_out}


def _files(path: Path) -> list[Path]:
    """Returns a file, or the files of a folder that can be read, by name.

    Raises:
        DataError: If there is none.
    """
    if path.is_file():
        return [path]
    files = [file for file in sorted(path.glob("*")) if file.is_file() and file.suffix[1:].lower() in READERS]
    if not files:
        raise DataError(
            f"data.extra_text={str(path)!r} is no file, and no folder with one that ends in {', '.join(READERS)}; give"
            " the path of one"
        )
    return files


def _parts(text: str, between: re.Pattern[str]) -> set[str]:
    """Returns a text and its sentences as they are compared."""
    return {_compared(part) for part in (text, *between.split(text.strip()))} - {""}


def _compared(text: str) -> str:
    """Returns the words of a text, or the text itself if it has none."""
    shown = spaced(unicodedata.normalize("NFKC", text)).casefold()
    words = "".join(character if _is_of_word(character) else " " for character in shown).split()
    return " ".join(words) or "".join(shown.split())


@cache
def _is_of_word(character: str) -> bool:
    return character.isalnum() or character == "_" or unicodedata.category(character).startswith("M")
