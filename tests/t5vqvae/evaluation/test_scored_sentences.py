"""Scores of single sentences: summed, they are the metrics; each is what the sentence alone would get."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from baseline_runs import build, tiny

from t5vqvae.data import prepare_test
from t5vqvae.data.batching import evaluation_batches
from t5vqvae.data.gate_split import half_of
from t5vqvae.evaluation.final_test import FinalTest, evaluate_test
from t5vqvae.evaluation.sums import Sums
from t5vqvae.models.contract import TextAutoencoder

SPEC = tiny("t5vqvae", **{"data.corpus.test_size": 21, "evaluate.batch_size": 8})


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def model(cache: Path) -> TextAutoencoder:
    torch.manual_seed(0)
    return build(SPEC, cache).eval()


@pytest.fixture(scope="module")
def tested(model: TextAutoencoder, cache: Path) -> FinalTest:
    return evaluate_test(model, SPEC, cache)


def test_sums_over_sentences_are_the_metrics(tested: FinalTest, cache: Path) -> None:
    rows, metrics = tested.sentences, tested.metrics
    tokens, chars = sum(row.tokens for row in rows), sum(row.chars for row in rows)
    assert [row.index for row in rows] == list(range(len(prepare_test(SPEC.data, cache)["test"])))
    assert sum(row.nll for row in rows) / tokens == pytest.approx(metrics["test/nll"], rel=1e-5)
    assert sum(row.nll for row in rows) / chars == pytest.approx(metrics["test/nll_per_char"], rel=1e-5)
    assert sum(row.correct for row in rows) / tokens == metrics["test/token_accuracy"]
    assert sum(row.exact for row in rows) / len(rows) == metrics["test/exact_match"]


def test_a_sentence_scores_as_it_does_alone(tested: FinalTest, model: TextAutoencoder, cache: Path) -> None:
    split = prepare_test(SPEC.data, cache)["test"]
    for indices, batch in evaluation_batches(split, 1):
        row = tested.sentences[int(indices[0])]
        with torch.no_grad():
            losses = model.losses(batch)
        assert row.nll == pytest.approx(float(losses.nll_sum), rel=1e-4)
        assert (row.tokens, row.chars) == (losses.num_tokens, len(row.reference))
        assert row.reference == split.texts(indices)[0]


def test_the_half_that_decides_is_not_in_the_reported_half(model: TextAutoencoder, cache: Path) -> None:
    reported = evaluate_test(model, SPEC, cache, half=True)
    split = prepare_test(SPEC.data, cache)["test"]
    kept = half_of(split, gate=False)
    assert [row.reference for row in reported.sentences] == kept.texts(range(len(kept)))
    gate = half_of(split, gate=True)
    assert len(kept) > 0 < len(gate) and len(kept) + len(gate) == len(split)
    assert not {row.reference for row in reported.sentences} & set(gate.texts(range(len(gate))))


def test_workers_join_their_sentences_and_none_are_kept_unless_wanted() -> None:
    mine, theirs = Sums(sentences={0: (1.0, 2, 1, 5)}), Sums(sentences={3: (0.5, 1, 1, 2)})
    mine.merge(theirs)
    assert mine.sentences == {0: (1.0, 2, 1, 5), 3: (0.5, 1, 1, 2)}
    plain = Sums()
    plain.merge(Sums())
    assert plain.sentences is None
