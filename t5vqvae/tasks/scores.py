"""Scores of an answer against its target, and of all answers together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from t5vqvae.data.texts import same_text


def exact(target: str, text: str) -> float:
    """Returns 1 if a text equals its target up to white space, and otherwise 0."""
    return float(same_text(target, text))


def rouge(kind: str) -> Callable[[str, str], float]:
    """Returns the F-measure of a kind of ROUGE (`rouge1`, `rouge2`, `rougeL`), in [0, 1], as a function.

    The library is `rouge-score`, Google's, without its stemmer.
    """

    def score(target: str, text: str) -> float:
        return float(_scorer(kind).score(target, text)[kind].fmeasure)

    return score


@cache
def _scorer(kind: str) -> Any:
    from rouge_score.rouge_scorer import RougeScorer  # imports nltk, which takes a second

    return RougeScorer([kind])


def distinct(n: int) -> Callable[[Sequence[str], Sequence[str]], float]:
    """Returns the share of different n-grams among all n-grams of the answers, as a function (Li et al. 2016)."""

    def score(targets: Sequence[str], texts: Sequence[str]) -> float:
        del targets
        words = [text.split() for text in texts]
        found = [tuple(each[place : place + n]) for each in words for place in range(len(each) - n + 1)]
        return len(set(found)) / max(1, len(found))

    return score
