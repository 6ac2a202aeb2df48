"""The fingerprint of prepared data: a hash over all that decides their examples.

What a later version reads otherwise adds a word to what is hashed where it matters, so that all other data keep their
fingerprint, and the runs on them their ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from t5vqvae.data.augment import AUGMENT_VERSION, AugmentConfig, joins_pairs
from t5vqvae.data.corpora.corpus import Corpus, Example
from t5vqvae.data.extra_text import ExtraText
from t5vqvae.data.sift import fits, is_spelt
from t5vqvae.data.special_tokens import special_tokens, unguarded_json
from t5vqvae.data.tokenizing import tokenize
from t5vqvae.files import digest

if TYPE_CHECKING:
    from t5vqvae.data.tokenizer import Tokenizer

PREPARED_VERSION = 1
"""Raise it with every change of what is written: cached folders of the old version are then ignored."""


def data_fingerprint(
    corpus: Corpus,
    tokenizer: Tokenizer,
    max_lengths: tuple[int, int],
    augment: AugmentConfig,
    extra: ExtraText | None,
) -> str:
    """Returns a sha256 over corpus, tokenizer, lengths, and what is added to the training rows."""
    identity = [PREPARED_VERSION, corpus.fingerprint, unguarded_json(tokenizer), *max_lengths]
    # Earlier versions read such texts otherwise.
    identity += ["spelt"] if _spells_special_tokens(corpus, tokenizer) else []
    identity += [AUGMENT_VERSION, augment.as_dict()] if augment.is_on else []
    # Earlier versions joined no rows of two texts.
    identity += ["pairs"] if joins_pairs(augment, corpus) else []
    identity += [] if extra is None else ["extra text", [e.source for e in extra.rows]]
    # Earlier versions dropped these sentences from the validation split.
    identity += ["long"] if _has_longer(corpus.validation, tokenizer, max_lengths) else []
    # Earlier versions left these sentences out of what is measured.
    held_out = (examples for name, examples in corpus.splits.items() if name != "train")
    identity += ["unspelt"] if _has_unspelt(held_out, tokenizer) else []
    return digest(*identity)


def _has_longer(examples: Sequence[Example], tokenizer: Tokenizer, max_lengths: tuple[int, int]) -> bool:
    return not all(fits(e, max_lengths) for e in tokenize(examples, tokenizer, _Numbers()))


def _has_unspelt(sets: Iterable[Sequence[Example]], tokenizer: Tokenizer) -> bool:
    unknown = tokenizer.unk_token_id
    return not all(is_spelt(e, unknown) for examples in sets for e in tokenize(examples, tokenizer, _Numbers()))


class _Numbers(dict[str, int]):
    """Numbers every role 0, for texts whose roles do not matter."""

    def __missing__(self, role: str) -> int:
        return 0


def _spells_special_tokens(corpus: Corpus, tokenizer: Tokenizer) -> bool:
    """Returns whether a text has what looks like a special token ("</s>"), all of which begin with "<"."""
    special = special_tokens(tokenizer)
    texts = (text for examples in corpus.splits.values() for e in examples for text in (e.source, e.second, e.text))
    return any(token in text for text in texts if text and "<" in text for token in special)
