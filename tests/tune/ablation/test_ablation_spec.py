"""Ablations: what they refuse, what they run, and that every design makes the arms it promises."""

from __future__ import annotations

import random

import pytest
import yaml

from t5vqvae.errors import SettingError
from t5vqvae.files import read_json, write_json
from t5vqvae.quantizers import QuantizerConfig
from t5vqvae.spec.run import RunSpec
from tune.ablation.ablation_spec import AblationSpec
from tune.ablation.baseline import asked_base
from tune.ablation.designs import Arm
from tune.ablation.history import AblationHistory
from tune.ablation.nuisance import at_the_edge, candidates, choose
from tune.ablation.plan import dry_run, expand
from tune.analysis import RunRow, pairs_needed
from tune.records.study_paths import StudyPaths
from tune.space.space import SearchSpace
from tune.spec.objective import Objective

RATE = {"optim.learning_rate": {"type": "float", "low": 5e-4, "high": 8e-3, "log": True}}
ARM = {"name": "no averages", "overrides": {"quantizer.name": "vq", "quantizer.revive_below": 0.02}}


def ablation(**changes) -> AblationSpec:
    values = {
        "name": "averages",
        "question": "What do moving averages give?",
        "arms": [ARM],
        "seeds": 6,
        "nuisance": RATE,
        "trials_per_arm": 4,
        "objective": {"metric": "validation/nll_per_char"},
    }
    return AblationSpec.parse({key: value for key, value in (values | changes).items() if value is not None})


def test_the_plan_pairs_seeds_and_tunes_every_arm_alike():
    spec = ablation()
    runs = expand(spec, spec.resolve_base())
    tuning = [run for run in runs if run.phase == "tuning"]
    arms = ("baseline", "no averages")
    for seed in range(6):
        mine = [run for run in tuning if run.tunes == seed]
        by_arm = {arm: [run.overrides["optim.learning_rate"] for run in mine if run.arm == arm] for arm in arms}
        assert by_arm["baseline"] == by_arm["no averages"] and len(by_arm["baseline"]) == 4
        assert by_arm["baseline"][0] == RunSpec().optim.learning_rate
        assert {run.seed for run in mine} == {1000 + seed}
    assert len({run.overrides["optim.learning_rate"] for run in tuning}) == 1 + 6 * 3, "drawn for each seed anew"
    compared = [(run.seed, run.arm) for run in runs if run.phase == "comparison"]
    assert compared == [(seed, arm) for seed in range(6) for arm in ("baseline", "no averages")]
    assert len({run.key for run in runs}) == len(runs)
    assert all(run.overrides["seed"] == run.seed for run in runs)


def test_tuned_settings_enter_the_comparison():
    spec = ablation()
    tuned = {
        "baseline": {seed: {"optim.learning_rate": 1e-3 + seed * 1e-4} for seed in range(6)},
        "no averages": {0: {"optim.learning_rate": 4e-3}},
    }
    runs = [run for run in expand(spec, spec.resolve_base(), tuned) if run.phase == "comparison"]
    rates = {(run.arm, run.seed): run.overrides.get("optim.learning_rate") for run in runs}
    assert [rates["baseline", seed] for seed in range(6)] == [1e-3 + seed * 1e-4 for seed in range(6)]
    assert [rates["no averages", seed] for seed in range(6)] == [4e-3, *[None] * 5]
    assert {run.overrides.get("quantizer.name") for run in runs if run.arm == "no averages"} == {"vq"}


def test_tuning_once_for_all_seeds_is_a_choice_that_is_called_out():
    spec = ablation(tuning="shared")
    tuning = [run for run in expand(spec, spec.resolve_base()) if run.phase == "tuning"]
    assert len(tuning) == 2 * 4 and {(run.seed, run.tunes) for run in tuning} == {(1000, None)}
    assert any("understate the error" in note for note in spec.notes(spec.resolve_base()))
    assert not any("understate" in note for note in ablation().notes(RunSpec()))
    untuned = ablation(nuisance=None, trials_per_arm=None, untuned="why not", tuning="shared")
    assert not any("understate" in note for note in untuned.notes(RunSpec())), "nothing is tuned"


