"""Sources of two texts, as two premises: how they are shown in one line, and how they are read back.

A corpus shows such a source as `A </s> B`, and training encodes A and B one behind the other, each with its own
end-of-text token. A text that spells `</s>` anywhere else is letters, see `t5vqvae.data.special_tokens`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from t5vqvae.data.corpora.edits import Span
from t5vqvae.data.special_tokens import guard
from t5vqvae.data.texts import Text

_SHOWN = re.compile(r"(?P<first>.*?\S)\s+</s>(?:\s+(?P<second>.*))?", re.DOTALL)


def as_trained(texts: Sequence[str], pairs: bool) -> list[Text]:
    """Returns texts as training gave them to a tokenizer.

    Args:
        texts: The texts, as a corpus shows them.
        pairs: Whether the corpus of the model has sources of two texts; else a text is taken as it is.
    """
    return [_pair(text) or text if pairs else text for text in texts]


def tokens_and_spans(
    tokenizer: Any, texts: Sequence[str], pairs: bool, **settings: Any
) -> tuple[Any, list[list[Span]]]:
    """Returns the tokens of texts, and the place of every token in its text, in characters.

    Args:
        tokenizer: The model's tokenizer, built on `tokenizers`.
        texts: The texts, as a corpus shows them.
        pairs: As for `as_trained`.
        **settings: Further arguments of the tokenizer, such as `padding`.
    """
    tokens = guard(tokenizer)(as_trained(texts, pairs), return_offsets_mapping=True, **settings)
    spans = [[(int(start), int(end)) for start, end in row] for row in tokens["offset_mapping"]]
    if not pairs:
        return tokens, spans
    parts = [tokens.sequence_ids(row) for row in range(len(texts))]
    return tokens, [_in_shown(*each) for each in zip(texts, spans, parts, strict=True)]


def _pair(text: str) -> tuple[str, str] | None:
    """Returns the two texts of a shown source; None if it is one text."""
    found = _SHOWN.fullmatch(text)
    return None if found is None else (found["first"], found["second"] or "")


def _in_shown(text: str, spans: Sequence[Span], parts: Sequence[int | None]) -> list[Span]:
    """Returns spans in a shown source, where those of the second text counted from its own start."""
    found = _SHOWN.fullmatch(text)
    shift = 0 if found is None else max(found.start("second"), 0)
    shifts = [shift if part == 1 else 0 for part in parts]
    return [(start + more, end + more) for (start, end), more in zip(spans, shifts, strict=True)]
