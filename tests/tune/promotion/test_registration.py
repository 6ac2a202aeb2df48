"""Promotion: which trial, against whom, and a model that a fresh process loads by its alias without a pickle."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from promotions import STUDY, add_trial

from t5vqvae.errors import SettingError, UserError
from t5vqvae.evaluation.final_test import FinalTest
from t5vqvae.evaluation.gate_scores import GateScores
from t5vqvae.evaluation.metrics import METRICS, on_gate, on_test
from t5vqvae.files import held, write_json
from t5vqvae.spec.run import RunSpec
from t5vqvae.tracking import Tracker
from t5vqvae.tracking.server.model_registry import Registry
from tune.cli import main
from tune.promote import promote
from tune.promotion import candidate as module
from tune.promotion.announcements import SECRET, Receivers
from tune.promotion.gate import Gate
from tune.promotion.gate_results import GateResults
from tune.promotion.outcome import Promotion, Wishes, shown
from tune.records.models import FoundModel
from tune.records.study_paths import StudyPaths
from tune.spec.objective import Constraint
from tune.spec.search_spec import SearchSpec

SCORES = {
    "test/nll": 2.0,
    "test/exact_match": 0.5,
    "test/rate/bits_per_token": 3.0,
    "VAR/exact_match": 0.1,
}


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, float]]:
    """Stands in for the evaluations on the test split and on the gate: hands out the scores put in, one a trial."""
    queue: list[dict[str, float]] = []
    monkeypatch.setattr(module, "_evaluate", lambda run, folder, cache, half: FinalTest(queue.pop(0), []))

    def of(self: GateResults, found: FoundModel) -> GateScores:
        number = re.search(r"(trial|version) (\d+)", found.origin)
        trial = number[2] if number[1] == "trial" else registry_at(self.state).versions()[number[2]].tags["trial"]
        tested = json.loads((StudyPaths(self.state, "tiny").trial(int(trial)) / "test.json").read_text())["metrics"]
        return constant_scores({f"gate/{key.removeprefix('test/')}": value for key, value in tested.items()})

    monkeypatch.setattr(GateResults, "of", of)
    return queue


def constant_scores(metrics: dict[str, float]) -> GateScores:
    """Scores that are the same on each of twenty sentences."""
    units = {key: ([value] * 20, [1.0] * 20) for key, value in metrics.items()}
    names = [f"sentence {number}" for number in range(20)]
    return GateScores(units, {"gate": names, "VAR": names}, metrics)


def registry_at(state: Path) -> Registry:
    return Tracker(f"sqlite:///{state}/mlflow.db", "tiny").registry("t5vqvae")


def alias_holders(paths: StudyPaths) -> dict[str, str]:
    client = Tracker(f"sqlite:///{paths.state}/mlflow.db", "tiny").destination.client
    return {alias: str(version) for alias, version in client.get_registered_model("t5vqvae").aliases.items()}


def test_the_best_trial_with_a_bottleneck_that_keeps_the_constraints_is_taken(paths: StudyPaths) -> None:
    add_trial(paths, 0, nll=1.0)
    add_trial(paths, 1, nll=0.1, bits=9.0)
    add_trial(paths, 2, nll=0.2, status="pruned")
    add_trial(paths, 3, nll=0.0, metrics={"validation/nll": 0.0})  # a control: no rate
    assert module.best_trial(paths)[1].number == 0


def test_without_such_a_trial_it_is_refused_in_one_line(paths: StudyPaths) -> None:
    with pytest.raises(UserError, match="none of its 0 completed trials has a bottleneck"):
        promote(paths)
    add_trial(paths, 0, metrics={"validation/nll": 0.0})
    with pytest.raises(UserError, match="none of its 1 completed trials has a bottleneck and keeps rate/bits_per"):
        promote(paths)
    with pytest.raises(UserError, match="no study other under"):
        promote(StudyPaths(paths.state, "other"))


def test_a_checkpoint_that_is_gone_is_said(paths: StudyPaths) -> None:
    record = add_trial(paths, 0)
    shutil.rmtree(str(record.checkpoint))
    with pytest.raises(UserError, match=r"trial 0 of tiny has no checkpoint left; raise retention\.keep_best"):
        promote(paths)


def test_champion_moves_only_to_what_is_better_by_its_interval(
    paths: StudyPaths, scores: list[dict[str, float]]
) -> None:
    scores += [SCORES, {**SCORES, "test/nll": 2.5}, {**SCORES, "test/nll": 1.5}]
    add_trial(paths, 0, nll=1.0)
    first = promote(paths)
    assert (first.alias, first.passed, first.effect, first.version) == ("champion", True, None, "1")
    add_trial(paths, 1, nll=0.9)
    second = promote(paths)
    assert (second.alias, second.passed, second.effect) == ("challenger", False, pytest.approx(-0.5))
    assert second.reasons[0] == "gate/nll 2.5 against 2: worse, advantage -0.5 [-0.5, -0.5] over 20"
    digests = [registry_at(paths.state).versions()[number].tags["t5vqvae.artifact"][:12] for number in ("2", "1")]
    named = "compared: version 2, artifact {}, and version 1, artifact {}".format(*digests)
    assert second.reasons[1:] == (named,), "a claim is about two artifacts"
    assert alias_holders(paths) == {"champion": "1", "challenger": "2"}
    add_trial(paths, 2, nll=0.8)
    third = promote(paths)
    assert (third.alias, third.passed, third.effect) == ("champion", True, pytest.approx(0.5))
    assert alias_holders(paths) == {"champion": "3", "challenger": "2"}


def test_the_test_split_is_looked_at_once_and_a_trial_registered_once(
    paths: StudyPaths, scores: list[dict[str, float]]
) -> None:
    scores.append(SCORES)
    add_trial(paths, 0)
    first, again = promote(paths), promote(paths)
    assert (again.test_metrics, again.version, again.alias) == (first.test_metrics, "1", "champion")
    assert again.reasons == ("version 1 holds the alias already",)
    tracker = Tracker(f"sqlite:///{paths.state}/mlflow.db", "tiny")
    (trial,) = tracker.destination.client.search_runs(
        [tracker.destination.find_or_create()], "tags.`t5vqvae.kind` = 'trial'"
    )
    assert (trial.info.status, trial.data.metrics["test/exact_match"]) == ("FINISHED", 0.5)
    assert len(tracker.destination.client.get_metric_history(trial.info.run_id, "test/exact_match")) == 1


def test_other_weights_of_the_same_run_are_tested_and_registered_anew(
    paths: StudyPaths, scores: list[dict[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run's identity does not know its device and workers: what was trained again may have other weights."""
    scores += [SCORES, {**SCORES, "test/nll": 1.5}]
    add_trial(paths, 0)
    assert promote(paths).version == "1"
    for place in ("candidate", "registration"):
        monkeypatch.setattr(f"tune.promotion.{place}.artifact_digest", lambda folder: "of other weights")
    again = promote(paths)
    assert again.version == "2" and again.test_metrics["test/nll"] == 1.5 and scores == []
    tags = [registry_at(paths.state).versions()[number].tags["t5vqvae.artifact"] for number in ("1", "2")]
    assert tags[0] != tags[1]