def test_a_spec_kept_by_a_version_that_tuned_once_reads_as_such(tmp_path):
    paths, spec = StudyPaths(tmp_path, "averages"), ablation()
    AblationHistory(RunSpec(), (spec,)).write(paths)
    assert AblationHistory.read(paths).specs[0].tuning == "per_seed"
    kept = read_json(paths.ablation)
    del kept["specs"][0]["tuning"]
    write_json(paths.ablation, kept)
    old = AblationHistory.read(paths)
    assert old.specs[0].tuning == "shared" and old.specs[0].tuning_seeds[5] == 1000
    (note,) = AblationHistory(RunSpec(), (*old.specs, spec)).notes()
    assert "tuning from shared to per_seed" in note


REFUSED = {
    "objective train/loss contains the weights": {"objective": {"metric": "train/loss"}},
    "would choose on the test split": {"objective": {"metric": "test/nll"}},
    "take 6 seeds, fewer arms, or test=t": {"seeds": 5},
    "take 7 seeds": {"arms": [ARM, {"name": "b", "overrides": {"model.dropout": 0.1}}]},
    "nuisance must contain optim.learning_rate": {
        "nuisance": {"optim.beta1": {"type": "float", "low": 0.8, "high": 0.95}}
    },
    "nuisance.model.kl_weight: validation/nll_per_char always takes the value that leaves the latent the most bits;"
    " fix it in base, or give each weight an arm": {
        "base": {"model.name": "optimus", "quantizer.name": "none"},
        "arms": [{"name": "addition", "overrides": {"model.injection": "addition"}}],
        "nuisance": RATE | {"model.kl_weight": {"type": "float", "low": 0.01, "high": 1.0, "log": True}},
    },
    "nuisance and trials_per_arm are missing": {"nuisance": None},
    "is what the arms ask about": {
        "nuisance": RATE | {"model.dropout": {"type": "float", "low": 0.0, "high": 0.3}},
        "arms": [{"name": "a", "overrides": {"model.dropout": 0.1}}],
    },
    "tuning_seed=3 means tuning on 3, which is one of seeds; take one beyond them, such as 6": {"tuning_seed": 3},
    "tuning_seed=5 means tuning on 7, which is one of seeds": {"seeds": [0, 1, 2, 3, 4, 7], "tuning_seed": 5},
    "tuning_seed=2 means tuning on 2, which is one of seeds": {"tuning_seed": 2, "tuning": "shared"},
    "add up to more than 9007199254740992": {"tuning_seed": 2**53},
    r"seeds=\[1, 1, 2\] must be different": {"seeds": [1, 1, 2]},
    "arms and design: give one": {"arms": None},
    "'baseline' names two": {"arms": [{"name": "baseline", "overrides": {"model.dropout": 0.1}}]},
    "evaluate.num_examples must be the same in every arm": {
        "arms": [{"name": "a", "overrides": {"evaluate.num_examples": 5}}]
    },
    "give every arm the same budget": {"arms": [{"name": "a", "overrides": {"train.max_steps": 600}}]},
    "nll depends on the tokenizer": {
        "arms": [{"name": "a", "overrides": {"data.tokenizer.kind": "unigram"}}],
        "objective": {"metric": "validation/nll"},
    },
    "usage depends on the codebook's size": {
        "arms": [{"name": "a", "overrides": {"quantizer.codebook_size": 64}}],
        "objective": {"metric": "codebook/usage"},
    },
    "changes what runs are judged on": {"arms": [{"name": "a", "overrides": {"data.corpus.seed": 1}}]},
    "lies outside its range": {"base": {"optim.learning_rate": 0.1}},
    "optim.learning_rat is unknown; did you mean": {"arms": [{"name": "a", "overrides": {"optim.learning_rat": 1}}]},
    "quantizer.decay=1.0 must lie strictly between 0 and 1": {
        "arms": [{"name": "a", "overrides": {"quantizer.decay": 1.0}}]
    },
    "base: seed is seeds here": {"base": {"seed": 3}},
    "must end at all 6 seeds": {"sequential": {"looks": [4, 8]}},
    "nuisance.evaluate.num_examples changes how trials are judged": {
        "nuisance": RATE | {"evaluate.num_examples": {"type": "int", "low": 10, "high": 20}}
    },
    "nuisance.data.max_length changes what trials are judged on": {
        "nuisance": RATE | {"data.max_length": {"type": "int", "low": 30, "high": 60}}
    },
    "nuisance.seed: a seed is no hyperparameter": {"nuisance": RATE | {"seed": {"type": "int", "low": 0, "high": 9}}},
    "take one of them": {"baseline": {"study": "a", "champion": "b"}},
}


