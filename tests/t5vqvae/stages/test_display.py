"""Stages in a pipe and on a terminal of 80 columns."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from t5vqvae.stages import display, hidden, shown, stage
from t5vqvae.stages.display import _Display
from t5vqvae.stages.open_stages import STACK


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=1000.0)
    fake = SimpleNamespace(monotonic=lambda: clock.now)
    monkeypatch.setattr("t5vqvae.stages.open_stages.time", fake)
    monkeypatch.setattr("t5vqvae.stages.display.time", fake)
    return clock


def test_a_pipe_gets_a_line_after_two_seconds_then_every_ten(clock: SimpleNamespace) -> None:
    out = io.StringIO()
    looking = _Display(out)
    with stage("training", 100, "steps") as now:
        for second in range(25):
            clock.now = 1000.0 + second
            now.set(second)
            looking._show()
    lines = out.getvalue().splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "training: 2 of 100 steps",
        "training: 12 of 100 steps",
        "training: 22 of 100 steps",
    ]
    assert "1/s, 78 s left" not in lines[2] and "1/s, 1:18 min left" in lines[2]


def test_every_stage_of_two_seconds_is_named_and_a_shorter_one_is_not(clock: SimpleNamespace) -> None:
    out = io.StringIO()
    looking = _Display(out)
    for name, seconds in (("reading", 3), ("tokenizing", 1), ("building", 4)):
        with stage(name):
            for _ in range(seconds):
                looking._show()
                clock.now += 1
    assert [line.split(",")[0] for line in out.getvalue().splitlines()] == ["reading", "building"]


def test_a_stage_within_a_stage_says_both(clock: SimpleNamespace) -> None:
    with stage("training", 100, "steps") as outer, stage("decoding validation", 200, "sentences") as inner:
        clock.now += 10
        outer.set(50)
        inner.set(100)
        line = display._line(STACK.now())
    assert line == "training 50 of 100, 10 s left; decoding validation: 100 of 200 sentences, 10/s, 10 s left"


def test_a_refusal_is_one_line_even_where_the_start_is_slow(clock: SimpleNamespace) -> None:
    out = io.StringIO()
    looking = _Display(out)
    for _ in range(9):
        looking._show()
        clock.now += 1
    assert out.getvalue() == ""
    clock.now += 3
    looking._show()
    assert out.getvalue() == "starting, 12 s so far\n"


def test_a_terminal_gets_one_line_within_80_columns_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    out = Terminal()
    with shown(out), stage("testing", 5_000, "sentences") as outer, stage("decoding " + "x" * 60, 9, "lines") as now:
        outer.set(1)
        now.set(1)
        deadline = time.monotonic() + 10
        while "testing" not in out.getvalue() and time.monotonic() < deadline:
            time.sleep(0.05)
    drawn = [re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", line) for line in re.split(r"[\r\n]+", out.getvalue())]
    assert any(line.startswith("testing 1 of 5,000") for line in drawn)
    assert max(map(len, drawn)) <= 80
    assert out.getvalue().rstrip().endswith(("\x1b[2K", "\x1b[?25h")), "the line is erased at the end"


def test_nothing_is_shown_while_something_else_draws(monkeypatch: pytest.MonkeyPatch, clock: SimpleNamespace) -> None:
    out = io.StringIO()
    monkeypatch.setattr(display, "DRAW_SECONDS", 0.001)
    with shown(out), stage("training"):
        with hidden():
            clock.now += 5
            time.sleep(0.05)
            assert out.getvalue() == ""
        deadline = time.monotonic() + 10
        while not out.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
    assert out.getvalue() == "training, 5 s so far\n"


def test_a_reader_that_left_ends_nothing(clock: SimpleNamespace) -> None:
    out = io.StringIO()
    out.close()
    with stage("training"):
        looking = _Display(out)
        looking._stream = SimpleNamespace(isatty=lambda: False, write=out.write)  # type: ignore[assignment]
        clock.now += 5
        looking._show()


def test_importing_stages_is_cheap() -> None:
    code = "import sys, t5vqvae.stages; print([m for m in ('torch', 'rich', 'pydantic') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
