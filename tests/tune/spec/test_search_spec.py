"""Laws of studies: what is shipped can work, what cannot work is refused, and only bottlenecks under their rate win."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from t5vqvae.errors import SettingError, UserError
from t5vqvae.evaluation.metric import RATE
from tune.records.ranking import best, contenders, pareto
from tune.records.record import TrialRecord, read_records
from tune.records.study_paths import StudyPaths
from tune.search import will_learn
from tune.spec.kept_study import KeptStudy
from tune.spec.objective import DIRECTIONS, WORST_VIOLATION, Constraint, Objective, dominates
from tune.spec.samplers import SamplerConfig
from tune.spec.search_spec import SearchSpec
from tune.spec.sections import Budget

STUDY = {
    "name": "tiny",
    "base": {"model": {"position": 2}, "quantizer.codebook_size": 256},
    "space": {
        "quantizer.codebook_size": {"type": "int", "low": 64, "high": 1024, "log": True},
        "quantizer.decay": {"type": "float", "low": 0.8, "high": 0.995},
    },
    "objectives": [{"metric": "validation/nll"}],
    "constraints": ["rate/bits_per_token <= 10", "codebook/usage >= 0.3"],
}
GOOD = {"validation/nll": 0.5, "rate/bits_per_token": 8.0, "codebook/usage": 0.9}


def study(**changes) -> SearchSpec:
    return SearchSpec.parse({**STUDY, **changes})


def new_study(**changes) -> SearchSpec:
    spec = study(**changes)
    spec.refuse_new()
    return spec


def record(number: int = 0, status: str = "completed", **metrics: float) -> TrialRecord:
    values = {**GOOD, **{key.replace("__", "/"): value for key, value in metrics.items()}}
    return TrialRecord("tiny", number, {}, None, None, status, 100, values)  # type: ignore[arg-type]


# What is shipped


@pytest.mark.parametrize("name", SearchSpec.shipped())
def test_shipped_studies_are_valid_and_cap_the_rate(name):
    spec = SearchSpec.load(name)
    spec.refuse_new()
    assert spec.name == name and spec.question
    assert any(constraint.metric.startswith("rate/") for constraint in spec.constraints)
    assert SearchSpec.parse(json.loads(json.dumps(spec.as_dict()))) == spec
    assert spec.space.place(spec.base_values) is not None


def test_the_quickstart_varies_what_it_must():
    spec = SearchSpec.load("quickstart")
    named = {"quantizer.codebook_size", "quantizer.decay", "quantizer.commitment_weight", "model.position"}
    assert named <= set(spec.space.paths)
    assert spec.budget.trials >= 8 and spec.scheduler.name == "asha" and spec.resolved_runner == "process"


def test_the_paper_study_is_of_its_scale():
    spec = SearchSpec.load("paper")
    (codes,) = spec.space.of("quantizer.codebook_size")
    assert codes.range.ends() == [2_000, 22_000]
    assert spec.resolved_runner == "ray_train" and spec.run_spec({}).train.num_workers == spec.resources.workers > 1


# Files and words


def test_words_go_to_the_study_or_to_the_base():
    words = [
        "budget.trials=4",
        "sampler.name=random",
        "seed=7",
        "train.max_steps=90",
        "base.seed=3",
        "data.max_length=30",
    ]
    spec = SearchSpec.load("quickstart", words)
    assert (spec.budget.trials, spec.sampler.name, spec.seed) == (4, "random", 7)
    assert (spec.base_spec.seed, spec.base_spec.train.max_steps, spec.base_spec.data.max_length) == (3, 90, 30)


def test_words_change_ranges():
    spec = SearchSpec.load("quickstart", ["space.quantizer.decay.low=0.9", "space.model.position=null"])
    (decay,) = spec.space.of("quantizer.decay")
    assert decay.range.ends() == [0.9, 0.995] and "model.position" not in spec.space.paths
    spec = SearchSpec.load("quickstart", ["space.train.batch_size={type: choice, choices: [32, 64]}"])
    assert "train.batch_size" in spec.space.paths


def test_a_variant_chosen_by_word_keeps_what_it_knows():
    words = ["quantizer.name=vq", "space.quantizer.decay=null"]
    base = SearchSpec.load("quickstart", [*words, "quantizer.codebook_size=512"]).base_spec
    assert base.quantizer.name == "vq" and base.quantizer.codebook_size == 512
    assert SearchSpec.load("quickstart", words).base_spec.quantizer.codebook_size == 256


def test_a_study_file_may_lie_anywhere(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in STUDY.items() if key != "name"}))
    assert SearchSpec.load(path).name == "mine"
    path.write_text(
        "base: {optim.learning_rate: 1e-3}\nspace: {quantizer.decay: {type: float, low: 8e-1, high: .9}}\n"
        "objectives: [{metric: validation/nll}]\nquantizer.decay: 1\n"
    )
    with pytest.raises(SettingError, match=r"quantizer\.decay is unknown"):
        SearchSpec.load(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [1", "line 1 is no valid YAML"), ("- 1", "must hold a mapping")],
)
def test_files_that_are_no_studies(tmp_path, text, message):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(SettingError, match=message):
        SearchSpec.load(tmp_path / "bad.yaml")


# What cannot work is refused


REFUSED_WORDS = {
    "there is no study file quickstrat; did you mean quickstart?": ("quickstrat", []),
    "budgt.trials is unknown; did you mean budget?": ("quickstart", ["budgt.trials=3"]),
    "budget.trial is unknown; did you mean budget.trials?": ("quickstart", ["budget.trial=3"]),
    "optim.learning_rat is unknown; did you mean optim.learning_rate?": ("quickstart", ["optim.learning_rat=3"]),
    "quantizer.decay=1.0 must lie strictly between 0 and 1": ("quickstart", ["space.quantizer.decay.high=1.0"]),
    "budget.trials=0 must be at least 1": ("quickstart", ["budget.trials=0"]),
    "sampler.name='bayes' must be one of": ("quickstart", ["sampler.name=bayes"]),
    "'budget.trials' is no override": ("quickstart", ["budget.trials"]),
    "quantizer.decay=0.99 lies outside its range": ("quickstart", ["space.quantizer.decay.high=0.9"]),
    "quantizer.codebook_size=16 lies outside its range": ("quickstart", ["quantizer.codebook_size=16"]),
    "model.position=None lies outside its range": ("quickstart", ["model.position=null"]),
    "train.num_workers is resources.workers here": ("quickstart", ["train.num_workers=2"]),
    "runner=process takes one worker": ("quickstart", ["runner=process", "resources.workers=2"]),
    "train.device=cpu leaves resources.gpus=1 unused": ("quickstart", ["resources.gpus=1"]),
    "train.device=cuda needs GPUs": ("paper", ["resources.gpus=0"]),
    "resources.gpus=1.5 must be a whole number or less than 1": ("paper", ["resources.gpus=1.5"]),
    "scheduler.grace_steps=240 must be less than train.max_steps=240": ("quickstart", ["scheduler.grace_steps=240"]),
    "needs decoded text": ("quickstart", ["objectives=[{metric: validation/bleu}]", "evaluate.num_generated=0"]),
    "is a control, and no trial could be best": (
        "quickstart",
        ["quantizer.name=none", "space={optim.learning_rate: {type: float, low: 1e-3, high: 1e-2}}"],
    ),
}


@pytest.mark.parametrize("message", REFUSED_WORDS)
def test_words_that_cannot_work(message):
    name, words = REFUSED_WORDS[message]
    with pytest.raises(SettingError) as error:
        SearchSpec.load(name, words).refuse_new()
    assert message in str(error.value) and len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("words", [["train.max_steps=300", "base={model.position: 1}"], ["train={max_steps: 300}"]])
def test_a_whole_section_among_the_words_leaves_the_rest_as_it_is(words):
    plain, spec = SearchSpec.load("quickstart"), SearchSpec.load("quickstart", words)
    position = 1 if len(words) > 1 else plain.base_spec.model.position
    assert spec.base_spec == plain.base_spec.with_overrides({"train.max_steps": 300, "model.position": position})


def test_a_whole_space_and_a_range_of_it_both_count():
    rate = "space={optim.learning_rate: {type: float, low: 1e-3, high: 1e-2}}"
    spec = SearchSpec.load("quickstart", ["space.optim.learning_rate.high=5e-3", rate])
    assert spec.space.as_dict() == {"optim.learning_rate": {"type": "float", "low": 1e-3, "high": 5e-3}}


CHOICE = {"optim.schedule": {"type": "choice", "choices": ["linear", "cosine"]}}
CONDITION = {
    "quantizer.name": {"type": "choice", "choices": ["ema", "vq"]},
    "quantizer.decay": {"type": "float", "low": 0.8, "high": 0.9, "when": {"quantizer.name": "ema"}},
}
EMA_ONLY = {"model.position": 2, "quantizer.decay": 0.85}
TWO = [{"metric": "validation/nll"}, {"metric": "rate/bits_per_token"}]
UNIGRAM = {"data.tokenizer.vocab_size": {"type": "int", "low": 300, "high": 900}}
BASE_UNIGRAM = {"data.tokenizer.kind": "unigram", "data.tokenizer.vocab_size": 500}
REFUSED_STUDIES = {
    "space.train.autoencode_steps: asha would compare trials of different stages; take scheduler.name=none": {
        "base": {"model": {"position": 1}},
        "space": {"train.autoencode_steps": {"type": "int", "low": 0, "high": 9}},
    },
    "scheduler.grace_steps=150 must be more than train.autoencode_steps=150": {
        "base": {"model": {"position": 1}, "train.autoencode_steps": 150}
    },
    "objective train/loss contains the weights under study": {"objectives": [{"metric": "train/loss"}]},
    "objective train/aux_loss contains the weights": {"objectives": [{"metric": "train/aux_loss"}]},
    "objective test/nll would choose on the test split": {"objectives": [{"metric": "test/nll"}]},
    "objective VAR/exact_match would choose on the test split": {"objectives": [{"metric": "VAR/exact_match"}]},
    "objective validation/nnl is unknown; did you mean validation/nll?": {
        "objectives": [{"metric": "validation/nnl", "direction": "minimize"}]
    },
    "objectives name a metric twice": {"objectives": TWO[:1] * 2},
    "constraints: 'codebook/usage > 0.3' must read as": {"constraints": ["codebook/usage > 0.3"]},
    "constraint codebook/usag is unknown; did you mean codebook/usage?": {"constraints": ["codebook/usag >= 0.3"]},
    "validation/nll depends on the tokenizer": {"space": UNIGRAM, "base": BASE_UNIGRAM},
    "rate/bits_per_token depends on the tokenizer": {
        "space": UNIGRAM,
        "base": BASE_UNIGRAM,
        "objectives": [{"metric": "validation/bleu"}],
    },
    "a seed is no hyperparameter": {"space": {"seed": {"type": "int", "low": 0, "high": 9}}},
    "changes how trials are judged": {"space": {"evaluate.num_examples": {"type": "int", "low": 500, "high": 2000}}},
    "changes what trials are judged on": {"space": {"data.max_length": {"type": "int", "low": 30, "high": 60}}},
    "space.train.microbatches cannot change a result": {
        "space": {"train.microbatches": {"type": "int", "low": 1, "high": 4}}
    },
    "space.train.device cannot change a result": {
        "space": {"train.device": {"type": "choice", "choices": ["auto", "cpu"]}}
    },
    "space.train.num_workers is resources.workers here": {
        "space": {"train.num_workers": {"type": "int", "low": 1, "high": 2}}
    },
    "sampler.name=cmaes would draw optim.schedule at random": {
        "space": STUDY["space"] | CHOICE,
        "sampler": {"name": "cmaes"},
    },
    "sampler.name=cmaes would draw quantizer.decay at random": {
        "space": CONDITION,
        "base": EMA_ONLY,
        "sampler": {"name": "cmaes"},
    },
    "sampler.name=gp would draw quantizer.decay at random": {
        "space": CONDITION,
        "base": EMA_ONLY,
        "sampler": {"name": "gp"},
    },
    "sampler.name=cmaes takes one objective": {
        "objectives": TWO,
        "scheduler": {"name": "none"},
        "sampler": {"name": "cmaes"},
    },
    "control/sparse_distributed_intervention needs sparse codes; set evaluate.unsent to more than 0": {
        "base": {"data.corpus": {"name": "grammar", "version": 2}, "evaluate.control": 9, "train.code_dropout": 0.5},
        "objectives": [{"metric": "control/sparse_distributed_intervention"}],
    },
    "control/sparse_locality needs sparse codes": {
        "base": {"data.corpus": {"name": "grammar", "version": 2}, "evaluate.control": 9},
        "constraints": ["control/sparse_locality >= 0.5"],
    },
    "rate/kl_bits_per_sentence needs a Gaussian latent; set model.name to gaussian or optimus": {
        "objectives": [{"metric": "rate/kl_bits_per_sentence"}]
    },
    "faithfulness/salient needs a removal test; set model.faithfulness_steps": {
        "objectives": [{"metric": "faithfulness/salient"}]
    },
    "validation/meaning_match needs decoded text": {
        "base": {"evaluate.meaning": True, "evaluate.num_generated": 0},
        "objectives": [{"metric": "validation/meaning_match"}],
    },
    "data.ood=9 needs a corpus with twins of its test sets, such as math; set it to 0": {
        "base": {"data.corpus.name": "grammar", "data.ood": 9},
        "objectives": [{"metric": "validation_ood/nll_per_char"}],
    },
    "validation/bleu needs decoded text; set evaluate.num_generated to more than 0": {
        "base": {"evaluate.num_generated": 0},
        "scheduler": {"metric": "validation/bleu"},
    },
    "validation/token_accuracy depends on the tokenizer": {
        "space": UNIGRAM,
        "base": BASE_UNIGRAM,
        "objectives": [{"metric": "validation/bleu"}],
        "constraints": [],
        "scheduler": {"metric": "validation/token_accuracy"},
    },
    "asha with several objectives needs scheduler.metric": {"objectives": TWO},
    "scheduler.metric train/loss contains": {"scheduler": {"metric": "train/loss"}},
    "asha compares trials by their steps": {"space": {"train.max_steps": {"type": "int", "low": 100, "high": 400}}},
    "name='a/b'": {"name": "a/b"},
}


@pytest.mark.parametrize("message", REFUSED_STUDIES)
def test_studies_that_cannot_work(message):
    with pytest.raises(SettingError) as error:
        new_study(**REFUSED_STUDIES[message])
    assert message in str(error.value)


@pytest.mark.parametrize("name", sorted(SamplerConfig.variants))
def test_every_sampler_takes_a_plain_space(name):
    assert study(sampler={"name": name}).sampler.name == name


def test_the_scheduler_follows_the_objective_unless_told():
    assert study().scheduler_objective == Objective(metric="validation/nll", direction="minimize")
    several = study(objectives=TWO, scheduler={"metric": "validation/bleu"})
    assert several.scheduler_objective.direction == "maximize"
    assert study(scheduler={"name": "none"}).scheduler_objective is None
    assert study().grace_steps == study().base_spec.train.max_steps // 2
    assert study(base=STUDY["base"] | {"train.max_steps": 400, "train.eval_every": 300}).grace_steps == 300


# Who wins


def test_a_control_never_counts_as_best():
    spec = study(constraints=[])
    leak = record(validation__nll=0.0)
    leak = dataclasses.replace(leak, metrics={key: value for key, value in leak.metrics.items() if key != RATE})
    assert not spec.counts_as_best(leak.status, leak.metrics)
    assert best([leak], spec) is None
    assert best([leak, record(1, validation__nll=3.0)], spec).number == 1


def test_only_completed_and_feasible_trials_count():
    spec = study()
    trials = [
        record(0, validation__nll=0.4, rate__bits_per_token=10.1),
        record(1, validation__nll=0.3, codebook__usage=0.29),
        record(2, "pruned", validation__nll=0.2),
        record(3, "diverged", validation__nll=float("nan")),
        record(4, "failed", validation__nll=0.1),
        record(5, validation__nll=0.9),
        record(6, validation__nll=0.8, rate__bits_per_token=10.0, codebook__usage=0.3),
    ]
    assert [trial.number for trial in contenders(trials, spec)] == [6, 5]


def test_the_direction_decides():
    higher = study(objectives=[{"metric": "codebook/usage"}])
    assert best([record(0, codebook__usage=0.5), record(1, codebook__usage=0.8)], higher).number == 1


def test_pareto_keeps_what_nothing_beats():
    spec = study(objectives=TWO, scheduler={"name": "none"})
    points = [(1.0, 5.0), (0.5, 8.0), (0.6, 9.0), (0.5, 8.5), (2.0, 4.0), (0.1, 99.0)]
    trials = [record(n, validation__nll=nll, rate__bits_per_token=bits) for n, (nll, bits) in enumerate(points)]
    assert [trial.number for trial in pareto(trials, spec)] == [1, 0, 4]
    assert best(trials, spec).number == 1


pairs = st.tuples(st.integers(0, 3), st.integers(0, 3))


@given(pairs, pairs, pairs)
def test_dominance_is_a_strict_partial_order(a, b, c):
    assert not dominates(a, a)
    assert not (dominates(a, b) and dominates(b, a))
    assert not (dominates(a, b) and dominates(b, c)) or dominates(a, c)


@settings(deadline=None)
@given(st.sampled_from(sorted(DIRECTIONS)), st.sampled_from(["<=", ">="]), st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_a_constraint_is_violated_exactly_beyond_its_bound(metric, relation, bound, value):
    constraint = Constraint.parse(f"{metric}{relation}  {bound!r}")
    keeps = value <= bound if relation == "<=" else value >= bound
    assert (constraint.violation({metric: value}) <= 0) == keeps
    assert constraint.violation({}) == constraint.violation({metric: float("nan")}) == WORST_VIOLATION


# Records and files of a study


def test_a_record_comes_back_and_moves_with_its_folder(tmp_path):
    folder = tmp_path / "trials" / "00003"
    checkpoint = folder / "step-00000100"
    written = dataclasses.replace(record(3, validation__nll=float("inf")), checkpoint=str(checkpoint), tags={"a": "b"})
    written.write(folder)
    assert TrialRecord.read(folder) == written
    (tmp_path / "trials").rename(tmp_path / "moved")
    (moved,) = read_records(tmp_path / "moved")
    assert moved.checkpoint == str(tmp_path / "moved" / "00003" / "step-00000100")
    assert [path.name for path in (tmp_path / "moved" / "00003").iterdir()] == ["record.json"]


def test_a_damaged_record_says_what_to_do(tmp_path):
    (tmp_path / "record.json").write_text('{"study": ')
    with pytest.raises(UserError, match="start its study again, which gives the trial a new record"):
        TrialRecord.read(tmp_path)
    with pytest.raises(FileNotFoundError):
        TrialRecord.read(tmp_path / "none")


def test_a_study_comes_back_from_its_file(tmp_path):
    spec = SearchSpec.load("quickstart")
    spec.write(tmp_path / "study.json")
    assert SearchSpec.read(tmp_path / "study.json") == spec


OF_EARLIER_VERSIONS = {
    "has no effect with quantizer.form=tied": {
        "base": {"model.position": 2, "quantizer.name": "gumbel"},
        "space": {
            "quantizer.form": {"type": "choice", "choices": ["untied", "tied"]},
            "quantizer.diversity_weight": {"type": "float", "low": 0.1, "high": 1.0},
        },
        "constraints": [],
    },
    "space.train.microbatches cannot change a result": {
        "space": {"train.microbatches": {"type": "choice", "choices": [1, 2]}}
    },
    "space.train.device cannot change a result": {
        "space": {"train.device": {"type": "choice", "choices": ["auto", "cpu"]}}
    },
    "rate/kl_bits_per_sentence needs a Gaussian latent": {"objectives": [{"metric": "rate/kl_bits_per_sentence"}]},
    "validation/bleu needs decoded text": {
        "base": {"evaluate.num_generated": 0},
        "scheduler": {"metric": "validation/bleu"},
    },
    "validation/token_accuracy depends on the tokenizer": {
        "space": UNIGRAM,
        "base": BASE_UNIGRAM,
        "objectives": [{"metric": "validation/bleu"}],
        "constraints": [],
        "scheduler": {"metric": "validation/token_accuracy"},
    },
}


@pytest.mark.parametrize("message", OF_EARLIER_VERSIONS)
def test_a_study_that_an_earlier_version_started_is_read_and_resumed_but_not_started(tmp_path, message):
    spec, paths = study(**OF_EARLIER_VERSIONS[message]), StudyPaths(tmp_path, "tiny")
    with pytest.raises(SettingError, match=message):
        will_learn(spec, paths, None)
    spec.write(paths.spec)
    assert SearchSpec.read(paths.spec) == spec
    assert not will_learn(spec, paths, None), "the same words resume it"


def test_what_a_started_study_may_change():
    spec = SearchSpec.load("quickstart")
    for word in (
        "budget.trials=99",
        "sampler.name=random",
        "resources.cpus=2",
        "evaluate.batch_size=3",
        "scheduler.name=none",
    ):
        SearchSpec.load("quickstart", [word]).refuse_changes(spec)
    for word, told in {
        "train.max_steps=99": "base train.max_steps=240, and now has 99",
        "space.quantizer.decay.high=0.99": "space quantizer.decay",
        "constraints=[]": "constraints",
        "objectives=[{metric: validation/bleu}]": "objectives",
    }.items():
        with pytest.raises(SettingError, match=told):
            SearchSpec.load("quickstart", [word]).refuse_changes(spec)


def test_extending_adds_to_finished_studies_alone():
    budget = Budget(trials=12)
    assert budget.extended("30", 12) == 30
    assert budget.extended("+20", 12) == 32
    assert Budget(trials=32).extended("+20", 15) == 32, "the same command after a kill goes on, it does not add again"
    for word in ("many", "-3", "+0"):
        with pytest.raises(SettingError, match="must be a number of trials"):
            budget.extended(word, 0)


# What another version would mix


def started(tmp_path: Path, **changed: Any) -> tuple[SearchSpec, Path]:
    """Writes a study as a version wrote it whose defaults were `changed`."""
    spec, path = SearchSpec.load("quickstart"), tmp_path / "study.json"
    kept = KeptStudy({**spec.resolved, "": {**spec.resolved[""], **changed}})
    kept.write(path, spec)
    return spec, path


def test_a_changed_default_is_told_and_not_mixed(tmp_path):
    spec, path = started(tmp_path, **{"optim.beta2": 0.95})
    message = r"was started with optim.beta2=0.95, and now has .*, the default of this version; say optim.beta2=0.95"
    with pytest.raises(SettingError, match=message):
        spec.refuse_changes(SearchSpec.read(path), KeptStudy.read(path))
    said = SearchSpec.load("quickstart", ["optim.beta2=0.95"])
    said.refuse_changes(SearchSpec.read(path), KeptStudy.read(path))
    assert SearchSpec.read(path).base_spec.optim.beta2 == 0.95, "what reads the study evaluates it as it was trained"


def test_a_changed_default_of_a_searched_variant_is_told(tmp_path):
    space = {"quantizer.name": {"type": "choice", "choices": ["ema", "gumbel"]}}
    spec, path = study(space=space), tmp_path / "study.json"
    resolved = {key: dict(settings) for key, settings in spec.resolved.items()}
    setting = next(name for name in resolved["quantizer.name=gumbel"] if name not in resolved[""])
    resolved["quantizer.name=gumbel"][setting] = "another"
    KeptStudy(resolved).write(path, spec)
    with pytest.raises(SettingError, match=rf"started with {setting}=another under quantizer.name=gumbel"):
        spec.refuse_changes(SearchSpec.read(path), KeptStudy.read(path))


def test_a_study_of_an_older_version_and_an_unchanged_one_resume(tmp_path):
    spec, path = started(tmp_path)
    spec.refuse_changes(SearchSpec.read(path), KeptStudy.read(path))
    path.write_text(json.dumps(spec.as_dict()))
    spec.refuse_changes(SearchSpec.read(path), KeptStudy.read(path))
    assert SearchSpec.load(path, []) == spec, "a started study's file is a study file"


def test_a_study_whose_data_changed_is_refused():
    kept = KeptStudy(sources={"data_fingerprint": "a"})
    assert kept.with_sources("tiny", {"data_fingerprint": "a", "model.backbone=x": "b"}).sources["model.backbone=x"]
    with pytest.raises(SettingError, match="study tiny was started with another content of its data"):
        kept.with_sources("tiny", {"data_fingerprint": "b"})


RANGE = {"type": "float", "low": 0.8, "high": 0.999}


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"space": {"quantizer.decay": {**RANGE, "type": ["float"]}}}, "type=['float'] must be one of float, int"),
        ({"space": {"quantizer.decay": {**RANGE, "type": {"a": 1}}}}, "must be one of float, int, choice"),
        ({"space": {"quantizer.decay": {**RANGE, "high": 1e300, "step": 1e-300}}}, "plus a multiple of step=1e-300"),
        ({"space": {1: RANGE}}, "the key 1 is no path of a setting"),
        ({"space": {"quantizer": {"type": "suggested", "variants": [[1]]}}}, "variants=[1] is unknown"),
        ({"objectives": [{"metric": ["validation/nll"]}]}, "objectives.0.direction is missing"),
    ],
)
def test_an_ill_typed_study_is_refused_in_one_line(changed, reason):
    with pytest.raises(SettingError) as caught:
        study(**changed)
    assert reason in str(caught.value)


@pytest.mark.parametrize("section", ["space", "base"])
@pytest.mark.parametrize("value", [5, [1], "x", True])
def test_a_section_that_is_no_mapping_is_refused_with_words_too(tmp_path, section, value):
    file = tmp_path / "s.yaml"
    values = {"space": {"quantizer.decay": RANGE}, "objectives": [{"metric": "validation/nll"}], section: value}
    file.write_text(json.dumps(values))
    words = ["space.optim.beta1={type: float, low: 0.1, high: 0.95}", "train.max_steps=100"]
    with pytest.raises(SettingError, match=f"{section}=.* must be a mapping of dotted paths"):
        SearchSpec.load(file, words)


def test_a_word_may_set_a_whole_section():
    loaded = SearchSpec.load("quickstart", ["optim={learning_rate: 1e-3, grad_clip: 0.25, weight_decay: 0.1}"])
    optim = loaded.base_spec.optim
    assert (optim.learning_rate, optim.grad_clip, optim.weight_decay) == (1e-3, 0.25, 0.1)
