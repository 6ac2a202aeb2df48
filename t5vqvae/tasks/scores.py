"""Scores of an answer against its target, and of all answers together."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from t5vqvae.data.texts import same_text

_ALONE = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
"""Characters of Chinese and Japanese, which have no spaces between words."""


def exact(target: str, text: str) -> float:
    """Returns 1 if a text equals its target up to white space, and otherwise 0."""
    return float(same_text(target, text))


def rouge(kind: str) -> Callable[[str, str], float]:
    """Returns the F-measure of a kind of ROUGE (`rouge1`, `rouge2`, `rougeL`), in [0, 1], as a function.

    The library is `rouge-score`, Google's, without its stemmer. Its own words are runs of ASCII letters and digits, so
    other scripts would have none; here they are runs of letters, marks and digits of any script, and of scripts without
    spaces single characters. Texts of ASCII have the same words.
    """

    def score(target: str, text: str) -> float:
        return float(_scorer(kind).score(target, text)[kind].fmeasure)

    return score


@cache
def _scorer(kind: str) -> Any:
    from rouge_score.rouge_scorer import RougeScorer  # imports nltk, which takes a second

    return RougeScorer([kind], tokenizer=_Words())


class _Words:
    """The words of a text, as `rouge-score` asks for them."""

    def tokenize(self, text: str) -> list[str]:
        return "".join(map(_part_of_word, unicodedata.normalize("NFC", text).lower())).split()


@cache
def _part_of_word(character: str) -> str:
    """Returns a character of a word, apart from others where its script has no spaces; a space for all others."""
    if _ALONE.match(character):
        return f" {character} "
    return character if unicodedata.category(character)[0] in "LMN" else " "


def distinct(n: int) -> Callable[[Sequence[str], Sequence[str]], float]:
    """Returns the share of different n-grams among all n-grams of the answers, as a function (Li et al. 2016)."""

    def score(targets: Sequence[str], texts: Sequence[str]) -> float:
        del targets
        words = [text.split() for text in texts]
        found = [tuple(each[place : place + n]) for each in words for place in range(len(each) - n + 1)]
        return len(set(found)) / max(1, len(found))

    return score