OF_EARLIER_VERSIONS = {
    "evaluate.max_new_tokens=600 must be at most 511 with model.blocks=bert_gpt2": {
        "base": {"model.name": "optimus", "quantizer.name": "none", "evaluate.max_new_tokens": 600},
        "arms": [{"name": "bert", "overrides": {"model.blocks": "bert_gpt2"}}],
    },
    "quantizer.diversity_weight=0.0 has no effect with quantizer.form=published": {
        "arms": [
            {
                "name": "published",
                "overrides": {
                    "quantizer.name": "gumbel",
                    "quantizer.form": "published",
                    "quantizer.diversity_weight": 0.0,
                },
            }
        ],
    },
    "nuisance.train.microbatches cannot change a result": {
        "nuisance": RATE | {"train.microbatches": {"type": "int", "low": 1, "high": 4}}
    },
    "rate/kl_bits_per_sentence needs a Gaussian latent": {"objective": {"metric": "rate/kl_bits_per_sentence"}},
}


@pytest.mark.parametrize("message", OF_EARLIER_VERSIONS)
def test_an_ablation_that_an_earlier_version_started_is_read_and_resumed_but_not_started(tmp_path, message):
    spec, paths = ablation(**OF_EARLIER_VERSIONS[message]), StudyPaths(tmp_path, "averages")
    with pytest.raises(SettingError, match=message):
        asked_base(spec, paths, None)
    AblationHistory(RunSpec(), (spec,)).write(paths)
    assert AblationHistory.read(paths).specs == (spec,)
    longer = ablation(**OF_EARLIER_VERSIONS[message], seeds=8)
    assert asked_base(longer, paths, None) == longer.resolve_base()
    with pytest.raises(SettingError, match=message):
        asked_base(ablation(**{**longer.as_dict(), "base": {**longer.base, "model.dropout": 0.2}}), paths, None)


@pytest.mark.parametrize("message", REFUSED)
def test_what_could_not_be_believed_is_refused_in_one_line(message):
    with pytest.raises(SettingError, match=message) as caught:
        ablation(**REFUSED[message])
    if "objective" not in REFUSED[message]:
        assert "\n" not in str(caught.value)


def test_more_steps_are_fair_with_smaller_batches():
    arm = {"name": "small", "overrides": {"train.max_steps": 600, "train.batch_size": 32}}
    assert ablation(arms=[arm]).arms[0].name == "small"


def test_the_number_of_seeds_that_it_names_suffices():
    arms = [{"name": str(i), "overrides": {"model.dropout": i / 10}} for i in range(1, 5)]
    with pytest.raises(SettingError, match="take 8 seeds"):
        ablation(arms=arms, seeds=7)
    assert len(ablation(arms=arms, seeds=8).seeds) == 8
    assert len(ablation(arms=arms, seeds=3, test="t").seeds) == 3


def test_not_retuning_needs_a_reason_and_shows_it():
    spec = ablation(nuisance=None, trials_per_arm=None, untuned="the arms differ in evaluation only")
    runs = expand(spec, spec.resolve_base())
    assert {run.phase for run in runs} == {"comparison"}
    assert any("the arms differ in evaluation only" in note for note in spec.notes(spec.resolve_base()))


def test_leave_one_out_lists_the_parts_that_are_on():
    spec = ablation(arms=None, design={"name": "leave_one_out"}, test="t")
    arms = {arm.name: arm.overrides for arm in spec.resolve_arms(spec.resolve_base())}
    assert arms["without revive_below"] == {"quantizer.revive_below": None}
    assert arms["without averages"] == {"quantizer.name": "vq", "quantizer.revive_below": 0.02}
    assert "without entropy_weight" not in arms
    only = ablation(arms=None, design={"name": "leave_one_out", "only": ["quantizer.start"]})
    assert [arm.name for arm in only.resolve_arms(only.resolve_base())] == ["without start"]
    with pytest.raises(SettingError, match=r"design.only: quantizer.entropy_weight is no part that is on here"):
        ablation(arms=None, design={"name": "leave_one_out", "only": ["quantizer.entropy_weight"]})


