"""Words of sentences with the codes of their first tokens.

Letters: T positions of a sentence, Q codes a position.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from t5vqvae.data.corpora.edits import Span, by_space


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


def words_of(
    number: int,
    text: str,
    codes_TQ: npt.NDArray[np.int64],
    spans: Sequence[Span],
    roles: Sequence[str],
    word_spans: Callable[[str], list[Span]] = by_space,
) -> list[CodedWord]:
    """Returns the words of a sentence whose first token has codes; of tokens that spell a character, the first counts.

    Args:
        number: The number of the sentence.
        text: The sentence.
        codes_TQ: The codes of its tokens.
        spans: Start and end of every token in the text, in characters.
        roles: The role of every token; empty if there are none.
        word_spans: Cuts a text into words, see `CorpusConfig.word_spans`.
    """
    first = {start: token for token, (start, stop) in reversed(list(enumerate(spans))) if stop > start}
    found = []
    for place, (start, end) in enumerate(word_spans(text)):
        token = first.get(start)
        if token is None and text[:start][-1:].isspace():  # a token may begin with the space before the word
            token = first.get(start - 1)
        if token is not None:
            role = roles[token] if roles else ""
            found.append(CodedWord(number, place, text[start:end], role, tuple(codes_TQ[token].tolist())))
    return found
