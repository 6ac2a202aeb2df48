"""Evaluates a trained autoencoder: its quality and its rate.

Evaluation runs in evaluation mode on the validation split; in this file only `evaluate_test` reaches the test split.
Everything is summed over batches and workers before any mean is taken, so that neither changes a number. Keys, units
and ranges of the metrics stand in `t5vqvae.evaluation.metrics`.

The rate `rate/bits_per_token` is the sum of the codebooks' entropies, an upper bound. With the training split at hand
there are two more, cross-entropies of the codes under chains that are counted on the training split (`chains.py`):
`rate/joint_bits_per_token` of all codes of a position, `rate/prior_bits_per_token` of those after the codes of the two
positions before. Codes of prompts count too, spread over the positions of their sentence. A model without a bottleneck,
or with a decoder that sees past it (`leaks`), has no rate, so none of the three. Further measures of a model
(`Losses.measures`, such as `rate/kl_bits_per_sentence` of a continuous latent) are reported unchanged. A quantizer with
a continuous form is evaluated in that form too (`soft/nll` and so on); the rate of that form has no bound.

Letters: B batch, T encoder positions, S decoder positions, V vocabulary, Q codes a position, P prompts, K entries of a
codebook.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor

from t5vqvae.data import IGNORED_LABEL, Batch, TokenizedSplit, evaluated_indices, evaluation_batches
from t5vqvae.data.batching import Array
from t5vqvae.evaluation.chains import note_codes, num_counted_sentences
from t5vqvae.evaluation.decoding import Decoding
from t5vqvae.evaluation.latent_gain import add_swapped
from t5vqvae.evaluation.scored_sentences import ScoredSentence, nll_of_sentences, note_sentences, scored_sentences
from t5vqvae.evaluation.sentence_rates import SentenceRates
from t5vqvae.evaluation.sparse_rate import sparse_metrics
from t5vqvae.evaluation.summed_metrics import meaning_of, quality_of, quantizer_of_prompts, rates_of
from t5vqvae.evaluation.sums import Sums, add_counts, summed_over_workers
from t5vqvae.measures.control import Control, run_edits, scores, sparse_scores
from t5vqvae.models.contract import Losses, Memory, TextAutoencoder
from t5vqvae.models.t5 import T5VQVAE
from t5vqvae.quantizers.parts.usage import count_codes, entropy_bits
from t5vqvae.spec.run import RunSpec
from t5vqvae.stages import Stage, stage

NUM_SAMPLES = 10


@dataclass(frozen=True)
class Reconstruction:
    """A sentence, its target, the text decoded for it, and its codes."""

    source: str
    target: str
    decoded: str
    codes: str


@dataclass(frozen=True)
class Evaluation:
    """The metrics of one evaluation, the count of every code (one list per codebook), and a few reconstructions.

    `sentences` has the scores of each sentence that was measured and decoded, where they were wanted, and `rates` their
    rates.
    """

    metrics: dict[str, float]
    code_counts: list[list[int]]
    samples: list[Reconstruction]
    sentences: list[ScoredSentence] = field(default_factory=list)
    rates: SentenceRates | None = None


def evaluate(
    model: TextAutoencoder,
    split: TokenizedSplit,
    spec: RunSpec,
    *,
    train: TokenizedSplit | None = None,
    control: Control | None = None,
    prefix: str = "validation",
    autocast: AbstractContextManager[object] | None = None,
    everything: bool = False,
    per_sentence: bool = False,
) -> Evaluation:
    """Evaluates a model on a split; the model stays as it was.

    With a process group, every worker calls it and gets the same numbers.

    Args:
        model: A model with its tokenizer.
        split: The sentences.
        spec: Its `evaluate` says how many sentences, its `data.max_target_length` how long texts may become.
        train: The corpus's own training rows, whose codes two rates are counted on; None: without these rates.
        control: Edits with known answers, for the `control/` metrics; None: without them.
        prefix: First part of the keys of quality metrics.
        autocast: The context of the precision; None: float32.
        everything: Take all sentences instead of as many as `spec.evaluate` says (for test splits).
        per_sentence: Keep the scores of each sentence.
    """
    was_training = model.training
    model.train(False)
    try:
        with torch.no_grad(), autocast or nullcontext():
            # First, so that the model's latest batch is one of the evaluated split, as without the chains.
            counted = Sums() if train is None else summed_over_workers(_counted_codes(model, train, spec))
            sums = summed_over_workers(_add_up(model, split, spec, everything, prefix, per_sentence))
            quality = quality_of(sums) | (meaning_of(sums, spec) if spec.evaluate.meaning else {})
            metrics = {f"{prefix}/{name}": value for name, value in quality.items()}
            if model.quantizer.has_soft_form:
                metrics |= _soft(model, split, spec, everything)
            if control is not None and not model.leaks:
                metrics |= _control(model, control, spec)
            if spec.evaluate.unsent is not None and isinstance(model, T5VQVAE):
                limit = None if everything else spec.evaluate.num_generated
                metrics |= sparse_metrics(model, split, train, spec, limit, spec.max_new_tokens)
    finally:
        model.train(was_training)
    measured = evaluated_indices(split, None if everything else spec.evaluate.num_examples)
    metrics |= rates_of(sums, model, counted)
    metrics["rate/token_entropy_bits"] = entropy_bits(torch.from_numpy(split.token_counts(measured)))
    rates = SentenceRates.of(sums, counted, model) if per_sentence and sums.counts and not model.leaks else None
    return _evaluation(metrics, sums, rates)


def _evaluation(metrics: dict[str, float], sums: Sums, rates: SentenceRates | None) -> Evaluation:
    samples = [Reconstruction(*row[1:]) for row in sums.decoded[:NUM_SAMPLES]]
    sentences = scored_sentences(sums.sentences or {}, sums.decoded)
    return Evaluation(metrics, [counts.tolist() for counts in sums.counts], samples, sentences, rates)


def control_of(
    spec: RunSpec, cache_dir: Path, split: Literal["validation", "test"], role_names: Sequence[str]
) -> Control | None:
    """Returns the edits that an evaluation of a run makes on a split; None without `evaluate.control`."""
    number = spec.evaluate.control
    return Control.of(spec.data.corpus, cache_dir, split, number, spec.seed, role_names) if number else None


def _soft(model: TextAutoencoder, split: TokenizedSplit, spec: RunSpec, everything: bool) -> dict[str, float]:
    """Returns the quality of a quantizer's continuous form, which is no bottleneck."""
    model.quantizer.hard = False
    try:
        sums = summed_over_workers(_add_up(model, split, spec, everything, "the soft form"))
    finally:
        model.quantizer.hard = True
    return {f"soft/{name}": value for name, value in quality_of(sums).items()}


