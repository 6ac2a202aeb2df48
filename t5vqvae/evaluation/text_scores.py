"""Scores decoded texts against their targets."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence


def corpus_bleu(targets: Sequence[str], texts: Sequence[str]) -> float:
    """Returns sacrebleu's corpus BLEU with its default tokenizer, 0 to 100."""
    import sacrebleu

    return float(sacrebleu.corpus_bleu(list(texts), [list(targets)]).score)


def bleu1(target: str, text: str) -> float:
    """Returns sentence BLEU-1 on white-space tokens, 0 to 1: clipped unigram precision times the brevity penalty.

    The T5VQVAE paper reports this as BLEU (NLTK's `sentence_bleu` with weights (1, 0, 0, 0)).
    """
    reference, words = target.split(), text.split()
    if not words:
        return 0.0
    clipped = sum((Counter(words) & Counter(reference)).values())
    brevity = 1.0 if len(words) >= len(reference) else math.exp(1 - len(reference) / len(words))
    return brevity * clipped / len(words)
