"""Masses of attention by hand, and of a real model: what the hooks keep adds up to 1."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from baseline_runs import batch_of, build, tiny

from t5vqvae.measures.attention import _weights_of, masses

MASK = torch.tensor([[True, True, True], [True, True, False]])


def test_a_head_that_copies_one_that_rests_and_one_that_is_even() -> None:
    copies = torch.eye(3).expand(2, 3, 3)
    rests = torch.zeros(2, 3, 3)
    rests[0, :, 2], rests[1, :, 1] = 1, 1
    even = MASK[:, None, :].float() / MASK.sum(1)[:, None, None]
    found = masses(torch.stack([copies, rests, even.expand(2, 3, 3)], 1), MASK, 0)
    assert found["aligned"].tolist() == pytest.approx([1, 2 / 5, 2 / 5]), "at the end, resting is aligned"
    assert found["end"].tolist() == pytest.approx([2 / 5, 1, 2 / 5])
    assert found["uniform"].tolist() == pytest.approx([2 / 5] * 3), "3 positions of 1/3 and 2 of 1/2, over 5"
    assert "prompts" not in found


def test_prompts_stand_before_the_memory() -> None:
    weights = torch.cat([torch.full((2, 1, 3, 2), 0.1), torch.eye(3).expand(2, 1, 3, 3) * 0.8], -1)
    found = masses(weights, MASK, 2)
    assert found["prompts"].item() == pytest.approx(0.2) and found["aligned"].item() == pytest.approx(0.8)


def test_the_weights_of_a_model_add_up_and_the_model_stays_as_it_was(tmp_path: Path) -> None:
    spec = tiny("t5vqvae")
    model, batch = build(spec, tmp_path).eval(), batch_of(spec, tmp_path)
    before, way = model.losses(batch).nll_sum, model.config._attn_implementation
    with torch.no_grad(), _weights_of(model) as layers:
        model.losses(batch)
        assert sorted(layers) == [0, 1]
        for weights in layers.values():
            assert weights.shape[2:] == (batch.labels_BS.shape[1], batch.mask_BT.shape[1])
            assert weights.sum(-1) == pytest.approx(1, abs=1e-5)
            assert float((weights * ~batch.mask_BT[:, None, None]).abs().max()) == 0
    assert model.config._attn_implementation == way
    assert float(model.losses(batch).nll_sum) == pytest.approx(float(before))
