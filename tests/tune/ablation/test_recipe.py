"""The ablation of the recipe: three studies that share a baseline's settings, read no test set and cost little."""

from __future__ import annotations

from tune.ablation.ablation_spec import AblationSpec
from tune.ablation.designs import BASELINE
from tune.ablation.plan import all_arms, dry_run

PARTS = ("recipe", "recipe_end", "recipe_positions")
HOURS = 4.0
"""Machine hours that all three may take on one core."""
FACTORS = ("data.tokenizer.open_vocabulary", "data.augment.rename", "data.augment.join", "model.cross_positions")


def test_all_three_take_at_most_four_core_hours() -> None:
    hours = [dry_run(spec, spec.resolve_base()).hours for spec in map(AblationSpec.load, PARTS)]
    assert sum(found for found in hours if found is not None) <= HOURS and None not in hours


def test_they_are_the_design_that_was_asked_for() -> None:
    half, end, positions = map(AblationSpec.load, PARTS)
    assert half.design is not None and half.design.factors_of(half.resolve_base()) == FACTORS
    fraction = half.design.fraction(half.resolve_base())
    assert fraction is not None and (len(fraction.signs), fraction.resolution) == (8, 4)
    assert len(all_arms(half, half.resolve_base())) == 8, "the full recipe is one of the eight"
    assert [set(arm.overrides) for arm in end.arms] == [{path} for path in FACTORS]
    found = [arm.overrides["model.cross_positions"] for arm in positions.arms]
    assert found == ["none", "randomized", "labels"]
    for spec in (half, end, positions):
        assert len(spec.seeds) == 5 and spec.resolve_base().train.max_steps == 600


def test_their_baselines_differ_in_the_place_and_size_of_the_codebook_alone() -> None:
    half, end, positions = (AblationSpec.load(name).resolve_base().as_flat_dict() for name in PARTS)
    assert half == positions
    assert {path for path in half if half[path] != end[path]} == {"model.position", "quantizer.codebook_size"}
    assert (half["model.position"], end["model.position"]) == (0, half["model.num_layers"])


def test_no_arm_is_judged_on_a_test_set() -> None:
    for spec in map(AblationSpec.load, PARTS):
        assert spec.objective.metric == "validation_ood/nll_per_char"
        assert spec.beside[0] == "validation_ood/exact_match"
        assert all(metric.startswith(("validation/", "validation_ood/")) for metric in spec.beside)
        for arm in all_arms(spec, spec.resolve_base()):
            run = spec.resolve_base().with_overrides(arm.overrides)
            assert run.data.ood and not run.data.harder, arm.name
            assert run.data.corpus == spec.resolve_base().data.corpus, "all arms are judged on the same sentences"


def test_the_four_parts_are_what_the_factors_switch_off() -> None:
    for name, arms in {"recipe": 8, "recipe_end": 5}.items():
        spec = AblationSpec.load(name)
        base = spec.resolve_base().as_flat_dict()
        assert [base[path] for path in FACTORS] == [True, 0.5, 0.3, "relative"]
        found = all_arms(spec, spec.resolve_base())
        assert len(found) == arms and found[0].name == BASELINE
        off = {(path, value) for arm in found for path, value in arm.overrides.items()}
        assert off == set(zip(FACTORS, (False, 0.0, 0.0, "absolute"), strict=True))
