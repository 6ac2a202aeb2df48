"""The seeded runs give the numbers that commit f566e11 gave before every module moved; see `compare_commits.py`.

`recorded.json` is made anew by `python -m tests.end_to_end.compare_commits --record tests/end_to_end/recorded.json`
with a `--commit` of which the numbers were changed on purpose. P-values of equivalence are those of sign flips, which
follow the declared test; f566e11 had t tests there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.compare_commits import ROOT, recordable
from tests.end_to_end.seeded_runs import QUANTIZERS, ablate, search, train
from tests.end_to_end.stored_values import (
    MISSING,
    Values,
    read_ablation,
    read_search,
    read_training,
    relative_difference,
)

RECORDED: Values = json.loads(Path(__file__).with_name("recorded.json").read_text())

RELATIVE = 1e-3
"""What another processor's rounding may change of a metric in 60 steps."""
EXACT = 1e-9
"""What it may change of a chosen setting."""
SMALL = {"validation/latent_gain": 1e-3, "train/aux_loss": 1e-3}
"""Differences of large numbers, which may differ by so many nats."""
MOVED_CODES = 0.02
"""Share of positions that may have another code."""


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_a_training_gives_the_recorded_milestones(quantizer: str, state: Path) -> None:
    train(ROOT, state, quantizer)
    assert_recorded(read_training(state, quantizer))


@pytest.mark.ray
@pytest.mark.slow
def test_a_search_makes_the_recorded_choices(state: Path) -> None:
    search(ROOT, state)
    assert_recorded(read_search(state))


@pytest.mark.ray
@pytest.mark.slow
def test_an_ablation_finds_the_recorded_effects(state: Path) -> None:
    ablate(ROOT, state)
    assert_recorded(read_ablation(state))


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One state folder, so that the corpus is prepared and the database made only once."""
    return tmp_path_factory.mktemp("seeded")


def assert_recorded(values: Values) -> None:
    """Fails with the values that differ from the recorded ones; what is new may be there."""
    found = recordable(values)
    assert found.keys() <= RECORDED.keys() and found
    assert [line for group in found for line in _differing(RECORDED[group], found[group])] == []


def _differing(recorded: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    return [
        f"{name}: {value!r} recorded, {found.get(name, MISSING)!r} found"
        for name, value in recorded.items()
        if not _is_same(name, value, found.get(name, MISSING))
    ]


def _is_same(name: str, recorded: Any, found: Any) -> bool:
    if found == MISSING:
        return False
    if name.endswith("code_counts"):
        return _moved_codes(recorded, found) <= MOVED_CODES
    if not isinstance(recorded, float):
        return relative_difference(recorded, found) <= EXACT
    floor = next((nats for metric, nats in SMALL.items() if name.endswith(metric)), 0.0)
    return relative_difference(recorded, found) <= RELATIVE or abs(recorded - found) <= floor


def _moved_codes(recorded: str, found: str) -> float:
    """Returns the share of positions whose code differs, at least, between two counts of codes."""
    (one,), (other,) = json.loads(recorded), json.loads(found)
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) / 2 / sum(one)


def test_a_changed_metric_a_changed_choice_and_a_missing_value_are_noticed() -> None:
    recorded = {"step 20 validation/nll": 5.0, "trial 1 overrides": '{"optim.learning_rate": 0.01}', "status": "pruned"}
    assert _differing(recorded, {**recorded, "step 20 validation/nll": 5.004}) == []
    for changed in (
        {"step 20 validation/nll": 5.01},
        {"step 20 validation/nll": float("nan")},
        {"trial 1 overrides": '{"optim.learning_rate": 0.010001}'},
        {"status": "completed"},
    ):
        assert len(_differing(recorded, {**recorded, **changed})) == 1
    assert len(_differing(recorded, {})) == 3
