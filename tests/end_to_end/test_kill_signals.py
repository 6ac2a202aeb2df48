"""Ctrl-C and SIGTERM while a search prepares its data or starts Ray: one line, and no process is left."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil
import pytest
from survival import as_words, start, wait_for

from t5vqvae.runs.tracked_run import TRAINER

pytestmark = [pytest.mark.ray, pytest.mark.slow]
LINE = "interrupted; run the same command again"


def family(driver) -> list[psutil.Process]:
    return psutil.Process(driver.pid).children(recursive=True)


def is_dead(process: psutil.Process) -> bool:
    """Whether a process has ended; one that nobody has reaped yet has."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def assert_stops(driver, state: Path, number: signal.Signals) -> None:
    """Sends a signal; the driver ends with 130 and one line, and leaves no process behind."""
    left = family(driver)
    driver.send_signal(number)
    assert driver.wait(timeout=60) == 130
    _, alive = psutil.wait_procs(left, timeout=60)
    alive = [process for process in alive if not is_dead(process)]
    assert not alive, f"left behind: {[process.cmdline()[:2] for process in alive]}"
    log = (state / "driver.log").read_text()
    assert "Traceback" not in log and log.splitlines()[-1] == LINE, log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("process", ["gcs_server", "raylet"])
def test_while_ray_starts(process, number, tmp_path):
    driver = start(tmp_path, "night", "4")
    try:
        names = lambda: [child.name() for child in family(driver)]  # noqa: E731
        wait_for(lambda: process in names(), driver, f"the start of {process}")
        assert_stops(driver, tmp_path, number)
    finally:
        driver.kill()


def test_while_data_are_prepared(tmp_path):
    driver = start(tmp_path, "real", "2", as_words({"trainer": TRAINER, "base": {"data.corpus.size": 200_000}}))
    try:
        wait_for(lambda: (tmp_path / "cache").exists(), driver, "the start of the preparation")
        assert_stops(driver, tmp_path, signal.SIGINT)
    finally:
        driver.kill()
