"""What every measure gets and returns, and the registry of measures.

A measure is a function from a `Probed` model to what was `Found`; `@measure` registers it. To add one, write one file
here with such a function, and import it in `probing.py`. Its metrics are declared in
`t5vqvae/evaluation/probe_metrics.py`.

Letters: B batch, T positions of a sentence, Q codes a position.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import torch

from t5vqvae.data import TokenizedSplit, evaluation_batches
from t5vqvae.data.batching import fixed_order
from t5vqvae.data.role_reader import RoleReader
from t5vqvae.latent.interpolation import Trajectory, interpolate
from t5vqvae.latent.latent_space import LatentSpace
from t5vqvae.latent.two_texts import tokens_and_spans
from t5vqvae.measures.coded_words import CodedWord, words_of
from t5vqvae.measures.control import Control, Edited, run_edits
from t5vqvae.measures.slots import Slots, factors_of_parts, roles_of_parts, slots_of
from t5vqvae.models.contract import TextAutoencoder
from t5vqvae.stages import stage

if TYPE_CHECKING:
    from t5vqvae.spec.run import RunSpec

Suite = Literal["quick", "full"]
NUM_FACTORED = 2_000
"""Training sentences to whose latents and factors measures are fitted: a template needs a hundred or more."""
NUM_COUNTED = 5_000
"""Training sentences in which information is counted: the more there are, the less shuffled codes show."""
NUM_FIFTHS = 5
_ROUND = 20
"""Paths that are decoded together."""
Cell = str | int | float | None
Row = Mapping[str, Cell]


@dataclass(frozen=True)
class Found:
    """The result of a measure: its metrics by key, and tables by title."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    tables: Mapping[str, Sequence[Row]] = field(default_factory=dict)


