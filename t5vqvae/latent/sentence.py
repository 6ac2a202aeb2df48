"""A sentence that a trained model has encoded, and which of its tokens some words of it are.

Letters: T tokens, X what a position has (Q codes, or a vector of E numbers), E model width, Q codes a position, P
prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from t5vqvae.data.corpora.edits import Span
from t5vqvae.errors import DataError

SPACE = "\u2581"
"""What a token that is nothing but a space is called, as tokenizers write it."""


@dataclass(frozen=True)
class Sentence:
    """One encoded sentence.

    Attributes:
        text: The text.
        spans: Start and end of every token in the text, in characters; empty for special tokens.
        states_TE: The states before the quantizer; without codes, the vectors that the decoder reads.
        codes_TQ: The codes; None for a model without codes.
        prompt_codes_PQ: The codes of its prompts; None without prompts.
        roles_T: The role number of every token, where the quantizer reads roles; None elsewhere.
    """

    text: str
    spans: tuple[Span, ...]
    states_TE: Tensor
    codes_TQ: Tensor | None
    prompt_codes_PQ: Tensor | None
    roles_T: Tensor | None = None

    @property
    def latent_TX(self) -> Tensor:
        """What the decoder reads of it: its codes, or its vectors where there are no codes."""
        return self.states_TE if self.codes_TQ is None else self.codes_TQ

    @property
    def by_token(self) -> bool:
        """Whether there is a latent for every token, and not one for the whole sentence."""
        return len(self.states_TE) == len(self.spans)

    @property
    def tokens(self) -> list[str]:
        """The part of the text that each position stands for; `SPACE` for a space alone, empty for the text's end."""
        if not self.by_token:
            return [self.text] * len(self.states_TE)
        return [self.text[start:end].strip() or (SPACE if start < end else "") for start, end in self.spans]


def tokens_of(spans: Sequence[Span], words: Span) -> tuple[int, int]:
    """Returns the first token that shares a character with some words, and the one after the last.

    Raises:
        DataError: If no token does.
    """
    inside = [place for place, (start, end) in enumerate(spans) if max(start, words[0]) < min(end, words[1])]
    if not inside:
        raise DataError(f"no token lies in the characters {words[0]} to {words[1]}")
    return inside[0], inside[-1] + 1
