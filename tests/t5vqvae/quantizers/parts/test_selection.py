"""Selection: what training samples, and with which probability; evaluation always takes the nearest entry."""

from __future__ import annotations

import pytest
import torch

from t5vqvae.quantizers import EMAConfig, VQConfig
from t5vqvae.quantizers.parts import selection as module
from t5vqvae.quantizers.parts.selection import sample_many, sample_topk

TABLE = torch.tensor([[0.0], [1.0], [2.0], [50.0]])


def test_topk_takes_each_candidate_with_its_probability() -> None:
    torch.manual_seed(0)
    codes_N = sample_topk(torch.zeros(20000, 1), TABLE, k=2, temperature=2.0)[:, 0]
    share = torch.bincount(codes_N, minlength=4) / 20000
    wanted = torch.tensor([0.0, -1 / 2]).softmax(0)  # squared distances 0 and 1, temperature 2
    assert torch.allclose(share[:2], wanted, atol=0.02)
    assert share[2:].sum() == 0


def test_multi_takes_every_entry_with_its_probability() -> None:
    torch.manual_seed(0)
    codes_NS = sample_many(torch.zeros(3000, 1), TABLE, num_samples=10, temperature=2.0)
    assert codes_NS.shape == (3000, 10)
    wanted = torch.tensor([0.0, -1 / 2, -4 / 2, -2500 / 2]).softmax(0)
    assert torch.allclose(torch.bincount(codes_NS.flatten(), minlength=4) / 30000, wanted, atol=0.02)


def test_blocks_of_rows_do_not_change_the_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SCORES", 8)
    inputs_ND = torch.tensor([[0.1], [49.0], [1.1], [0.9], [51.0]])
    assert sample_topk(inputs_ND, TABLE, k=1, temperature=1.0)[:, 0].tolist() == [0, 3, 1, 1, 3]


@pytest.mark.parametrize("selection", ["topk", "multi"])
def test_evaluation_takes_the_nearest_and_training_does_not(selection: str) -> None:
    torch.manual_seed(0)
    settings = {"codebook_size": 12, "temperature": 5.0, "start": "random", "num_codebooks": 2}
    sampling = EMAConfig(selection=selection, **settings).build(8)
    plain = EMAConfig(**settings).build(8)
    states_BTE, mask_BT = torch.randn(3, 5, 8, requires_grad=True), torch.ones(3, 5, dtype=torch.bool)
    nearest = plain.eval()(states_BTE, mask_BT)
    sampled = sampling(states_BTE, mask_BT)
    assert not torch.equal(sampled.quantized_BTE, nearest.quantized_BTE)
    found = sampling.eval()(states_BTE, mask_BT)
    assert torch.equal(found.codes_BTQ, nearest.codes_BTQ)
    assert torch.equal(found.quantized_BTE, nearest.quantized_BTE)


def test_multi_passes_on_the_mean_and_counts_shares() -> None:
    config = EMAConfig(codebook_size=2, selection="multi", num_samples=4, temperature=1e6, decay=0.5, revive_below=None)
    quantizer = config.build(1)
    quantizer.entries_QKD.copy_(torch.tensor([[[0.0], [1.0]]]))
    torch.manual_seed(0)
    states_BTE = torch.tensor([[[3.0]]], requires_grad=True)
    output = quantizer(states_BTE, torch.ones(1, 1))
    codes_NQS = quantizer._recorded[0][1]
    share = codes_NQS.float().mean().item()
    assert 0 < share < 1 and output.quantized_BTE.item() == share
    quantizer.update()
    # N = 0.5 x 1 + 0.5 x the share of the 4 samples; e moves towards 3 by the new part of N.
    gains = 0.5 * torch.tensor([1 - share, share])
    assert torch.allclose(quantizer.counts_QK[0], 0.5 + gains)
    assert torch.allclose(quantizer.entries_QKD[0, :, 0], (0.5 * torch.tensor([0.0, 1.0]) + 3 * gains) / (0.5 + gains))


@pytest.mark.parametrize("config", [EMAConfig(selection="topk"), VQConfig(selection="multi")])
def test_sampling_follows_torch_random_state(config: EMAConfig | VQConfig) -> None:
    quantizer, state = config.build(8), torch.get_rng_state()
    states_BTE, mask_BT = torch.randn(2, 6, 8, requires_grad=True), torch.ones(2, 6)
    outputs = []
    for _ in range(2):
        torch.set_rng_state(state)
        outputs.append(quantizer(states_BTE, mask_BT).quantized_BTE)
    assert torch.equal(*outputs)


def test_more_candidates_than_entries_are_refused() -> None:
    with pytest.raises(ValueError, match=r"quantizer\.top_k=9 must be at most quantizer\.codebook_size=8"):
        EMAConfig(codebook_size=8, selection="topk", top_k=9)
