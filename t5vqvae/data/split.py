"""A tokenized split on disk: flat arrays, memory-mapped, so that all processes of a machine share one copy.

Each array holds the ids, roles or texts of all examples, end to end; `*_ends.npy` holds the end of each example. A
corpus without targets has only the source's arrays.

Letters: N examples, T source positions, S target positions, B batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from t5vqvae.data.batch import IGNORED_LABEL, Batch

Indices = Sequence[int] | npt.NDArray[np.integer[Any]]
PAD = 0


@dataclass(frozen=True)
class Tokenized:
    """One example as token ids, the end-of-text token included."""

    source: str
    target: str | None
    source_ids: Sequence[int]
    target_ids: Sequence[int]
    """Ignored when the target is None."""
    roles: Sequence[int] | None


class TokenizedSplit:
    """The examples of a split, read from a folder that `write_split` wrote.

    A pickle of it holds only the folder's path: the process that unpickles it maps the same files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def __reduce__(self) -> tuple[type[TokenizedSplit], tuple[Path]]:
        return TokenizedSplit, (self.folder,)

    def __len__(self) -> int:
        return len(self._source_ids.ends)

    @property
    def has_roles(self) -> bool:
        """Whether the corpus has a role for every word."""
        return (self.folder / "roles.npy").exists()

    @cached_property
    def source_lengths_N(self) -> npt.NDArray[np.int64]:
        """Source tokens of each example, the end-of-text token included."""
        return self._source_ids.lengths

    @cached_property
    def target_lengths_N(self) -> npt.NDArray[np.int64]:
        """Target tokens of each example, the end-of-text token included."""
        return self._target_ids.lengths

    @cached_property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Length of each example, in tokens: the longer of source and target. Batches are bucketed by it."""
        return np.maximum(self.source_lengths_N, self.target_lengths_N)

    @cached_property
    def num_tokens(self) -> int:
        """Source tokens of all examples."""
        return int(self.source_lengths_N.sum())

    @cached_property
    def num_chars_N(self) -> npt.NDArray[np.int64]:
        """Characters of each target text."""
        return _open(self.folder / "num_chars.npy")

    def sources(self, indices: Indices) -> list[str]:
        """Returns the source texts as they were before tokenization."""
        return [self._source_texts[index].tobytes().decode() for index in indices]

    def texts(self, indices: Indices) -> list[str]:
        """Returns the target texts as they were before tokenization, to compare generated texts with."""
        return [self._target_texts[index].tobytes().decode() for index in indices]

    def token_counts(self, indices: Indices) -> npt.NDArray[np.int64]:
        """Returns how often each source token occurs in these examples, by its id."""
        return np.bincount(np.concatenate([self._source_ids[index] for index in indices]))

    def num_shown(self, num_tokens: int) -> npt.NDArray[np.int64]:
        """Returns how often each token occurs, by its id: in sources and, where they are other texts, in targets.

        Args:
            num_tokens: Tokens of the vocabulary.
        """
        counts = np.bincount(self._source_ids.flat, minlength=num_tokens)
        return counts + np.bincount(self._target_ids.flat, minlength=num_tokens) if self.has_targets else counts

    def batch(self, indices: Indices) -> Batch:
        """Returns these examples, in this order, padded to the longest."""
        chosen_B = np.asarray(indices, dtype=np.int64)
        return Batch(
            input_ids_BT=torch.from_numpy(self._source_ids.padded(chosen_B, PAD)),
            mask_BT=torch.from_numpy(_mask(self.source_lengths_N[chosen_B])),
            labels_BS=torch.from_numpy(self._target_ids.padded(chosen_B, IGNORED_LABEL)),
            roles_BT=torch.from_numpy(self._roles.padded(chosen_B, 0)) if self.has_roles else None,
            num_chars_B=torch.from_numpy(self.num_chars_N[chosen_B].astype(np.int64)),
        )

    @cached_property
    def _source_ids(self) -> _Ragged:
        return _Ragged(self.folder, "source_ids")

    @cached_property
    def _target_ids(self) -> _Ragged:
        return _Ragged(self.folder, "target_ids") if self.has_targets else self._source_ids

    @cached_property
    def _roles(self) -> _Ragged:
        return _Ragged(self.folder, "roles", ends="source_ids")

    @cached_property
    def _source_texts(self) -> _Ragged:
        return _Ragged(self.folder, "source_texts")

    @cached_property
    def _target_texts(self) -> _Ragged:
        return _Ragged(self.folder, "target_texts") if self.has_targets else self._source_texts

    @cached_property
    def has_targets(self) -> bool:
        """Whether something else than the source is decoded."""
        return (self.folder / "target_ids.npy").exists()

    @cached_property
    def has_pairs(self) -> bool:
        """Whether some source is two texts, such as premises, each with its own end-of-text token."""
        ids = self._source_ids
        return len(self) > 0 and int(np.count_nonzero(ids.flat == ids[0][-1])) > len(self)


class PartOfSplit(TokenizedSplit):
    """Some examples of a split, in the order of the split."""

    def __init__(self, whole: TokenizedSplit, chosen_N: npt.NDArray[np.int64]) -> None:
        super().__init__(whole.folder)
        self._whole, self._chosen_N = whole, chosen_N

    def __reduce__(self) -> tuple[type[TokenizedSplit], tuple[Path]]:
        raise TypeError("a part of a split is not sent to other processes")

    def __len__(self) -> int:
        return len(self._chosen_N)

    @cached_property
    def source_lengths_N(self) -> npt.NDArray[np.int64]:
        return self._whole.source_lengths_N[self._chosen_N]

    @cached_property
    def target_lengths_N(self) -> npt.NDArray[np.int64]:
        return self._whole.target_lengths_N[self._chosen_N]

    @cached_property
    def num_chars_N(self) -> npt.NDArray[np.int64]:
        return self._whole.num_chars_N[self._chosen_N]

    @cached_property
    def has_pairs(self) -> bool:
        return self._whole.has_pairs

    def sources(self, indices: Indices) -> list[str]:
        return self._whole.sources(self._places(indices))

    def texts(self, indices: Indices) -> list[str]:
        return self._whole.texts(self._places(indices))

    def token_counts(self, indices: Indices) -> npt.NDArray[np.int64]:
        return self._whole.token_counts(self._places(indices))

    def num_shown(self, num_tokens: int) -> npt.NDArray[np.int64]:
        texts = [self._whole._source_ids, self._whole._target_ids] if self.has_targets else [self._whole._source_ids]
        shown = [ids[index] for ids in texts for index in self._chosen_N]
        return np.bincount(np.concatenate(shown), minlength=num_tokens)

    def batch(self, indices: Indices) -> Batch:
        return self._whole.batch(self._places(indices))

    def _places(self, indices: Indices) -> npt.NDArray[np.int64]:
        return self._chosen_N[np.asarray(indices, dtype=np.int64)]


def write_split(folder: Path, examples: Sequence[Tokenized]) -> None:
    """Writes the files of a `TokenizedSplit` into a new folder."""
    folder.mkdir(parents=True)
    _write(folder, "source_ids", [example.source_ids for example in examples], np.int32)
    _write(folder, "source_texts", [example.source.encode() for example in examples], np.uint8)
    if any(example.target is not None for example in examples):
        ids = [e.source_ids if e.target is None else e.target_ids for e in examples]
        _write(folder, "target_ids", ids, np.int32)
        _write(folder, "target_texts", [_text(example).encode() for example in examples], np.uint8)
    if any(example.roles is not None for example in examples):
        roles = [[0] * len(e.source_ids) if e.roles is None else e.roles for e in examples]
        _write(folder, "roles", roles, np.int32)
    np.save(folder / "num_chars.npy", np.array([len(_text(example)) for example in examples], dtype=np.int64))


def _text(example: Tokenized) -> str:
    return example.source if example.target is None else example.target


class _Ragged:
    """Rows of different lengths, end to end in one memory-mapped array."""

    def __init__(self, folder: Path, name: str, ends: str | None = None) -> None:
        self.flat = _open(folder / f"{name}.npy")
        self.ends = _open(folder / f"{ends or name}_ends.npy")

    @cached_property
    def lengths(self) -> npt.NDArray[np.int64]:
        return np.diff(self.ends, prepend=0)

    def __getitem__(self, index: int) -> npt.NDArray[Any]:
        return self.flat[(self.ends[index - 1] if index else 0) : self.ends[index]]

    def padded(self, indices: npt.NDArray[np.int64], filler: int) -> npt.NDArray[np.int64]:
        """Returns the rows as one array, padded at the right with `filler`."""
        mask = _mask(self.lengths[indices])
        rows = np.full(mask.shape, filler, dtype=np.int64)
        if len(indices):
            rows[mask] = np.concatenate([self[index] for index in indices])
        return rows


def _mask(lengths_B: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    return np.arange(lengths_B.max(initial=0))[None, :] < lengths_B[:, None]


def _write(folder: Path, name: str, rows: Sequence[bytes | Sequence[int]], dtype: type[np.generic]) -> None:
    arrays = [np.frombuffer(row, np.uint8) if isinstance(row, bytes) else np.asarray(row, dtype) for row in rows]
    np.save(folder / f"{name}.npy", np.concatenate(arrays) if arrays else np.zeros(0, dtype))
    np.save(folder / f"{name}_ends.npy", np.cumsum([len(array) for array in arrays], dtype=np.int64))


def _open(path: Path) -> npt.NDArray[Any]:
    # An empty array has nothing to map, so it is read: its file holds only NumPy's header of 128 bytes.
    return np.load(path, mmap_mode="r" if path.stat().st_size > 128 else None)
