"""The test splits of a run: for promotion and final tables only, as these numbers test nothing that they chose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from t5vqvae.data import prepare, prepare_test
from t5vqvae.evaluation.evaluate import control_of, evaluate
from t5vqvae.evaluation.out_of_distribution import TESTS, mean_over
from t5vqvae.evaluation.scored_sentences import ScoredSentence
from t5vqvae.models.contract import TextAutoencoder
from t5vqvae.spec.run import RunSpec
from t5vqvae.stages import stage


@dataclass(frozen=True)
class FinalTest:
    """The metrics of all test sets, such as `test/nll` and `VAR/exact_match`, and the sentences of the split `test`."""

    metrics: dict[str, float]
    sentences: list[ScoredSentence]


def evaluate_test(model: TextAutoencoder, spec: RunSpec, cache_dir: Path) -> FinalTest:
    """Returns the metrics of the test split and of every extra test set, and the scores of the split's sentences.

    Use it for promotion and final tables only: these numbers test nothing that was chosen by them.
    """
    metrics: dict[str, float] = {}
    sentences: list[ScoredSentence] = []
    splits = prepare_test(spec.data, cache_dir, backbone=spec.model.backbone)
    prepared = prepare(spec.data, cache_dir, backbone=spec.model.backbone)
    edits = control_of(spec, cache_dir, "test", prepared.role_names)
    with stage("testing", sum(map(len, splits.values())), "sentences") as now:
        for number, (name, split) in enumerate(splits.items(), start=1):
            now.set(now.done, note=f"test set {name}, {number} of {len(splits)}")
            first = name == "test"
            evaluation = evaluate(
                model,
                split,
                spec,
                train=prepared.train,
                control=edits if first else None,
                prefix=name,
                everything=True,
                per_sentence=first,
            )
            sentences += evaluation.sentences
            shared = {f"{name}/{key}": value for key, value in evaluation.metrics.items() if not key.startswith(name)}
            own = {key: value for key, value in evaluation.metrics.items() if key.startswith(f"{name}/")}
            metrics |= own | shared
            now.advance(len(split))
    metrics |= mean_over(metrics, prepared.twins, TESTS)
    return FinalTest(metrics, sentences)


def sentences_of_test(model: TextAutoencoder, spec: RunSpec, cache_dir: Path) -> list[ScoredSentence]:
    """Returns the scores of the test split's sentences alone, for a model whose test kept none."""
    split = prepare_test(spec.data, cache_dir, backbone=spec.model.backbone)["test"]
    return evaluate(model, split, spec, prefix="test", everything=True, per_sentence=True).sentences


def test_sets(spec: RunSpec, cache_dir: Path) -> list[str]:
    """Returns the names of the test sets that `evaluate_test` evaluates, without reading a sentence."""
    return list(prepare_test(spec.data, cache_dir, backbone=spec.model.backbone))


test_sets.__test__ = False  # type: ignore[attr-defined]  # pytest takes it for a test otherwise
