"""Searches on a real Ray cluster: one for the module, with a trainer of milliseconds; the real one once."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from searches import REAL, STUB, assert_all_agree, stub_study
from survival import owner_of

from t5vqvae.errors import UserError
from tune.cli import main
from tune.execution import session
from tune.records.record import TrialRecord
from tune.records.study_paths import StudyPaths
from tune.search import search
from tune.spec.search_spec import SearchSpec

pytestmark = pytest.mark.ray


def groups_in_use() -> dict[str, Any]:
    """The placement groups that hold resources."""
    import ray.util

    return {name: group for name, group in ray.util.placement_group_table().items() if group["state"] != "REMOVED"}


def starts(state: Path) -> list[str]:
    log = state / "starts.log"
    return log.read_text().splitlines() if log.exists() else []


def steps_trained(state: Path, learning_rate: float, since: int = 0) -> list[int]:
    lines = [line.split() for line in starts(state)[since:]]
    return [int(step) for rate, step in lines if float(rate) == learning_rate]


def test_a_study_end_to_end_again_and_extended(state):
    spec = stub_study("whole", 8)
    result = search(spec, state=state, trainer=STUB)
    records = assert_all_agree(spec, state)
    assert len(records) == 8 and result.stopped is None
    assert records[0].overrides == {"optim.learning_rate": spec.base_values["optim.learning_rate"]}, "baseline first"
    assert {record.status for record in records.values()} == {"completed", "pruned"}
    assert result.best is not None and result.best.status == "completed"
    assert result.best.metrics["validation/nll"] == min(
        r.metrics["validation/nll"] for r in records.values() if r.status == "completed"
    )
    trained = len(starts(state))
    again = search(spec, state=state, trainer=STUB)
    assert len(starts(state)) == trained and again.best == result.best, "a finished study trains nothing"

    guarded = stub_study("whole", 8, promotion={"max_size": 1.1})
    search(guarded, state=state, trainer=STUB)
    assert SearchSpec.read(StudyPaths(state, "whole").spec).promotion.max_size == 1.1, "`promote` reads it there"

    longer = stub_study("whole", 11)
    more = search(longer, state=state, trainer=STUB)
    after = assert_all_agree(longer, state)
    assert len(more.records) == 11 and {n: after[n].metrics for n in records} == {
        n: r.metrics for n, r in records.items()
    }


def test_what_goes_wrong_is_told_as_it_was(state):
    choice = {"type": "choice", "choices": [0.0, 0.25, 0.5, 0.75]}
    spec = stub_study(
        "wrong",
        12,
        space={"optim.weight_decay": choice},
        budget={"max_failures": 12},
        sampler={"name": "random"},
        scheduler={"name": "none"},
    )
    search(spec, state=state, trainer=STUB)
    records = assert_all_agree(spec, state)
    said = {(r.overrides["optim.weight_decay"], r.status) for r in records.values()}
    assert said == {(0.0, "completed"), (0.25, "diverged"), (0.5, "failed"), (0.75, "completed")}
    failed = next(r for r in records.values() if r.status == "failed")
    assert failed.tags["error"] == "RuntimeError: the trainer broke"
    assert "Traceback" in (StudyPaths(state, "wrong").trial(failed.number) / "error.txt").read_text()
    killed = next(r for r in records.values() if r.overrides["optim.weight_decay"] == 0.75)
    steps = steps_trained(state, killed.overrides["optim.learning_rate"])
    assert steps == [10, 20, 20, 30, 40], "a killed process costs one interval"


def test_a_process_that_dies_between_two_trials_costs_neither(state, monkeypatch):
    """Ray fails the second, which it finds dead before it began; it is given out again."""
    sampler = {"sampler": {"name": "random"}, "scheduler": {"name": "none"}, "budget": {"concurrent": 1}}
    spec = stub_study("between", 3, **sampler)
    paths = StudyPaths(state, "between")

    class Killing(session.TrialRecorder):
        def _finish(self, number, status):
            super()._finish(number, status)
            if number < 2:
                os.kill(owner_of(paths, number), signal.SIGKILL)

    monkeypatch.setattr(session, "TrialRecorder", Killing)
    search(spec, state=state, trainer=STUB)
    records = assert_all_agree(spec, state)
    assert [records[number].status for number in range(3)] == ["completed"] * 3
    for record in records.values():
        assert steps_trained(state, record.overrides["optim.learning_rate"])[-4:] == [10, 20, 30, 40]


def test_too_many_failures_stop_the_search(state):
    choice = {"type": "choice", "choices": [0.0, 0.5]}
    sampler = {"sampler": {"name": "random"}, "scheduler": {"name": "none"}}
    spec = stub_study("broken", 30, space={"optim.weight_decay": choice}, budget={"max_failures": 1}, **sampler)
    result = search(spec, state=state, trainer=STUB)
    assert "trials failed" in result.stopped and len(result.records) < 30


def test_another_study_is_learned_from(state):
    search(stub_study("teacher", 4), state=state, trainer=STUB)
    spec = stub_study("pupil", 3)
    result = search(spec, state=state, warm_start="teacher", trainer=STUB)
    assert len(result.records) == 3


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"resources": {"gpus": 1}}, "is more than the cluster's 0 GPUs"),
        ({"resources": {"cpus": 1000}}, "is more than the cluster's"),
        ({"tracking": {"uri": "http://127.0.0.1:9"}}, "127.0.0.1:9"),
    ],
)
def test_a_study_that_cannot_work_is_refused_before_its_first_trial(state, settings, reason):
    before = starts(state)
    with pytest.raises(UserError, match=reason):
        search(stub_study("refused", 2, **settings), state=state, trainer=STUB)
    assert starts(state) == before and not StudyPaths(state, "refused").storage.exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"constraints": ["rate/joint_bits_per_token <= 10"]},
        {"objectives": [{"metric": "rate/joint_bits_per_token"}], "constraints": []},
        {"scheduler": {"metric": "rate/joint_bits_per_token", "grace_steps": 10}},
    ],
)
def test_a_study_does_not_resume_by_a_key_that_its_trials_lack(tmp_path, changes):
    """A trial of an earlier version has no joint rate, so it would count as one that breaks the bound."""
    spec, paths = stub_study("old", 4), StudyPaths(tmp_path, "old")
    spec.write(paths.spec)
    metrics = {"validation/nll": 1.0, "rate/bits_per_token": 8.0}
    TrialRecord("old", 0, {}, None, None, "completed", 40, metrics).write(paths.trial(0))
    with pytest.raises(UserError) as caught:
        search(stub_study("old", 4, **changes), state=tmp_path, trainer=STUB)
    assert str(caught.value) == (
        "study old has trials without rate/joint_bits_per_token, by which trials are judged now: an earlier version did"
        " not measure it; undo that, or give the study another name (name=...), without --from"
    )
    with pytest.raises(UserError, match=r"was started with constraints .*rate/bits_per_token <= 10"):
        search(stub_study("old", 4, constraints=["rate/bits_per_token <= 11"]), state=tmp_path, trainer=STUB)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["quickstart", "optim.learning_rat=1"], "did you mean"),
        (["quickstart", "space.quantizer.decay.high=1.5"], "quantizer.decay=1.5 must lie strictly between 0 and 1"),
        (["nosuchstudy"], "nosuchstudy"),
        (["quickstart", "name=q2", "--from", "nosuchstudy"], "--from: there is no study nosuchstudy under"),
        (
            ["quickstart", "name=q3", "space.model.position=null", "model.position=1", "train.autoencode_steps=9"],
            "train.autoencode_steps=9 needs a corpus whose targets are not its sources",
        ),
        (["quickstart", "name=q2", "--trials", "x"], "--trials x must be a number"),
    ],
)
def test_the_command_refuses_in_one_line_with_status_2(state, words, reason, capsys):
    assert main(["search", *words, "--state", str(state)]) == 2
    error = capsys.readouterr().err
    assert reason in error and error.count("\n") == 1


def test_both_runners_give_the_same_numbers_of_real_training(state):
    """One worker in a warm process, the same in Ray Train, and two workers in Ray Train."""
    found = {}
    for name, settings in {
        "process": {},
        "ray_train": {"runner": "ray_train"},
        "two": {"runner": "ray_train", "resources": {"workers": 2}},
    }.items():
        spec = stub_study(name, 1, base=REAL, scheduler={"name": "none"}, **settings)
        search(spec, state=state)
        records = assert_all_agree(spec, state)
        assert records[0].status == "completed" and records[0].run_id
        found[name] = {k: v for k, v in records[0].metrics.items() if not k.startswith("cost/")}
    assert found["ray_train"] == found["process"]
    assert found["two"] == pytest.approx(found["process"], abs=1e-4)


@pytest.mark.slow
def test_ray_train_gives_back_what_stopped_trials_held_and_survives_a_killed_worker(state):
    """No placement group outlives its trial, with no dashboard up; a killed worker costs one interval."""
    killed = {"optim.warmup_steps": 20, "optim.weight_decay": 0.75}
    alone = {"budget": {"concurrent": 1}, "sampler": {"name": "random"}}  # so that the second is judged by the first
    spec = stub_study("train", 2, base=killed, runner="ray_train", **alone)
    before = len(starts(state))  # other studies of this file begin at the same learning rate
    search(spec, state=state, trainer=STUB)
    records = assert_all_agree(spec, state)
    assert [records[number].status for number in range(2)] == ["completed", "pruned"]
    assert steps_trained(state, records[0].overrides["optim.learning_rate"], before) == [10, 20, 20, 30, 40]
    assert groups_in_use() == {}


os.environ.setdefault("OMP_NUM_THREADS", "1")
