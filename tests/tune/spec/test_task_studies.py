"""The studies beyond reconstruction: what they may read, what they vary, and what their files promise."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from shown_bytes import fewest_in_a_place

from t5vqvae.data import prepare
from tune.space.dimension import choose
from tune.spec.search_spec import SearchSpec
from tune.spec.study_file import STUDIES

NAMES = ("math_ood", "explanations", "entailment", "syllogisms", "derive")


@pytest.mark.parametrize("name", NAMES)
def test_no_test_set_is_read_and_the_file_names_the_command_of_its_best_trial(name: str) -> None:
    spec = SearchSpec.load(name)
    judged = [*spec.judged_metrics, *([each.metric] if (each := spec.scheduler_objective) else [])]
    assert judged and {metric.partition("/")[0] for metric in judged} <= {"validation", "validation_ood", "rate"}
    head = (STUDIES / f"{name}.yaml").read_text().split("\nname:")[0]
    assert f"`t5vqvae trial {name} --command`" in head


def test_expressions_unlike_training_are_judged_by_twins_with_exact_match_as_a_bound() -> None:
    spec = SearchSpec.load("math_ood")
    assert [each.metric for each in spec.objectives] == ["validation_ood/nll_per_char"]
    assert {each.metric for each in spec.constraints} == {"validation_ood/exact_match", "rate/joint_bits_per_token"}
    assert spec.base_spec.data.ood and spec.base_spec.data.harder


@pytest.mark.slow
def test_training_as_shipped_shows_every_token_and_every_byte_in_every_place(tmp_path: Path) -> None:
    data = prepare(SearchSpec.load("math_ood").base_spec.data, tmp_path)
    assert data.num_augmented == {"rename": 30_000, "join": 18_000}
    assert data.fewest_shown >= 50
    assert fewest_in_a_place(data.train.sources(range(len(data.train)))) >= 50


def test_entailment_searches_joint_separate_and_two_stages_at_equal_steps() -> None:
    spec, rng = SearchSpec.load("entailment"), random.Random(0)
    drawn = [choose(spec.space.dimensions, spec.base_values, lambda d: d.range.draw(rng)) for _ in range(200)]
    runs = [spec.run_spec(overrides) for overrides in drawn]
    found = Counter((run.model.premises, bool(run.train.autoencode_steps)) for run in runs)  # type: ignore[attr-defined]
    assert set(found) == {("joint", False), ("separate", False), ("joint", True), ("separate", True)}
    assert {run.train.max_steps for run in runs} == {1500} and spec.scheduler.name == "none"
    positions = {bool(run.train.autoencode_steps): set() for run in runs}  # type: ignore[var-annotated]
    for run, overrides in zip(runs, drawn, strict=True):
        positions[bool(run.train.autoencode_steps)].add(run.model.position)  # type: ignore[attr-defined]
        assert ("model.premises" in overrides) == (run.model.position != 0), "of embeddings both are the same"  # type: ignore[attr-defined]
    assert positions == {False: {0, 1, 2, 3}, True: {0, 1, 2}}
