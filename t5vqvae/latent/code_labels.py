"""What one code stands for: the precision and recall of the code as a detector of its most frequent label.

Precision is the share of the code's positions with the label, recall the share of the label's positions with the code.
Both have a control: as many positions as the code has, drawn at random, stand for their own most frequent label in the
same way. A label that is chosen after it was seen fits by chance, most of all that of a rare code.

Source: codes as detectors of patterns: Tamkin, Taufeeque and Goodman 2023, arXiv 2310.17230.

Different: the paper reports neither control; the label here is the code's most frequent one, not a given pattern.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from t5vqvae.data.corpora.edits import by_space
from t5vqvae.latent.code_use import WordSpans, words_of
from t5vqvae.latent.sentence import Sentence

NUM_DRAWS = 20


@dataclass(frozen=True)
class CodeLabel:
    """The label that a code stands for, and how well it does.

    Attributes:
        label: The most frequent label of the code's positions; of several the first.
        precision: Share of the code's positions with the label.
        recall: Share of the label's positions with the code.
        shuffled_precision: The same of as many positions at random and of their label, mean over 20 draws.
        shuffled_recall: The same.
    """

    label: str
    precision: float
    recall: float
    shuffled_precision: float
    shuffled_recall: float


def label_of_code(codes: Sequence[Hashable], labels: Sequence[str], code: Hashable, seed: int = 0) -> CodeLabel:
    """Returns what a code stands for.

    Args:
        codes: The code of every position; `code` is one of them.
        labels: The label of every position.
        code: The code.
        seed: Seed of the draws.
    """
    total = Counter(labels)
    own = [label for each, label in zip(codes, labels, strict=True) if each == code]
    label, precision, recall = _detected(own, total)
    rng = random.Random(f"{seed} labels of a code")
    drawn = [_detected(rng.sample(labels, len(own)), total) for _ in range(NUM_DRAWS)]
    by_chance = [sum(values) / NUM_DRAWS for values in zip(*((share, found) for _, share, found in drawn), strict=True)]
    return CodeLabel(label, precision, recall, *by_chance)


def _detected(own: Sequence[str], total: Counter[str]) -> tuple[str, float, float]:
    """Returns the most frequent of some labels, its share of them, and the share of all of its positions."""
    label, hits = Counter(own).most_common(1)[0]
    return label, hits / len(own), hits / total[label]


def labels_of_positions(
    sentences: Sequence[Sentence],
    roles: Sequence[Sequence[str]] | None,
    operator_of: Callable[[str], str | None] | None,
    cut: WordSpans = by_space,
) -> dict[str, list[str]]:
    """Returns the label of every position of all sentences, by the kind of label.

    Args:
        sentences: Sentences with a latent a token.
        roles: The role of every token of each, with or without padding; None: there are none. If a sentence has more
            tokens than roles, its tokens are others than those that were given roles, and there are none.
        operator_of: Returns the operator that a token is; None, or one that returns None: there are none.
        cut: Returns the places of a text's words.
    """
    found = {"word": [word for sentence in sentences for word in words_of(sentence, cut)]}
    if roles is not None and all(len(each.spans) <= len(row) for each, row in zip(sentences, roles, strict=True)):
        found["role"] = [role for each, row in zip(sentences, roles, strict=True) for role in row[: len(each.spans)]]
    operators = [operator_of(token) for each in sentences for token in each.tokens] if operator_of else []
    known = [each for each in operators if each is not None]
    return {**found, "operator": known} if known else found
