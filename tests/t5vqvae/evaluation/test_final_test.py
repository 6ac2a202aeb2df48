"""Rates of a test are counted on training rows like those of the test, and not on augmented ones."""

from __future__ import annotations

from pathlib import Path

import torch
from baseline_runs import build, tiny

from t5vqvae.data import prepare
from t5vqvae.data.gate_split import prepare_gate
from t5vqvae.data.prepare import prepare_test
from t5vqvae.evaluation.evaluate import evaluate
from t5vqvae.evaluation.final_test import evaluate_test
from t5vqvae.evaluation.gate_scores import score_gate

SPEC = tiny(
    "t5vqvae",
    **{
        "data.corpus.name": "math",
        "data.corpus.size": 300,
        "data.corpus.validation_size": 20,
        "data.corpus.test_size": 20,
        "data.augment.rename": 1.0,
        "data.augment.join": 1.0,
        "data.tokenizer.open_vocabulary": True,
        "data.max_length": 200,
        "model.position": 0,
    },
)
KEY = "rate/joint_bits_per_token"


def test_joint_rates_are_counted_without_augmented_rows(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, prepared = build(SPEC, tmp_path).eval(), prepare(SPEC.data, tmp_path)
    assert len(prepared.own_train) == 300 < len(prepared.train)
    split = prepare_test(SPEC.data, tmp_path)["test"]
    own, everything = (
        evaluate(model, split, SPEC, train=train, prefix="test", everything=True).metrics[KEY]
        for train in (prepared.own_train, prepared.train)
    )
    assert own != everything
    assert evaluate_test(model, SPEC, tmp_path).metrics[f"test/{KEY}"] == own
    gate = prepare_gate(SPEC.data, tmp_path, None)
    of_gate = evaluate(model, gate.splits["gate"], SPEC, train=prepared.own_train, everything=True).metrics[KEY]
    assert score_gate(model, SPEC, tmp_path, gate).metrics[f"gate/{KEY}"] == of_gate
