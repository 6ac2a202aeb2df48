"""The command line: quick help, one-line errors, and thin commands that do what their modules do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
import yaml
from places import ROOT, SHARED_DATA
from pydantic import Field
from typer.testing import CliRunner, Result

from t5vqvae.config import Config, Variant, setting
from t5vqvae.config.describe import settings
from t5vqvae.runs.in_process import short_name
from t5vqvae.spec.run import RunSpec
from tune.cli import app, main
from tune.records.record import TrialRecord
from tune.spec.search_spec import SearchSpec

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


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with one started study of one ended trial, and an index of all settings in `cache`."""
    folder = tmp_path_factory.mktemp("state")
    add_study(folder)
    indexed = [sys.executable, "-m", "tune.known_settings"]
    subprocess.run(indexed, env={**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}, cwd=ROOT, check=True)
    return folder


def add_study(state: Path) -> None:
    spec, root = SearchSpec.load("quickstart"), state / "studies" / "quickstart"
    (root / "trials" / "00003").mkdir(parents=True)
    spec.write(root / "study.json")
    metrics = {objective.metric: 0.25 for objective in spec.objectives}
    TrialRecord("quickstart", 3, {"seed": 1}, None, None, "pruned", 50, metrics).write(root / "trials" / "00003")


HEAVY = ("torch", "ray", "pandas", "optuna", "mlflow", "transformers", "plotly", "datasets", "scipy", "sklearn")
WATCHED = """
import sys
{start}
status = main(sys.argv[1:])
loaded = [name for name in {heavy} if name in sys.modules]
sys.exit(f"imported {{loaded}}" if loaded else status)
"""
QUICK: list[tuple[str, int, str]] = [
    ("--help", 0, "Usage: t5vqvae [OPTIONS] COMMAND"),
    ("--version", 0, "t5vqvae 0."),
    ("train --help", 0, "[FILE.yaml] [path=value]..."),
    ("search --help", 0, "Usage: t5vqvae search [OPTIONS] [STUDY] [path=value]..."),
    ("ablate --help", 0, "moving_averages"),
    ("promote --help", 0, "--gate BOUND"),
    ("report --help", 0, "Usage: t5vqvae report [OPTIONS] STUDY"),
    ("interpolate --help", 0, "Usage: t5vqvae interpolate [OPTIONS] MODEL [A] [B]"),
    ("up --help", 0, "Start Ray and MLflow on this machine."),
    ("compare --help", 0, "Usage: t5vqvae compare [OPTIONS] MODEL_A... MODEL_B..."),
    ("studies", 0, "quickstart"),
    ("status quickstart", 0, "1 of 12 trials done; nothing runs"),
    ("diff quickstart 3 4", 2, "study quickstart has no trial 4; it has trial 3"),
    ("dashboard quickstar", 2, "there is no study quickstar under {state}/studies; did you mean quickstart?"),
    ("traverse quickstart text", 2, "traverse needs --position N or --role ROLE, one of them"),
    ("trials quickstart", 0, "pruned"),
    ("trials quickstar", 2, "there is no study quickstar under {state}/studies; did you mean quickstart?"),
    ("report quickstar", 2, "there is no study quickstar under {state}/studies; did you mean quickstart?"),
    ("promote quickstar", 2, "there is no study quickstar under {state}/studies; did you mean quickstart?"),
    ("search quickstar", 2, "there is no study file quickstar; did you mean quickstart?"),
    (
        "search quickstart quantizer.codebok_size=3",
        2,
        "quantizer.codebok_size is unknown; did you mean quantizer.codebook_size?",
    ),
    ("search budget.trails=3", 2, "budget.trails is unknown; did you mean budget.trials?"),
    ("ablate gumbel trials_per_ram=3", 2, "trials_per_ram is unknown; did you mean trials_per_arm?"),
    ("train train.max_step=3", 2, "train.max_step is unknown; did you mean train.max_steps?"),
    ("config trian.max_steps=3", 2, "trian.max_steps is unknown; did you mean train?"),
    ("search --trails 3", 2, "t5vqvae search has no option --trails; did you mean --trials?"),
    ("serach", 2, "t5vqvae has no command serach; did you mean search?"),
    ("data gte", 2, "t5vqvae data has no command gte; did you mean get?"),
    (
        "promote quickstart --name a/b",
        2,
        "--name 'a/b' is no name of a registered model; write one without '/' and ':'",
    ),
    ("trials", 2, "t5vqvae trials: missing argument 'STUDY'; see t5vqvae trials --help"),
    ("search --trials", 2, "t5vqvae: option '--trials' requires an argument; see t5vqvae --help"),
    ("--versoin", 2, "t5vqvae has no option --versoin; did you mean --version?"),
]


