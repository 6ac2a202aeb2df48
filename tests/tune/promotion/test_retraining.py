"""Candidates trained again with fresh seeds: tracked, resumed after a kill, never twice, and promoted by the mean."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from planted_seeds import TRAINER, plant
from promotions import STUDY, TINY, add_trial
from rich.console import Console
from searches import metric_steps

from t5vqvae.errors import DiskError, SettingError, UserError
from t5vqvae.files import held, read_json
from t5vqvae.runs.attempt import Attempt
from t5vqvae.runs.fingerprint import sources_of
from t5vqvae.tracking import Tracker
from tune.cli import main
from tune.promote import promote
from tune.promotion.outcome import Wishes
from tune.promotion.retraining import Retraining
from tune.records.fresh_runs import fresh_folder, read_fresh
from tune.records.models import find_model
from tune.records.record import TrialRecord
from tune.records.study_paths import StudyPaths
from tune.records.study_tracker import tracker_of
from tune.spec.promotion_rules import PromotionRules
from tune.spec.search_spec import SearchSpec

WEIGHT = "quantizer.commitment_weight"
STEPS = {"train.max_steps": 40, "train.eval_every": 10, "optim.warmup_steps": 0}
"""Four milestones of the stub trainer."""


def write_study(paths: StudyPaths, **base: Any) -> SearchSpec:
    spec = SearchSpec.parse({**STUDY, "base": {**TINY, **STEPS, **base}, "budget": {"trials": 3}})
    spec.write(paths.spec)
    return spec


def retraining(paths: StudyPaths, spec: SearchSpec, trainer: str = TRAINER) -> tuple[Retraining, io.StringIO]:
    said = io.StringIO()
    return Retraining(paths, spec, tracker_of(spec, paths), trainer, Console(file=said, width=200)), said


def rules(candidates: int = 2, fresh_seeds: int = 2) -> PromotionRules:
    return PromotionRules.parse({"candidates": candidates, "fresh_seeds": fresh_seeds})


def milestones_trained(paths: StudyPaths) -> int:
    log = paths.state / "starts.log"
    return len(log.read_text().splitlines()) if log.is_file() else 0


@pytest.fixture
def lucky(paths: StudyPaths) -> SearchSpec:
    """Three trials: the first is best by luck, the second is best with fresh seeds, the third is no candidate."""
    spec = write_study(paths)
    for number, (nll, weight) in enumerate([(0.5, 0.1), (0.6, 0.2), (0.9, 0.3)]):
        add_trial(paths, number, nll=nll, overrides={WEIGHT: weight})
    values = {0.1: {1: 1.0, 2: 1.2, 3: 1.1}, 0.2: {1: 0.6, 2: 0.8, 3: 0.85}}
    plant(paths.state, {weight: {s: {"validation/nll": v, "rate/bits_per_token": 3.0} for s, v in own.items()}
                        for weight, own in values.items()})  # fmt: skip
    return spec


def test_the_lucky_trial_loses_and_what_is_trained_is_not_trained_again(paths: StudyPaths, lucky: SearchSpec) -> None:
    tracker = Tracker(f"sqlite:///{paths.state}/mlflow.db", "tiny", home=paths.root)
    parent = tracker.open_study({}, {"t5vqvae.study": "tiny"})
    training, said = retraining(paths, lucky)
    choice = training.choice(rules())
    assert choice.winner.record.number == 1 and choice.winner.values == (0.6, 0.8)
    assert (choice.record.tags["t5vqvae.fresh_seed"], choice.record.overrides) == ("1", {WEIGHT: 0.2, "seed": 1})
    assert milestones_trained(paths) == 2 * 2 * 4
    lines = said.getvalue().splitlines()
    assert lines[0] == "candidate 1 of 2, trial 0, seed 1 (1 of 2): training"
    assert "candidate 1 of 2, trial 0: validation/nll was 0.5 in the search, fresh seeds give 1.1 [1, 1.2]" in lines
    for record in read_fresh(paths):
        assert record.mlflow_id is not None
        run = tracker.destination.client.get_run(record.mlflow_id)
        seed = record.tags["t5vqvae.fresh_seed"]
        assert run.data.tags["t5vqvae.trial"] == f"tiny/0000{record.number}-seed-{seed}"
        assert (run.info.status, run.data.tags["mlflow.parentRunId"]) == ("FINISHED", parent)
        assert run.data.tags["t5vqvae.fresh_seed"] == run.data.params["seed"] == seed
        assert run.data.metrics["validation/nll"] == record.metrics["validation/nll"]
        assert [path.name for path in fresh_folder(paths, record.number, int(seed)).glob("step-*")] == ["step-00000040"]
    again, said = retraining(paths, lucky)
    assert again.choice(rules()).lines == choice.lines and milestones_trained(paths) == 16
    assert said.getvalue().count("trained before") == 4
    more = again.choice(rules(fresh_seeds=3))
    assert milestones_trained(paths) == 16 + 2 * 4, "two runs more, one for each candidate"
    assert more.winner.values == (0.6, 0.8, 0.85) and more.record.tags["t5vqvae.fresh_seed"] == "2", "the mean is .75"


def test_a_run_without_its_record_or_its_checkpoint_is_made_anew(paths: StudyPaths, lucky: SearchSpec) -> None:
    training, _ = retraining(paths, lucky)
    training.choice(rules(1, 1))
    folder = fresh_folder(paths, 0, 1)
    before = TrialRecord.read(folder)
    for content in ("", "{}"):  # cut, and not a record: its checkpoint is whole
        (folder / "record.json").write_text(content)
        training.choice(rules(1, 1))
        assert milestones_trained(paths) == 4 and TrialRecord.read(folder).metrics == before.metrics
    (folder / "step-00000040" / "weights").write_text("damaged")
    (folder / "record.json").unlink()
    training.choice(rules(1, 1))
    assert milestones_trained(paths) == 8, "a damaged checkpoint is trained again"


KILLED = """
import sys
from pathlib import Path
from tune.promotion.retraining import Retraining
from tune.records.study_paths import StudyPaths
from tune.records.study_tracker import tracker_of
from tune.spec.promotion_rules import PromotionRules
from tune.spec.search_spec import SearchSpec
paths = StudyPaths(Path(sys.argv[1]), "tiny")
spec = SearchSpec.read(paths.spec)
rules = PromotionRules.parse({"candidates": 1, "fresh_seeds": 2})
Retraining(paths, spec, tracker_of(spec, paths), "stub:train").choice(rules)
"""


def test_a_kill_costs_no_milestone_that_was_saved(paths: StudyPaths) -> None:
    spec = write_study(paths, **{"optim.weight_decay": 0.75})
    spec = SearchSpec.parse({**spec.as_dict(), "constraints": ["rate/bits_per_token <= 9"]})
    spec.write(paths.spec)
    add_trial(paths, 0)
    support = Path(__file__).parents[2] / "support"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(support.parents[1]), str(support)])}
    killed = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLED, str(paths.state)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert milestones_trained(paths) == 2 and read_fresh(paths) == []
    choice = retraining(paths, spec, "stub:train")[0].choice(rules(1, 2))
    assert milestones_trained(paths) == 2 + 3 + 4, "the first resumes at its second milestone, the second starts"
    assert [run.status for run in choice.winner.fresh] == ["completed", "completed"]
    resumed = choice.winner.fresh[0].mlflow_id
    assert resumed is not None
    assert metric_steps(spec, paths, resumed, "progress/step") == [10, 20, 30, 40]
    client = tracker_of(spec, paths).destination.client
    found = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    assert sorted(run.data.tags["t5vqvae.trial"] for run in found) == ["tiny/00000-seed-1", "tiny/00000-seed-2"]


def test_each_run_starts_with_the_memory_of_a_new_process(
    paths: StudyPaths, lucky: SearchSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[int] = []
    monkeypatch.setattr("tune.promotion.retraining.free_memory", lambda: trained.append(milestones_trained(paths)))
    training, _ = retraining(paths, lucky)
    training.choice(rules(1, 2))
    assert trained == [4, 8], "after each run, before the next one"
    training.choice(rules(1, 2))
    assert trained == [4, 8], "nothing was trained"


def test_a_run_that_fails_puts_its_candidate_out_and_is_not_trained_again(paths: StudyPaths, lucky: SearchSpec) -> None:
    planted = json.loads((paths.state / "planted.json").read_text())
    del planted["0.1"]["2"]  # the trainer raises KeyError
    (paths.state / "planted.json").write_text(json.dumps(planted))
    training, said = retraining(paths, lucky)
    choice = training.choice(rules())
    assert choice.winner.record.number == 1
    assert choice.lines[1:] == (
        "not chosen: trial 0: validation/nll was 0.5 in the search; out, it failed with seed 2",
    )
    folder = fresh_folder(paths, 0, 2)
    failed = TrialRecord.read(folder)
    assert (failed.status, failed.tags["error"], failed.checkpoint) == ("failed", "KeyError: '2'", None)
    assert "KeyError" in (folder / "error.txt").read_text() and f"delete {folder} to" in said.getvalue()
    again, said = retraining(paths, lucky)
    assert again.choice(rules()).lines == choice.lines and said.getvalue().count("trained before") == 4


def test_a_full_disk_is_no_fault_of_a_candidate(paths: StudyPaths, lucky: SearchSpec) -> None:
    (paths.state / "full").touch()
    with pytest.raises(DiskError):
        retraining(paths, lucky)[0].choice(rules(1, 1))
    assert read_fresh(paths) == []
    (paths.state / "full").unlink()
    assert retraining(paths, lucky)[0].choice(rules(1, 1)).winner.values == (1.0,)


def test_a_run_of_another_content_of_the_data_is_trained_again(paths: StudyPaths, lucky: SearchSpec) -> None:
    training, _ = retraining(paths, lucky)
    training.choice(rules(1, 1))
    folder = fresh_folder(paths, 0, 1)
    record = TrialRecord.read(folder)
    sources = sources_of(lucky.run_spec(record.overrides), paths.cache)
    stored = folder / "step-00000040" / "milestone.json"
    milestone = read_json(stored)
    (folder / "test.json").write_text("{}")
    for kept, fingerprint, trained in ((True, sources["data_fingerprint"], 4), (False, "another", 8)):
        stored.write_text(json.dumps({**milestone, "data_fingerprint": fingerprint}))
        training.choice(rules(1, 1))
        assert ((folder / "test.json").exists(), milestones_trained(paths)) == (kept, trained)
    assert TrialRecord.read(folder).metrics == record.metrics


@pytest.mark.parametrize(("workers", "needed", "own"), [(1, 4, 4), (2, 4, 8), (1, 64, 1)])
def test_a_run_is_fitted_onto_the_gpu_like_its_trial(paths: StudyPaths, workers: int, needed: int, own: int) -> None:
    spec = SearchSpec.parse({**STUDY, "resources": {"workers": workers}})
    training, _ = retraining(paths, spec)
    trial = add_trial(paths, 0)
    Attempt(1.0, needed).write(paths.trial(0))
    run = training._tracked(trial, 1, {"seed": 1})
    assert run.spec.train.microbatches == own, "a batch of 16 has no 64 parts"


def test_two_processes_do_not_train_one_run(paths: StudyPaths, lucky: SearchSpec) -> None:
    folder = fresh_folder(paths, 0, 1)
    with (
        held(folder / "lock", "it is tried", "wait"),
        pytest.raises(UserError, match=f"the run in {folder} is trained"),
    ):
        retraining(paths, lucky)[0].choice(rules(1, 1))


def test_the_fresh_run_is_tested_registered_described_and_found(
    paths: StudyPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    """Real trainings of two steps, from the command line to the version's page."""
    there = paths.state / "there"
    spec = SearchSpec.parse({**STUDY, "budget": {"trials": 2}, "retention": {"copy_to": str(there)}})
    spec.write(paths.spec)
    for number, nll in enumerate((0.011, 0.012)):  # no training of two steps comes near
        add_trial(paths, number, nll=nll, overrides={WEIGHT: 0.25 + number})
    command = ["promote", "tiny", "--state", str(paths.state), "--candidates", "5", "--fresh-seeds", "2"]
    assert main(command) == 0
    printed, errors = capsys.readouterr()
    registry = Tracker(f"sqlite:///{paths.state}/mlflow.db", "tiny").registry("t5vqvae")
    version = registry.by_alias("champion")
    assert version is not None and version.version == "1"
    trial, seed = int(version.tags["trial"]), int(version.tags["seed"])
    record = TrialRecord.read(fresh_folder(paths, trial, seed))
    assert (
        seed in (1, 2) and version.tags["t5vqvae.identity"] == record.run_id and version.mlflow_id == record.mlflow_id
    )
    values = [run.metrics["validation/nll"] for run in read_fresh(paths) if run.number == trial]
    means = {n: sum(r.metrics["validation/nll"] for r in read_fresh(paths) if r.number == n) / 2 for n in (0, 1)}
    assert means[trial] == min(means.values())
    searched = f"validation/nll was {(0.011, 0.012)[trial]} in the search, fresh seeds give {means[trial]:.4g}"
    said = f"{searched} [{min(values):.4g}, {max(values):.4g}]"
    page = registry.destination.client.get_model_version("t5vqvae", "1").description
    out_of = "chosen on validation out of 2 candidates (all completed trials that count), 2 fresh seeds each"
    assert out_of in page and said in page and f"registered is the run with seed {seed}" in page
    assert f"  {out_of}: trial {trial}; {said}; " in printed and "not chosen: trial " in printed
    assert "candidate 2 of 2, trial 1, seed 2 (2 of 2): training" in errors
    assert (version.tags["fresh.candidates"], version.tags["fresh.mean"]) == ("2", f"{means[trial]:.6g}")
    tested = json.loads((fresh_folder(paths, trial, seed) / "test.json").read_text())
    assert tested["identity"] == record.run_id and not (paths.trial(trial) / "test.json").exists()
    assert not list(there.rglob("test.json")), "neither its record nor its weights are there"
    assert find_model(str(record.run_id), paths.state).origin.startswith(
        f"trial {trial} of study tiny with the fresh seed {seed}, step-"
    )
    assert main(command) == 0 and "version 1 holds the alias already" in capsys.readouterr().out
    assert main(["remove", "tiny", "--yes", "--state", str(paths.state)]) == 2, "its champion lies in it"
    assert "study tiny is the source of models:/t5vqvae@champion" in capsys.readouterr().err


