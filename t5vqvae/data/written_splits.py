"""Writes the tokenized splits of a corpus into a folder, and counts what was left out and added.

Left out of a split and counted are rows without a text, and training texts that are too long or that the tokenizer
cannot spell. No other split loses a sentence for its length or its characters. Two splits never share a text, also not
one that only the tokenizer reads as the same. Rows that `data.augment` adds to the training split are counted apart,
and so are the sentences of `data.extra_text`, which stand behind the training rows in a further split, for the first of
two stages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t5vqvae.data.augment import Added
from t5vqvae.data.corpora.corpus import NO_ROLE, TWIN, Corpus, Example
from t5vqvae.data.extra_text import ExtraText, sift_extra_text
from t5vqvae.data.sift import fits, refuse_same_ids, report_rows, sift
from t5vqvae.data.split import Tokenized, write_split
from t5vqvae.data.tokenizing import tokenize
from t5vqvae.files import digest

if TYPE_CHECKING:
    from t5vqvae.data.tokenizer import Tokenizer

AUTOENCODED = "autoencoded"
"""The split for the first of two stages."""


def write_splits(
    corpus: Corpus,
    tokenizer: Tokenizer,
    max_lengths: tuple[int, int],
    folder: Path,
    added: Added,
    extra: ExtraText | None,
) -> dict[str, Any]:
    """Writes every split and returns the facts for `facts.json`.

    Args:
        corpus: What is written.
        tokenizer: Its tokenizer.
        max_lengths: Most tokens of a text to encode and of one to decode.
        folder: Gets a folder for every split.
        added: Rows that stand behind the training split's own, counted apart.
        extra: Further sentences for the first of two stages, in a further split; None: there is none.

    Raises:
        DataError: If nothing is left of the training or validation split, two splits share a text, or one is far too
            long to be measured.
    """
    splits = {name: examples for name, examples in corpus.splits.items() if examples}
    role_ids = _role_ids(splits)
    found = {name: list(tokenize(examples, tokenizer, role_ids)) for name, examples in splits.items()}
    sifted = {name: sift(name, examples, tokenizer, max_lengths) for name, examples in found.items()}
    left_out, num_repeated = _counted_out(corpus, splits)
    kinds = {"rename": added.rename, "join": added.join} if added.rows else {}
    more = {kind: _sifted_rows(rows, tokenizer, role_ids, max_lengths) for kind, rows in kinds.items()}
    kept = {name: each.kept for name, each in sifted.items()}
    kept["train"] = [*kept["train"], *(row for rows in more.values() for row in rows)]
    refuse_same_ids(kept, tokenizer.unk_token_id)
    for name in kept:
        write_split(folder / name, kept[name])
    extra_counts = _write_autoencoded(folder, kept["train"], extra, tokenizer, role_ids, max_lengths[0])
    twins = [name for name in kept if name.startswith(TWIN)]
    return {
        "num_too_long": {name: each.num_too_long for name, each in sifted.items()},
        "num_unspellable": {name: each.num_unspellable for name, each in sifted.items()},
        "left_out": left_out,
        "num_repeated": num_repeated,
        "num_augmented": {kind: len(rows) for kind, rows in more.items()},
        "extra_text": extra_counts,
        "role_names": list(role_ids),
        "twins": twins,
        "tests": [name for name in kept if name not in ("train", "validation", *twins) and kept[name]],
        "test_strings": digest([[e.source, e.target] for e in found["test"]] if "test" in found else []),
    }


def _write_autoencoded(
    folder: Path,
    train: Sequence[Tokenized],
    extra: ExtraText | None,
    tokenizer: Tokenizer,
    role_ids: Mapping[str, int],
    max_length: int,
) -> dict[str, int]:
    """Writes what the first of two stages reads; returns how many extra sentences were kept and left out, by reason."""
    if extra is None:
        return {}
    rows = tokenize(extra.rows, tokenizer, role_ids)
    further, counts = sift_extra_text(extra, rows, tokenizer.unk_token_id, max_length)
    write_split(folder / AUTOENCODED, [*train, *further])
    return counts


def _role_ids(splits: Mapping[str, Sequence[Example]]) -> dict[str, int]:
    """Returns the number of every role in the splits; 0 is of words without one."""
    roles = {role for examples in splits.values() for e in examples for role in e.roles or ()} - {NO_ROLE}
    return {role: number for number, role in enumerate([NO_ROLE, *sorted(roles)])}


def _sifted_rows(
    rows: Sequence[Example], tokenizer: Tokenizer, role_ids: Mapping[str, int], max_lengths: tuple[int, int]
) -> list[Tokenized]:
    """Returns the added rows that are short enough."""
    return [e for e in tokenize(rows, tokenizer, role_ids) if fits(e, max_lengths)]


def _counted_out(
    corpus: Corpus, splits: Mapping[str, Sequence[Example]]
) -> tuple[dict[str, dict[str, int]], dict[str, int]]:
    """Returns what was left out of each split, by reason, and how often a row repeats another; says both."""
    left_out = {name: dict(corpus.left_out.get(name, {})) for name in splits}
    num_repeated: dict[str, int] = {}
    for name, examples in splits.items():
        num_repeated[name] = len(examples) - len({(e.shown, e.target) for e in examples})
        report_rows(name, left_out[name], num_repeated[name], len(examples))
    return left_out, num_repeated