def test_one_at_a_time_and_sweep_skip_the_baselines_own_level():
    factors = {"quantizer.codebook_size": [256, 1024], "quantizer.decay": [0.9, 0.99]}
    spec = ablation(arms=None, design={"name": "one_at_a_time", "factors": factors}, seeds=8)
    assert [arm.name for arm in spec.resolve_arms(spec.resolve_base())] == ["codebook_size=256", "decay=0.9"]
    sweep = ablation(arms=None, design={"name": "sweep", "path": "model.position", "values": [0, 1, 2]}, seeds=8)
    assert [arm.overrides["model.position"] for arm in sweep.resolve_arms(sweep.resolve_base())] == [0, 1, 2]
    with pytest.raises(SettingError, match=r"has no level but the baseline's 0.99"):
        ablation(arms=None, design={"name": "sweep", "path": "quantizer.decay", "values": [0.99]})


def test_a_factorial_runs_every_cell_and_tests_effects_instead_of_arms():
    factors = {"quantizer.start": ["random", "kmeans"], "quantizer.selection": ["nearest", "topk"]}
    spec = ablation(arms=None, design={"name": "factorial", "factors": factors}, seeds=8)
    base = spec.resolve_base()
    arms = spec.resolve_arms(base)
    assert [arm.cell for arm in arms] == [(0, 1), (1, 0), (1, 1)]
    assert arms[-1].overrides == {"quantizer.start": "random", "quantizer.selection": "topk"}
    assert spec.num_tests(base) == len(spec.design.contrasts(base)) == 3
    with pytest.raises(SettingError, match="make 128 cells, more than 64"):
        ablation(arms=None, design={"name": "factorial", "factors": SEVEN_LEVELS}, test="t")


SEVEN_LEVELS = {
    "quantizer.start": ["random"],
    "quantizer.selection": ["topk"],
    "quantizer.revive_below": [None],
    "quantizer.commitment_weight": [0.0],
    "model.dropout": [0.1],
    "optim.weight_decay": [0.1],
    "optim.grad_clip": [None],
}


def test_a_fraction_states_its_resolution_and_contains_the_baseline():
    factors = {path: levels[0] for path, levels in list(SEVEN_LEVELS.items())[:4]}
    spec = ablation(arms=None, design={"name": "fractional", "factors": factors, "resolution": 4}, test="t")
    base = spec.resolve_base()
    assert len(spec.resolve_arms(base)) == 7, "eight cells, the baseline one of them"
    assert any("resolution 4: 8 of 16 cells" in note for note in spec.notes(base))
    generators = {"quantizer.commitment_weight": ["quantizer.start", "quantizer.selection"]}
    with pytest.raises(SettingError, match=r"design.generators have resolution 3, less than resolution=4"):
        ablation(arms=None, design={"name": "fractional", "factors": factors, "generators": generators}, test="t")


def test_the_dry_run_counts_runs_and_hours():
    copy = {"name": "copy", "overrides": {"quantizer.decay": 0.99}}
    spec = ablation(arms=[ARM, copy], seeds=8, budget={"step_seconds": 0.36, "concurrent": 2}, sd=0.02, margin=0.01)
    table = dry_run(spec, spec.resolve_base())
    assert (table.num_runs, table.num_distinct) == (3 * (4 + 1) * 8, 2 * (4 + 1) * 8)
    assert table.hours == pytest.approx(80 * 300 * 0.36 / 3600)
    assert any(note.startswith("96 of 120 runs are tuning: 4 candidates an arm") for note in table.notes)
    assert any("tuning=shared takes 12 and" in note for note in table.notes)
    assert table.wall_hours == pytest.approx(table.hours / 2)
    assert any("arm 'copy' only renames the baseline" in note for note in table.notes)
    assert any("you asked about 0.01: run" in note for note in table.notes)
    assert "| no averages | comparison | 8 | 300 |" in table.markdown()
    assert "| no averages | tuning | 32 | 300 |" in table.markdown()
    alone = dry_run(ablation(budget={"step_seconds": 0.36}), RunSpec())
    assert alone.wall_hours is None, "how many the machines hold is not known"
    assert "machine hours, fewer by the runs that the machines hold at once." in alone.markdown()
    unknown = dry_run(ablation(), RunSpec())
    assert unknown.hours is None and "hours are unknown" in unknown.markdown()


def test_an_arm_that_changes_more_than_it_says_is_noted():
    spec = ablation(arms=[{"name": "a", "overrides": {"quantizer.name": "vq"}}])
    assert any("also changes quantizer.revive_below" in note for note in spec.notes(spec.resolve_base()))