def watched(state: Path, words: str, start: str = "from tune.cli import main") -> subprocess.CompletedProcess[str]:
    """Runs a command in a process of its own, which fails if it imports a heavy library."""
    script = WATCHED.format(start=start, heavy=HEAVY)
    mine = {"XDG_CACHE_HOME": str(state / "cache"), "T5VQVAE_STATE": str(state), "COLUMNS": "80"}
    command = [sys.executable, "-c", script, *words.split()]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **mine})


@pytest.mark.parametrize(("words", "status", "shown"), QUICK, ids=[words for words, *_ in QUICK])
def test_help_lists_and_refusals_come_without_the_heavy_libraries(
    state: Path, words: str, status: int, shown: str
) -> None:
    done = watched(state, words)
    assert done.returncode == status, done.stderr
    if status:
        assert done.stderr == shown.format(state=state) + "\n"
    else:
        assert shown in done.stdout
        assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize("damage", ["", "{", "[]", "{}", '{"specs": 1, "checksum": 1}', "another letter", "unreadable"])
def test_a_damaged_index_is_ignored_and_the_specs_refuse_in_the_same_words(
    state: Path, tmp_path: Path, damage: str
) -> None:
    add_study(tmp_path)
    [index] = (state / "cache" / "t5vqvae").glob("settings-*.json")
    copy = tmp_path / "cache" / "t5vqvae" / index.name
    copy.parent.mkdir(parents=True)
    if damage == "unreadable":
        copy.mkdir()
    elif damage == "another letter":
        copy.write_text(index.read_text().replace("train.max_steps", "train.max_step"))
    else:
        copy.write_text(damage)
    said = watched(tmp_path, "train train.max_step=3").stderr.splitlines()
    said = [line for line in said if not line.startswith("starting, ")]  # on a busy machine
    assert said == ["train.max_step is unknown; did you mean train.max_steps?", "imported ['torch']"]


def test_the_first_command_that_imports_the_specs_makes_the_next_one_quick(tmp_path: Path) -> None:
    assert "imported ['torch'" in watched(tmp_path, "search quickstart quantizer.codebok_size=3").stderr
    assert watched(tmp_path, "search quickstart quantizer.codebok_size=3").returncode == 2
    assert watched(tmp_path, "train train.max_step=3").returncode == 2
    assert "imported ['torch'" in watched(tmp_path, "ablate gumbel sede=3").stderr
    assert watched(tmp_path, "ablate gumbel sede=3").returncode == 2


