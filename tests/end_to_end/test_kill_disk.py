"""What a search finds on its disk after a kill: no room, a torn checkpoint, one of another spec."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from drive import killed_study
from mounts import read_only, small_disk
from survival import TRIALS, assert_survived, ended, halfway, kill_family, start, under_way, wait_for

from t5vqvae.training import checkpoint
from tune.records.study_paths import StudyPaths

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def trained(state: Path) -> list[list[float]]:
    """Learning rate and step of every milestone that was begun."""
    return [[float(word) for word in line.split()] for line in (state / "starts.log").read_text().splitlines()]


def checkpoints(paths: StudyPaths, number: int) -> list[Path]:
    return sorted(paths.trial(number).glob(f"{checkpoint.PREFIX}*"))


def every_checkpoint(paths: StudyPaths) -> set[Path]:
    return set(paths.trials.glob(f"*/{checkpoint.PREFIX}*"))


def last_line(state: Path) -> str:
    return (state / "driver.log").read_text().splitlines()[-1]


@pytest.mark.parametrize("left", [4, 0])
def test_a_full_disk_stops_the_search_in_one_line_and_it_resumes(left, tmp_path, twin):
    """4 MB are left: the next checkpoint is not begun. Nothing is left: records, databases and logs fail too."""
    with small_disk(tmp_path / "small", 48) as state:
        spec, paths, ballast = killed_study("night", TRIALS), StudyPaths(state, "night"), state / "ballast"
        driver = start(state, "night", str(TRIALS), log=tmp_path)
        try:
            wait_for(lambda: halfway(paths, TRIALS), driver, "half way")
            before = ended(paths)
            fill(ballast, left)
            assert driver.wait(timeout=120) == 1
        finally:
            driver.kill()
        log = (tmp_path / "driver.log").read_text()
        assert f"the disk of {state}" in last_line(tmp_path) and "the same command resumes" in last_line(tmp_path)
        assert log.count("the same command resumes") == 1 and "Traceback" not in log
        assert start(state, "night", str(TRIALS), log=tmp_path).wait(timeout=120) == 1, "it is still full"
        assert "the same command resumes" in last_line(tmp_path)
        assert "Traceback" not in (tmp_path / "driver.log").read_text()
        assert before <= ended(paths)
        ballast.unlink()
        assert start(state, "night", str(TRIALS), log=tmp_path).wait(timeout=240) == 0
        assert_survived(spec, state, twin)


def fill(ballast: Path, left: int) -> None:
    """Fills the disk of a file up to some megabytes."""
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while shutil.disk_usage(ballast.parent).free > left * 1_000_000:
            file.write(bytes(min(1 << 20, shutil.disk_usage(ballast.parent).free - left * 1_000_000)))


def test_a_state_that_becomes_read_only_stops_the_search_in_one_line_and_it_resumes(tmp_path, twin):
    state = tmp_path / "state"
    state.mkdir()
    spec, paths = killed_study("night", TRIALS), StudyPaths(state, "night")
    driver = start(state, "night", str(TRIALS), log=tmp_path)
    try:
        wait_for(lambda: halfway(paths, TRIALS), driver, "half way")
        with read_only(state):
            assert driver.wait(timeout=120) == 1
            assert last_line(tmp_path) == (
                f"the disk of {last_line(tmp_path).split()[3]} is read-only; make it writable, and the same command"
                " resumes"
            )
            assert start(state, "night", str(TRIALS), log=tmp_path).wait(timeout=120) == 1
            assert "is read-only" in last_line(tmp_path)
    finally:
        driver.kill()
    log = (tmp_path / "driver.log").read_text()
    assert log.count("the same command resumes") == 2 and "Traceback" not in log
    assert start(state, "night", str(TRIALS), log=tmp_path).wait(timeout=240) == 0
    assert_survived(spec, state, twin)


def test_a_full_disk_a_torn_checkpoint_and_one_of_another_spec(tmp_path, twin):
    spec, paths, full = killed_study("night", TRIALS), StudyPaths(tmp_path, "night"), tmp_path / "full"

    def twice_saved() -> list[int]:
        return [number for number in sorted(under_way(paths)) if len(checkpoints(paths, number)) == 2]

    driver = start(tmp_path, "night", str(TRIALS))
    try:
        wait_for(lambda: halfway(paths, TRIALS) and twice_saved(), driver, "half way")
        full.touch()
        saved = every_checkpoint(paths)
        assert driver.wait(timeout=120) == 1
    finally:
        driver.kill()
    full.unlink()
    assert last_line(tmp_path).startswith(f"the disk of {paths.trials}"), "the search has stopped by itself"
    assert len(every_checkpoint(paths) - saved) <= 2, "at most the two that were being written"
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
    records = assert_survived(spec, tmp_path, twin, but={foreign})
    assert records[foreign].status == "failed"
    assert "belongs to another spec: optim.beta1 is 0.9 here and 0.5 there" in records[foreign].tags["error"]
