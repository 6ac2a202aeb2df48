"""Checkpoints: the newest intact one is used, another spec's is refused, a full disk leaves nothing behind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from baseline_runs import tiny
from safetensors import SafetensorError

from t5vqvae.errors import CheckpointError
from t5vqvae.training import checkpoint
from t5vqvae.training.trainer import train


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def folder(cache: Path, tmp_path: Path) -> Path:
    for milestone in train(tiny("t5vqvae"), cache_dir=cache):
        milestone.state.save(tmp_path)
    return tmp_path


def test_the_newest_intact_one_is_used(folder: Path) -> None:
    newest = folder / "step-00000006"
    assert checkpoint.latest(folder, tiny("t5vqvae")) == newest
    assert checkpoint.read_milestone(newest)["step"] == 6 and checkpoint.read_spec(newest) == tiny("t5vqvae")
    weights = newest / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert checkpoint.latest(folder, tiny("t5vqvae")) == folder / "step-00000003"
    (folder / "step-00000003" / "manifest.json").unlink()
    assert checkpoint.latest(folder, tiny("t5vqvae")) is None


def test_one_of_another_spec_is_refused(folder: Path, cache: Path) -> None:
    with pytest.raises(CheckpointError, match=r"seed is 1 here and 0 there"):
        checkpoint.latest(folder, tiny("t5vqvae", seed=1))
    with pytest.raises(CheckpointError, match="belongs to another spec"):
        next(train(tiny("t5vqvae", seed=1), cache_dir=cache, resume_from=folder / "step-00000003"))


def test_other_workers_may_go_on_from_it(folder: Path) -> None:
    assert checkpoint.latest(folder, tiny("t5vqvae", **{"train.num_workers": 2})) == folder / "step-00000006"


@pytest.mark.parametrize(
    "refusal", [OSError(28, "No space left on device"), SafetensorError("I/O error: No space left (os error 28)")]
)
def test_a_full_disk_leaves_nothing_behind(
    refusal: Exception, folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        raise refusal

    milestone = next(train(tiny("t5vqvae"), cache_dir=cache))
    shutil.rmtree(folder / "step-00000003")
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match="No space left"):
        milestone.state.save(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["step-00000006"]


def test_an_interrupted_save_leaves_nothing_behind(tmp_path: Path) -> None:
    def interrupted(folder: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checkpoint.write(tmp_path / "step-00000001", tiny("t5vqvae"), checkpoint.no_milestone(), interrupted)
    assert list(tmp_path.iterdir()) == []


def test_nothing_in_it_needs_pickle(folder: Path) -> None:
    path = folder / "step-00000006"
    torch.load(path / "training.pt", weights_only=True)
    assert json.loads((path / "milestone.json").read_text())["status"] == "completed"
