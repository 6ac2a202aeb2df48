"""The command `task`: what it prints of an untrained model, which has learnt nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from baseline_runs import tiny
from typer.testing import CliRunner

from t5vqvae.data import prepare, prepare_test
from t5vqvae.data.gate_split import half_of
from t5vqvae.training import checkpoint
from tune.cli import app
from tune.records.models import find_model

CORPUS = {
    "data.corpus.name": "syllogisms",
    "data.corpus.num_nouns": 30,
    "data.max_length": 300,
    "data.max_target_length": 60,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with an untrained model of syllogisms, and one of a corpus without a task."""
    folder = tmp_path_factory.mktemp("tasks")
    for name, changes in (("chains", CORPUS), ("plain", {})):
        spec = tiny("t5vqvae", **changes)
        prepared = prepare(spec.data, folder / "cache")
        model = spec.model.build(spec, prepared.tokenizer, len(prepared.role_names))
        milestone = checkpoint.no_milestone()
        checkpoint.write(
            folder / name, spec, milestone, lambda path, built=model: built.save_pretrained(path / "model")
        )
    return folder


def test_an_untrained_model_has_not_learnt_its_task(folder: Path) -> None:
    done = CliRunner().invoke(app, ["task", str(folder / "chains"), "--state", str(folder), "--format", "json"])
    rows = json.loads(done.stdout)
    assert done.exit_code == 1
    assert rows[0]["who"] == "model" and {row["set"] for row in rows} == {"validation"}
    assert rows[0]["exact_match"] == 0
    by_name = {row["who"]: row["exact_match"] for row in rows}
    assert by_name["majority"] > 0.1
    assert "validation: not learnt: 0.000 [0.000, 0.000] on" in done.stderr


def test_every_test_set_is_judged_on_request(folder: Path) -> None:
    done = CliRunner().invoke(
        app, ["task", str(folder / "chains"), "--test", "--state", str(folder), "--format", "json"]
    )
    assert {row["set"] for row in json.loads(done.stdout)} == {"test", "LONG", "LONGSHUFFLED", "NOUNS", "SHUFFLED"}


def test_a_registered_model_is_tested_without_what_promotions_decided_by(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = find_model(str(folder / "chains"), folder)
    arguments = ["--test", "--state", str(folder), "--format", "json"]
    whole = CliRunner().invoke(app, ["task", str(folder / "chains"), *arguments])
    monkeypatch.setattr("tune.records.models.find_model", lambda name, state: found)
    half = CliRunner().invoke(app, ["task", "models:/tiny@champion", *arguments])
    tests = prepare_test(found.spec.data, folder / "cache")
    left = len(half_of(tests["test"], gate=False))
    assert 0 < left < len(tests["test"])
    assert f"on {len(tests['test'])} questions" in whole.stderr and "name the model models:/NAME@ALIAS" in whole.stderr
    assert f"on {left} questions" in half.stderr and "promotions decide is left out" in half.stderr
    plain = CliRunner().invoke(app, ["task", "models:/tiny@champion", *arguments[1:]])
    assert "promotion" not in plain.stderr, "the validation split decides nothing"


def test_a_corpus_without_a_task_is_refused(folder: Path) -> None:
    done = CliRunner().invoke(app, ["task", str(folder / "plain"), "--state", str(folder)])
    assert done.exit_code == 2 and "data.corpus.name=grammar asks no task" in done.output
