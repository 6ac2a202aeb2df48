"""A stage in words, its rate and time left, and the file from which another process reads it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from t5vqvae.stages import duration, noted, read_note, stage
from t5vqvae.stages.open_stages import STACK, Stage


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("t5vqvae.stages.open_stages.time", SimpleNamespace(monotonic=clock))
    return clock


def test_a_stage_says_how_far_it_is_how_fast_and_how_long(clock: Clock) -> None:
    now = Stage("training", 240, "steps")
    assert now.words() == "training: 0 of 240 steps"
    clock.now += 10
    now.set(40, note="loss 1.5")
    assert now.words() == "training: 40 of 240 steps, 4/s, 50 s left, loss 1.5"
    assert len(now.words()) < 80


def test_a_stage_of_unknown_length_says_how_long_it_has_taken(clock: Clock) -> None:
    now = Stage("reading the corpus")
    clock.now += 75
    assert now.words() == "reading the corpus, 1:15 min so far"
    assert now.seconds_left is None


def test_a_resumed_stage_counts_its_rate_from_where_it_resumed(clock: Clock) -> None:
    now = Stage("training", 240, "steps", done=200)
    clock.now += 10
    now.set(210)
    assert now.rate == 1.0 and now.seconds_left == 30.0


def test_the_rate_forgets_a_slow_start(clock: Clock) -> None:
    now = Stage("training", 10_000, "steps")
    clock.now += 100
    for step in range(1, 101):
        clock.now += 1
        now.set(10 * step)
    assert now.rate == pytest.approx(10, rel=0.1)


def test_the_time_between_two_stages_names_the_last_one() -> None:
    with stage("testing"):
        assert [each.name for each in STACK.now()] == ["testing"]
        with stage("decoding", 3, "sentences"):
            assert [each.name for each in STACK.now()] == ["testing", "decoding"]
    assert [each.name for each in STACK.now()] == ["working after testing"]


def test_the_outermost_stage_is_noted_for_other_processes_and_the_note_goes(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "progress.json"
    assert read_note(path) == {}
    with noted(path), stage("training", 240, "steps") as now:
        now.set(40, note="loss 1.5")
        expected = {"name": "training", "done": 40, "total": 240, "note": "loss 1.5"}
        assert read_note(path) == expected
        with stage("measuring", 8, "sentences") as inner:
            inner.advance()
        now.set(41)
        assert read_note(path) == expected, "a note is written at most once a second"
        clock.now += 2
        now.set(42)
        assert read_note(path)["done"] == 42
    assert not path.exists()


def test_half_a_note_and_a_full_disk_harm_nothing(tmp_path: Path) -> None:
    (tmp_path / "half").write_text('{"name": "trai')
    assert read_note(tmp_path / "half") == {}
    with noted(tmp_path / "no" / "such" / "folder"), stage("training", 2, "steps") as now:
        now.set(1)


@pytest.mark.parametrize(("seconds", "words"), [(0.4, "0 s"), (59, "59 s"), (61, "1:01 min"), (7800, "2:10 h")])
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words