def _control(model: TextAutoencoder, control: Control, spec: RunSpec) -> dict[str, float]:
    """Returns the metrics of edits; every worker makes its share of them."""
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    size, unsent = spec.evaluate.batch_size, spec.evaluate.unsent if model.has_codes else None
    mine = control.part(rank, world)
    edited = run_edits(model, mine, max_new_tokens=spec.max_new_tokens, batch_size=size, unsent=unsent)
    parts = [edited] * world
    if world > 1:
        dist.all_gather_object(parts, edited)
    sparse = [outcome for part in parts for outcome in part.sparse]
    return scores([outcome for part in parts for outcome in part.whole]) | sparse_scores(sparse)


_Encoded = tuple[Array, Batch, Memory]
"""The indices of a batch, the batch on the model's device, and its memory."""


def _encoded(model: TextAutoencoder, split: TokenizedSplit, size: int, limit: int | None) -> Iterator[_Encoded]:
    """Yields this worker's batches, encoded."""
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    device = next(model.parameters()).device
    for indices, batch in evaluation_batches(split, size, limit=limit, rank=rank, num_workers=world):
        batch = batch.to(device)
        yield indices, batch, model.encode_memory(batch)


def _counted_codes(model: TextAutoencoder, train: TokenizedSplit, spec: RunSpec) -> Sums:
    """Returns this worker's codes of training sentences; none of a model without a rate."""
    sums, limit = Sums(), num_counted_sentences(train)
    if model.leaks or not model.has_codes:
        return sums
    with stage("encoding training sentences", _count(train, limit), "sentences") as now:
        for indices, _, memory in _counted(_encoded(model, train, spec.evaluate.batch_size, limit), now):
            _note_codes(sums, indices, memory.bottleneck.codes_BTQ, memory.prompt_codes_BPQ)
    return sums


def _note_codes(sums: Sums, indices: Array, codes_BTQ: Tensor | None, prompt_codes_BPQ: Tensor | None) -> None:
    if codes_BTQ is not None:
        note_codes(sums.codes, indices, codes_BTQ)
    if prompt_codes_BPQ is not None:
        note_codes(sums.prompt_codes, indices, prompt_codes_BPQ)


