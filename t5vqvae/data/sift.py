"""Decides which tokenized examples a split keeps, says what is left out, and refuses texts in two splits."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from t5vqvae.data.split import Tokenized
from t5vqvae.errors import DataError

if TYPE_CHECKING:
    from t5vqvae.data.tokenizer import Tokenizer

SHOWN_CHARACTERS = 5
MEASURABLE = 20
"""Times the limit of training up to which a longer sentence can be measured: memory grows with its square."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sifted:
    """The examples that a split keeps, and how many are too long or have a character without a token.

    Such ones are dropped from the training split alone; elsewhere they are kept and counted.
    """

    kept: list[Tokenized]
    num_too_long: int
    num_unspellable: int


def fits(example: Tokenized, max_lengths: tuple[int, int]) -> bool:
    """Returns whether source and target are no longer than their limits, in tokens."""
    return len(example.source_ids) <= max_lengths[0] and len(example.target_ids) <= max_lengths[1]


def is_spelt(example: Tokenized, unknown: int) -> bool:
    """Returns whether neither source nor target has the token for the unknown."""
    return unknown not in example.source_ids and unknown not in example.target_ids


def sift(name: str, found: Iterable[Tokenized], tokenizer: Tokenizer, max_lengths: tuple[int, int]) -> Sifted:
    """Returns the examples of a split; of the training split those that the tokenizer can spell and that are short.

    What is dropped is logged. No other split loses an example, so that no test gets easier by a small limit or a small
    vocabulary: the decoded text ends at the limit, or lacks the character without a token, so it counts as wrong.

    Raises:
        DataError: If none is left of the training split, none of the validation split can be spelt, or an example of
            another split is so long that it cannot be measured.
    """
    examples = list(found)
    spelt = [e for e in examples if is_spelt(e, tokenizer.unk_token_id)]
    num_unspellable = len(examples) - len(spelt)
    if num_unspellable:
        _report_unspellable(name, examples, len(spelt), tokenizer)
    kept = spelt if name == "train" else examples
    short = [e for e in kept if fits(e, max_lengths)]
    num_too_long = len(kept) - len(short)
    if name == "train":
        _report_too_long(name, num_too_long, len(kept), max_lengths)
        return Sifted(short, num_too_long, num_unspellable)
    _report_longer(name, kept, num_too_long, max_lengths)
    return Sifted(kept, num_too_long, num_unspellable)


def _report_longer(name: str, examples: Sequence[Tokenized], number: int, max_lengths: tuple[int, int]) -> None:
    """Logs how many of a split's examples are longer than training ones; refuses what cannot be measured.

    Raises:
        DataError: With the split, its longest example, and the limit that it needs.
    """
    if not number:
        return
    longest = tuple(max(len(getattr(e, ids)) for e in examples) for ids in ("source_ids", "target_ids"))
    if any(found > MEASURABLE * limit for found, limit in zip(longest, max_lengths, strict=True)):
        raise DataError(
            f"data.max_length={max_lengths[0]} (and max_target_length, {max_lengths[1]}) is far below the longest of"
            f" the {len(examples)} sentences of the {name} split ({max(longest)} tokens), and no such sentence is"
            f" dropped; raise it to {-(-max(longest) // MEASURABLE)} at least, or shorten the sentence"
        )
    logger.warning(
        "%d of %d sentences of the %s split are longer than %d source or %d target tokens (up to %d): they are measured"
        " whole, and decoded text ends at the limit, so it is wrong; to mend that, raise data.max_length",
        number, len(examples), name, *max_lengths, max(longest)
    )  # fmt: skip


def _report_unspellable(name: str, examples: Sequence[Tokenized], num_spelt: int, tokenizer: Tokenizer) -> None:
    """Logs how many examples have a character that no token spells; refuses if that is all."""
    number = len(examples) - num_spelt
    bad = next(e for e in examples if tokenizer.unk_token_id in (*e.source_ids, *e.target_ids))
    characters = ", ".join(map(repr, _unspelt(f"{bad.source}{bad.target or ''}", tokenizer)))
    way_out = "data.tokenizer.kind=unigram spells every character"
    if not num_spelt and name in ("train", "validation"):
        raise DataError(
            f"the tokenizer cannot spell any of the {number} sentences of the {name} split, such as {bad.source[:60]!r}"
            f" (it has no token for {characters}); {way_out}"
        )
    fate = "left out" if name == "train" else "measured, and decoded text lacks a character, so it is wrong"
    logger.warning(
        "%d of %d sentences of the %s split are %s: the tokenizer has no token for a character (%s); %s",
        number, len(examples), name, fate, characters, way_out
    )  # fmt: skip


def _unspelt(text: str, tokenizer: Tokenizer) -> list[str]:
    """Returns the first characters of a text that the tokenizer has no token for."""
    unknown = tokenizer.unk_token_id
    characters = (c for c in dict.fromkeys(text) if unknown in tokenizer(c, add_special_tokens=False).input_ids)
    return list(itertools.islice(characters, SHOWN_CHARACTERS))


def _report_too_long(name: str, number: int, of: int, max_lengths: tuple[int, int]) -> None:
    """Logs how many of the training split's examples were dropped; refuses an empty one."""
    if number == of:
        raise DataError(
            f"data.max_length={max_lengths[0]} (and max_target_length, {max_lengths[1]}) leaves none of the "
            f"{of} sentences of the {name} split: all are longer; raise it"
        )
    if number:
        logger.warning(
            "%d of %d sentences of the %s split are dropped: longer than %d source or %d target tokens; to keep them, "
            "raise data.max_length or data.max_target_length", number, of, name, *max_lengths
        )  # fmt: skip


def report_rows(name: str, left_out: Mapping[str, int], num_repeated: int, number: int) -> None:
    """Logs how many rows of a split are left out, why, and how many examples repeat others."""
    if left_out:
        reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
        total = sum(left_out.values())
        logger.warning("%d rows read for the %s split are left out: %s", total, name, reasons)
    if num_repeated:
        logger.warning(
            "%d of %d sentences of the %s split repeat another one; all are kept", num_repeated, number, name
        )


def refuse_same_ids(splits: Mapping[str, Sequence[Tokenized]], unknown: int) -> None:
    """Refuses sources that the tokenizer reads as the same in two splits, though they are written differently.

    Sources with a character that it cannot spell do not count: none is trained on, and different characters are alike.

    Args:
        splits: The examples by split.
        unknown: The id of the token for the unknown.

    Raises:
        DataError: With two such sources.
    """
    sources = {
        name: {_key(e): e.source for e in examples if unknown not in e.source_ids} for name, examples in splits.items()
    }
    for (one, first), (other, second) in itertools.combinations(sources.items(), 2):
        shared = sorted(first.keys() & second.keys())
        if shared:
            raise DataError(
                f"the tokenizer reads {len(shared)} sentences of the {one} split as it reads others of the {other} "
                f"split, such as {first[shared[0]]!r} and {second[shared[0]]!r}; remove them from one"
            )


def _key(example: Tokenized) -> bytes:
    return np.asarray(example.source_ids, np.int32).tobytes()
