"""A computation is stopped in time in any thread, and returns or raises as it would by itself."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from t5vqvae.data.corpora.time_limit import within


def _endless() -> None:
    while True:
        sum(range(100))


def _endless_destructors() -> None:
    class Deleted:
        def __del__(self) -> None:
            sum(range(20_000))

    while True:
        Deleted()
        sum(range(20_000))


def test_a_computation_in_time_gives_its_result_or_its_error() -> None:
    assert within(5.0, lambda: 1 + 1) == 2
    assert within(5.0, lambda: None) is None
    with pytest.raises(ZeroDivisionError):
        within(5.0, lambda: 1 / 0)


def test_an_endless_one_is_stopped_and_its_thread_ends() -> None:
    running = threading.active_count()
    with pytest.raises(TimeoutError, match=r"a computation took more than 0.1 s"):
        within(0.1, _endless)
    assert threading.active_count() == running


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_a_destructor_swallows_is_repeated() -> None:
    running = threading.active_count()
    with pytest.raises(TimeoutError):
        within(0.1, _endless_destructors)
    assert threading.active_count() == running


def test_it_works_in_threads_that_are_not_the_main_one() -> None:
    with ThreadPoolExecutor(3) as pool:
        found = [pool.submit(within, 0.1, _endless) for _ in range(2)]
        assert pool.submit(within, 5.0, lambda: "untouched").result() == "untouched"
        assert all(isinstance(each.exception(), TimeoutError) for each in found)


def test_waiting_takes_no_processor_time() -> None:
    assert within(0.1, lambda: time.sleep(0.3)) is None