def _add_up(
    model: TextAutoencoder,
    split: TokenizedSplit,
    spec: RunSpec,
    everything: bool,
    name: str,
    per_sentence: bool = False,
) -> Sums:
    """Returns this worker's sums.

    Args:
        model: The model, in evaluation mode.
        split: The sentences.
        spec: The run.
        everything: See `evaluate`.
        name: What is evaluated, in words.
        per_sentence: See `evaluate`.
    """
    sums, config = Sums(sentences={} if per_sentence else None), spec.evaluate
    num_examples = None if everything else config.num_examples
    num_generated = None if everything else config.num_generated
    together = num_examples == num_generated  # the same sentences: each is encoded once for both
    what = "testing" if together else "measuring"
    with stage(f"{what} {name}", _count(split, num_examples), "sentences") as now:
        batches = _measured(_encoded(model, split, config.batch_size, num_examples), model, sums, now)
        if together:
            _add_decoded(batches, model, split, spec, num_generated, sums)
        for _ in batches:
            pass
    add_swapped(model, split, config.batch_size, num_examples, sums)
    if num_generated != 0 and not together:
        with stage(f"decoding {name}", _count(split, num_generated), "sentences") as now:
            batches = _counted(_encoded(model, split, config.batch_size, num_generated), now)
            _add_decoded(batches, model, split, spec, num_generated, sums)
    return sums


def _measured(batches: Iterable[_Encoded], model: TextAutoencoder, sums: Sums, now: Stage) -> Iterator[_Encoded]:
    """Yields batches, each after its losses were added to the sums."""
    for indices, batch, memory in _counted(batches, now):
        losses = _add_losses(model, batch, memory, sums)
        _note_codes(sums, indices, losses.codes_BTQ, losses.prompt_codes_BPQ)
        if sums.sentences is not None:
            nll_B = nll_of_sentences(losses.logits_BSV, batch.labels_BS)
            note_sentences(sums.sentences, indices, batch, nll_B, _hits(losses, batch))
        yield indices, batch, memory


def _counted(batches: Iterable[_Encoded], now: Stage) -> Iterator[_Encoded]:
    """Yields batches and reports how many sentences are done."""
    for encoded in batches:
        yield encoded
        now.advance(len(encoded[0]))


def _count(split: TokenizedSplit, limit: int | None) -> int:
    """Returns how many sentences this worker evaluates, about."""
    world = dist.get_world_size() if dist.is_initialized() else 1
    return math.ceil(min(len(split), limit or len(split)) / world)


def _add_losses(model: TextAutoencoder, batch: Batch, memory: Memory, sums: Sums) -> Losses:
    """Adds the losses of a batch, and returns them."""
    losses = model.losses(batch, memory=memory)
    sums.nll += float(losses.nll_sum)
    sums.num_tokens += losses.num_tokens
    sums.num_correct += int(_hits(losses, batch).sum())
    sums.num_chars += int(batch.num_chars_B.sum())
    sums.num_positions += losses.num_positions
    sums.num_sentences += batch.labels_BS.shape[0]
    sums.error += losses.squared_error
    sums.energy += losses.squared_states
    if losses.codes_BTQ is not None:
        sums.counts = add_counts(
            sums.counts, [c.cpu() for c in count_codes(losses.codes_BTQ, model.quantizer.code_sizes)]
        )
    if losses.prompt_codes_BPQ is not None:
        prompts, sizes = losses.prompt_codes_BPQ, quantizer_of_prompts(model).code_sizes
        sums.prompt_counts = add_counts(sums.prompt_counts, [c.cpu() for c in count_codes(prompts, sizes)])
        sums.num_prompts += prompts.shape[0] * prompts.shape[1]
    sums.measure(losses.measures)
    return losses


def _hits(losses: Losses, batch: Batch) -> Tensor:
    """Returns which target tokens were ranked first, shape (B, S); False at padding."""
    return (losses.logits_BSV.argmax(-1) == batch.labels_BS) & (batch.labels_BS != IGNORED_LABEL)


def _add_decoded(
    batches: Iterable[_Encoded],
    model: TextAutoencoder,
    split: TokenizedSplit,
    spec: RunSpec,
    limit: int | None,
    sums: Sums,
) -> None:
    size = spec.evaluate.batch_size
    for found in Decoding(model, split, spec.max_new_tokens, size).run(batches, single=_count(split, limit) <= size):
        indices = [each.index for each in found]
        for each, source, target in zip(found, split.sources(indices), split.texts(indices), strict=True):
            sums.decoded.append((each.index, source, target, each.text, each.codes))
