"""The command `probe`: a summary, a page and JSON that agree; wrong inputs in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from baseline_runs import finish, tiny

from t5vqvae.measures.base import Row
from t5vqvae.measures.probing import ProbeResult
from t5vqvae.spec.probe import CODE_MAP, EDIT_CHANGES, PATHS, ProbeSpec
from tune.cli import main
from tune.report.probe_report import _section, summary

SHORT = {"train.max_steps": 2, "train.eval_every": 2, "evaluate.num_examples": 8, "evaluate.num_generated": 2}


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def checkpoint(state: Path) -> Path:
    milestones, _ = finish(tiny("t5vqvae", **SHORT), state / "cache")
    return milestones[-1].state.save(state / "run")


@pytest.fixture(scope="module")
def edited(state: Path) -> Path:
    """A checkpoint whose corpus has edits with known answers."""
    milestones, _ = finish(tiny("t5vqvae", **{**SHORT, "data.corpus.version": 2}), state / "cache")
    return milestones[-1].state.save(state / "edited")


def test_summary_page_and_file_agree(checkpoint: Path, state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["sentences=20", "edits=5", f"earlier={checkpoint}"]
    words = ["probe", str(checkpoint), *settings, "--state", str(state)]
    assert main(words) == 0
    printed = capsys.readouterr().out.splitlines()
    page, file = map(Path, printed[-2:])
    found = json.loads(file.read_text())
    assert found["probe"] == {
        "suite": "quick",
        "split": "validation",
        "sentences": 20,
        "edits": 5,
        "unsent": None,
        "labels": None,
        "encoder": None,
        "earlier": str(checkpoint),
        "seed": 0,
    }
    assert {"latent_use/swapped", "information/word", "information/role_v_measure"} <= set(found["metrics"])
    assert found["metrics"]["drift/codes_changed"] == 0 and f"drift since {checkpoint}." in page.read_text()
    for key, value in found["metrics"].items():
        assert any(line.startswith(key) and f"{value:.4f}" in line for line in printed), key
        assert f"<td>{key}</td>" in page.read_text() and f"{value:.4f}" in page.read_text(), key
    first = file.read_bytes()
    assert main(words) == 0 and file.read_bytes() == first, "the same probe finds the same"


def test_another_split_is_another_probe(checkpoint: Path, state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = {}
    option, word = ["--split", "test"], ["split=test"]
    given: dict[str, list[str]] = {"none": [], "option": option, "word": word, "both": [*option, *word]}
    for name, words in given.items():
        assert main(["probe", str(checkpoint), *words, "sentences=20", "--state", str(state)]) == 0
        found[name] = json.loads(Path(capsys.readouterr().out.splitlines()[-1]).read_text())
    assert found["option"]["probe"]["split"] == "test" and found["none"]["probe"]["split"] == "validation"
    assert found["option"] == found["word"] == found["both"]
    assert found["none"]["metrics"] != found["option"]["metrics"]


def test_help_names_the_splits_and_every_setting_without_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["probe", "--help"]) == 0
    text = capsys.readouterr().out
    assert "--split" in text and "validation (default) or test" in text
    settings = set(ProbeSpec.model_fields) - {"suite", "split"}
    assert all(setting in text.partition("Options")[0] for setting in settings)


@pytest.mark.slow
def test_another_model_is_compared_on_the_same_edits(
    edited: Path, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["probe", str(edited), "--against", str(edited), "sentences=20", "edits=20", "--state", str(state)]
    assert main(words) == 0
    printed = capsys.readouterr().out.splitlines()
    claims = [line for line in printed if "adjusted p = 1: undecided" in line]
    assert any(line.startswith("local intervention: ") and "difference +0.000" in line for line in claims)
    page, file = (Path(line).read_text() for line in printed[-2:])
    title = f"Control against checkpoint {edited}"
    tables = json.loads(file)["tables"]
    rows, changes = tables[title], tables[EDIT_CHANGES]
    assert {row["words"] for row in changes} >= {"edited words", "V", "ARG1"}
    assert [row["part"] for row in rows][:2] == ["local intervention", "distributed intervention"]
    assert all(each in page for each in (title, CODE_MAP, EDIT_CHANGES, PATHS, "plotly"))


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["nowhere/step-00000001"], "nowhere/step-00000001"),
        (["CHECKPOINT", "--suite", "slow"], "suite='slow'"),
        (["CHECKPOINT", "sentences=1"], "sentences=1"),
        (["CHECKPOINT", "sentence=5"], "sentences"),
        (["CHECKPOINT", "unsent=0.5"], "unsent=0.5 needs a model that was trained with train.code_dropout"),
        (["CHECKPOINT", "--against", "CHECKPOINT"], "has no edits with known answers; leave --against out"),
        (
            ["CHECKPOINT", "--against", "EDITED"],
            "--against EDITED: it was trained on another corpus (data.corpus.version",
        ),
        (["CHECKPOINT", "split=train"], "split='train'"),
        (["CHECKPOINT", "--split", "train"], "split='train'"),
        (["CHECKPOINT", "--split", "test", "split=validation"], "--split test and split=validation differ; give one"),
        (["CHECKPOINT", "suite=full", "--suite", "quick"], "--suite quick and suite=full differ; give one of them"),
        (["CHECKPOINT", "earlier=nowhere"], "nowhere holds no model"),
        (["CHECKPOINT", "earlier=EDITED"], "earlier=EDITED has another tokenizer (data.tokenizer): "),
    ],
)
def test_a_wrong_input_is_one_line(
    words: list[str], named: str, checkpoint: Path, edited: Path, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [word.replace("CHECKPOINT", str(checkpoint)).replace("EDITED", str(edited)) for word in words]
    named = named.replace("EDITED", str(edited))
    assert main(["probe", *given, "--state", str(state)]) == 2
    error = capsys.readouterr().err
    assert named in error and len(error.splitlines()) == 1


def test_what_was_not_measured_is_said() -> None:
    absent = ProbeResult({}, {}, ["control", "drift", "path_states", "labels"])
    assert summary(absent, ProbeSpec()).splitlines() == [
        "not measured, as their settings were not given: drift (earlier=...), path_states (encoder=...),"
        " labels (labels=...)",
        "nothing to measure here: control (this model, corpus or number of sentences has none)",
    ]
    given = ProbeSpec(earlier="a", encoder="b", labels="c")
    assert summary(absent, given).startswith("nothing to measure here: control, drift, path_states, labels (")
    assert summary(ProbeResult({}, {}, []), given) == ""


def test_tables_with_marks_say_what_these_leave_out() -> None:
    rows: list[Row] = [{"source": "a big bat", "decoded": "a cat"}]
    assert "a <mark>cat</mark>" in (table := _section("Edits", rows).body) and "dropped words are not marked" in table
    steps: list[Row] = [{"path": 0, "step": step, "decoded": "a", "IS": 1.0, "counts": "True"} for step in (0, 1)]
    assert "the row above does not have; dropped words are not marked" in _section(PATHS, steps).body
    assert "marked" not in _section("Others", [{"code": 1, "decoded": "a"}]).body
