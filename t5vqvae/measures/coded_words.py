"""Words of sentences with the codes of their first tokens, cut at white space or, in mathematics, into tokens.

Letters: T positions of a sentence, Q codes a position.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Piece = tuple[int, str, int]
"""A word's place in its sentence, the word, and its first token."""
Cut = Callable[[str, Sequence[tuple[int, int]]], Iterator[Piece]]
"""Cuts a text into words, given the places of its tokens."""


@dataclass(frozen=True)
class CodedWord:
    """One word of a probed sentence.

    Attributes:
        sentence: The number of its sentence.
        place: Its place in the sentence, in words.
        text: The word.
        role: Its role in the corpus; empty where the corpus has none.
        codes: The codes of its first token, one of each codebook.
    """

    sentence: int
    place: int
    text: str
    role: str
    codes: tuple[int, ...]


def by_token(text: str, spans: Sequence[tuple[int, int]]) -> Iterator[Piece]:
    """Cuts a text into its tokens; of several tokens that spell one character only the first counts."""
    first = {span: token for token, span in reversed(list(enumerate(spans)))}
    inside = [(text[slice(*span)].strip(), token) for span, token in sorted(first.items())]
    yield from ((place, word, token) for place, (word, token) in enumerate(each for each in inside if each[0]))


def by_space(text: str, spans: Sequence[tuple[int, int]]) -> Iterator[Piece]:
    """Cuts a text at white space; words whose first letter begins no token are left out."""
    end = 0
    starts = {start: token for token, (start, stop) in reversed(list(enumerate(spans))) if stop > start}
    for place, word in enumerate(text.split()):
        begin = text.index(word, end)
        end = begin + len(word)
        # A token may begin with the space before the word.
        token = starts.get(begin, starts.get(begin - 1))
        if token is not None:
            yield place, word, token


def words_of(
    number: int,
    text: str,
    codes_TQ: npt.NDArray[np.int64],
    spans: Sequence[tuple[int, int]],
    roles: Sequence[str],
    cut: Cut = by_space,
) -> list[CodedWord]:
    """Returns the words of a sentence whose first token has codes.

    Args:
        number: The number of the sentence.
        text: The sentence.
        codes_TQ: The codes of its tokens.
        spans: Start and end of every token in the text, in characters.
        roles: The role of every token; empty if there are none.
        cut: What counts as a word.
    """
    return [
        CodedWord(number, place, word, roles[token] if roles else "", tuple(codes_TQ[token].tolist()))
        for place, word, token in cut(text, spans)
    ]
