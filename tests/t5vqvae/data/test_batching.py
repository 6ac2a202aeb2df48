from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5vqvae.data import BatchPlan, TokenizedSplit, evaluation_batches
from t5vqvae.data.batching import epoch_order
from t5vqvae.data.split import Tokenized, write_split
from t5vqvae.errors import SettingError

LENGTHS = np.random.default_rng(0).integers(1, 30, 150)


def _split(folder: Path, lengths: np.ndarray) -> TokenizedSplit:
    ids = [[3 + n % 5] * (length - 1) + [1] for n, length in enumerate(lengths.tolist())]
    write_split(folder, [Tokenized(str(n), None, row, row, None) for n, row in enumerate(ids)])
    return TokenizedSplit(folder)


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> TokenizedSplit:
    return _split(tmp_path_factory.mktemp("plan") / "split", LENGTHS)


@given(size=st.integers(1, 300), batch_size=st.integers(1, 40), seed=st.integers(0, 9), epoch=st.integers(0, 3))
def test_every_example_at_most_once_an_epoch(size: int, batch_size: int, seed: int, epoch: int) -> None:
    lengths = np.random.default_rng(size).integers(1, 9, size)
    batches = epoch_order(lengths, batch_size, seed, epoch)
    seen = np.concatenate(batches)
    assert len(set(seen.tolist())) == len(seen) == (size if size < batch_size else size // batch_size * batch_size)
    assert {len(batch) for batch in batches} == {min(size, batch_size)}


def test_all_examples_come_when_batches_fit(split: TokenizedSplit) -> None:
    plan = BatchPlan(split, batch_size=15, seed=3)
    for epoch in range(2):
        steps = range(epoch * 10, epoch * 10 + 10)
        assert {plan.epoch(step) for step in steps} == {epoch}
        assert sorted(i for step in steps for i in plan.batch_indices(step)) == list(range(150))


def test_seed_and_epoch_decide_the_order(split: TokenizedSplit) -> None:
    def order(seed: int, epoch: int) -> list[int]:
        plan = BatchPlan(split, batch_size=16, seed=seed)
        return np.concatenate([plan.batch_indices(epoch * 9 + step) for step in range(9)]).tolist()

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(1, 0)
    assert order(0, 0) != order(0, 1)
    assert set(order(0, 0)) != set(order(0, 1)), "another rest is left out in every epoch"


@pytest.mark.parametrize("start", [0, 1, 8, 9, 20])
def test_resuming_at_any_step_equals_continuing(split: TokenizedSplit, start: int) -> None:
    def batches(plan: BatchPlan, steps: range) -> list[object]:
        return [plan.local_batches(step)[0].input_ids_BT.tolist() for step in steps]

    whole = batches(BatchPlan(split, 16, seed=1), range(25))
    resumed = batches(BatchPlan(split, 16, seed=1), range(start, 25))
    assert resumed == whole[start:]


def test_going_back_and_forth_changes_nothing(split: TokenizedSplit) -> None:
    plan = BatchPlan(split, 16, seed=1)
    first = plan.batch_indices(2).tolist()
    plan.batch_indices(100)
    assert plan.batch_indices(2).tolist() == first == pickle.loads(pickle.dumps(plan)).batch_indices(2).tolist()


@settings(max_examples=30)
@given(num_workers=st.integers(1, 4), microbatches=st.integers(1, 3), step=st.integers(0, 20))
def test_workers_and_microbatches_partition_the_batch(
    split: TokenizedSplit, num_workers: int, microbatches: int, step: int
) -> None:
    rows: list[tuple[int, ...]] = []
    whole = BatchPlan(split, 16, seed=2)
    for rank in range(num_workers):
        batches = BatchPlan(split, 16, 2, rank, num_workers, microbatches).local_batches(step)
        assert len(batches) == microbatches
        for batch in batches:
            assert len(batch) >= 1
            rows += [tuple(ids[mask].tolist()) for ids, mask in zip(batch.input_ids_BT, batch.mask_BT, strict=True)]
    expected = split.batch(whole.batch_indices(step))
    assert sorted(rows) == sorted(
        tuple(ids[mask].tolist()) for ids, mask in zip(expected.input_ids_BT, expected.mask_BT, strict=True)
    )


def test_batches_are_bucketed_by_length(split: TokenizedSplit) -> None:
    plan = BatchPlan(split, batch_size=15, seed=0)
    spread = [int(np.ptp(split.lengths[plan.batch_indices(step)])) for step in range(10)]
    assert max(spread) <= 6
    means = [split.lengths[plan.batch_indices(step)].mean() for step in range(10)]
    assert means != sorted(means), "batches come in no order of length"


def test_split_smaller_than_a_batch_is_one_batch(tmp_path: Path) -> None:
    plan = BatchPlan(_split(tmp_path / "small", LENGTHS[:5]), batch_size=64, seed=0)
    assert sorted(plan.batch_indices(7).tolist()) == [0, 1, 2, 3, 4]
    assert plan.epoch(7) == 7


def test_too_few_examples_for_the_workers_is_refused(tmp_path: Path) -> None:
    small = _split(tmp_path / "small", LENGTHS[:5])
    with pytest.raises(SettingError, match=r"train.batch_size=64 with 5 examples .* 2 workers x 3 microbatches"):
        BatchPlan(small, 64, 0, num_workers=2, microbatches=3)


@pytest.mark.parametrize(("limit", "num_workers"), [(None, 1), (None, 3), (40, 1), (40, 2), (500, 2)])
def test_evaluation_visits_every_example_once(split: TokenizedSplit, limit: int | None, num_workers: int) -> None:
    seen: list[int] = []
    for rank in range(num_workers):
        previous = 0
        for indices, batch in evaluation_batches(split, 8, limit, rank, num_workers):
            assert batch.input_ids_BT.tolist() == split.batch(indices).input_ids_BT.tolist()
            assert split.lengths[indices].min() >= previous
            previous = int(split.lengths[indices].max())
            seen += indices.tolist()
    assert len(seen) == len(set(seen)) == min(limit or 150, 150)


def test_limit_picks_the_same_subset_whatever_the_workers(split: TokenizedSplit) -> None:
    def subset(num_workers: int, batch_size: int) -> set[int]:
        return {
            int(index)
            for rank in range(num_workers)
            for indices, _ in evaluation_batches(split, batch_size, 40, rank, num_workers)
            for index in indices
        }

    assert subset(1, 8) == subset(3, 5)
    assert subset(1, 8) != set(range(40))
