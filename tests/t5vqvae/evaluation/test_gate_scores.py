"""Scores of what decides: sums over sentences and edits are the metrics, so that resampling them is fair."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from baseline_runs import build, tiny

from t5vqvae.data.gate_split import GateData, prepare_gate
from t5vqvae.evaluation.evaluate import control_of
from t5vqvae.evaluation.gate_scores import GateScores, _answered, kind_of, score_gate
from t5vqvae.evaluation.metrics import METRICS
from t5vqvae.measures.control import Outcome

SPEC = tiny(
    "t5vqvae",
    **{
        "data.corpus.name": "math",
        "data.corpus.size": 200,
        "data.corpus.validation_size": 12,
        "data.corpus.test_size": 12,
        "quantizer.name": "ema",
        "quantizer.num_codebooks": 2,
        "quantizer.codebook_size": 8,
        "evaluate.control": 12,
    },
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def gate(cache: Path) -> GateData:
    return prepare_gate(SPEC.data, cache, None)


@pytest.fixture(scope="module")
def scored(cache: Path, gate: GateData) -> GateScores:
    torch.manual_seed(0)
    return score_gate(build(SPEC, cache).eval(), SPEC, cache, gate)


def test_sums_over_units_are_the_metrics_on_every_set(scored: GateScores) -> None:
    keys = ["nll", "nll_per_char", "token_accuracy", "exact_match", "bleu1"]
    keys += ["rate/bits_per_token", "rate/joint_bits_per_token", "rate/bits_per_char", "rate/joint_bits_per_char"]
    keys += ["rate/bits_per_sentence"]
    wanted = {f"{split}/{key}" for split in ("gate", "gate/VAR") for key in keys}
    assert wanted <= set(scored.units)
    assert not any(key.startswith("gate_ood/") for key in scored.metrics), "data.ood is 0"
    for key in wanted:
        above, below = scored.units[key]
        assert sum(above) / sum(below) == pytest.approx(scored.metrics[key], rel=1e-5), key


def test_the_mean_out_of_distribution_is_over_sets_that_were_drawn_for_decisions(cache: Path) -> None:
    spec = SPEC.with_overrides({"data.ood": 5, "data.max_length": 60, "evaluate.control": 0})
    gate = prepare_gate(spec.data, cache, None)
    torch.manual_seed(0)
    scored = score_gate(build(spec, cache).eval(), spec, cache, gate)
    assert {"gate", "VAR", "EASY", "EQ", "LEN"} == set(gate.splits) <= set(scored.names)
    for key in ("nll_per_char", "exact_match"):
        values = [scored.metrics[f"gate/{name}/{key}"] for name in ("VAR", "EASY", "EQ", "LEN")]
        assert scored.metrics[f"gate_ood/{key}"] == pytest.approx(sum(values) / 4), key


def test_every_unit_has_a_name_of_its_own(scored: GateScores, gate: GateData) -> None:
    for key, (above, below) in scored.units.items():
        names = scored.names[kind_of(key)]
        assert len(above) == len(below) == len(names) == len(set(names)), key
    assert list(scored.names["gate"]) == gate.splits["gate"].sources(range(12))
    assert len(scored.decoded) == len(scored.references) == 12


def test_usage_is_that_of_blocks_and_lies_in_its_range(scored: GateScores) -> None:
    above, below = scored.units["gate/codebook/usage"]
    assert set(below) == {1.0} and all(0 < value <= 1 for value in above) and len(above) == 12


def test_the_edits_that_decide_are_not_those_of_the_tables(scored: GateScores, cache: Path) -> None:
    control = control_of(SPEC, cache, "test", ())
    assert control is not None
    reported = {f"{edit.source} > {edit.answer}" for edit in control.edits}
    deciding = [name for kind, names in scored.names.items() if kind.startswith("control/") for name in names]
    assert deciding and not reported & set(deciding)


def test_edits_of_sparse_codes_have_units_whose_mean_is_the_metric(cache: Path, gate: GateData) -> None:
    spec = SPEC.with_overrides({"train.code_dropout": 0.6, "evaluate.unsent": 0.5})
    torch.manual_seed(0)
    scored = score_gate(build(spec, cache).eval(), spec, cache, gate)
    keys = [key for key in scored.units if "control/sparse_" in key]
    assert keys and {key.removeprefix("gate/") for key in keys} <= set(METRICS)
    for key in keys:
        above, below = scored.units[key]
        assert sum(above) / sum(below) == pytest.approx(scored.metrics[key]), key
        assert scored.names[kind_of(key)] == scored.names[kind_of(key.replace("sparse_", ""))], "the same edits"


def test_the_right_answers_of_edits_are_counted_one_by_one(cache: Path) -> None:
    control = control_of(SPEC, cache, "test", ())
    assert control is not None
    edit = control.edits[0]
    outcomes = [Outcome(edit, text, edit.source, edit.donor, True) for text in (edit.answer, "1 + 1")]
    assert _answered(outcomes) == ([1.0, 0.0], [1.0, 1.0])
