"""A run that is out of memory ends its attempt, not the run, and stores the next attempt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import stub
import torch

from t5vqvae.runs.attempt import OUT_OF_MEMORY, Attempt, attempted
from t5vqvae.runs.follow import Report
from t5vqvae.runs.tracked_run import TrackedRun
from t5vqvae.spec.run import RunSpec

ROOM = 2
"""The smallest number of micro-batches that fits into the memory of the trainer below."""
FULL = "CUDA out of memory. Tried to allocate 2.00 GiB"


def train(spec: RunSpec, *, cache_dir: Path, resume_from: Path | None = None) -> Iterator[Any]:
    for milestone in stub.train(spec, cache_dir=cache_dir, resume_from=resume_from):
        if milestone.step > spec.train.eval_every and spec.train.microbatches < ROOM:
            raise RuntimeError(spec.model.backbone) if spec.model.backbone else torch.cuda.OutOfMemoryError(FULL)
        yield milestone


def run_in(folder: Path, **overrides: Any) -> TrackedRun:
    settings = {"train.max_steps": 40, "train.eval_every": 10, "train.batch_size": 4, "optim.warmup_steps": 0}
    spec = RunSpec().with_overrides({**settings, **overrides})
    return TrackedRun(spec, folder / "run", folder / "cache", "a/0", trainer="tests.t5vqvae.runs.test_attempt:train")


def reports(run: TrackedRun, attempt: Attempt, **options: Any) -> list[Report]:
    return list(attempted(run, attempt, **options))


def test_it_resumes_from_its_checkpoint_with_more_memory(tmp_path: Path) -> None:
    run, attempt, steps = run_in(tmp_path), Attempt(0.5), []
    while True:
        found = reports(run, attempt)
        steps.append([report.metrics.get("progress/step") for report in found])
        if found[-1].status != OUT_OF_MEMORY:
            break
        later = Attempt.read(run.directory)
        assert later is not None
        attempt = later
        settings = {} if attempt.microbatches is None else {"train.microbatches": attempt.microbatches}
        run = replace(run, spec=run.spec.with_overrides(settings))
    assert steps == [[10, 10], [10, 10], [10, 20, 30, 40]], "each attempt repeats the last report before it trains"
    assert found[-1].status == "completed" and found[-1].metrics["cost/gpus"] == 1
    assert found[-1].tags["t5vqvae.out_of_memory"] == (
        "gpus=0.5 microbatches=1 after step 10; gpus=1 microbatches=1 after step 10"
    )


def test_an_older_attempt_ends_before_it_trains(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    reports(run, Attempt(0.5))
    found = reports(run, Attempt(0.5))
    assert [report.status for report in found] == [OUT_OF_MEMORY] and not found[0].metrics


def test_a_run_that_no_attempt_fits_has_failed_and_may_be_started_anew(tmp_path: Path) -> None:
    run, last_way_out = run_in(tmp_path, **{"train.batch_size": 1}), Attempt(1.0, tried=("gpus=0.5",))
    run.directory.mkdir()
    last_way_out.write(run.directory)
    last = reports(run, last_way_out)[-1]
    assert last.status == "failed" and last.metrics["progress/step"] == 10
    assert "train.batch_size=1 does not fit onto the GPU" in last.tags["error"]
    assert last.tags["signature/out_of_memory"] and Attempt.read(run.directory) is None
    assert FULL in (run.directory / "error.txt").read_text()


def test_one_of_several_workers_raises_and_after_a_restart_all_report_it(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        reports(run, Attempt(1.0), alone=False)
    found = [reports(run, Attempt(1.0), alone=False, writes=writes) for writes in (True, False)]
    assert found[0] == found[1] and found[0][0].status == OUT_OF_MEMORY


def test_an_error_that_costs_the_process_its_gpu_is_raised(tmp_path: Path) -> None:
    run = run_in(tmp_path, **{"model.backbone": "CUDA error: out of memory"})
    with pytest.raises(RuntimeError, match="CUDA error"):
        reports(run, Attempt(0.5))
    assert reports(run, Attempt(0.5))[0].status == OUT_OF_MEMORY


@pytest.mark.parametrize("attempt", [Attempt(0.0), Attempt(0.5)])
def test_other_errors_and_errors_without_a_gpu_are_raised(attempt: Attempt, tmp_path: Path) -> None:
    run = run_in(tmp_path, **({"model.backbone": "illegal memory access"} if attempt.gpus else {}))
    with pytest.raises(RuntimeError):
        reports(run, attempt)
    assert Attempt.read(run.directory) is None


def test_a_process_gets_the_memory_limit_of_its_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float | None] = []
    monkeypatch.setattr("t5vqvae.training.memory.limit_memory", limits.append)
    run = run_in(tmp_path, **{"train.microbatches": ROOM})
    for attempt in (Attempt(0.5, limit_mb=7_500.0), Attempt(1.0), Attempt(0.0)):
        reports(run, attempt)
    assert limits == [7_500.0, None]