def test_candidates_are_stratified_and_the_baseline_is_first():
    space = SearchSpace.parse(RATE | {"model.dropout": {"type": "choice", "choices": [0.0, 0.1]}})
    points = candidates(space, RunSpec().as_flat_dict(), 9, seed=1)
    assert points[0] == {"optim.learning_rate": 2e-3, "model.dropout": 0.0}
    assert points == candidates(space, RunSpec().as_flat_dict(), 9, seed=1)
    rates = sorted(point["optim.learning_rate"] for point in points[1:])
    edges = [5e-4 * 2 ** (i / 2) for i in range(9)]
    assert all(low <= value <= high for low, value, high in zip(edges[:-1], rates, edges[1:], strict=True))
    assert sorted(point["model.dropout"] for point in points[1:]) == [0.0] * 4 + [0.1] * 4
    for num in (2, 3, 7):
        for seed in range(5):
            for point in candidates(space, RunSpec().as_flat_dict(), num, seed):
                RunSpec().with_overrides(point)


def test_conditional_nuisance_settings_are_drawn_where_they_hold():
    decay = {"type": "float", "low": 0.9, "high": 0.99, "when": {"quantizer.name": "ema"}}
    space = SearchSpace.parse(RATE | {"quantizer.decay": decay})
    ema = candidates(space, RunSpec().as_flat_dict(), 4, 0)
    vq = candidates(space, RunSpec().with_overrides({"quantizer.name": "vq"}).as_flat_dict(), 4, 0)
    assert all("quantizer.decay" in point for point in ema) and not any("quantizer.decay" in point for point in vq)
    assert [p["optim.learning_rate"] for p in ema] == [p["optim.learning_rate"] for p in vq]


def test_the_best_candidate_wins_and_diverged_ones_never_do():
    objective = Objective.parse({"metric": "validation/nll_per_char"})

    def row(value: float, status: str = "completed") -> RunRow:
        return RunRow("a", 1000, status, {"validation/nll_per_char": value})

    points = [{"optim.learning_rate": rate} for rate in (1e-3, 2e-3, 4e-3)]
    assert choose(list(zip(points, [row(2.0), row(1.0), row(0.1, "diverged")], strict=True)), objective) == points[1]
    assert choose([(points[0], row(0.1, "failed"))], objective) is None
    space = SearchSpace.parse(RATE)
    assert at_the_edge(space, [(points, points[2])]) == [("optim.learning_rate", "highest", 1)]
    assert at_the_edge(space, [(points, points[1])]) == []
    assert at_the_edge(space, [(points, points[i]) for i in (0, 0, 2, 0)]) == [("optim.learning_rate", "lowest", 3)]
    assert at_the_edge(space, [(points, points[i]) for i in (0, 2, 2, 0)]) == [], "both ends: luck"


def test_a_baseline_from_elsewhere_is_checked_once_it_is_known():
    spec = ablation(baseline={"study": "quickstart"}, base={"model.dropout": 0.1}, seeds=5)
    with pytest.raises(SettingError, match="take 6 seeds"):
        expand(spec, spec.resolve_base(RunSpec()))
    found = RunSpec().with_overrides({"quantizer.codebook_size": 512, "seed": random.Random(0).randint(1, 9)})
    assert spec.resolve_base(found).quantizer.codebook_size == 512
    assert spec.resolve_base(found).model.dropout == 0.1


def test_a_file_and_words(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "question: Does dropout help?\n"
        "arms: [{name: dropout, overrides: {model: {dropout: 0.1}}}]\n"
        "nuisance: {optim.learning_rate: {type: float, low: 1e-3, high: 4e-3, log: true}}\n"
        "trials_per_arm: 3\nseeds: 6\nobjective: {metric: validation/nll}\n"
    )
    spec = AblationSpec.load(path, ["seeds=8", "train.max_steps=100", "budget.concurrent=2"])
    assert (spec.name, len(spec.seeds), spec.budget.concurrent) == ("mine", 8, 2)
    assert spec.resolve_base().train.max_steps == 100
    assert AblationSpec.parse(spec.as_dict()) == spec, "what is saved reads back"


@pytest.mark.parametrize("name", AblationSpec.shipped())
def test_every_shipped_ablation_validates(name):
    spec = AblationSpec.load(name)
    if not spec.baseline.needs_lookup:
        spec.refuse_new(spec.resolve_base())
        assert dry_run(spec, spec.resolve_base(), step_seconds=0.1).num_runs > 0


