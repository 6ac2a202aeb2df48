"""What a new user types: every refusal says what was wrong, and nothing that was given is dropped in silence."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import pytest
from places import ROOT
from rich.console import Console

from t5vqvae.errors import DataError
from t5vqvae.spec.run import RunSpec
from tune.cli import main
from tune.operations.opened import Opened, lines_of
from tune.operations.printed_rows import Rows
from tune.records import models

CHECKPOINTS = ROOT / "tests" / "t5vqvae" / "measures" / "checkpoints"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A committed model without code dropout and without prompts."""
    folder = tmp_path_factory.mktemp("found") / "model"
    shutil.copytree(CHECKPOINTS / "end" / "model", folder)
    return str(folder)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["encode", "MODEL", "caf\udce9"], "has half a character"),
        (["interpolate", "MODEL", "a"], "interpolate takes two sentences, A and B, or --pairs FILE"),
        (
            ["interpolate", "MODEL", "a", "b", "--pairs", "FILE"],
            "interpolate takes two sentences, A and B, or --pairs FILE",
        ),
        (["encode", "MODEL", "-x + y"], "has no option -x"),
        (["encode", "MODEL", "-x + y"], "; write -- before words that begin with -"),
        (["decode", "MODEL", "3 -1 4"], "CODES '3 -1 4': -1 is no code"),
        (["decode", "MODEL", "--", "-2 3"], "-2, where none is sent, needs a model of train.code_dropout"),
        (["decode", "MODEL", "3", "--prompts", "4"], "the model has no prompts; leave them out"),
        (
            ["train", "data.corpus.path=mine.txt"],
            "data.corpus.path is no setting of this data.corpus (known: ",
        ),
        (["train", "data.corpus.path=mine.txt"], "text has it: set data.corpus.name=text"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    words: list[str], said: str, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pairs.txt").write_text("a\tb\n")
    given = [{"MODEL": model, "FILE": str(tmp_path / "pairs.txt")}.get(word, word) for word in words]
    state = [] if words[0] == "train" else ["--state", str(tmp_path)]
    place = given.index("--") if "--" in given else len(given)
    status = main([*given[:place], *state, *given[place:]])
    printed = capsys.readouterr().err
    assert status == 2 and said in printed and "fault of t5vqvae" not in printed


def test_a_file_of_sentences_is_read_as_training_reads_one(tmp_path: Path) -> None:
    file = tmp_path / "bom.txt"
    file.write_bytes("\ufeffthe cat\r\na\u2028dog\x0ceats\r\n".encode())
    assert lines_of(file) == ["the cat", "a\u2028dog\x0ceats"]


def test_a_table_in_a_file_has_every_column(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"a long name of column {n}" for n in range(5)]
    row: dict[str, Any] = {name: "some words" for name in names} | {"codes": [[1], [2]], "text": "a cat " * 99}
    Rows([row], yielding=names[3:]).write(None, tmp_path / "t.txt")
    head, _, line = (tmp_path / "t.txt").read_text().splitlines()
    assert all(name in head for name in [*names, "codes"]) and "1 2" in line and line.endswith("a cat")
    assert capsys.readouterr().err == ""


def test_a_number_is_never_broken_over_two_lines() -> None:
    page = io.StringIO()
    console = Console(file=page, width=40)
    rows = [{"metric": "validation/nll_per_char and more", "value": 1.151, "low": 0.01175, "verdict": "undecided"}]
    console.print(Rows(rows)._fitted(console)[0])
    assert "1.151" in page.getvalue() and "0.01175" in page.getvalue()


def test_a_model_of_another_content_of_its_data_is_told_so(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that has grown is split anew: sentences of training may stand in validation."""
    found = models.FoundModel(Path(model), RunSpec(), "the model")
    now = {"data_fingerprint": "one"}
    monkeypatch.setattr("t5vqvae.runs.fingerprint.sources_of", lambda spec, cache: now)
    monkeypatch.setattr("t5vqvae.training.checkpoint.read_milestone", lambda place: {"data_fingerprint": "one"})
    (found.folder.parent / "milestone.json").touch()
    models.say_of_other_data(found, tmp_path)
    assert capsys.readouterr().err == ""
    now["data_fingerprint"] = "other"
    models.say_of_other_data(found, tmp_path)
    assert "was trained on another content of the data" in capsys.readouterr().err


def test_where_the_data_of_a_model_is_gone_the_way_out_is_one(model: str, tmp_path: Path) -> None:
    """Its settings are those of its training: another path cannot be given."""
    spec = RunSpec.parse({"data": {"corpus": {"name": "text", "path": str(tmp_path / "moved.txt")}}})
    space: Any = None
    with pytest.raises(
        DataError, match=r"the data of m cannot be read: .*moved.txt' is no file .*; say --texts, or put"
    ):
        Opened(space, "m", spec, tmp_path / "cache").prepared("say --texts")
    (Path(model).parent / "milestone.json").write_text("{}")
    with pytest.raises(DataError, match=r"the data of the model cannot be read: .*; put it back there"):
        models.say_of_other_data(models.FoundModel(Path(model), spec, "the model"), tmp_path / "cache")
