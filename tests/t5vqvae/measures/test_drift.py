"""Drift by hand: entries that are exchanged, scaled or turned, and what no checkpoint of one run differs in."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from baseline_runs import build, tiny
from spelling_model import Spelling

from t5vqvae.data import prepare
from t5vqvae.errors import CheckpointError, DataError
from t5vqvae.measures import drift as module
from t5vqvae.measures.base import Probed
from t5vqvae.measures.drift import by_chance, changed_share, drift, earlier_model, paired_cosine, relative_distance
from t5vqvae.measures.probing import probe
from t5vqvae.spec.probe import ProbeSpec

NAMES = {"quantizer.name": "vq", "model.position": 0, "quantizer.codebook_size": 400}


def test_changed_codes_by_hand() -> None:
    before = np.array([[1, 2], [1, 2], [3, 4], [5, 6]])
    now = np.array([[1, 2], [1, 7], [8, 9], [5, 6]])
    assert changed_share(before, now) == 1 / 2, "one of two codes is enough"


def test_cosine_and_distance_by_hand() -> None:
    before = np.array([[3.0, 4.0], [0.0, 1.0], [0.0, 0.0]])
    now = np.array([[6.0, 8.0], [1.0, 0.0], [0.0, 2.0]])
    assert paired_cosine(before, now) == pytest.approx((1 + 0) / 2), "a vector of length 0 has no direction"
    # It moved by 5, the root of 2, and 2; lengths 5, 1 and 0.
    assert relative_distance(before, now) == pytest.approx((5 + 2**0.5 + 2) / 6)
    assert paired_cosine(before * 0, now) is None and relative_distance(before * 0, now) is None


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def probed(cache: Path) -> Probed:
    """A model whose codes name tokens, since a checkpoint that is the same."""
    spec = tiny("t5vqvae", **NAMES)
    model = build(spec, cache).eval()
    model.quantizer.entries_QKD.data[0, : len(model.shared.weight)] = model.shared.weight.data
    data = prepare(spec.data, cache)
    both = Probed(model, spec, data.train, data.validation, "validation", data.role_names, cache, 30, 20)
    return replace(both, earlier=copy.deepcopy(model))


def test_the_same_checkpoint_did_not_drift(probed: Probed) -> None:
    found = drift(probed).metrics
    assert (found["drift/codes_changed"], found["drift/distance"]) == (0, 0)
    assert found["drift/cosine"] == pytest.approx(1)
    assert found["drift/codes_changed_shuffled"] > 0.8 and found["drift/distance_shuffled"] > 0.5
    assert abs(found["drift/cosine_shuffled"]) < 0.5


@pytest.mark.parametrize("seed", range(8))
def test_no_entry_is_its_own_partner_however_few_there_are(seed: int) -> None:
    axes = np.eye(3)
    assert by_chance(paired_cosine, axes, axes, seed) == 0
    assert by_chance(changed_share, np.array([[1], [2]]), np.array([[1], [2]]), seed) == 1
    assert by_chance(paired_cosine, axes[:1], axes[:1], seed) is None, "one entry has no other order"


def test_two_entries_that_changed_places_by_hand(probed: Probed) -> None:
    codes_N = np.concatenate(probed.codes)[:, 0]
    used, counts = np.unique(codes_N, return_counts=True)
    one, other = used[counts.argsort()[-2:]]
    earlier: Any = copy.deepcopy(probed.model)
    entries = earlier.quantizer.entries_QKD.data[0]
    before = entries[used].double().numpy()
    entries[[one, other]] = entries[[other, one]]
    found = drift(replace(probed, earlier=earlier))
    moved = np.linalg.norm(before[used == one] - before[used == other])
    lengths = np.linalg.norm(before, axis=1)
    assert found.metrics["drift/codes_changed"] == pytest.approx(
        counts[np.isin(used, [one, other])].sum() / len(codes_N)
    )
    assert found.metrics["drift/distance"] == pytest.approx(2 * moved / lengths.sum(), rel=1e-5)
    cosine = before[used == one][0] @ before[used == other][0] / np.prod(lengths[np.isin(used, [one, other])])
    assert found.metrics["drift/cosine"] == pytest.approx((len(used) - 2 + 2 * cosine) / len(used), rel=1e-5)
    [rows] = found.tables.values()
    kept = {row["code"]: row["tokens kept"] for row in rows}
    assert kept.pop(str(one)) == kept.pop(str(other)) == 0 and set(kept.values()) == {1}


def test_entries_that_grow_keep_their_direction_and_all_their_tokens(probed: Probed) -> None:
    later: Any = copy.deepcopy(probed.model)
    later.quantizer.entries_QKD.data.mul_(1.001)
    found = drift(replace(probed, model=later)).metrics
    assert found["drift/codes_changed"] == 0 and found["drift/cosine"] == pytest.approx(1)
    assert found["drift/distance"] == pytest.approx(0.001, rel=0.01)


def test_a_probe_reads_the_earlier_checkpoint(probed: Probed, cache: Path, tmp_path: Path) -> None:
    probed.model.save_pretrained(tmp_path / "model")
    wanted = ProbeSpec(sentences=20, earlier=str(tmp_path))
    found = probe(probed.model, probed.spec, wanted, cache, ["drift"])
    assert found.metrics["drift/codes_changed"] == 0 and not found.absent
    assert probe(probed.model, probed.spec, ProbeSpec(sentences=20), cache, ["drift"]).absent == ["drift"]


def later(monkeypatch: pytest.MonkeyPatch, its: Spelling, mine: Spelling) -> None:
    monkeypatch.setattr(module, "load_model", lambda folder: its)
    earlier_model(Path("old"), mine)


def test_what_is_no_checkpoint_of_the_run_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckpointError, match="nowhere holds no model"):
        earlier_model(Path("nowhere"), Spelling())
    with pytest.raises(CheckpointError, match="earlier=old cannot be loaded: other shapes; name an earlier checkpoint"):
        monkeypatch.setattr(module, "load_model", Mock(side_effect=RuntimeError("other shapes\nweights")))
        earlier_model(Path("old"), Spelling())
    with pytest.raises(DataError, match="earlier=old: the probed model has no codes that could move; leave"):
        later(monkeypatch, Spelling(), Spelling("none"))
    with pytest.raises(
        DataError, match=r"earlier=old has no codes \(quantizer.name=none, or before train.quantize_from"
    ):
        later(monkeypatch, Spelling("none"), Spelling())
    other = Spelling()
    other.require_tokenizer().add_tokens(["Zed"])
    with pytest.raises(DataError, match=r"another tokenizer \(data.tokenizer\): 17 tokens, the probed model has 16"):
        later(monkeypatch, other, Spelling())
    with pytest.raises(DataError, match="17, and it has no 'Zed' at its place; name an earlier checkpoint of the same"):
        later(monkeypatch, Spelling(), other)
    grown: Any = Spelling("sfvq")
    grown.quantizer._num_corners.fill_(8)
    with pytest.raises(
        DataError,
        match=r"of 8 entries \(quantizer.codebook_size; the curve of sfvq grows\), the probed model one of 16",
    ):
        later(monkeypatch, grown, Spelling("sfvq"))
    with pytest.raises(
        DataError, match=r"of 16 \+ 16 entries \(quantizer.codebook_size; .*\), the probed model one of 16"
    ):
        later(monkeypatch, Spelling("rvq"), Spelling())
    wide: Any = Spelling()
    wide.quantizer.code_width = 3
    with pytest.raises(DataError, match=r"of 3 numbers \(quantizer.code_width\), the probed model one of 2; name"):
        later(monkeypatch, wide, Spelling())
