"""Edits whose right answer is known: one factor of a sentence takes the value that it has in another sentence.

An edit replaces the codes of a factor's own words in the `source` by those of the `donor`; `answer` is what the
generator of the corpus writes for the source with the donor's value. The donor differs from the source in every other
factor that it has: copying from the answer itself would test nothing.

Two kinds of factor: *local* ones, where the answer differs from the source at the edited words alone, and *distributed*
ones, where words outside of them change, too (a verb that agrees, an article).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["local", "distributed"]
Span = tuple[int, int]
"""Start and end (exclusive) of words in a text, in characters."""


def by_space(text: str) -> list[Span]:
    """Returns the words of a text that white space separates."""
    return [found.span() for found in re.finditer(r"\S+", text)]


def places_of(words: str, text: str) -> list[Span]:
    """Returns where some words stand in a text, whatever the white space between them; not within other words."""
    pattern = r"\s+".join(map(re.escape, words.split()))
    return [found.span() for found in re.finditer(rf"(?<!\w){pattern}(?!\w)", text)] if pattern else []


@dataclass(frozen=True)
class Edit:
    """One edit and its right answer.

    Attributes:
        source: The sentence to edit.
        donor: The sentence that has the wanted value.
        answer: The source with the wanted value, as the corpus's generator writes it.
        contrast: The donor with the source's value: the other half of a minimal pair, for sentence-level latents.
        factor: What is edited: a role (`ARG1`) or a property (`number`, `tense`).
        kind: Whether the answer differs at the edited words alone.
        source_span: The factor's own words in the source.
        donor_span: The factor's own words in the donor.
    """

    source: str
    donor: str
    answer: str
    contrast: str
    factor: str
    kind: Kind
    source_span: Span
    donor_span: Span


@dataclass(frozen=True)
class Splice:
    """A span of a donor that is put into a source, and the right answer.

    Attributes:
        kind: `substitution` (in place of the span), `specification` (before it) or `conjunction` (at the end, after a
            joining word that neither text has).
        source: The sentence to change.
        donor: The sentence that the span is from.
        answer: What should come of it.
        source_span: What is replaced; empty, where it is put.
        donor_span: What is put there.
    """

    kind: Literal["substitution", "specification", "conjunction"]
    source: str
    donor: str
    answer: str
    source_span: Span
    donor_span: Span
