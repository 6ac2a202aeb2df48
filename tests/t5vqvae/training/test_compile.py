"""`train.compile` on a CPU: the numbers of eager training to rounding, no graph for decoding, a clear refusal."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from t5vqvae.errors import SettingError
from t5vqvae.spec.run import RunSpec
from t5vqvae.training.trainer import Milestone, train

TINY = {
    "data.corpus.name": "grammar",
    "data.corpus.size": 200,
    "model.d_model": 32,
    "model.d_ff": 64,
    "model.num_layers": 1,
    "model.num_decoder_layers": 1,
    "quantizer.codebook_size": 32,
    "train.max_steps": 4,
    "train.batch_size": 8,
    "train.eval_every": 2,
    "evaluate.num_examples": 20,
    "evaluate.num_generated": 4,
}


def milestones(cache: Path, **overrides: Any) -> list[Milestone]:
    return list(train(RunSpec().with_overrides({**TINY, **overrides}), cache_dir=cache))


@pytest.mark.slow  # 20 s of compiling on an idle core
@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling for a CPU needs g++")
def test_a_compiled_run_equals_an_eager_one_to_rounding(tmp_path: Path) -> None:
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    counters.clear()
    compiled = milestones(tmp_path, **{"train.compile": True})
    eager = milestones(tmp_path)
    # Self-attention of either side, cross-attention, feed-forward; some again without padding. Decoding: 10 more.
    assert counters["stats"]["unique_graphs"] <= 6
    for one, other in zip(compiled, eager, strict=True):
        for name in ("train/loss", "train/grad_norm", "validation/nll"):
            assert one.metrics[name] == pytest.approx(other.metrics[name], rel=1e-5), name
    theirs = eager[-1].state.model.state_dict()
    for name, value in compiled[-1].state.model.state_dict().items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-4, atol=1e-5, msg=name)


def test_a_model_without_such_blocks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"train\.compile=True needs a model made of T5's blocks"):
        milestones(tmp_path, **{"train.compile": True, "model.name": "transformer"})