@dataclass(frozen=True)
class Probed:
    """A trained model with what measures read of it; everything is computed once, when it is first read.

    Attributes:
        model: The model, in evaluation mode.
        spec: The run that trained it.
        train: The training rows of the corpus itself, from which word vectors and chains are made.
        split: The sentences that it is probed on.
        split_name: Their split.
        role_names: Names of the numbers in `Batch.roles_BT`.
        cache_dir: Cache of generated corpora.
        num_sentences: Sentences to read, at most.
        num_edits: Edits to make.
        num_paths: Paths between sentences to decode.
        unsent: Bound of the cross-entropy for sparse codes; None: they are not probed.
        labels: The file of sentences whose words have labels; None: there is none.
        encoder: The frozen autoencoder in whose states paths are judged; None: they are not.
        earlier: The model at an earlier checkpoint of its run; None: drift is not measured.
        seed: Seed of every random choice.
    """

    model: TextAutoencoder
    spec: RunSpec
    train: TokenizedSplit
    split: TokenizedSplit
    split_name: Literal["validation", "test"]
    role_names: Sequence[str]
    cache_dir: Path
    num_sentences: int
    num_edits: int
    num_paths: int = 60
    unsent: float | None = None
    labels: Path | None = None
    encoder: Path | None = None
    earlier: TextAutoencoder | None = None
    seed: int = 0

    @cached_property
    def indices(self) -> list[int]:
        """The probed sentences: the same random subset that an evaluation reads, ascending."""
        return sorted(fixed_order(len(self.split))[: self.num_sentences].tolist())

    @cached_property
    def texts(self) -> list[str]:
        """The probed sentences' texts."""
        return self.split.sources(self.indices)

    @cached_property
    def codes(self) -> list[npt.NDArray[np.int64]]:
        """The codes of every sentence, of shape (T, Q); no sentence of a model without codes."""
        if not self.model.has_codes:
            return []
        found: dict[int, npt.NDArray[np.int64]] = {}
        device, size = next(self.model.parameters()).device, self.spec.evaluate.batch_size
        with torch.no_grad(), stage("encoding sentences", len(self.texts), "sentences") as now:
            for indices, batch in evaluation_batches(self.split, size, limit=self.num_sentences):
                codes_BTQ = self.model.encode_memory(batch.to(device)).bottleneck.codes_BTQ
                if codes_BTQ is None:
                    return []
                for index, codes_TQ in zip(indices.tolist(), codes_BTQ.cpu().numpy(), strict=True):
                    found[index] = codes_TQ[(codes_TQ >= 0).all(-1)]
                now.advance(len(indices))
        return [found[index] for index in sorted(found)]

    @cached_property
    def words(self) -> list[CodedWord]:
        """Every word of the sentences whose first token has codes; a latent of the sentence has none."""
        if not self.codes:
            return []
        corpus, found = self.spec.data.corpus, list[CodedWord]()
        _, spans = tokens_and_spans(self.model.require_tokenizer(), self.texts, corpus.gives_pairs)
        for number, (text, codes_TQ, of_tokens) in enumerate(zip(self.texts, self.codes, spans, strict=True)):
            if len(codes_TQ) != len(of_tokens):
                return []
            found += words_of(number, text, codes_TQ, of_tokens, self.roles[number], corpus.word_spans)
        return found

    @cached_property
    def roles(self) -> list[list[str]]:
        """The role of every token of every sentence; empty lists where the corpus has none."""
        return self._roles_of(self.split, self.indices)

    def _roles_of(self, split: TokenizedSplit, indices: Sequence[int]) -> list[list[str]]:
        roles_BT = split.batch(indices).roles_BT
        if roles_BT is None:
            return [[] for _ in indices]
        return [[self.role_names[number] for number in row] for row in roles_BT.tolist()]

    @cached_property
    def paths(self) -> list[Trajectory]:
        """Paths between probed sentences that are paired at random; the same pairs for all models of a corpus."""
        rng = random.Random(f"{self.seed} paths")
        chosen = rng.sample(self.texts, min(len(self.texts) // 2, self.num_paths) * 2)
        pairs, space, found = list(zip(chosen[::2], chosen[1::2], strict=True)), self.space(), list[Trajectory]()
        with stage("interpolating", len(pairs), "paths") as now:
            for start in range(0, len(pairs), _ROUND):
                found += interpolate(space, pairs[start : start + _ROUND])
                now.set(len(found))
        return found

    @cached_property
    def slots(self) -> list[Slots]:
        """Latents and factors of training sentences by template; none if the corpus does not know its factors."""
        return self._slots_of(0, NUM_FACTORED)

    @cached_property
    def counted_slots(self) -> list[Slots]:
        """The same of more sentences, for what is counted and not fitted."""
        return self._slots_of(0, NUM_COUNTED)

    @cached_property
    def fifths(self) -> list[list[Slots]]:
        """The slots of five disjoint sets of training sentences, each as large as that of `slots`, which is the first.

        There are none where the training split has too few sentences. A fifth of the sentences of `slots` would say
        nothing about its values: the measures depend on how many sentences they are fitted to.
        """
        if not self.slots or len(self.train) < NUM_FIFTHS * NUM_FACTORED:
            return []
        return [self.slots, *(self._slots_of(part, NUM_FACTORED) for part in range(1, NUM_FIFTHS))]

    def _slots_of(self, part: int, number: int) -> list[Slots]:
        """Returns the slots of one of the disjoint sets of so many training sentences."""
        corpus = self.spec.data.corpus
        if not corpus.has_edits or self.model.leaks:
            return []
        indices = sorted(fixed_order(len(self.train))[part * number : (part + 1) * number].tolist())
        texts = self.train.sources(indices)
        with stage("reading latents and factors"):
            sentences = self.space().encode(texts)
            if self.train.has_roles:
                factors = [corpus.factors_of(text) for text in texts]
                return slots_of(sentences, self._roles_of(self.train, indices), factors)
            parts = [corpus.parts_of(text) or {} for text in texts]
            of_parts = [factors_of_parts(*each) for each in zip(texts, parts, strict=True)]
            return slots_of(sentences, [roles_of_parts(*each) for each in zip(sentences, parts, strict=True)], of_parts)

    def space(self, max_new_tokens: int | None = None) -> LatentSpace:
        """Returns the model with the operations on its codes.

        Args:
            max_new_tokens: Tokens after which decoding stops; None: those of the run.

        Raises:
            DataError: If the decoder reads more than latents.
        """
        longest = max_new_tokens or self.spec.max_new_tokens
        corpus = self.spec.data.corpus
        roles = RoleReader(corpus, self.role_names)
        return LatentSpace(self.model, longest, self.spec.evaluate.batch_size, roles, corpus.gives_pairs)

    def control(self) -> Control:
        """Returns edits with known answers.

        Raises:
            DataError: If the corpus has none.
        """
        corpus = self.spec.data.corpus
        return Control.of(corpus, self.cache_dir, self.split_name, self.num_edits, self.seed, self.role_names)

    def edited(self) -> Edited:
        """Returns what came of edits with known answers; none if there are none, or the decoder reads past latents."""
        if not self.spec.data.corpus.has_edits or self.model.leaks:
            return Edited([])
        size, longest = self.spec.evaluate.batch_size, self.spec.max_new_tokens
        control = self.control()
        return run_edits(
            self.model, control, max_new_tokens=longest, batch_size=size, unsent=self.unsent, with_ceiling=True
        )


Measure = Callable[[Probed], Found]


@dataclass(frozen=True)
class Registered:
    """A measure with its name, and the smallest suite that has it."""

    name: str
    suite: Suite
    run: Measure


MEASURES: dict[str, Registered] = {}
"""Every measure by its name, in the order of the report."""


def measure(name: str, suite: Suite = "quick") -> Callable[[Measure], Measure]:
    """Registers a measure."""

    def register(run: Measure) -> Measure:
        MEASURES[name] = Registered(name, suite, run)
        return run

    return register
