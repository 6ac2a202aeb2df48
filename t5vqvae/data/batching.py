"""Which examples make up which batch: a seeded order without state, so that a run can resume at any step.

Letters: B the examples of one optimizer step over all workers (the global batch).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from t5vqvae.data.batch import IGNORED_LABEL, Batch
from t5vqvae.data.split import TokenizedSplit
from t5vqvae.errors import SettingError

POOL_BATCHES = 64
"""Batches in a pool: examples are sorted by length within their pool."""
SUBSET_SEED = 0
Array = npt.NDArray[np.int64]


@dataclass(frozen=True)
class BatchPlan:
    """The batches of a run: every epoch is a new permutation from (seed, epoch), bucketed by length.

    Every epoch leaves out the examples that do not fill a batch; they differ between epochs. A split smaller than a
    batch is one batch.

    Raises:
        SettingError: If a batch has fewer examples than workers x microbatches.
    """

    split: TokenizedSplit
    batch_size: int
    """Examples of one optimizer step, over all workers and microbatches."""
    seed: int
    rank: int = 0
    num_workers: int = 1
    microbatches: int = 1
    _orders: dict[int, list[Array]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        size, pieces = min(self.batch_size, len(self.split)), self.num_workers * self.microbatches
        if size < pieces:
            raise SettingError(
                f"train.batch_size={self.batch_size} with {len(self.split)} examples gives batches of {size}, too few "
                f"for {self.num_workers} workers x {self.microbatches} microbatches; use fewer or a larger batch"
            )

    @property
    def batches_per_epoch(self) -> int:
        """Full batches in an epoch, at least 1."""
        return max(1, len(self.split) // self.batch_size)

    def epoch(self, step: int) -> int:
        """Returns the epoch of optimizer step `step`; both count from 0."""
        return step // self.batches_per_epoch

    def batch_indices(self, step: int) -> Array:
        """Returns the examples of a step's global batch."""
        epoch, place = divmod(step, self.batches_per_epoch)
        return self._order(epoch)[place]

    def local_batches(self, step: int) -> list[Batch]:
        """Returns this worker's share of a step's batch, in microbatches of about equal size."""
        mine = self.batch_indices(step)[self.rank :: self.num_workers]
        return [self.split.batch(piece) for piece in np.array_split(mine, self.microbatches)]

    def _order(self, epoch: int) -> list[Array]:
        if epoch not in self._orders:
            self._orders.clear()
            self._orders[epoch] = epoch_order(self.split.lengths, self.batch_size, self.seed, epoch)
        return self._orders[epoch]


def epoch_order(lengths_N: Array, batch_size: int, seed: int, epoch: int) -> list[Array]:
    """Returns the batches of an epoch, as indices.

    It shuffles the examples, cuts them into pools, sorts each pool by length (ties in shuffled order), cuts the pools
    into batches and shuffles the batches.
    """
    rng = np.random.default_rng([seed, epoch])
    pool_size = POOL_BATCHES * batch_size
    shuffled = rng.permutation(len(lengths_N))[: max(1, len(lengths_N) // batch_size) * batch_size]
    pools = [shuffled[start : start + pool_size] for start in range(0, len(shuffled), pool_size)]
    by_length = np.concatenate([pool[np.argsort(lengths_N[pool], kind="stable")] for pool in pools])
    batches = [by_length[start : start + batch_size] for start in range(0, len(by_length), batch_size)]
    return [batches[place] for place in rng.permutation(len(batches))]


def fixed_order(num_examples: int) -> Array:
    """Returns the order of a split's examples whose first ones are its fixed random subset, of any size."""
    return np.random.default_rng(SUBSET_SEED).permutation(num_examples)


def evaluated_indices(split: TokenizedSplit, limit: int | None = None) -> Array:
    """Returns the examples of a fixed random subset of a split, ascending; without a limit all of them."""
    if limit is None or limit >= len(split):
        return np.arange(len(split))
    return np.sort(fixed_order(len(split))[:limit])


def evaluation_batches(
    split: TokenizedSplit,
    batch_size: int,
    limit: int | None = None,
    rank: int = 0,
    num_workers: int = 1,
) -> Iterator[tuple[Array, Batch]]:
    """Yields (indices, batch) sorted by length; over all workers every example comes exactly once.

    A worker may get one batch fewer than another, or none.

    Args:
        split: The examples to evaluate on.
        batch_size: Examples in a batch.
        limit: Size of the fixed random subset to evaluate on; None: all examples.
        rank: Number of this worker, from 0.
        num_workers: Workers in all.
    """
    indices = _by_length(split, limit)
    for start in range(rank * batch_size, len(indices), num_workers * batch_size):
        chosen = indices[start : start + batch_size]
        yield chosen, split.batch(chosen)


def batches_behind_one(
    split: TokenizedSplit, batch_size: int, limit: int | None = None, rank: int = 0, num_workers: int = 1
) -> Iterator[Batch]:
    """Yields the batches of `evaluation_batches`, each behind the sentence before its first (at first, the last).

    So every sentence has the same neighbour whatever the batches are. The added sentence has no labels, so
    it is not measured. Of a single sentence there is no batch.
    """
    indices = _by_length(split, limit)
    for start in range(rank * batch_size, len(indices) if len(indices) > 1 else 0, num_workers * batch_size):
        batch = split.batch(np.concatenate([indices[[start - 1]], indices[start : start + batch_size]]))
        batch.labels_BS[0] = IGNORED_LABEL
        yield batch


def _by_length(split: TokenizedSplit, limit: int | None) -> Array:
    indices = evaluated_indices(split, limit)
    return indices[np.argsort(split.lengths[indices], kind="stable")]
