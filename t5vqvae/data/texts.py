"""The texts that are given to a model: checked, and tokenized as training tokenized them."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from t5vqvae.data.corpora.columns import refuse_half_characters
from t5vqvae.data.corpora.corpus import spaced
from t5vqvae.data.special_tokens import guard
from t5vqvae.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Text = str | tuple[str, str]
"""A text, or two texts that are encoded one behind the other (as two premises)."""


def same_text(text: str, other: str) -> bool:
    """Returns whether two texts agree up to runs of white space, U+2581 included, which tokenizers do not keep."""
    return spaced(text) == spaced(other)


def kept_places(words: Sequence[str], others: Sequence[str]) -> set[int]:
    """Returns the places of the words that another list of words has, too, in their order."""
    blocks = SequenceMatcher(None, words, others, autojunk=False).get_matching_blocks()
    return {place for block in blocks for place in range(block.a, block.a + block.size)}


def tokenized(tokenizer: PreTrainedTokenizerBase, texts: str | Sequence[Text]) -> tuple[Tensor, Tensor]:
    """Returns the token ids (int64) and the mask (bool) of texts, both of shape (B, T); no text gives (0, 0).

    Raises:
        DataError: If one of them is no text.
    """
    checked = _as_texts(texts)
    if not checked:
        return torch.zeros(0, 0, dtype=torch.int64), torch.zeros(0, 0, dtype=torch.bool)
    tokens = guard(tokenizer)(checked, padding=True, return_tensors="pt")
    return tokens["input_ids"], tokens["attention_mask"].bool()


def _as_texts(texts: str | Sequence[Text]) -> list[Text]:
    """Returns the texts as a list; one string is one text.

    Raises:
        DataError: If one of them is no string (nor a pair of strings), or has half a character.
    """
    if isinstance(texts, str):
        texts = [texts]
    if not hasattr(texts, "__iter__") or isinstance(texts, bytes | dict):
        raise DataError(f"texts={texts!r:.60} must be a list of strings")
    return [_checked(text, f"texts[{place}]") for place, text in enumerate(texts)]


def _checked(text: Text, place: str) -> Text:
    parts = text if isinstance(text, tuple) and len(text) == 2 else (text,)
    for part in parts:
        if not isinstance(part, str):
            raise DataError(f"{place}={text!r:.60} must be a string, not {type(part).__name__}")
        try:
            refuse_half_characters(part)
        except DataError as error:
            raise DataError(f"{place}: {error}") from None
    return text
