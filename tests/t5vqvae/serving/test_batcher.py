"""The batcher computes what waits together, nearest lengths first, and never more than it may."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from t5vqvae.errors import DataError
from t5vqvae.serving.batcher import Batcher, BusyError


class Held:
    """A computation that waits for `go` and keeps its batches; "bad" is refused, "fault" is a fault."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.go, self.begun = threading.Event(), threading.Event()

    def __call__(self, key: Any, items: Sequence[str]) -> list[str]:
        self.begun.set()
        assert self.go.wait(20)
        self.batches.append(list(items))
        if "bad" in items:
            raise DataError("bad is refused")
        if "fault" in items:
            raise RuntimeError("a fault")
        return [f"{key} {item}" for item in items]


async def first(batcher: Batcher, held: Held) -> asyncio.Task[list[Any]]:
    """Keeps the thread busy with one item, so that what comes next waits."""
    task = asyncio.ensure_future(batcher.answers("k", ["first"], len))
    await asyncio.to_thread(held.begun.wait, 20)
    return task


def test_what_waits_is_computed_together_by_length_and_answered_in_order() -> None:
    async def run() -> None:
        held = Held()
        batcher = Batcher(held, most=3, capacity=100)
        begun = await first(batcher, held)
        texts = ["aaaa", "b", "cccccccc", "ddd", "eeeeeeee", "fffff"]
        one = asyncio.ensure_future(batcher.answers("k", texts[:3], len))
        other_key = asyncio.ensure_future(batcher.answers("other", ["aaaa"], len))
        two = asyncio.ensure_future(batcher.answers("k", texts[3:], len))
        await asyncio.sleep(0.05)
        held.go.set()
        found = await asyncio.gather(begun, one, two, other_key)
        assert found == [["k first"], [f"k {t}" for t in texts[:3]], [f"k {t}" for t in texts[3:]], ["other aaaa"]]
        assert held.batches == [["first"], ["aaaa", "ddd", "fffff"], ["b", "cccccccc", "eeeeeeee"], ["aaaa"]]
        batcher.close()

    asyncio.run(run())


def test_a_full_queue_refuses_and_takes_again_once_it_is_empty() -> None:
    async def run() -> None:
        held = Held()
        batcher = Batcher(held, most=8, capacity=3)
        begun = await first(batcher, held)
        waiting = asyncio.ensure_future(batcher.answers("k", ["a", "b"], len))
        await asyncio.sleep(0.02)
        with pytest.raises(BusyError, match="2 sentences wait, and 3 can"):
            await batcher.answers("k", ["c", "d"], len)
        held.go.set()
        await asyncio.gather(begun, waiting)
        assert await batcher.answers("k", ["c", "d"], len) == ["k c", "k d"]
        batcher.close()

    asyncio.run(run())


def test_an_item_counts_for_the_sentences_that_it_decodes() -> None:
    async def run() -> None:
        held = Held()
        batcher = Batcher(held, most=5, capacity=7)
        begun = await first(batcher, held)
        waiting = [asyncio.ensure_future(batcher.answers("k", items, len, 2)) for items in (["a", "b"], ["c"])]
        await asyncio.sleep(0.02)
        with pytest.raises(BusyError, match="6 sentences wait, and 7 can"):
            await batcher.answers("k", ["d"], len, 2)
        held.go.set()
        await asyncio.gather(begun, *waiting)
        assert held.batches == [["first"], ["a", "b"], ["c"]]
        assert await batcher.answers("k", ["e"], len, 6) == ["k e"], "more than a batch has is one alone"
        batcher.close()

    asyncio.run(run())


@pytest.mark.parametrize(("item", "error"), [("bad", DataError), ("fault", RuntimeError)])
def test_an_item_that_fails_does_not_fail_its_neighbours(item: str, error: type[Exception]) -> None:
    async def run() -> None:
        held = Held()
        batcher = Batcher(held, most=8, capacity=100)
        begun = await first(batcher, held)
        tasks = [asyncio.ensure_future(batcher.answers("k", items, len)) for items in (["a"], ["b", item], ["c"])]
        await asyncio.sleep(0.02)
        held.go.set()
        found = await asyncio.gather(begun, *tasks, return_exceptions=True)
        assert found[1] == ["k a"] and found[3] == ["k c"]
        assert isinstance(found[2], error)
        batcher.close()

    asyncio.run(run())


def test_a_caller_who_left_is_not_computed_for_and_a_fault_ends_no_thread() -> None:
    async def run() -> None:
        held = Held()
        batcher = Batcher(held, most=8, capacity=100)
        begun = await first(batcher, held)
        left = asyncio.ensure_future(batcher.answers("k", ["gone"], len))
        await asyncio.sleep(0.02)
        left.cancel()
        await asyncio.sleep(0.02)
        held.go.set()
        await begun
        with pytest.raises(RuntimeError, match="a fault"):
            await batcher.answers("k", ["fault"], len)
        assert await batcher.answers("k", ["a"], len) == ["k a"]
        assert held.batches == [["first"], ["fault"], ["a"]]
        batcher.close()

    asyncio.run(run())


def test_a_closed_batcher_answers_what_waited() -> None:
    async def run() -> None:
        held = Held()
        batcher = Batcher(held, most=1, capacity=100)
        begun = await first(batcher, held)
        waiting = asyncio.ensure_future(batcher.answers("k", ["a", "b"], len))
        await asyncio.sleep(0.02)
        held.go.set()
        await asyncio.to_thread(batcher.close)
        assert await asyncio.gather(begun, waiting) == [["k first"], ["k a", "k b"]]
        with pytest.raises(BusyError):
            await batcher.answers("k", ["late"], len)

    asyncio.run(run())


@pytest.mark.parametrize(("seconds", "batches"), [(20.0, [["a", "b"], ["c", "d"]]), (0.0, [["a", "b"], ["c"], ["d"]])])
def test_callers_answered_together_are_computed_together_again(
    seconds: float, batches: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without patience, they would be two batches for ever."""
    monkeypatch.setattr("t5vqvae.serving.batcher.PATIENCE", 1e9)
    monkeypatch.setattr("t5vqvae.serving.batcher.MOST_PATIENCE", seconds)

    async def run() -> None:
        held = Held()
        batcher = Batcher(held, most=8, capacity=100)
        held.go.set()
        await batcher.answers("k", ["a", "b"], len)
        early = asyncio.ensure_future(batcher.answers("k", ["c"], len))
        while len(held.batches) < (1 if seconds else 2):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        assert early.done() == (not seconds)
        assert await batcher.answers("k", ["d"], len) == ["k d"] and await early == ["k c"]
        assert held.batches == batches
        await asyncio.to_thread(batcher.close)

    asyncio.run(run())


def test_one_caller_alone_never_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("t5vqvae.serving.batcher.PATIENCE", 1e9)
    monkeypatch.setattr("t5vqvae.serving.batcher.MOST_PATIENCE", 1e9)

    async def run() -> None:
        held = Held()
        batcher = Batcher(held, most=8, capacity=100)
        held.go.set()
        for text in "abc":
            assert await asyncio.wait_for(batcher.answers("k", [text], len), 20) == [f"k {text}"]
        await asyncio.to_thread(batcher.close)

    asyncio.run(run())
