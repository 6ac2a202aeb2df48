"""Changed words are marked: by style on a terminal, by brackets in a pipe; other forms hold the text alone."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
from pathlib import Path

import pytest
from rich.console import Console

from t5vqvae.errors import SettingError
from tune.operations.printed_rows import Format, Rows, changed_words

ROWS = Rows([{"t": 0.5, "codes": [[1], [2]], "text": "a big \x1b[31mbat eats"}], ["a note"], ["a bat eats"])


def test_words_that_are_new_in_their_order_are_changed() -> None:
    assert changed_words("a big bat eats", "a bat eats") == {1}
    assert changed_words("eats bat", "bat eats") in ({0}, {1})
    assert changed_words("a", "a") == set() and changed_words("b c", "") == {0, 1}


def test_a_pipe_has_brackets_and_a_terminal_a_style(capsys: pytest.CaptureFixture[str]) -> None:
    ROWS.write(Format.table, None)
    piped = capsys.readouterr().out
    assert "a [big] [\\x1b[31mbat] eats" in piped and "codes" not in piped and "a note" in piped
    console = Console(force_terminal=True, width=80, record=True, color_system="standard")
    console.print(ROWS._table(["t", "text"], marked=True))
    assert "\x1b[1;4mbig\x1b[0m" in console.export_text(styles=True)


def test_other_forms_hold_the_rows_and_notes_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    ROWS.write(Format.json, None)
    printed = capsys.readouterr()
    assert json.loads(printed.out) == [dict(ROWS.rows[0])] and printed.err == "a note\n"
    ROWS.write(Format.csv, None)
    assert capsys.readouterr().out.splitlines()[0] == "t,codes,text"


def test_parquet_is_kept_off_a_terminal_and_a_file_that_cannot_be_written_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with pytest.raises(SettingError, match="--format parquet is binary; add --output FILE"):
        ROWS.write(Format.parquet, None)
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match=r"cannot be written: .*; name another file"):
        ROWS.write(Format.json, tmp_path / "file" / "rows.json")


@pytest.mark.parametrize(("name", "start"), [("t.csv", "t,codes,text\n"), ("t.JSON", "[\n{"), ("t.txt", "  t ")])
def test_a_file_has_the_form_of_its_ending(tmp_path: Path, name: str, start: str) -> None:
    ROWS.write(None, tmp_path / name)
    assert (tmp_path / name).read_text().startswith(start)


def test_a_form_that_is_given_decides_and_a_printed_one_is_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ROWS.write(Format.json, tmp_path / "t.csv")
    assert json.loads((tmp_path / "t.csv").read_text()) == [dict(ROWS.rows[0])]
    ROWS.write(None, tmp_path / "t.parquet")
    assert (tmp_path / "t.parquet").read_bytes()[:4] == b"PAR1"
    capsys.readouterr()
    ROWS.write(None, None)
    assert "[big]" in capsys.readouterr().out


def test_a_link_stays_a_link_and_its_file_is_replaced(tmp_path: Path) -> None:
    file, link, broken = tmp_path / "there" / "rows.json", tmp_path / "link", tmp_path / "broken"
    file.parent.mkdir()
    file.write_text("old")
    link.symlink_to("there/rows.json")
    broken.symlink_to("later/rows.json")
    for path in (link, broken):
        ROWS.write(Format.json, path)
        assert path.is_symlink() and json.loads(path.read_text()) == [dict(ROWS.rows[0])]
    link.unlink()
    link.symlink_to(link)
    with pytest.raises(SettingError, match=r"link cannot be written: .*; name another file"):
        ROWS.write(Format.json, link)


@pytest.mark.parametrize("linked", [False, True])
def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path: Path, linked: bool) -> None:
    pipe, link, read = tmp_path / "pipe", tmp_path / "link", list[str]()
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()), daemon=True)
    reader.start()
    ROWS.write(Format.json, link if linked else pipe)
    reader.join(10)
    assert pipe.is_fifo() and link.is_symlink() and json.loads(read[0]) == [dict(ROWS.rows[0])]


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="cannot be written: Is a directory; name another file"):
        ROWS.write(Format.json, tmp_path)


def test_no_row_is_an_empty_table() -> None:
    assert json.loads(Rows([]).content(Format.json)) == []
    assert Rows([]).content(Format.csv) == b"" and _parquet([]) == ([], [])


def test_no_row_has_the_columns_that_rows_would_have() -> None:
    assert Rows([], columns=("t", "text")).content(Format.csv) == b"t,text\n"
    assert _parquet([], ("t", "text")) == (["t", "text"], [])
    assert json.loads(Rows([], columns=("t", "text")).content(Format.json)) == []


def _parquet(rows: list[dict[str, object]], columns: tuple[str, ...] = ()) -> tuple[list[str], list[dict[str, object]]]:
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(io.BytesIO(Rows(rows, columns=columns).content(Format.parquet)))
    return table.column_names, table.to_pylist()


def test_texts_next_to_numbers_stay_as_they_are_in_parquet() -> None:
    rows: list[dict[str, object]] = [
        {"name": "status", "value": "completed"},
        {"name": "steps", "value": 300},
        {"name": "error", "value": None},
        {"name": "exact", "value": True},
    ]
    assert [row["value"] for row in _parquet(rows)[1]] == ["completed", "300", None, "true"]
    assert _parquet([{"t": 1}, {"t": 2.5}]) == (["t"], [{"t": 1.0}, {"t": 2.5}])


def test_codes_of_a_position_have_commas_and_positions_spaces(capsys: pytest.CaptureFixture[str]) -> None:
    Rows([{"codes": [22, 9, 22]}, {"codes": [[22, 9], [5, 1]]}, {"codes": [7]}], hidden=()).write(Format.table, None)
    assert [line.strip() for line in capsys.readouterr().out.splitlines()[2:]] == ["22,9,22", "22,9 5,1", "7"]
