"""Trained models on the validation split: the metrics of one, and two compared on the same sentences.

The test split stays with promotion. Trials are chosen on the validation split, so the best of many looks better there
than it is; a comparison of two models on it tells which sentences they differ in, and how far chance may have decided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t5vqvae.errors import DataError
from t5vqvae.evaluation.metrics import METRICS, on_test
from t5vqvae.files import digest
from t5vqvae.stages import stage
from tune.promotion.sentence_scores import BLEU, KeptScores, artifact_digest
from tune.records.loading import loaded_model
from tune.records.models import FoundModel, say_of_other_data

if TYPE_CHECKING:
    from t5vqvae.evaluation.scored_sentences import ScoredSentence
    from tune.analysis import ModelComparison

COMPARED = ("validation/exact_match", "validation/nll_per_char", "validation/bleu", "validation/bleu1")
"""The metrics that two models are compared by, whatever their tokenizers."""
SAME_TOKENS = ("validation/nll", "validation/token_accuracy")
"""Those that are comparable where both models cut the texts into the same tokens."""


@dataclass(frozen=True)
class ValidationResult:
    """A model's evaluation on the validation split.

    Attributes:
        model: The model.
        metrics: The metrics.
        sentences: The scores of the sentences that were decoded; empty where they were not wanted.
    """

    model: FoundModel
    metrics: Mapping[str, float]
    sentences: Sequence[ScoredSentence]


def evaluate_on_validation(
    found: FoundModel, cache: Path, changes: Mapping[str, Any] = {}, *, per_sentence: bool = False
) -> ValidationResult:
    """Evaluates a trained model on the validation split, as its training does at every milestone.

    Args:
        found: The model.
        cache: Cache of prepared data.
        changes: Settings of `evaluate.` that replace its own.
        per_sentence: Keep the scores of each sentence, and leave out the rates and edits.

    Raises:
        UserError: If its data cannot be prepared, or it cannot be loaded.
    """
    from t5vqvae.data import prepare
    from t5vqvae.evaluation.evaluate import control_of, evaluate
    from t5vqvae.training.device import autocast, choose_device, resolve_precision
    from t5vqvae.training.threads import free_threads, use_threads

    say_of_other_data(found, cache)
    spec = found.spec.with_overrides({**changes, "train.device": "auto"})
    with stage("preparing the data"):
        data = prepare(spec.data, cache, backbone=spec.model.backbone)
    use_threads(free_threads())
    model, device = loaded_model(found.folder), choose_device(spec)
    result = evaluate(
        model,
        data.validation,
        spec,
        train=None if per_sentence else data.own_train,
        control=None if per_sentence else control_of(spec, cache, "validation", data.role_names),
        autocast=autocast(device, resolve_precision(spec, device)),
        per_sentence=per_sentence,
    )
    return ValidationResult(found, result.metrics, result.sentences)


def compare_on_validation(a: ValidationResult, b: ValidationResult) -> list[ModelComparison]:
    """Compares two models by a paired bootstrap over the sentences that both were scored on.

    Raises:
        DataError: If these are not the same sentences.
    """
    from t5vqvae.evaluation.scored_sentences import amounts
    from tune.analysis import SentenceScores, SentenceTexts, compare_models  # scipy takes most of a second

    refuse_other_sentences(a, b)
    data = digest([[row.index, row.reference] for row in a.sentences])
    sides = [KeptScores(artifact_digest(each.model.folder), data, each.model.origin, each.sentences) for each in (a, b)]
    found = []
    for metric in [*COMPARED, *(SAME_TOKENS if same_tokens(a, b) else ())]:
        if on_test(metric) == BLEU:
            texts = [SentenceTexts(s.source, data, _decoded(s), _references(s)) for s in sides]
            found.append(compare_models(texts[0], texts[1], metric, _direction(metric), num_resamples=1000))
        else:
            scores = [SentenceScores(s.source, data, *amounts(s.sentences, metric.partition("/")[2])) for s in sides]
            found.append(compare_models(scores[0], scores[1], metric, _direction(metric)))
    return found


def refuse_other_sentences(a: ValidationResult, b: ValidationResult) -> None:
    """Refuses two models that were not scored on the same sentences.

    Raises:
        DataError: If they were not, or on none.
    """
    keys = [[(row.index, row.reference) for row in each.sentences] for each in (a, b)]
    if keys[0] == keys[1] and keys[0]:
        return
    names = f"{a.model.origin} and {b.model.origin}"
    if not all(keys):
        raise DataError(f"{names} have no validation sentence in common; take corpora with a validation split")
    both = len(set(keys[0]) & set(keys[1]))
    raise DataError(
        f"{names} were scored on {len(keys[0])} and {len(keys[1])} validation sentences, of which {both} are the same;"
        " compare models of one corpus, size and seed of the data"
    )


def same_tokens(a: ValidationResult, b: ValidationResult) -> bool:
    """Returns whether both models cut each sentence into as many tokens."""
    return all(one.tokens == other.tokens for one, other in zip(a.sentences, b.sentences, strict=True))


def _decoded(scores: KeptScores) -> list[str]:
    return [row.decoded for row in scores.sentences]


def _references(scores: KeptScores) -> list[str]:
    return [row.reference for row in scores.sentences]


def _direction(metric: str) -> Any:
    return METRICS[metric].direction