SMALL = ["equal_rate", "position", "revival", "baselines", "loss_terms", "codebook_shape", "cross_layer"]


@pytest.mark.parametrize("name", SMALL)
def test_studies_for_two_cores_take_ninety_minutes_and_the_fewest_seeds_that_can_show_anything(name):
    spec = AblationSpec.load(name)
    base = spec.resolve_base()
    hours = dry_run(spec, base).hours
    assert hours is not None and hours <= 3.0, "two runs at once"
    assert len(spec.seeds) == pairs_needed(spec.num_tests(base), spec.alpha)
    if name == "revival":
        assert spec.untuned is not None and base.train.max_steps == 5000
    else:
        assert spec.trials_per_arm == 3 and base.train.max_steps <= 300
    if name != "cross_layer":
        assert base.model.d_model == 64


def test_equal_rate_compares_every_quantizer_with_codes_and_without_roles():
    spec = AblationSpec.load("equal_rate")
    base = spec.resolve_base()
    runs = [base, *(base.with_overrides(arm.overrides) for arm in spec.resolve_arms(base))]
    assert {run.quantizer.name for run in runs} == QuantizerConfig.variants.keys() - {"none", "role"}


class _Vocabulary:
    def __len__(self):
        return 100


def test_codebook_shapes_have_equal_codebooks_and_equal_learned_parameters():
    """Without the control, what learns in the bottleneck goes from 1,168 numbers to 98,880."""
    spec = AblationSpec.load("codebook_shape")
    learned = {}
    for arm in [Arm(name="baseline"), *spec.resolve_arms(spec.resolve_base())]:
        run = spec.resolve_base().with_overrides(arm.overrides)
        assert run.quantizer.codebook_size * run.quantizer.code_width == 16_384
        model = run.model.build(run, _Vocabulary())
        learned[arm.name] = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    fewer = learned.pop("fewer parameters")
    assert max(learned.values()) / min(learned.values()) < 1.002
    assert learned["baseline"] - fewer == 512 * (441 - 256)


def test_a_nuisance_setting_may_belong_to_some_arms_alone():
    decay = {"type": "float", "low": 0.9, "high": 0.995, "when": {"quantizer.name": "ema"}}
    spec = ablation(base={"quantizer.name": "vq"}, arms=[{"name": "averages", "overrides": {"quantizer.name": "ema"}}])
    both = ablation(**{**spec.as_dict(), "nuisance": RATE | {"quantizer.decay": decay}})
    runs = expand(both, both.resolve_base())
    assert {run.arm for run in runs if "quantizer.decay" in run.overrides} == {"averages"}
    never = {**decay, "when": {"quantizer.name": "kmeans"}}
    with pytest.raises(SettingError, match=r"nuisance: quantizer.decay: `when` holds in no arm"):
        ablation(**{**spec.as_dict(), "nuisance": RATE | {"quantizer.decay": never}})


def test_a_word_stands_on_a_base_whose_model_is_another_studys(tmp_path):
    """Of that model nothing is known yet: its quantizer may have settings that the default one lacks."""
    values = {
        "baseline": {"study": "of_vq"},
        "base": {"quantizer.codebook_weight": 0.5},
        "arms": [{"name": "a", "overrides": {"model.dropout": 0.1}}],
        "objective": {"metric": "validation/nll"},
        "seeds": 8,
        "question": "Which?",
        "untuned": "a test",
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(values))
    spec = AblationSpec.load(tmp_path / "mine.yaml", ["train.max_steps=500"])
    assert spec.base == {"quantizer.codebook_weight": 0.5, "train.max_steps": 500}
    values["base"] = {"optim.learning_rate": 1e-4, "quantizer.name": "vq", "quantizer.codebook_weight": 0.5}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(values))
    section = AblationSpec.load(tmp_path / "mine.yaml", ["optim={learning_rate: 1e-3, grad_clip: 0.25}"])
    assert section.base == values["base"] | {"optim.learning_rate": 1e-3, "optim.grad_clip": 0.25}
    variant = AblationSpec.load(tmp_path / "mine.yaml", ["quantizer.name=fsq"])
    assert variant.base == {"optim.learning_rate": 1e-4, "quantizer.name": "fsq"}, "its own settings go with it"
