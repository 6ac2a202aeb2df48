"""The command line: quick help, one-line errors, and thin commands that do what their modules do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
import yaml
from places import SHARED_DATA
from pydantic import Field
from typer.testing import CliRunner, Result

from t5vqvae.config import Config, Variant, setting
from t5vqvae.config.describe import settings
from t5vqvae.runs.in_process import short_name
from t5vqvae.spec.run import RunSpec
from tune.cli import app

TINY = {
    "data.corpus.name": "grammar",
    "data.corpus.size": 128,
    "data.corpus.validation_size": 16,
    "data.corpus.test_size": 16,
    "data.tokenizer.vocab_size": 300,
    "model.d_model": 16,
    "model.num_heads": 2,
    "quantizer.codebook_size": 8,
    "train.max_steps": 4,
    "train.eval_every": 2,
    "train.batch_size": 8,
    "evaluate.num_generated": 2,
}


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def words(values: dict[str, object]) -> list[str]:
    return [f"{path}={value}" for path, value in values.items()]


def test_help_comes_without_the_heavy_libraries() -> None:
    script = "import sys, tune.cli; print(*[m for m in ('torch', 'ray', 'mlflow', 'optuna') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
    assert "train" in run("--help").output


def test_an_error_of_the_user_is_one_line_and_status_2() -> None:
    result = run("config", "optim.learning_rat=1")
    assert result.exit_code == 2
    assert result.output == "optim.learning_rat is unknown; did you mean optim.learning_rate?\n"


def test_the_printed_config_reads_back_as_the_same_spec(tmp_path: Path) -> None:
    text = run("config", *words(TINY)).output
    file = tmp_path / "run.yaml"
    file.write_text(text)
    assert RunSpec.parse(yaml.safe_load(text)) == RunSpec().with_overrides(TINY)
    assert run("config", str(file), "seed=3").output == text.replace("seed: 0", "seed: 3", 1)


def test_a_missing_file_of_settings_is_named() -> None:
    result = run("config", "nowhere.yaml")
    assert (result.exit_code, result.output.split(" is no file")[0]) == (2, "nowhere.yaml")


class Colour(Variant):
    name: str = "red"


class Red(Colour):
    name: Literal["red"] = "red"
    depth: float = setting(0.5, gt=0, le=1, description="how red")


class Paint(Config):
    colour: Colour.any() = Field(default_factory=Red)
    layers: int | None = setting(None, ge=1, description="None: as many as it takes")


def test_settings_are_listed_with_default_range_and_meaning() -> None:
    assert [(one.path, one.default, one.rule, one.doc) for one in settings(Paint)] == [
        ("colour.name", "red", "red", "picks the variant"),
        ("colour.depth", "0.5", "> 0 and <= 1", "how red"),
        ("layers", "null", ">= 1", "None: as many as it takes"),
    ]


def test_every_listed_default_is_accepted_as_an_override() -> None:
    for one in settings(RunSpec):
        if one.variant is None and not one.path.endswith(".name"):
            assert RunSpec().with_overrides({one.path: yaml.safe_load(one.default)}).as_dict()
    listed = {one.path for one in settings(RunSpec)}
    assert set(RunSpec().as_flat_dict()) <= listed


def test_train_saves_goes_on_and_says_what_happened(tmp_path: Path) -> None:
    result = run("train", *words(TINY), "--state", str(tmp_path))
    assert result.exit_code == 0, result.output
    folder = tmp_path / "runs" / short_name(RunSpec().with_overrides(TINY))
    assert (folder / "step-00000004" / "manifest.json").is_file()
    assert "step      2" in result.output
    again = run("train", *words(TINY), "--state", str(tmp_path))
    assert "step      2" not in again.output
    assert "completed" in again.output


def test_trials_of_a_study_are_listed_and_an_unknown_study_is_named(tmp_path: Path) -> None:
    from tune.records.record import TrialRecord
    from tune.spec.search_spec import SearchSpec

    spec = SearchSpec.load("quickstart")
    root = tmp_path / "studies" / "quickstart"
    (root / "trials" / "00003").mkdir(parents=True)
    spec.write(root / "study.json")
    metrics = {objective.metric: 0.25 for objective in spec.objectives}
    TrialRecord("quickstart", 3, {"seed": 1}, None, None, "pruned", 50, metrics).write(root / "trials" / "00003")
    listed = run("trials", "quickstart", "--state", str(tmp_path))
    assert listed.exit_code == 0, listed.output
    assert "pruned" in listed.output
    unknown = run("trials", "quickstar", "--state", str(tmp_path))
    assert unknown.exit_code == 2
    assert unknown.output.endswith("known: quickstart\n")


def test_a_corpus_is_fetched_from_a_folder_and_checked(tmp_path: Path) -> None:
    if not SHARED_DATA.is_dir():
        pytest.skip(f"{SHARED_DATA} is missing: the public corpora are read from there")
    done = run("data", "get", "entailment", "--from", str(SHARED_DATA), "--state", str(tmp_path))
    assert done.exit_code == 0, done.output
    assert (tmp_path / "cache" / "corpora" / "entailment" / "train.tsv").is_file()
    unknown = run("data", "get", "entailmen", "--state", str(tmp_path))
    assert unknown.exit_code == 2
    assert "entailment" in unknown.output


def test_search_gets_its_own_words(tmp_path: Path) -> None:
    result = run("search", "quickstart", "--dry-run", "--state", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert "quickstart" in result.output
