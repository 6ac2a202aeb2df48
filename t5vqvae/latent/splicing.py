"""Quasi-symbolic splicing: spans of codes move between sentences.

- Substitution: the codes of some words of a sentence are replaced by those of some words of another one.
- Further specification: the codes of a modifier of another sentence are put behind some words, or at the end.
- Conjunction: the same, joined by a word such as "and". Codes depend on their context, so those of the joining word
  are taken from the encoding of "SENTENCE and WORDS", and no other code is.

Words are given as text and found by the tokenizer's offsets; a token belongs to a word when they share a character.
Models with a vector for each token are spliced alike. Prompts are the edited sentence's.

Source: T5VQVAE, arXiv 2402.00723, on inference.

Letters: T positions of a sentence, M positions of the result, X what a position has (codes, or a vector).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor

from t5vqvae.data.corpora.edits import Span, places_of
from t5vqvae.errors import DataError, SettingError
from t5vqvae.latent.intervention import spliced
from t5vqvae.latent.latent_space import LatentSpace
from t5vqvae.latent.sentence import Sentence, tokens_of

AND = "and"
"""The word that joins by default."""


@dataclass(frozen=True)
class Splice:
    """A spliced sentence.

    Attributes:
        latent_MX: Its codes (M, Q), or vectors (M, E) where the model has no codes.
        text: The decoded text.
    """

    latent_MX: Tensor
    text: str


LATEX_SIGNS = r"[\\{]"
"""What commands and their arguments begin with, and sentences lack."""


def words_in(text: str, words: str) -> Span:
    """Returns where some words stand in a text, in characters: whole words, in LaTeX any characters.

    Raises:
        DataError: If they do not, or more than once.
    """
    found = places_of(words, text)
    if not found and re.search(LATEX_SIGNS, text):  # it has no words between spaces
        pattern = r"\s+".join(map(re.escape, words.split()))
        found = [each.span() for each in re.finditer(pattern, text)] if pattern else []
    if not found:
        raise DataError(f"{words!r} is not in {text!r:.80}; give words as the sentence has them")
    if len(found) > 1:
        raise DataError(f"{words!r} is in {text!r:.80} {len(found)} times; add a word next to it")
    return found[0]


def _positions_of(sentence: Sentence, words: str) -> tuple[int, int]:
    """Returns the first position of some words of a sentence, and the one after the last.

    Raises:
        DataError: If they are not in it exactly once, or the model has one latent for the whole sentence.
    """
    if not sentence.by_token:
        raise DataError("the model has one latent a sentence, so no span can be moved; take a model with one a token")
    return tokens_of(sentence.spans, words_in(sentence.text, words))


def between(
    space: LatentSpace,
    text: str,
    donor: str,
    words: str,
    *,
    replace: str | None = None,
    after: str | None = None,
    join: str | None = None,
    unsent: float | None = None,
) -> tuple[Sentence, Sentence, Tensor]:
    """Encodes two texts and moves words of the donor into the first one; returns both, and the result's latent (M, X).

    Args:
        space: The model.
        text: The text to change.
        donor: The text whose words are taken.
        words: Those words.
        replace: Substitution: the words of the text that they replace.
        after: Specification: the words of the text behind which they are put; None: at its end.
        join: Conjunction: the word that joins them.
        unsent: Leaves out codes of the text, see `LatentSpace.encode`. What is replaced is sent in any case, so that
            what agrees with it may stay out.

    Raises:
        SettingError: If the word that joins is blank.
        DataError: If words are not where they should be, or the model cannot leave out codes.
    """
    if join is not None and not join.strip():
        raise SettingError(f"join={join!r} is blank; give a word such as {AND}, or leave it out: the words come last")
    kept = None if replace is None else [words_in(text, replace)]
    [sentence], [other] = space.encode([text], unsent, kept), space.encode([donor])
    if replace is not None:
        return sentence, other, substitution(sentence, replace, other, words)
    if join is not None:
        return sentence, other, conjunction(space, sentence, other, words, join)
    return sentence, other, specification(sentence, other, words, after)


def substitution(sentence: Sentence, words: str, donor: Sentence, by: str) -> Tensor:
    """Returns a sentence's latent with some words replaced by words of a donor, shape (M, X)."""
    span, donor_span = _positions_of(sentence, words), _positions_of(donor, by)
    return spliced(sentence.latent_TX, span, donor.latent_TX, donor_span)


def specification(sentence: Sentence, donor: Sentence, modifier: str, after: str | None = None) -> Tensor:
    """Returns a sentence's latent with a donor's modifier behind some words, or at the end, shape (M, X)."""
    place = len(sentence.latent_TX) - 1 if after is None else _positions_of(sentence, after)[1]
    return spliced(sentence.latent_TX, (place, place), donor.latent_TX, _positions_of(donor, modifier))


def conjunction(space: LatentSpace, sentence: Sentence, donor: Sentence, predicate: str, word: str = AND) -> Tensor:
    """Returns a sentence's latent joined with a donor's predicate at the end, shape (M, X)."""
    first, end = _positions_of(donor, predicate)
    joined = space.encode([f"{sentence.text} {word} {predicate}"])[0]
    start = len(sentence.text) + 1
    place, stop = tokens_of(joined.spans, (start, start + len(word)))
    words_TX, last_1X = sentence.latent_TX[:-1], sentence.latent_TX[-1:]
    return torch.cat([words_TX, joined.latent_TX[place:stop], donor.latent_TX[first:end], last_1X])


def decode_splice(space: LatentSpace, sentence: Sentence, latent_MX: Tensor) -> Splice:
    """Decodes a spliced latent with the prompts of the edited sentence."""
    return Splice(latent_MX, space.decode([latent_MX], [sentence.prompt_codes_PQ])[0])
