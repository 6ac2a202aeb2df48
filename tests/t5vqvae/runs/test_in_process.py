"""A run in this process: what it prints in a pipe, and its threads, which a resume does not change."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console

from t5vqvae.errors import SettingError
from t5vqvae.runs import in_process
from t5vqvae.runs.follow import Report
from t5vqvae.runs.in_process import run_here
from t5vqvae.runs.tracked_run import TrackedRun
from t5vqvae.spec.run import RunSpec
from t5vqvae.stages import PROGRESS, read_note
from t5vqvae.stages.open_stages import STACK
from t5vqvae.training import threads

TINY = {
    "data.corpus.name": "grammar",
    "data.corpus.size": 64,
    "data.corpus.validation_size": 16,
    "data.corpus.test_size": 16,
    "data.tokenizer.vocab_size": 300,
    "model.d_model": 16,
    "model.num_heads": 2,
    "quantizer.codebook_size": 8,
    "train.max_steps": 4,
    "train.eval_every": 2,
    "train.batch_size": 8,
    "train.device": "cpu",
    "evaluate.num_generated": 2,
}


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def followed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, TrackedRun]]:
    """The threads and the run of every run that was followed; none trains."""
    seen: list[tuple[int, TrackedRun]] = []

    def follow(run: TrackedRun) -> Iterator[Report]:
        seen.append((torch.get_num_threads(), run))
        yield Report("completed", {"progress/step": 4.0})

    monkeypatch.setattr(in_process, "follow", follow)
    return seen


def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def test_a_resumed_run_has_its_threads_again_and_says_so(
    followed: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = console()
    for free in (2, 1):
        monkeypatch.setattr(threads, "free_threads", lambda free=free: free)
        assert run_here(RunSpec().with_overrides(TINY), None, tmp_path, shown)
    assert [(number, run.tags["t5vqvae.threads"]) for number, run in followed] == [(2, "2"), (2, "2")]
    assert shown.file.getvalue().count("threads: 2") == 2


def test_a_busy_machine_gives_a_new_run_one_thread(
    followed: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "time", SimpleNamespace(sleep=lambda s: None, monotonic=iter(range(9)).__next__))
    busy = iter([0.0, 8.0])
    monkeypatch.setattr(threads, "_busy_seconds", lambda cores: next(busy))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    run_here(RunSpec().with_overrides(TINY), None, tmp_path, console())
    assert followed[0][0] == 1


def test_a_run_of_an_earlier_version_resumes_with_what_no_run_begins_with(
    followed: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unread = {"quantizer.name": "gumbel", "quantizer.form": "tied", "quantizer.diversity_weight": 0.0}
    spec = RunSpec().with_overrides({**TINY, **unread})
    with pytest.raises(SettingError, match=r"quantizer.diversity_weight=0.0 has no effect"):
        run_here(spec, tmp_path / "run", tmp_path, console())
    assert not followed and not (tmp_path / "run").exists()
    monkeypatch.setattr(in_process.checkpoint, "latest", lambda folder, spec: folder / "step-00000002")
    assert run_here(spec, tmp_path / "run", tmp_path, console())


def test_a_training_names_its_stages_and_counts_its_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    noted: list[tuple[int, str]] = []
    open_stage = STACK.open
    monkeypatch.setattr(STACK, "open", lambda stage: (opened.append(stage.name), open_stage(stage)))
    monkeypatch.setattr("t5vqvae.stages.open_stages.NOTE_SECONDS", 0.0)
    write = STACK.note

    def note() -> None:
        write()
        if STACK.path is not None and (found := read_note(STACK.path)).get("name") == "training":
            noted.append((found["done"], found["note"]))

    monkeypatch.setattr(STACK, "note", note)
    assert run_here(RunSpec().with_overrides(TINY), tmp_path / "run", tmp_path, console())
    expected = ["preparing the data", "reading the corpus grammar", "tokenizing", "building the model", "training"]
    assert [name for name in opened if name in expected][:3] == expected[:3]
    assert set(expected) | {"starting the codebook", "measuring validation", "decoding validation"} <= set(opened)
    assert "writing the checkpoint" in opened
    assert {step for step, _ in noted} >= {1, 2, 3, 4}
    assert all("loss " in words and " tokens a second" in words for _, words in noted)
    assert not (tmp_path / "run" / PROGRESS).exists()
    assert [stage.between for stage in STACK.now()] == [True], "every stage was closed"