def test_a_version_with_metrics_of_the_whole_test_is_registered_anew_for_half_of_it(
    paths: StudyPaths, scores: list[dict[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    scores += [SCORES]
    add_trial(paths, 0)
    assert promote(paths).version == "1"
    result = module.test_once(paths, *module.best_trial(paths), paths.trial(0) / "step-00000002")
    assert (result.scored, replace(result, half=True).scored) == (
        result.data_fingerprint,
        f"{result.data_fingerprint}-half",
    )
    half = replace(result, half=True, metrics={**SCORES, "test/nll": 1.5})
    monkeypatch.setattr("tune.promote.test_once", lambda *_: half)
    assert [promote(paths).version for _ in range(2)] == ["2", "2"]
    client = Tracker(f"sqlite:///{paths.state}/mlflow.db", "tiny").destination.client
    found = [client.get_model_version("t5vqvae", number) for number in ("1", "2")]
    assert [version.tags["t5vqvae.test_half"] for version in found] == ["False", "True"]
    assert "half of the test split" in found[1].description and "1.5" in found[1].tags["test.test/nll"]


def test_a_champion_whose_codes_are_all_sent_is_measured_so() -> None:
    run = RunSpec().with_overrides({**STUDY["base"], "train.code_dropout": 0.6, "evaluate.unsent": 0.5})
    results = GateResults(Path("nowhere"), run.with_overrides({"seed": 3, "evaluate.batch_size": 7}))
    plain = results.measured_as(RunSpec().with_overrides(STUDY["base"]))
    assert (plain.evaluate.unsent, plain.evaluate.batch_size, plain.seed) == (None, 7, 3)
    assert results.measured_as(run).evaluate.unsent == 0.5


@pytest.mark.parametrize("gone", ["run", "experiment", "database"])
def test_a_trial_whose_run_mlflow_has_lost_is_tracked_anew(
    paths: StudyPaths, scores: list[dict[str, float]], gone: str
) -> None:
    scores.append(SCORES)
    record = add_trial(paths, 0)
    tracker = Tracker(f"sqlite:///{paths.state}/mlflow.db", "tiny", home=paths.root)
    parent = tracker.open_study({}, {"t5vqvae.study": "tiny"})
    mlflow_id = tracker.open_trial(parent, "tiny/00000", "tiny/00000", {}, {})
    replace(record, mlflow_id=mlflow_id if gone != "database" else "0" * 32).write(paths.trial(0))
    if gone == "run":
        tracker.destination.client.delete_run(mlflow_id)
    else:
        tracker.destination.client.delete_experiment(tracker.destination.find_or_create())
    outcome = promote(paths)
    assert (outcome.alias, outcome.version) == ("champion", "1")
    version = Tracker(tracker.uri, "tiny").registry("t5vqvae").by_alias("champion")
    assert version is not None
    run = tracker.destination.client.get_run(version.mlflow_id)
    assert (run.info.lifecycle_stage, run.data.metrics["test/exact_match"]) == ("active", 0.5)
    assert (run.info.run_id == mlflow_id) == (gone != "run"), "a deleted experiment is restored with its runs"


def test_two_promotions_to_one_name_are_not_made_at_once(paths: StudyPaths, scores: list[dict[str, float]]) -> None:
    scores += [SCORES]
    add_trial(paths, 0, nll=1.0)
    with held(paths.state / "promotions" / "t5vqvae.lock", "it is tried", "wait", "process 7 on a machine"):
        with pytest.raises(UserError, match=r"a promotion to t5vqvae is under way by process 7 on a machine; wait"):
            promote(paths)
        assert promote(paths, registered_name="another").version == "1", "other names have other aliases"
    assert promote(paths).version == "1", "the lock falls with its holder"


def test_receivers_are_told_after_the_lock_fell_and_the_outbox_is_sent_also_where_nothing_moved(
    paths: StudyPaths, scores: list[dict[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SECRET, "s3cret")
    lock, events = paths.state / "promotions" / "t5vqvae.lock", []

    def announced(self: Receivers, event: object, outbox: Path) -> list[str]:
        with held(lock, "it is still held", "wait"):
            events.append(event)
        return ["not told"]

    monkeypatch.setattr(Receivers, "announce", announced)
    scores += [SCORES]
    add_trial(paths, 0)
    wishes = Wishes(receivers=Receivers("http://127.0.0.1:9/x"))
    outcomes = [promote(paths, wishes=wishes) for _ in range(2)]
    assert [event is None for event in events] == [False, True] and events[0]["version"] == "1"
    assert [outcome.reasons[-1] for outcome in outcomes] == ["not told"] * 2 and outcomes[0].passed


def test_an_objective_without_an_interval_is_refused_before_the_test_where_another_version_holds_the_alias(
    paths: StudyPaths, scores: list[dict[str, float]]
) -> None:
    metric = "rate/sparse_joint_bits_per_token"
    base = {**STUDY["base"], "train.code_dropout": 0.6, "evaluate.unsent": 0.5}
    SearchSpec.parse({**STUDY, "base": base, "objectives": [{"metric": metric}]}).write(paths.spec)
    scores += [SCORES, SCORES]
    for number, value in enumerate((2.0, 1.0)):
        add_trial(paths, number, metrics={"validation/nll": 1.0, "rate/bits_per_token": 3.0, metric: value})
        if number == 0:
            assert promote(paths).passed and promote(paths).passed, "no other version holds the alias"
    with pytest.raises(SettingError, match=f"^objectives: {metric} has no interval between two models; --promote"):
        promote(paths)
    assert not (paths.trial(1) / "test.json").exists()
    assert promote(paths, wishes=Wishes(anyway=True)).version == "2"


def test_a_failed_gate_keeps_a_better_trial_from_the_alias(paths: StudyPaths, scores: list[dict[str, float]]) -> None:
    scores.append({**SCORES, "test/rate/bits_per_token": 5.0})
    add_trial(paths, 0)
    outcome = promote(paths, wishes=Wishes([Gate.parse("VAR/exact_match >= 0.2")], anyway=True))
    assert (outcome.alias, outcome.passed) == ("challenger", False)
    assert outcome.reasons[:2] == (
        "gate gate/rate/bits_per_token <= 4 failed: it is 5",
        "gate VAR/exact_match >= 0.2 failed: it is 0.1",
    )
    assert alias_holders(paths) == {"challenger": "1"}


def test_other_data_is_not_compared_but_may_be_replaced(
    paths: StudyPaths, scores: list[dict[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    scores += [SCORES, SCORES]
    add_trial(paths, 0)
    promote(paths)
    add_trial(paths, 1, nll=0.5)
    result = module.test_once(paths, *module.best_trial(paths), paths.trial(1) / "step-00000002")
    other = replace(result, data_fingerprint="other", test_strings="others")
    monkeypatch.setattr("tune.promote.test_once", lambda *_: other)
    outcome = promote(paths)
    assert (outcome.alias, outcome.effect) == ("challenger", None)
    assert outcome.reasons == ("version 1 was tested on other data, so the two cannot be compared",)
    assert promote(paths, wishes=Wishes(anyway=True)).alias == "champion"
    assert alias_holders(paths) == {"champion": "2"}


def test_the_same_strings_are_compared_whatever_the_tokenizer(
    paths: StudyPaths, scores: list[dict[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    scores += [{**SCORES, "test/nll_per_char": 0.5}, SCORES]
    add_trial(paths, 0)
    promote(paths)
    add_trial(paths, 1, nll=0.5)
    result = module.test_once(paths, *module.best_trial(paths), paths.trial(1) / "step-00000002")
    assert result.test_strings
    retokenized = replace(
        result, data_fingerprint="other", metrics={**SCORES, "test/nll": 99.0, "test/nll_per_char": 0.25}
    )
    monkeypatch.setattr("tune.promote.test_once", lambda *_: retokenized)
    write_json(paths.trial(1) / "test.json", vars(retokenized))
    outcome = promote(paths)
    assert (outcome.alias, outcome.effect) == ("champion", 0.25), "a value per token would depend on the tokenizer"
    assert outcome.reasons[0].startswith("gate/nll_per_char 0.25 against 0.5: better")


def test_an_ablation_starts_from_a_studys_best_trial_or_from_the_champion(
    paths: StudyPaths, scores: list[dict[str, float]]
) -> None:
    from tune.ablation.ablation_spec import AblationSpec
    from tune.ablation.baseline import base_of
    from tune.records.study_tracker import tracker_of

    scores.append(SCORES)
    add_trial(paths, 0, nll=1.0, overrides={"quantizer.commitment_weight": 0.5})
    promote(paths)
    tracker = Tracker(f"sqlite:///{paths.state}/mlflow.db", "tiny")
    holder, (_, winner) = tracker.registry("t5vqvae").by_alias("champion"), module.best_trial(paths)
    trained = SearchSpec.read(paths.spec).run_spec(winner.overrides)
    tracker.destination.client.log_dict(holder.mlflow_id, trained.as_dict(), "spec.json")  # as a trial's logger does
    add_trial(paths, 1, nll=0.5, overrides={"quantizer.commitment_weight": 1.5})
    values = {
        "name": "averages",
        "question": "What do moving averages give?",
        "arms": [{"name": "vq", "overrides": {"quantizer.name": "vq", "quantizer.revive_below": 0.02}}],
        "seeds": 6,
        "untuned": "a test",
        "objective": {"metric": "validation/nll"},
        "base": {"train.batch_size": 8},
    }
    found = {}
    for source in ({"study": "tiny"}, {"champion": "t5vqvae"}):
        spec = AblationSpec.parse({**values, "baseline": source})
        ablation = StudyPaths(paths.state, "averages")
        found[next(iter(source))] = base_of(spec, ablation, tracker_of(spec, ablation))
    best, champion = found["study"], found["champion"]
    assert (best.quantizer.commitment_weight, champion.quantizer.commitment_weight) == (1.5, 0.5)
    assert best.train.batch_size == champion.train.batch_size == 8 and best.model.d_model == 16
    spec = AblationSpec.parse({**values, "baseline": {"champion": "nobody"}})
    with pytest.raises(SettingError, match="champion=nobody: no such registered model"):
        base_of(spec, ablation, tracker_of(spec, ablation))


FRESH = """
import json, sys
import mlflow.pyfunc, pandas as pd
model = mlflow.pyfunc.load_model("models:/t5vqvae@champion")
frame = model.predict(pd.DataFrame({"text": ["x + y", "\\\\sin{(k )}"]}), params={"max_new_tokens": 5})
import t5vqvae
signature = model.metadata.signature
fields = [signature.inputs.input_names()[0], *signature.outputs.input_names()[:2]]
print(json.dumps([frame.to_dict("list"), t5vqvae.__file__, model.input_example.to_dict("list"), fields]))
"""


def test_a_fresh_process_loads_the_champion_by_its_alias(
    paths: StudyPaths, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_trial(paths, 0)
    assert main(["promote", "tiny", "--state", str(paths.state)]) == 0
    shown = capsys.readouterr().out
    assert "run run0 is version 1, alias champion" in shown
    assert shown.startswith("run run0 is version 1, alias champion\n"), "the verdict is first"
    assert "VAR/exact_match = " in shown and len(shown.splitlines()) < 16
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{paths.state}/mlflow.db"}
    shutil.rmtree(paths.trial(0))  # the model stands alone
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FRESH], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    answer, code, example, fields = json.loads(done.stdout.splitlines()[-1])
    assert list(answer) == ["reconstruction", "codes"]
    assert [{len(position) for position in codes} for codes in answer["codes"]] == [{1}, {1}]
    assert all(0 <= code < 16 for codes in answer["codes"] for position in codes for code in position)
    assert all(isinstance(text, str) for text in answer["reconstruction"])
    assert "artifacts" in code  # the source that trained it, not the installed one
    assert list(example) == ["text"]
    assert fields == ["text", "reconstruction", "codes"]
    files = {path.suffix for path in (paths.state / "artifacts").rglob("*") if path.is_file()}
    assert ".safetensors" in files
    assert not files & {".pkl", ".pickle", ".pt", ".pth", ".bin"}


def test_the_command_says_1_for_a_challenger(
    paths: StudyPaths, scores: list[dict[str, float]], capsys: pytest.CaptureFixture[str]
) -> None:
    scores.append(SCORES)
    add_trial(paths, 0)
    assert main(["promote", "tiny", "--state", str(paths.state), "--gate", "test/nll <= 1"]) == 1
    assert 'load_model("models:/t5vqvae@challenger")' in capsys.readouterr().out


def test_gates_read_bounds_and_count_what_was_not_measured_as_shut() -> None:
    gate = Gate.parse("test/exact_match >= 5e-1")
    assert gate == Gate("test/exact_match", ">=", 0.5)
    assert gate.refusal({"test/exact_match": 0.5}) is None
    assert gate.refusal({"test/exact_match": 0.49}) == "gate test/exact_match >= 0.5 failed: it is 0.49"
    assert gate.refusal({}) == "gate test/exact_match >= 0.5 failed: it was not measured"
    for text in ("test/exact_match > 0.5", "test/nll <= .", "<= 5"):
        with pytest.raises(SettingError, match="must read as"):
            Gate.parse(text)


def test_a_metric_has_its_counterparts_on_the_test_split_and_on_what_decides() -> None:
    metrics = ("validation/bleu", "codebook/usage", "VAR/nll", "cost/step_seconds", "validation_ood/nll_per_char")
    assert [on_test(metric) for metric in metrics] == [
        "test/bleu",
        "test/codebook/usage",
        "VAR/nll",
        "cost/step_seconds",
        "test_ood/nll_per_char",
    ]
    assert [on_gate(metric) for metric in metrics] == [
        "gate/bleu",
        "gate/codebook/usage",
        "gate/VAR/nll",
        "cost/step_seconds",
        "gate_ood/nll_per_char",
    ]
    assert on_gate("test/VAR/nll") == "gate/VAR/nll"
    assert Gate.of_constraint(Constraint.parse("validation_ood/exact_match >= 0.9")).metric == "gate_ood/exact_match"


def test_a_promotion_survives_pickling() -> None:
    import pickle

    outcome = Promotion("r", "champion", 0.1, {"test/nll": 1.0}, True, ("better",), "1", "models:/t5vqvae@champion")
    assert pickle.loads(pickle.dumps(outcome)) == outcome


COMPLETE = {key: 1.0 for key, metric in METRICS.items() if metric.is_evaluated and not metric.when} | {
    "rate/bits_per_token": 3.0,
    "validation/exact_match": 0.5,
}
"""The metrics of a trial as a real training leaves them."""


@pytest.mark.parametrize(
    ("gate", "line"),
    [
        ("test/nosuch >= 1", "no test set of this trial has test/nosuch; "),
        ("VAR/exact_mach >= 0.1", "no test set of this trial has VAR/exact_mach; did you mean VAR/exact_match?"),
        ("WAR/nll <= 1", "no test set of this trial has WAR/nll; did you mean VAR/nll?"),
        ("test/rate/kl_bits_per_token <= 1", "no test set of this trial has test/rate/kl_bits_per_token; did you mean"),
        ("LEN3/exact_match >= 0.9", "LEN3 is a harder test, by which nothing is chosen; take one of test, VAR, EASY"),
        ("test/VAR_HEBREW/nll <= 1", "VAR_HEBREW is a harder test"),
        ("gate/MIXED/nll <= 1", "MIXED is a harder test"),
        ("test/nll >= nan", "must read as 'test/exact_match >= 0.5' or with <=, and a finite number"),
        ("test/nll >= inf", "must read as"),
        ("test/nll > 1", "must read as"),
        ("test/nll", "must read as"),
        ("", "must read as"),
        ("test/nll >= 1 and more", "must read as"),
    ],
)
def test_a_gate_on_nothing_is_refused_before_anything_is_tested_or_registered(
    paths: StudyPaths, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, gate: str, line: str
) -> None:
    monkeypatch.setattr(module, "_evaluate", lambda *_: pytest.fail("it was tested"))
    add_trial(paths, 0, metrics=COMPLETE)
    assert main(["promote", "tiny", "--state", str(paths.state), "--gate", gate]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert repr(gate) in last and line in last
    assert not (paths.trial(0) / "test.json").exists()
    assert Tracker(f"sqlite:///{paths.state}/mlflow.db", "tiny").registry("t5vqvae").aliases() in (None, {})


def test_gates_on_any_test_set_and_on_the_trial_itself_are_accepted(
    paths: StudyPaths, scores: list[dict[str, float]]
) -> None:
    scores.append({**SCORES, "LEN/nll": 1.0})
    add_trial(paths, 0, metrics={**COMPLETE, "cost/parameters": 5.0})
    gates = ["LEN/nll <= 2", "cost/parameters <= 10", "test/rate/bits_per_token <= 4"]
    assert promote(paths, wishes=Wishes([Gate.parse(gate) for gate in gates])).passed


def test_a_bound_out_of_distribution_is_read_on_sets_that_were_drawn_for_it(
    paths: StudyPaths, scores: list[dict[str, float]]
) -> None:
    base = {**STUDY["base"], "data.ood": 5, "data.max_length": 60}
    SearchSpec.parse({**STUDY, "base": base, "constraints": ["validation_ood/exact_match >= 0.9"]}).write(paths.spec)
    reached = {"validation_ood/exact_match": 0.95, "test_ood/exact_match": 0.95}
    scores.append({**SCORES, **reached, "gate_ood/exact_match": 0.85})
    add_trial(paths, 0, metrics={**COMPLETE, **reached})
    outcome = promote(paths, wishes=Wishes([Gate.parse("gate_ood/exact_match >= 0.8")]))
    assert outcome.reasons[0] == "gate gate_ood/exact_match >= 0.9 failed: it is 0.85" and not outcome.passed
    assert "  gate_ood/exact_match >= 0.8: kept, it is 0.85" in shown(outcome)


def test_promoting_while_trials_are_to_come_says_how_many(
    paths: StudyPaths, scores: list[dict[str, float]], caplog: pytest.LogCaptureFixture
) -> None:
    scores.append(SCORES)
    add_trial(paths, 0)
    warning = "19 of the 20 trials of study tiny are still to come; the same search resumes it"
    outcome = promote(paths)
    assert outcome.warning == warning and warning in caplog.text
    assert shown(outcome).index(f"  {warning}") < len(shown(outcome)) - 2
    with paths.locked():
        outcome = promote(paths)
    assert outcome.warning is not None and outcome.warning.endswith(
        "it is running, and a better one may follow: promote again then"
    )
    SearchSpec.parse({**STUDY, "budget": {"trials": 1}}).write(paths.spec)
    assert promote(paths).warning is None


def test_the_verdict_comes_first_with_few_numbers_each_quality_with_its_rate(
    paths: StudyPaths, scores: list[dict[str, float]]
) -> None:
    rates = {"VAR/rate/bits_per_token": 2.5, "VAR/rate/joint_bits_per_token": 1.5}
    scores.append({**SCORES, **rates, **{f"test/codebook/measure{n}": 0.1 for n in range(40)}})
    add_trial(paths, 0)
    lines = shown(promote(paths, wishes=Wishes([Gate.parse("VAR/exact_match >= 0.2")])))
    assert lines[:7] == [
        "run run0 is version 1, alias challenger",
        "  gate VAR/exact_match >= 0.2 failed: it is 0.1",
        "  no version held the alias",
        "  test/nll = 2 nats a token at 3 bits a token (upper bound)",
        "  gate/rate/bits_per_token <= 4: kept, it is 3",
        "  VAR/exact_match >= 0.2: NOT KEPT, it is 0.1",
        "  test/exact_match = 0.5 at 3 bits a token (upper bound)",
    ]
    assert lines[7] == "  VAR/exact_match = 0.1 at 1.5 bits a token (joint rate)"
    assert lines[-1].startswith("all 46 metrics: ") and len(lines) < 14


def test_the_threads_of_a_test_are_kept_with_it_and_with_the_version(
    paths: StudyPaths, scores: list[dict[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    scores.append(SCORES)
    add_trial(paths, 0)
    monkeypatch.setattr(module, "free_threads", lambda: 1)
    promote(paths)
    assert json.loads((paths.trial(0) / "test.json").read_text())["threads"] == 1
    version = Tracker(f"sqlite:///{paths.state}/mlflow.db", "tiny").registry("t5vqvae").by_alias("champion")
    assert version.tags["t5vqvae.threads"] == "1"
