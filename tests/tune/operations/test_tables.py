"""The tables of the commands, by hand, on a model whose codes name words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from spelling_model import CODE, Spelling
from typer.testing import CliRunner

from t5vqvae.latent.latent_space import LatentSpace
from tune.cli import app
from tune.operations.opened import Opened


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Puts the model in place of any that a command names, and writes two sentences to a file."""

    def opened(name: str, *_: object) -> Opened:
        model: Any = Spelling("sfvq")
        if name == "no cat":  # its state then takes the nearest code, that of a bat
            model.quantizer.corners_KC.data[CODE["cat"]] = 100
        return Opened(LatentSpace(model), name, None, tmp_path)

    for module in ("sentence_commands", "path_commands", "code_commands"):
        monkeypatch.setattr(f"tune.operations.{module}.open_model", opened)
    (tmp_path / "texts").write_text("a bat eats honey\na cat eats honey\n")
    return tmp_path / "texts"


def table(*words: str) -> list[list[str]]:
    """The cells of the rows below the head, and each note as a row of one cell."""
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, done.output
    lines = done.stdout.split("\n")
    rule = next(number for number, line in enumerate(lines) if line.startswith("──"))
    return [[cell for cell in line.strip().split("   ") if cell] for line in lines[rule + 1 :] if line]


def cells(*words: str, last: int) -> list[str]:
    """The last column of the first rows."""
    return [row[-1].strip() for row in table(*words)[:last]]


@pytest.mark.usefixtures("texts")
def test_words_that_a_step_changed_are_marked() -> None:
    found = cells("interpolate", "any", "a bat", "a eats", "--steps", "7", last=7)
    assert found == ["a bat", "a bat", "a [cat]", "a cat", "a [dog]", "a dog", "a [eats]"]
    first = cells("interpolate", "no cat", "a cat", "a cat", "--steps", "2", last=2)
    assert first == ["a [bat]", "a bat"], "the first row is compared with the given sentence"


@pytest.mark.parametrize(
    "words",
    [
        ["interpolate", "any", "a bat", "a eats", "--steps", "2"],
        ["traverse", "any", "a bat", "--position", "1", "--nearest", "1"],
        ["walk", "any", "a cat", "--position", "1", "--reach", "1"],
        ["arithmetic", "any", "a bat"],
        ["splice", "any", "a bat", "old trees", "old"],
    ],
)
@pytest.mark.usefixtures("texts")
def test_notes_about_marks_say_what_has_none(words: list[str]) -> None:
    note = " ".join(" ".join(row) for row in table(*words)[-3:])
    assert "marked: " in note and "; dropped words are not marked" in " ".join(note.split())
    if words[0] == "interpolate":
        assert "in the first row of a path since the given sentence" in " ".join(note.split())


@pytest.mark.usefixtures("texts")
def test_a_traversal_compares_with_the_reconstruction_and_that_with_the_text() -> None:
    found = cells("traverse", "no cat", "a cat eats", "--position", "2", "--nearest", "2", last=3)
    assert found == ["a [bat] eats", "a bat [dog]", "a bat [and]"]


@pytest.mark.usefixtures("texts")
def test_arithmetic_marks_what_differs_from_the_first_term() -> None:
    found = cells("arithmetic", "any", "a cat eats eggs", "-", "a bat eats eggs", "+", "a bat eats honey", last=4)
    assert found == ["a cat eats eggs", "a bat eats eggs", "a bat eats honey", "a cat eats [honey]"]


@pytest.mark.usefixtures("texts")
def test_a_splice_marks_what_it_put_in() -> None:
    found = cells("splice", "any", "a bat eats honey", "old trees", "old", "--after", "a", last=3)
    assert found == ["a bat eats honey", "old trees", "a [old] bat eats honey"]


@pytest.mark.usefixtures("texts")
def test_a_walk_marks_every_corner_but_its_own() -> None:
    found = cells("walk", "any", "a cat", "--position", "1", "--reach", "1", last=3)
    assert found == ["a [bat]", "a cat", "a [dog]"]


def test_codes_and_samples_say_what_was_counted(texts: Path) -> None:
    rows = table("codes", "any", "--texts", str(texts))
    assert [row[-1].strip() for row in rows[:4]] == ["</s> 2", "a 2", "eats 2", "honey 2"]
    assert "6 codes in 2 sentences; purity over all positions 1.000, shuffled 0." in " ".join(rows[-1])
    one = table("codes", "any", "--code", str(CODE["honey"]), "--texts", str(texts))
    assert [row[-1].strip() for row in one[:2]] == ["a bat eats [eats]", "a cat eats [eats]"]
    notes = " ".join(" ".join(row) for row in one)
    assert "stands for the word honey: precision 1.000, shuffled 0." in notes and "; recall 1.000, shuffled 0." in notes
    assert "stands for the role" not in notes, "sentences of a file have none"
    sampled = CliRunner().invoke(app, ["sample", "any", "--number", "2", "--texts", str(texts)])
    assert "learnt from 2 sentences" in " ".join(sampled.stdout.split())
