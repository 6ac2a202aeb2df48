"""The commands that look at studies: what they print, in every form, at 80 columns, and what they refuse."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet
import pytest
from kept_studies import keep_study, record, start_trial
from typer.testing import CliRunner

from t5vqvae.config import parse_words
from t5vqvae.spec.run import RunSpec
from tune.cli import app
from tune.records.study import Study
from tune.spec.search_spec import SearchSpec


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("state")
    keep_study(folder)
    keep_study(folder, "empty", ended=0)
    return folder


def printed(state: Path, *words: str, width: int = 80) -> str:
    done = CliRunner(env={"COLUMNS": str(width)}).invoke(app, [*words, "--state", str(state)])
    assert done.exit_code == 0, done.output
    return done.stdout


def said(state: Path, *words: str) -> str:
    """What a command prints, without its line breaks."""
    return " ".join(printed(state, *words).split())


def rows(state: Path, *words: str) -> list[dict[str, object]]:
    return json.loads(printed(state, *words, "--format", "json"))


def refusal(state: Path, *words: str) -> str:
    done = CliRunner().invoke(app, [*words, "--state", str(state)])
    assert done.exit_code == 2 and done.output.count("\n") == 1, done.output
    return done.output.rstrip("\n")


def numbers(state: Path, *words: str) -> list[object]:
    return [row["trial"] for row in rows(state, "trials", "kept", *words)]


def test_studies_lists_each_with_its_best_trial(state: Path) -> None:
    found = rows(state, "studies")
    assert [(row["study"], row["done"], row["planned"], row["best"]) for row in found] == [
        ("empty", 0, 4, None),
        ("kept", 4, 4, 1),
    ]
    assert [row["state"] for row in found] == ["interrupted", "finished"]
    table = printed(state, "studies")
    assert "kept" in table and "0.3" in table


def test_trials_are_sorted_filtered_and_ranked(state: Path) -> None:
    assert numbers(state) == [0, 1, 2, 3]
    assert numbers(state, "--sort", "nll") == [3, 1, 0, 2]
    assert numbers(state, "--sort", "-optim.learning_rate") == [0, 1, 2, 3]
    assert numbers(state, "--filter", "status = completed", "--filter", "nll<=0.3") == [1, 3]
    assert numbers(state, "--filter", "trial != 2") == [0, 1, 3]
    assert numbers(state, "--best", "1") == [1], "trial 3 is lower and breaks the constraint"
    assert numbers(state, "--filter", "nll > 7") == []


def test_every_form_holds_the_same_trials(state: Path, tmp_path: Path) -> None:
    wanted = rows(state, "trials", "kept")
    by_csv = list(csv.DictReader(io.StringIO(printed(state, "trials", "kept", "--format", "csv"))))
    assert [float(row["validation/nll"]) for row in by_csv] == [row["validation/nll"] for row in wanted]
    assert list(by_csv[0]) == list(wanted[0])
    file = tmp_path / "trials.parquet"
    printed(state, "trials", "kept", "--format", "parquet", "--output", str(file))
    assert pyarrow.parquet.read_table(file).to_pylist() == wanted


@pytest.mark.parametrize("width", [40, 60, 80])
def test_in_a_narrow_table_settings_give_way_and_never_trial_status_and_objective(state: Path, width: int) -> None:
    lines = printed(state, "trials", "kept", width=width).splitlines()
    table = lines[: next(number for number, line in enumerate(lines) if line.startswith("kept:"))]
    assert max(map(len, table)) <= width
    assert lines[0].split()[:3] == ["trial", "status", "nll"]
    assert lines[3].split()[:3] == ["1", "completed", "0.3"]
    wide = printed(state, "trials", "kept", width=120)
    assert "learning_rate" in wide and "left out" not in wide
    if width == 40:
        assert "learning_rate" not in lines[0]
        rest = " ".join(" ".join(lines).split())
        assert "left out at 40 columns: seconds, step, learning_rate; COLUMNS=200" in rest


def test_labels_and_the_tokens_own_entropy_stand_in_a_table_with_room_and_in_every_other_form(tmp_path: Path) -> None:
    paths = keep_study(tmp_path)
    for number in range(4):
        kept = record("kept", number)
        tags = {"label/names_tokens": "names tokens: why", "label/augmented": "rename 3"} if number == 1 else {}
        replace(kept, tags=tags, metrics={**kept.metrics, "rate/token_entropy_bits": 4.25}).write(paths.trial(number))
    wide = printed(tmp_path, "trials", "kept", width=140).splitlines()
    assert "tokens' entropy" in wide[0] and "labels" in wide[0] and "left out" not in "".join(wide)
    assert "4.25" in wide[2] and "names tokens, augmented" in wide[3] and "names" not in wide[2]
    narrow = printed(tmp_path, "trials", "kept", width=70)
    assert "left out at 70 columns: labels, tokens' entropy; COLUMNS=200" in " ".join(narrow.split())
    assert "learning_rate" in narrow.splitlines()[0], "settings give way after them"
    by_number = {row["trial"]: row for row in rows(tmp_path, "trials", "kept")}
    assert [by_number[number]["labels"] for number in (0, 1)] == [None, "names tokens, augmented"]
    assert rows(tmp_path, "trials", "kept", "--filter", "labels = names tokens, augmented")[0]["trial"] == 1


def test_a_running_study_says_step_objective_and_time_left(tmp_path: Path) -> None:
    paths = keep_study(tmp_path, trials=6, ended=2)
    start_trial(paths, 2, planned=6, before=2, ago=10, step=20)
    with paths.locked():
        found = rows(tmp_path, "status", "kept")
        line = said(tmp_path, "status", "kept")
    assert [row["what"] for row in found] == ["study", "best", "trial"]
    study, best, trial = found
    assert (study["status"], study["step"], study["of"]) == ("running", 2, 6)
    assert 60 < float(str(study["seconds_left"])) < 120
    assert (best["trial"], best["validation/nll"]) == (1, 0.3)
    assert (trial["trial"], trial["step"], trial["of"], trial["validation/nll"]) == (2, 20, 40, 0.7)
    assert trial["seconds_left"] == 6.0, "its first ten steps took 3 s, and twenty are left"
    # Ten seconds, and what the two commands took.
    assert re.search(r"2 of 6 trials done, running for 1\d s, about [12]:\d\d min left", line), line
    assert "t5vqvae stop kept" in line
    assert "nothing runs: the command that started it resumes it" in said(tmp_path, "status", "kept")


def test_a_trial_is_printed_whole_with_units(state: Path) -> None:
    found = {row["name"]: row for row in rows(state, "trial", "kept", "1")}
    assert found["validation/nll"]["value"] == 0.3 and found["validation/nll"]["unit"] == "nats a token"
    assert found["optim.learning_rate"]["kind"] == "setting" and found["status"]["value"] == "completed"
    assert "next: t5vqvae rerun kept 1 --seed 1" in said(state, "trial", "kept", "1")


def test_the_command_of_a_trial_gives_its_spec_and_without_a_number_it_is_the_best(state: Path) -> None:
    found = Study.load("kept", state)
    spec = SearchSpec.read(found.paths.spec).run_spec(found.records[1].overrides)
    line = printed(state, "trial", "kept", "--command")
    refused = CliRunner().invoke(app, ["trial", "kept", "--command", "--format", "json", "--state", str(state)])
    assert refused.exit_code == 2 and "--command prints one line" in " ".join(refused.output.split())
    assert line == printed(state, "trial", "kept", "1", "--command") and line.count("\n") == 1
    program, command, *words = shlex.split(line)
    assert (program, command) == ("t5vqvae", "train") and "optim.learning_rate=0.01" in words
    assert RunSpec().with_overrides(parse_words(words)) == spec
    assert {row["name"]: row["value"] for row in rows(state, "trial", "kept")}["trial"] == 1
    assert "optim.learning_rate=0.001" in printed(state, "trial", "kept", "2", "--command")
    assert "empty has no trial that counts as best; name a trial: " in refusal(state, "trial", "empty", "--command")
    assert "study kept has no trial 9" in refusal(state, "trial", "kept", "9", "--command")


def test_what_is_copied_stays_in_one_line(tmp_path: Path) -> None:
    state = tmp_path / "a_folder_with_a_long_name" / "and_another_one_inside_of_it"
    paths = keep_study(state)
    checkpoint = str(paths.trial(1) / "step-00000040")
    record("kept", 1, checkpoint=checkpoint).write(paths.trial(1))
    lines = printed(state, "trial", "kept", "1").splitlines()
    assert f"checkpoint: {checkpoint}" in lines
    assert f"next: t5vqvae evaluate kept/1 --state {state}" in lines
    assert max(len(line) for line in lines if str(state) not in line) <= 80
    assert {row["name"]: row["value"] for row in rows(state, "trial", "kept", "1")}["checkpoint"] == checkpoint


def test_two_trials_differ_in_what_is_printed(state: Path) -> None:
    found = rows(state, "diff", "kept", "0", "1")
    assert [row["name"] for row in found] == ["optim.learning_rate", "validation/nll"]
    assert "trial 0" in printed(state, "diff", "kept", "0", "1")


@pytest.mark.parametrize(
    "words, line",
    [
        ("status kep", "there is no study kep under {state}/studies; did you mean kept?"),
        ("trials kep", "did you mean kept?"),
        ("trials empty", "no trial of study empty has started yet; t5vqvae status empty says how far it is"),
        ("trials kept --sort nl", "--sort: there is no column nl; did you mean nll?"),
        ("trials kept --sort wrong", "--sort: there is no column wrong; t5vqvae trials STUDY --format csv prints all"),
        (
            "trials kept --filter nll",
            "--filter 'nll' must read as 'COLUMN < VALUE', with one of <, <=, >,",
        ),
        ("trials kept --filter nll<x", "--filter 'nll<x': x is no number; compare it by = or !="),
        ("trials kept --filter status<3", "--filter 'status<3': status is text; compare it by = or !="),
        ("trials kept --filter status=done", "there is no status done; known: completed"),
        ("trials kept --filter nl<3", "--filter: there is no column nl; did you mean nll?"),
        ("trials kept --best 0", "--best"),
        ("trials kept --best x", "invalid value for '--best': it must be a valid integer, not 'x'; see"),
        ("trials kept --format xml", "invalid value for '--format': 'xml' is not one of 'table', 'json',"),
        ("trial kept 9", "study kept has no trial 9; it has trials 0 to 3"),
        ("trial empty 0", "study empty has no trial 0; none has started; search it first"),
        ("diff kept 1 1", "trial 1 is compared with itself; name two trials"),
        ("diff kept 1 8", "study kept has no trial 8; it has trials 0 to 3"),
        ("trials kept --format yaml", "'--format'"),
    ],
)
def test_wrong_words_are_refused_in_one_line_with_the_way_out(state: Path, words: str, line: str) -> None:
    assert line.format(state=state) in refusal(state, *words.split())