def test_a_study_says_it_too_and_nothing_is_trained_where_a_rule_cannot_work(
    paths: StudyPaths, lucky: SearchSpec, capsys: pytest.CaptureFixture[str]
) -> None:
    state = ["--state", str(paths.state)]
    for words, line in (
        (["--candidates", "2"], "--candidates and --fresh-seeds belong together"),
        (["--candidates", "some", "--fresh-seeds", "2"], "--candidates='some' must be a whole number"),
        (["--candidates", "2", "--fresh-seeds", "0"], "--fresh-seeds=0 must be at least 1"),
        (["--candidates", "front", "--fresh-seeds", "1"], "candidates=front needs several objectives"),
        (["--candidates", "2", "--fresh-seeds", "1", "--gate", "test/nosuch >= 1"], "no test set of this trial has"),
    ):
        assert main(["promote", "tiny", *words, *state]) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert line in error
    SearchSpec.parse({**lucky.as_dict(), "promotion": {"candidates": 2, "fresh_seeds": 1}}).write(paths.spec)
    with pytest.raises(SettingError, match="no test set of this trial has"):
        from tune.promotion.gate import Gate

        promote(paths, wishes=Wishes([Gate.parse("test/nosuch >= 1")]), trainer=TRAINER)
    assert milestones_trained(paths) == 0 and not paths.fresh.exists()
