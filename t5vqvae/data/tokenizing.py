"""Turns examples into token ids, with the role of every token."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from t5vqvae.data.corpora.corpus import Example
from t5vqvae.data.split import Tokenized
from t5vqvae.stages import stage

if TYPE_CHECKING:
    from t5vqvae.data.tokenizer import Tokenizer

CHUNK = 1_000
"""Examples tokenized at once."""


def tokenize(examples: Sequence[Example], tokenizer: Tokenizer, role_ids: Mapping[str, int]) -> Iterable[Tokenized]:
    """Yields examples as token ids."""
    for start in _counted(range(0, len(examples), CHUNK), len(examples)):
        chunk = examples[start : start + CHUNK]
        sources = [e.source if e.second is None else (e.source, e.second) for e in chunk]
        encoded = tokenizer(sources, return_offsets_mapping=True, return_attention_mask=False)
        targets = [e.target for e in chunk if e.target is not None]
        target_ids = iter(tokenizer(targets, return_attention_mask=False)["input_ids"] if targets else ())
        for e, ids, spans in zip(chunk, encoded["input_ids"], encoded["offset_mapping"], strict=True):
            roles = None if e.roles is None else roles_of_tokens(e.source, e.roles, spans, role_ids)
            yield Tokenized(e.shown, e.target, ids, ids if e.target is None else next(target_ids), roles)


def _counted(starts: range, total: int) -> Iterator[int]:
    """Yields the starts of chunks and reports the stage."""
    with stage("tokenizing", total, "sentences") as now:
        for start in starts:
            now.set(start)
            yield start


def roles_of_tokens(
    source: str, roles: Sequence[str], spans: Sequence[tuple[int, int]], role_ids: Mapping[str, int]
) -> list[int]:
    """Returns the role number of every token: the role of the word that holds its last character, 0 outside words.

    Args:
        source: The text.
        roles: The role of each white-space word of the text.
        spans: Start and end (exclusive) of each token in the text, in characters; an empty span is a special token.
        role_ids: The number of each role.
    """
    at_character = [0] * len(source)
    end = 0
    for word, role in zip(source.split(), roles, strict=True):
        start = source.index(word, end)
        end = start + len(word)
        at_character[start:end] = [role_ids[role]] * len(word)
    return [at_character[stop - 1] if stop > start else 0 for start, stop in spans]
