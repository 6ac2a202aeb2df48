"""The test splits of a run: for promotion and final tables only, as these numbers test nothing that they chose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from t5vqvae.data import prepare, prepare_test
from t5vqvae.data.gate_split import reported_halves
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


def evaluate_test(model: TextAutoencoder, spec: RunSpec, cache_dir: Path, *, half: bool = False) -> FinalTest:
    """Returns the metrics of the test split and of every extra test set, and the scores of the split's sentences.

    Use it for promotion and final tables only: these numbers test nothing that was chosen by them.

    Args:
        model: The model.
        spec: Its run.
        cache_dir: Cache of prepared data.
        half: Leave out the half of every test set that decides promotions; see `t5vqvae.data.gate_split`.

    Raises:
        DataError: If that leaves nothing of the test split.
    """
    metrics: dict[str, float] = {}
    sentences: list[ScoredSentence] = []
    splits = prepare_test(spec.data, cache_dir, backbone=spec.model.backbone)
    if half:
        splits = reported_halves(splits, spec.data.corpus.name)
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
                train=prepared.own_train,
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


def test_sets(spec: RunSpec, cache_dir: Path) -> list[str]:
    """Returns the names of the test sets that `evaluate_test` evaluates, without reading a sentence."""
    return list(prepare_test(spec.data, cache_dir, backbone=spec.model.backbone))


test_sets.__test__ = False  # type: ignore[attr-defined]  # pytest takes it for a test otherwise
