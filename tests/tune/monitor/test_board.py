from __future__ import annotations

import io
import math
import re

import pytest
from rich.console import Console

from t5vqvae.config import short_names
from tune.monitor.board import Board, Row, short


def board(**kwargs) -> tuple[Board, io.StringIO]:
    out = io.StringIO()
    console = Console(file=out, width=200, **kwargs)
    return Board("s", ["validation/exact_match"], 8, console), out


def test_plain_lines_when_not_on_a_terminal():
    shown, out = board(force_terminal=False)
    with shown:
        shown.put(Row(0, {"seed": 1}))
        shown.put(Row(0, {"seed": 1}, "pruned", {"validation/exact_match": 0.25, "rate/bits_per_token": 9.5}, 12))
        shown.put(Row(0, {"seed": 1}, "pruned", {"validation/exact_match": 0.25}, 12))
    text = out.getvalue()
    line = "trial 0 pruned: validation/exact_match 0.25, rate/bits_per_token 9.5 | seed=1 | 12 s"
    assert text.count(line) == 1 and "\x1b" not in text
    assert text.count("trials done") == 1, "summaries are throttled"


def test_terminal_gets_a_table_drawn_in_place():
    shown, out = board(force_terminal=True)
    with shown:
        shown.put(Row(0, {"quantizer.decay": 0.9}))
    assert "study s" in out.getvalue() and "\x1b" in out.getvalue()


def test_table_shows_what_varies_and_marks_the_best():
    shown, out = board(force_terminal=False)
    shown.rows = {
        0: Row(0, {"quantizer.decay": 0.9, "seed": 1}, "completed", {"validation/exact_match": 0.5}),
        1: Row(1, {"quantizer.decay": 0.99, "seed": 1}, "completed", {"validation/exact_match": 0.75}),
    }
    shown.best = 1
    shown.final()
    text = out.getvalue()
    assert "decay" in text and "seed" not in text
    assert "1 *" in text and "0.75" in text
    assert "2 of 8 trials done (2 completed), best: trial 1 with exact_match 0.75" in text


def test_a_long_study_shows_its_newest_trials_and_the_best():
    shown, _ = board(force_terminal=False)
    shown.rows = {n: Row(n, {"seed": n}) for n in range(100)}
    shown.best = 3
    assert [row.number for row in shown._shown(5)] == [3, 95, 96, 97, 98, 99]


def test_short():
    assert [short(v) for v in (None, 3.0, 0.123456, 1e-5, True, "ema")] == ["-", "3", "0.1235", "1e-05", "True", "ema"]
    assert short_names(["a.x", "b.x", "c.y"]) == {"a.x": "a.x", "b.x": "b.x", "c.y": "y"}


@pytest.mark.parametrize("terminal", [True, False])
def test_settings_on_a_terminal_are_text_not_markup_or_escape_sequences(terminal: bool) -> None:
    out = io.StringIO()
    console = Console(file=out, width=200, force_terminal=terminal, color_system=None, legacy_windows=False)
    board = Board("x", ["validation/nll"], 2, console)
    values = ["[red]x[/red]", "\x1b]0;title\x07", "two\nlines", "x" * 500]
    for number, value in enumerate(values):
        board.rows[number] = Row(number, {"quantizer.a": value}, "completed", {"validation/nll": 1.0})
        console.print(board._line(board.rows[number]), soft_wrap=True, highlight=False, markup=False)
    board.final()
    text = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())  # Rich's own bold and italic
    assert text.count("[red]x[/red]") == 2
    assert text.count(r"\x1b]0;title\x07") == 2
    assert text.count("two lines") == 2
    assert "\x1b" not in text and "x" * 81 not in text


def test_a_number_of_no_finite_value_is_shown() -> None:
    assert [short(value) for value in (math.nan, math.inf, [1, 2], None, True)] == ["nan", "inf", "[1, 2]", "-", "True"]
    assert len(short(10**400)) == 80