@pytest.mark.parametrize("module", ["tune.search", "tune.ablate", "tune.promote", "tune.report", "tune.cli"])
def test_every_door_shows_its_command_s_help(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    command = module.removeprefix("tune.").removesuffix("cli")
    starts = [["-m", module], *([[f"tune/{command}.py"]] if command in ("search", "ablate") else [])]
    for start in starts:
        done = subprocess.run([sys.executable, *start, "--help"], capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        here = run(*([command] if command else []), "--help").output
        assert done.stdout.split() == here.split()  # a process without a terminal may wrap elsewhere


def test_words_and_options_come_in_any_order(tmp_path: Path) -> None:
    plain = run("search", "quickstart", "budget.trials=3", "name=mine", "--dry-run", "--state", str(tmp_path))
    mixed = run("search", "--dry-run", "quickstart", "--state", str(tmp_path), "budget.trials=3", "name=mine")
    unnamed = run("search", "budget.trials=3", "--dry-run", f"--state={tmp_path}", "name=mine")
    assert plain.exit_code == 0, plain.output
    assert "study mine" in plain.output
    assert plain.output == mixed.output == unnamed.output


def test_every_command_has_the_same_state_option() -> None:
    texts = {}
    for command in ("train", "search", "ablate", "promote", "report", "trials", "data get"):
        [text] = re.findall(r"  --state DIR .*?\.$", run(*command.split(), "--help").output, re.DOTALL | re.MULTILINE)
        texts[command] = " ".join(text.split())
    assert set(texts.values()) == {"--state DIR State folder; default: $T5VQVAE_STATE or the project's var/."}


def test_ctrl_c_ends_a_command_with_130_and_says_how_to_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("t5vqvae.runs.in_process.run_here", interrupted)
    assert main(["train", "--state", str(tmp_path)]) == 130
    assert capsys.readouterr().err == "interrupted; checkpoints are kept; the same command resumes from the last one\n"


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
    add_study(tmp_path)
    listed = run("trials", "quickstart", "--state", str(tmp_path))
    assert listed.exit_code == 0, listed.output
    assert "pruned" in listed.output
    unknown = run("trials", "quickstar", "--state", str(tmp_path))
    assert unknown.exit_code == 2
    assert unknown.output.endswith("did you mean quickstart?\n")


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


def test_every_command_shows_its_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from t5vqvae.stages import display

    showing: list[int] = []
    monkeypatch.setattr("t5vqvae.runs.in_process.run_here", lambda *_: showing.append(len(display._displays)) or True)
    assert main(["train", "--state", str(tmp_path)]) == 0
    assert showing == [1] and display._displays == []


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--from", "nosuch"], "--from: there is no study nosuch under"),
        (["--from", "tiny"], "tiny is the study itself"),
    ],
)
def test_a_dry_run_refuses_a_study_that_cannot_be_learned_from(tmp_path, capsys, words, reason):
    (tmp_path / "studies" / "tiny").mkdir(parents=True)
    SearchSpec.load("quickstart", ["name=tiny"]).write(tmp_path / "studies" / "tiny" / "study.json")
    assert main(["search", "quickstart", "name=tiny", *words, "--dry-run", "--state", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert reason in error and error.count("\n") == 1


def test_a_dry_run_refuses_what_the_search_would(tmp_path, capsys):
    SearchSpec.load("quickstart", ["name=tiny"]).write(tmp_path / "studies" / "tiny" / "study.json")
    words = ["search", "quickstart", "name=tiny", "data.corpus.size=999", "--dry-run", "--state", str(tmp_path)]
    assert main(words) == 2
    assert "tiny was started with base data.corpus.size=" in capsys.readouterr().err


def test_a_dry_run_plans_only_what_has_not_ended(tmp_path, capsys):
    spec = SearchSpec.load("quickstart", ["name=tiny", "budget.trials=4"])
    root = tmp_path / "studies" / "tiny"
    spec.write(root / "study.json")
    for number in range(4):
        TrialRecord("tiny", number, {}, None, None, "completed", 1, {}).write(root / "trials" / f"{number:05d}")
    words = ["name=tiny", "budget.trials=4", "--trials=+3", "--dry-run", "--state", str(tmp_path)]
    assert main(["search", "quickstart", *words]) == 0
    shown = capsys.readouterr().out
    planned = [line.split()[0] for line in shown.splitlines() if line.split() and line.split()[0].isdigit()]
    assert planned[-3:] == ["4", "5", "6"] and "4 trials have ended; 3 are left" in shown
    assert not {"0", "1", "2", "3"} & {line.split()[0] for line in shown.splitlines()[3:] if line.split()}
