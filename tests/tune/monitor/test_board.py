from __future__ import annotations

import io
import math
import re
from types import SimpleNamespace

import pytest
from rich.console import Console

from t5vqvae.config import short_names
from tune.ablation.run_board import RunBoard
from tune.monitor.board import Board, Row, short
from tune.records.record import TrialRecord


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


def test_the_rate_is_the_tightest_that_all_trials_with_one_have():
    shown, out = board(force_terminal=False)
    both = {"rate/bits_per_token": 9.5, "rate/joint_bits_per_token": 7.25}
    shown.rows = {0: Row(0, {}, "completed", both), 1: Row(1, {}, "running", {})}
    shown.final()
    assert "7.25" in out.getvalue() and "9.5" not in out.getvalue(), "as `t5vqvae trials` shows it"
    shown.rows[1] = Row(1, {}, "completed", {"rate/bits_per_token": 8.5})
    shown.final()
    assert "9.5" in out.getvalue() and "8.5" in out.getvalue()


def test_a_long_study_shows_its_newest_trials_and_the_best():
    shown, _ = board(force_terminal=False)
    shown.rows = {n: Row(n, {"seed": n}) for n in range(100)}
    shown.best = 3
    assert [row.number for row in shown._shown(5)] == [3, 95, 96, 97, 98, 99]


def test_short():
    assert [short(v) for v in (None, 3.0, 0.123456, 1e-5, True, "ema")] == ["-", "3", "0.1235", "1e-05", "True", "ema"]
    assert short_names(["a.x", "b.x", "c.y"]) == {"a.x": "a.x", "b.x": "b.x", "c.y": "y"}


RUNNING = {"progress/step": 40.0, "progress/fraction": 40 / 240, "validation/exact_match": 0.25}


def summary_lines(out: io.StringIO) -> list[str]:
    return [line for line in out.getvalue().splitlines() if "trials done" in line]


def test_a_log_says_of_every_running_trial_its_step_and_objective_and_the_time_left(monkeypatch):
    shown, out = board(force_terminal=False)
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr("tune.monitor.board.time", SimpleNamespace(monotonic=lambda: clock.now))
    with shown:
        shown.put(Row(0, {}))
        clock.now += 60
        shown.put(Row(0, {}, "completed", {"validation/exact_match": 0.5, "progress/step": 240.0}, 60))
        shown.put(Row(1, {}, metrics=RUNNING))
        shown.put(Row(2, {}))
        clock.now += 9
        shown.draw()
        clock.now += 1
        shown.draw()
    lines = summary_lines(out)
    assert len(lines) == 3, "one at once, one after ten seconds, none in between"
    assert lines[2].endswith("| running: trial 1 at step 40/240, exact_match 0.25; trial 2 at step -")
    assert "about 6:50 min left" in lines[2], "one trial and a sixth took 70 s, 6.8 are left"


def test_a_running_trial_is_where_its_process_noted_it():
    shown, out = board(force_terminal=False)
    notes = {
        1: {"name": "training", "done": 77, "total": 240},
        2: {"name": "preparing the data", "done": 9, "total": 9},
    }
    shown.live = lambda number: notes.get(number, {})
    shown.rows = {1: Row(1, {}, metrics=RUNNING), 2: Row(2, {}, metrics=RUNNING), 3: Row(3, {}, "pruned", RUNNING)}
    with shown:
        shown.draw()
    assert "trial 1 at step 77/240, exact_match 0.25; trial 2 at step 40/240, exact_match 0.25" in out.getvalue()
    notes[1]["done"] = 30  # an older note than the last report
    assert shown._now(shown.rows[1]).step == 40


def test_results_that_are_taken_say_nothing_of_the_pace(monkeypatch):
    shown = RunBoard("study", [], 8, Console(file=io.StringIO(), force_terminal=False))
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr("tune.monitor.board.time", SimpleNamespace(monotonic=lambda: clock.now))
    with shown:
        for number in range(6):
            shown.put_taken(number, {}, TrialRecord("study", number, {}, None, None, "completed", 4, {}, None, {}, 0.0))
        clock.now += 30
        assert shown.seconds_left() is None
        shown.put(Row(6, {}, "completed"))
        assert shown.seconds_left() == 30


def test_trials_of_an_earlier_start_say_nothing_of_the_pace(monkeypatch):
    shown, _ = board(force_terminal=False)
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr("tune.monitor.board.time", SimpleNamespace(monotonic=lambda: clock.now))
    shown.rows = {n: Row(n, {}, "completed") for n in range(6)}
    with shown:
        clock.now += 30
        assert shown.seconds_left() is None
        shown.put(Row(6, {}, "completed"))
        assert shown.seconds_left() == 30
        shown.hours = 40 / 3600
        assert shown.seconds_left() == 10, "the hours end the study before its trials do"
        shown.put(Row(7, {}, "completed"))
        assert shown.seconds_left() is None


def test_many_running_trials_fit_one_line():
    shown, out = board(force_terminal=False)
    shown.rows = {n: Row(n, {}, metrics=RUNNING) for n in range(40)}
    with shown:
        shown.draw()
    (line,) = summary_lines(out)
    assert line.endswith("trial 7 at step 40/240, exact_match 0.25; and 32 more")


def test_the_table_fits_a_terminal_of_80_columns():
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=True)
    shown = Board("s", ["validation/nll"], 8, console)
    paths = ["quantizer.codebook_size", "quantizer.decay", "quantizer.commitment_weight", "optim.learning_rate"]
    shown.rows = {
        n: Row(n, {path: n + i / 7 for i, path in enumerate(paths)}, metrics={**RUNNING, "validation/nll": 0.123456},
               url="http://127.0.0.1:5000/#/experiments/1/runs/0123456789abcdef") for n in range(3)
    }  # fmt: skip
    shown.final()
    text = re.sub(r"\x1b\[[0-9;]*m|\x1b\]8;[^\x1b]*\x1b\\", "", out.getvalue())
    assert "40/240" in text and "0.1235" in text and "…" not in text.split("settings do not fit")[0]
    assert re.search(r"[1-4] settings do not fit", text)
    assert max(len(line) for line in text.splitlines() if "trials done" not in line) <= 80


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
