"""Sums of an evaluation over batches and workers.

Letters: K entries of a codebook.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch.distributed as dist
from torch import Tensor

from t5vqvae.evaluation.chains import SentenceCodes
from t5vqvae.evaluation.scored_sentences import SentenceSums
from t5vqvae.models.contract import Measures


@dataclass
class Sums:
    """Holds the sums of one worker; `merge` adds those of another one.

    Attributes:
        nll: Cross-entropy of the target tokens, nats.
        nll_swapped: Rise of it when sentences get the latent of another one, nats.
        num_tokens: Target tokens.
        num_swapped: Target tokens behind `nll_swapped`.
        num_correct: Target tokens ranked first.
        num_chars: Characters of the targets.
        num_positions: Unpadded encoder positions.
        num_sentences: Sentences.
        error: Squared distance of states to quantized states.
        energy: Squares of those states.
        counts: Uses of every code, one tensor (K,) per codebook.
        prompt_counts: The same for the codes of prompts.
        num_prompts: Prompts.
        codes: The codes of every sentence; see `SentenceCodes`.
        prompt_codes: The same of the prompts.
        measures: A model's further measures by key: numerator and denominator.
        decoded: Index, source, target, decoded text and codes of every decoded sentence.
        sentences: Scores of every sentence by its index; None: they are not kept.
    """

    nll: float = 0.0
    nll_swapped: float = 0.0
    num_tokens: int = 0
    num_swapped: int = 0
    num_correct: int = 0
    num_chars: int = 0
    num_positions: int = 0
    num_sentences: int = 0
    error: float = 0.0
    energy: float = 0.0
    counts: list[Tensor] = field(default_factory=list)
    prompt_counts: list[Tensor] = field(default_factory=list)
    num_prompts: int = 0
    codes: SentenceCodes = field(default_factory=dict)
    prompt_codes: SentenceCodes = field(default_factory=dict)
    measures: dict[str, tuple[float, float]] = field(default_factory=dict)
    decoded: list[tuple[int, str, str, str, str]] = field(default_factory=list)
    sentences: dict[int, SentenceSums] | None = None

    def merge(self, other: Sums) -> None:
        """Adds the sums of another worker."""
        for name in self.__dataclass_fields__:
            mine, theirs = getattr(self, name), getattr(other, name)
            if name in ("counts", "prompt_counts"):
                setattr(self, name, add_counts(mine, theirs))
            elif name == "measures":
                self.measure(theirs)
            elif name in ("codes", "prompt_codes"):
                mine.update(theirs)
            elif name == "sentences":
                self.sentences = None if mine is None else {**mine, **theirs}
            else:
                setattr(self, name, mine + theirs)

    def measure(self, measures: Measures) -> None:
        """Adds the numerators and denominators of a model's further measures."""
        for name, (numerator, denominator) in measures.items():
            before = self.measures.get(name, (0.0, 0.0))
            self.measures[name] = (before[0] + numerator, before[1] + denominator)


def add_counts(mine: list[Tensor], theirs: list[Tensor]) -> list[Tensor]:
    """Returns the sum of two lists of counts, one tensor per codebook; either list may be empty."""
    return [a + b for a, b in zip(mine, theirs, strict=True)] if mine and theirs else mine or theirs


def summed_over_workers(sums: Sums) -> Sums:
    """Returns the sums of all workers, equal on each of them, the decoded texts in the split's order."""
    if dist.is_initialized() and dist.get_world_size() > 1:
        parts = [sums] * dist.get_world_size()
        dist.all_gather_object(parts, sums)
        sums = parts[0]
        for part in parts[1:]:
            sums.merge(part)
    sums.decoded.sort(key=lambda row: row[0])
    return sums
