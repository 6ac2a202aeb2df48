"""What a search finds on its disk after a kill: no room, a torn checkpoint, one of another spec."""

from __future__ import annotations

from pathlib import Path

import pytest
from drive import killed_study
from survival import TRIALS, assert_survived, ended, halfway, kill_family, start, under_way, wait_for

from t5vqvae.training import checkpoint
from tune.records.record import read_records
from tune.records.study_paths import StudyPaths

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def trained(state: Path) -> list[list[float]]:
    """Learning rate and step of every milestone that was begun."""
    return [[float(word) for word in line.split()] for line in (state / "starts.log").read_text().splitlines()]


def checkpoints(paths: StudyPaths, number: int) -> list[Path]:
    return sorted(paths.trial(number).glob(f"{checkpoint.PREFIX}*"))


def every_checkpoint(paths: StudyPaths) -> set[Path]:
    return set(paths.trials.glob(f"*/{checkpoint.PREFIX}*"))


def test_a_full_disk_a_torn_checkpoint_and_one_of_another_spec(tmp_path, twin):
    spec, paths, full = killed_study("night", TRIALS), StudyPaths(tmp_path, "night"), tmp_path / "full"

    def twice_saved() -> list[int]:
        return [number for number in sorted(under_way(paths)) if len(checkpoints(paths, number)) == 2]

    driver = start(tmp_path, "night", str(TRIALS))
    try:
        wait_for(lambda: halfway(paths, TRIALS) and twice_saved(), driver, "half way")
        full.touch()
        known, saved = len(trained(tmp_path)), every_checkpoint(paths)
        wait_for(lambda: len(trained(tmp_path)) >= known + 6, driver, "milestones that could not be saved")
    finally:
        kill_family(driver.pid)
    full.unlink()
    assert len(every_checkpoint(paths) - saved) <= 2, "at most the two that were being written"
    unsaved = [record for record in read_records(paths.trials) if "checkpoint/failed" in record.tags]
    assert all("No space left on device" in record.tags["checkpoint/failed"] for record in unsaved)
    assert not list(paths.trials.glob("*/.step-*")), "nothing is left behind by what could not be written"

    before = ended(paths)
    driver = start(tmp_path, "night", str(TRIALS))
    try:
        wait_for(lambda: halfway(paths, TRIALS, before) and twice_saved(), driver, "half way again")
    finally:
        kill_family(driver.pid)
    torn, (older, newest) = twice_saved()[0], checkpoints(paths, twice_saved()[0])
    intact = checkpoint.read_milestone(older)["step"]
    (newest / "weights").write_text("")

    before, known = ended(paths), len(trained(tmp_path))
    driver = start(tmp_path, "night", str(TRIALS))
    try:
        # The last part needs another trial with a checkpoint, and the torn one may be the only one under way.
        ready = lambda: halfway(paths, TRIALS, {*before, torn}) and under_way(paths) - {torn}  # noqa: E731
        wait_for(ready, driver, "half way for the third time")
    finally:
        kill_family(driver.pid)
    rate = twin[torn].overrides["optim.learning_rate"]
    first = next(step for other, step in trained(tmp_path)[known:] if other == rate)
    assert first == intact + 10, "it goes on from the checkpoint before the torn one"

    foreign = sorted(under_way(paths) - {torn})[0]
    for path in checkpoints(paths, foreign):
        other = checkpoint.read_spec(path).with_overrides({"optim.beta1": 0.5})
        checkpoint.write(path, other, checkpoint.read_milestone(path), lambda folder: None)
    assert start(tmp_path, "night", str(TRIALS)).wait(timeout=240) == 0
    records = assert_survived(spec, tmp_path, twin, but={foreign, *(record.number for record in unsaved)})
    assert records[foreign].status == "failed"
    assert "belongs to another spec: optim.beta1 is 0.9 here and 0.5 there" in records[foreign].tags["error"]
    for record in unsaved:
        assert record.status == twin[record.number].status
        assert record.metrics["validation/nll"] == twin[record.number].metrics["validation/nll"]
