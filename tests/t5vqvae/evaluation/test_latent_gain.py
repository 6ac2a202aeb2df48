"""The rise of the cross-entropy with another sentence's latent: the same number whatever the batches are."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from places import ROOT

from t5vqvae.data import prepare
from t5vqvae.data.batching import batches_behind_one, evaluation_batches
from t5vqvae.evaluation.evaluate import evaluate
from t5vqvae.models.contract import load_model
from t5vqvae.spec.run import RunSpec

CHECKPOINT = ROOT / "tests" / "t5vqvae" / "measures" / "checkpoints" / "end"


def test_no_batch_changes_it(tmp_path: Path) -> None:
    """Of batches by length the first has the shortest sentences, and one of a single sentence no other one."""
    spec = RunSpec.parse(json.loads((CHECKPOINT / "spec.json").read_text()))
    data, model = prepare(spec.data, tmp_path), load_model(CHECKPOINT / "model").eval()
    gains = []
    for size in (120, 16, 1):
        run = spec.with_overrides(
            {"evaluate.num_examples": 40, "evaluate.num_generated": 0, "evaluate.batch_size": size}
        )
        gains.append(evaluate(model, data.validation, run).metrics["validation/latent_gain"])
    assert gains[0] > 1 and gains == pytest.approx([gains[0]] * 3, rel=1e-4)


def test_every_sentence_is_behind_its_neighbour_by_length_once(tmp_path: Path) -> None:
    spec = RunSpec.parse(json.loads((CHECKPOINT / "spec.json").read_text()))
    split = prepare(spec.data, tmp_path).validation
    [(whole, _)] = evaluation_batches(split, 100, limit=10)
    pairs = []
    for rank in range(2):  # two workers
        for batch in batches_behind_one(split, 3, 10, rank, 2):
            rows = [ids[mask].tolist() for ids, mask in zip(batch.input_ids_BT, batch.mask_BT, strict=True)]
            assert (batch.labels_BS[0] < 0).all() and (batch.labels_BS[1:, 0] >= 0).all()
            pairs += itertools.pairwise(rows)
    ids = [split.batch(whole[[place]]).input_ids_BT[0].tolist() for place in range(len(whole))]
    assert sorted(pairs) == sorted((ids[place - 1], ids[place]) for place in range(len(ids)))
    assert list(batches_behind_one(split, 3, 1)) == []
