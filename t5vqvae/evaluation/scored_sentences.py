"""Scores of each sentence of an evaluation, so that two models can be compared on the same sentences.

Letters: B batch, S decoder positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from t5vqvae.data import IGNORED_LABEL, Batch
from t5vqvae.data.batching import Array
from t5vqvae.data.texts import same_text
from t5vqvae.evaluation.text_scores import bleu1

SentenceSums = tuple[float, int, int, int]
"""Of one sentence: nats, target tokens, target tokens ranked first, characters of the target."""
Amounts = tuple[list[float], list[float]]
"""The numerator and the denominator of each sentence, or of whatever else is resampled."""
BLEU1 = "bleu1"
_SUMS: Mapping[str, tuple[str, str | None]] = {
    "nll": ("nll", "tokens"),
    "nll_per_char": ("nll", "chars"),
    "token_accuracy": ("correct", "tokens"),
    "exact_match": ("exact", None),
}
"""Metrics that are a sum over sentences divided by another one; None: by the number of sentences."""
SUMMED = (*_SUMS, BLEU1)


@dataclass(frozen=True)
class ScoredSentence:
    """The scores of one sentence.

    Attributes:
        index: Its place in the split.
        nll: Cross-entropy of its target tokens, with teacher forcing, nats.
        tokens: Target tokens, the end-of-text token included.
        correct: Target tokens ranked first.
        chars: Characters of the target.
        exact: Whether the decoded text equals the target up to white space.
        reference: The target.
        decoded: The text decoded greedily.
    """

    index: int
    nll: float
    tokens: int
    correct: int
    chars: int
    exact: bool
    reference: str
    decoded: str


def amounts(sentences: Sequence[ScoredSentence], metric: str) -> Amounts:
    """Returns the numerators and denominators of a metric, one each a sentence.

    Args:
        sentences: The scores.
        metric: One of `SUMMED`, without its split.
    """
    ones = [1.0] * len(sentences)
    if metric == BLEU1:
        return [bleu1(each.reference, each.decoded) for each in sentences], ones
    above, below = _SUMS[metric]
    counted = ones if below is None else [float(getattr(each, below)) for each in sentences]
    return [float(getattr(each, above)) for each in sentences], counted


def note_sentences(
    sums: dict[int, SentenceSums], indices: Array, batch: Batch, nll_B: Tensor, correct_BS: Tensor
) -> None:
    """Notes the scores of a batch's sentences by their indices in the split.

    Args:
        sums: Receives them.
        indices: The sentences of the batch.
        batch: The batch.
        nll_B: Cross-entropy of each sentence, nats.
        correct_BS: Whether a target token was ranked first; False at padding.
    """
    tokens_B = (batch.labels_BS != IGNORED_LABEL).sum(-1)
    columns = (nll_B, tokens_B, correct_BS.sum(-1), batch.num_chars_B)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    sums.update(zip(indices.tolist(), rows, strict=True))


def nll_of_sentences(logits_BSV: Tensor, labels_BS: Tensor) -> Tensor:
    """Returns the cross-entropy of each sentence's target tokens, nats, shape (B,)."""
    nll_N = F.cross_entropy(logits_BSV.flatten(0, 1).float(), labels_BS.flatten(), reduction="none")
    return nll_N.view_as(labels_BS).sum(-1)


def scored_sentences(
    sums: Mapping[int, SentenceSums], decoded: Iterable[tuple[int, str, str, str, str]]
) -> list[ScoredSentence]:
    """Returns the scores of the sentences that were measured and decoded, in the order of the latter.

    Args:
        sums: As `note_sentences` filled them.
        decoded: Index, source, target, decoded text and codes of each.
    """
    return [
        ScoredSentence(index, *sums[index], same_text(target, text), target, text)
        for index, _, target, text, _ in decoded
        if index in sums
    ]
