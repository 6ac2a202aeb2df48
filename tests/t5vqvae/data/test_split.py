from __future__ import annotations

import pickle
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

from t5vqvae.data import TokenizedSplit
from t5vqvae.data.split import Tokenized, write_split
from t5vqvae.training.workers import global_counts

EXAMPLES = [
    Tokenized("ab", "A", [5, 6, 1], [7, 1], [1, 2, 0]),
    Tokenized("c é", None, [8, 1], [8, 1], None),
    Tokenized("", "long", [1], [9, 9, 9, 9, 1], [0]),
]


@pytest.fixture
def split(tmp_path: Path) -> TokenizedSplit:
    write_split(tmp_path / "split", EXAMPLES)
    return TokenizedSplit(tmp_path / "split")


def test_worked_batch(split: TokenizedSplit) -> None:
    batch = split.batch([1, 0])
    assert batch.input_ids_BT.tolist() == [[8, 1, 0], [5, 6, 1]]
    assert batch.mask_BT.tolist() == [[True, True, False], [True, True, True]]
    assert batch.labels_BS.tolist() == [[8, 1], [7, 1]]
    assert batch.roles_BT is not None and batch.roles_BT.tolist() == [[0, 0, 0], [1, 2, 0]]
    assert batch.num_chars_B.tolist() == [3, 1]
    assert (batch.num_source_tokens, batch.num_target_tokens, len(batch)) == (5, 4, 2)
    assert split.batch([2, 0]).labels_BS.tolist() == [[9, 9, 9, 9, 1], [7, 1, -100, -100, -100]]
    dtypes = (batch.input_ids_BT.dtype, batch.mask_BT.dtype, batch.labels_BS.dtype, batch.roles_BT.dtype)
    assert dtypes == (torch.int64, torch.bool, torch.int64, torch.int64)


def test_facts(split: TokenizedSplit) -> None:
    assert len(split) == 3
    assert split.lengths.tolist() == [3, 2, 5]
    assert split.num_tokens == 6
    assert split.num_chars_N.tolist() == [1, 3, 4]
    assert split.sources([2, 0, 1]) == ["", "ab", "c é"]
    assert split.texts(np.array([0, 1, 2])) == ["A", "c é", "long"]


def test_without_targets_and_roles(tmp_path: Path) -> None:
    write_split(tmp_path / "plain", [Tokenized("x", None, [3, 1], [3, 1], None)])
    plain = TokenizedSplit(tmp_path / "plain")
    assert plain.batch([0]).labels_BS.tolist() == [[3, 1]]
    assert plain.batch([0]).roles_BT is None
    assert plain.texts([0]) == ["x"]
    assert not list((tmp_path / "plain").glob("target*"))


def test_batches_do_not_share_memory_with_the_disk(split: TokenizedSplit) -> None:
    split.batch([0]).input_ids_BT.fill_(99)
    split.batch([0]).num_chars_B.fill_(99)
    assert split.batch([0]).input_ids_BT.tolist() == [[5, 6, 1]]
    assert split.num_chars_N[0] == 1


def test_arrays_are_mapped_and_read_only(split: TokenizedSplit) -> None:
    flat = split._source_ids.flat
    assert isinstance(flat, np.memmap) and Path(str(flat.filename)).parent == split.folder
    assert not flat.flags.writeable


def test_pickle_carries_the_folder_only(split: TokenizedSplit) -> None:
    split.batch([0, 1, 2])
    pickled = pickle.dumps(split)
    assert len(pickled) < 500
    assert pickle.loads(pickled).batch([1]).input_ids_BT.tolist() == [[8, 1]]


def test_batch_moves_with_all_its_tensors(split: TokenizedSplit) -> None:
    batch = split.batch([0]).to("meta")
    assert {getattr(batch, field.name).device.type for field in fields(batch)} == {"meta"}
    assert split.batch([0]).to("cpu").input_ids_BT.tolist() == [[5, 6, 1]]


def test_a_moved_batch_was_counted_before(split: TokenizedSplit) -> None:
    """A tensor on `meta` has no values, so whatever reads them there raises, where a GPU would wait."""
    batch = split.batch([1, 0]).to("meta")
    assert (batch.num_source_tokens, batch.num_target_tokens) == (5, 4)
    assert global_counts([batch, batch], torch.device("meta")) == (8, 10)
    sources = split.batch([1, 0]).of_sources()
    assert sources.num_target_tokens == sources.to("meta").num_target_tokens == 5


def test_empty_split(tmp_path: Path) -> None:
    write_split(tmp_path / "empty", [])
    assert len(TokenizedSplit(tmp_path / "empty")) == 0
    assert TokenizedSplit(tmp_path / "empty").batch([]).input_ids_BT.shape == (0, 0)
