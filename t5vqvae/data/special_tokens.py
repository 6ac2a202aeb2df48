"""Keeps special tokens out of text: a text that spells `</s>` or `<unk>` becomes pieces that spell it.

A tokenizer finds special tokens in two places: it searches a text for them before anything else, and a unigram model
has them among its pieces. `guard` turns the search off and cuts every special token behind its first character, where
no piece can join it again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TokenizerT = TypeVar("TokenizerT", bound="PreTrainedTokenizerBase")
_MARK = "(?#special tokens)"
"""A comment in a pattern, by which the guard is found again in a tokenizer that was saved with it."""


def guard(tokenizer: TokenizerT) -> TokenizerT:
    """Makes a tokenizer read every text letter by letter, special tokens included; returns the same tokenizer.

    Guarding it again changes nothing. A tokenizer that is not built on `tokenizers` only gets its search turned off.
    """
    tokenizer.split_special_tokens = True
    tokenizer.clean_up_tokenization_spaces = False
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return tokenizer
    pattern = _MARK + _cuts(special_tokens(tokenizer))
    # Nothing is written a second time: another thread may be tokenizing with it.
    if not backend.encode_special_tokens or pattern not in map(_regex, _steps(backend.pre_tokenizer)):
        from tokenizers import Regex, pre_tokenizers

        backend.encode_special_tokens = True
        cut = pre_tokenizers.Split(Regex(pattern), "merged_with_previous")
        backend.pre_tokenizer = pre_tokenizers.Sequence([*_parts(backend.pre_tokenizer), cut])
    return tokenizer


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Returns the tokens that decoding leaves out, sorted."""
    added = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
    return sorted(added | set(map(str, tokenizer.all_special_tokens)))


def unguarded_json(tokenizer: PreTrainedTokenizerBase) -> str:
    """Returns a tokenizer as JSON without its guard: the identity of what it has learnt."""
    from tokenizers import pre_tokenizers

    backend: Any = tokenizer.backend_tokenizer  # type: ignore[attr-defined]
    guarded, parts = backend.pre_tokenizer, _parts(backend.pre_tokenizer)
    try:
        backend.pre_tokenizer = parts[0] if len(parts) == 1 else pre_tokenizers.Sequence(parts) if parts else None
        return backend.to_str()
    finally:
        backend.pre_tokenizer = guarded


def cut_apart(text: str, special: Iterable[str]) -> str:
    """Returns a text with a space in every special token that it spells, so that nothing learns one from it."""
    return re.sub(_cuts(special), lambda found: f"{found[0]} ", text)


def _cuts(special: Iterable[str]) -> str:
    """Returns a pattern for the first character of every special token."""
    return "|".join(f"{re.escape(token[0])}(?={re.escape(token[1:])})" for token in special if len(token) > 1)


def _parts(pre_tokenizer: Any) -> list[Any]:
    """Returns the steps of a pre-tokenizer, without the guard."""
    steps = _steps(pre_tokenizer)
    if type(pre_tokenizer).__name__ != "Sequence":
        return [pre_tokenizer] if steps else []
    return [pre_tokenizer[place] for place, step in enumerate(steps) if _MARK not in _regex(step)]


def _steps(pre_tokenizer: Any) -> list[dict[str, Any]]:
    """Returns the settings of each step of a pre-tokenizer."""
    if pre_tokenizer is None:
        return []
    state = json.loads(pre_tokenizer.__getstate__())
    return state["pretokenizers"] if state["type"] == "Sequence" else [state]


def _regex(step: dict[str, Any]) -> str:
    return step.get("pattern", {}).get("Regex", "")
