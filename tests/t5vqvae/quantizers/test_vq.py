"""`vq`: both loss terms and what their gradients reach; the terms that need a codebook with a gradient."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from t5vqvae.quantizers import VQConfig
from t5vqvae.quantizers.parts.losses import MAX_ORTHOGONAL, missing_entropy, orthogonality
from t5vqvae.quantizers.vq import VQQuantizer


def quantizer_of(entries: list[list[float]], **settings: object) -> VQQuantizer:
    quantizer = VQConfig(codebook_size=len(entries), start="random", **settings).build(len(entries[0]))
    quantizer.entries_QKD.data.copy_(torch.tensor([entries]))
    return quantizer


@pytest.mark.parametrize(
    ("commitment_on", "on_encoder", "on_codebook"), [("encoder", 0.5, 2.0), ("codebook", 2.0, 0.5)]
)
def test_terms_and_gradients_by_hand(commitment_on: str, on_encoder: float, on_codebook: float) -> None:
    quantizer = quantizer_of([[0.0], [10.0]], commitment_weight=0.5, codebook_weight=2.0, commitment_on=commitment_on)
    states_BTE = torch.tensor([[[1.0], [4.0]]], requires_grad=True)
    output = quantizer(states_BTE, torch.ones(1, 2))
    assert output.terms["commitment"].item() == on_encoder * (1 + 16) / 2
    assert output.terms["codebook"].item() == on_codebook * (1 + 16) / 2
    output.aux_loss.backward()
    assert torch.allclose(states_BTE.grad.flatten(), on_encoder * torch.tensor([1.0, 4.0]))
    assert torch.allclose(quantizer.entries_QKD.grad.flatten(), on_codebook * torch.tensor([-5.0, 0.0]))


def test_the_decoders_gradient_does_not_reach_the_entries() -> None:
    quantizer = quantizer_of([[0.0], [10.0]])
    states_BTE = torch.tensor([[[1.0], [4.0]]], requires_grad=True)
    quantizer(states_BTE, torch.ones(1, 2)).quantized_BTE.sum().backward()
    assert quantizer.entries_QKD.grad is None
    assert torch.equal(states_BTE.grad, torch.ones(1, 2, 1))


def test_learned_affine_moves_entries_that_win_nothing() -> None:
    torch.manual_seed(0)
    quantizer = quantizer_of([[0.0], [10.0], [500.0]], affine="learned")
    optimizer = torch.optim.SGD(quantizer.parameters(), lr=1e-3)
    before_K = quantizer.table_KD(0).detach().clone()
    output = quantizer(torch.tensor([[[2.0], [9.0]]]), torch.ones(1, 2))
    output.aux_loss.backward()
    optimizer.step()
    assert quantizer.entries_QKD[0, 2].item() == 500.0
    assert quantizer.table_KD(0)[2].item() != before_K[2].item()
    # d/db of mean (x - e)^2 is -2 (2 - 0 + 9 - 10) / 2 = -1, times 10 for the rate and 10 for the scale of b.
    assert quantizer.affines[0].shift_D.item() == pytest.approx(1e-3 * 10 * 1.0)


def test_orthogonality_by_hand() -> None:
    table_KD = torch.tensor([[2.0, 0.0], [0.0, 5.0], [3.0, 3.0]])
    assert orthogonality(table_KD, torch.tensor([0, 1, 1])).item() == pytest.approx(0.0, abs=1e-6)
    # cos of 45 degrees, squared: 1/2, twice, over 4 pairs
    assert orthogonality(table_KD, torch.tensor([2, 0])).item() == pytest.approx(2 * 0.5 / 4)
    assert orthogonality(table_KD, torch.empty(0, dtype=torch.int64)).item() == 0.0


def test_workers_compare_the_same_of_many_entries() -> None:
    quantizer = VQConfig(codebook_size=MAX_ORTHOGONAL + 50, start="random", orthogonality_weight=1.0).build(4)
    states_BTE = quantizer.entries_QKD.detach().clone()
    values = []
    for worker, update in ((0, 0), (1, 0), (0, 1)):
        torch.manual_seed(worker)  # workers differ in how many numbers they have drawn
        quantizer._num_updates.fill_(update)
        output = quantizer(states_BTE, torch.ones(states_BTE.shape[:2]))
        values.append(output.terms["orthogonality"].item())
    assert values[0] == values[1] != values[2]


def test_orthogonality_pushes_used_entries_apart() -> None:
    quantizer = quantizer_of([[1.0, 0.1], [1.0, -0.1], [9.0, 9.0]], orthogonality_weight=10.0)
    output = quantizer(torch.tensor([[[1.0, 0.1], [1.0, -0.1]]]), torch.ones(1, 2))
    output.aux_loss.backward()
    grads_KD = quantizer.entries_QKD.grad[0]
    assert grads_KD[0, 1] < 0 < grads_KD[1, 1] and not grads_KD[2].any()


def plain_missing_entropy(inputs_ND: torch.Tensor, table_KD: torch.Tensor, temperature: float) -> torch.Tensor:
    mean_K = (-torch.cdist(inputs_ND, table_KD).square() / temperature).softmax(-1).mean(0)
    return math.log(len(table_KD)) + (mean_K * mean_K.log()).sum()


def test_missing_entropy_equals_the_plain_form_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("t5vqvae.quantizers.parts.losses.MAX_SCORES", 20)
    inputs_ND, table_KD = torch.randn(11, 3, requires_grad=True), torch.randn(6, 3, requires_grad=True)
    values = [missing_entropy(inputs_ND, table_KD, 2.0, True), plain_missing_entropy(inputs_ND, table_KD, 2.0)]
    assert torch.allclose(*values, atol=1e-5)
    ours, plain = (torch.autograd.grad(value, (inputs_ND, table_KD)) for value in values)
    for mine, other in zip(ours, plain, strict=True):
        assert torch.allclose(mine, other, atol=1e-5)


def test_missing_entropy_of_nothing_is_zero_with_a_gradient_path() -> None:
    inputs_ND = torch.empty(0, 3, requires_grad=True)
    value = missing_entropy(inputs_ND, torch.randn(4, 3), 1.0, True)
    value.backward()
    assert value.item() == 0.0


def test_entropy_term_spreads_the_inputs_over_the_entries() -> None:
    quantizer = quantizer_of([[0.0], [1.0]], entropy_weight=1.0, commitment_weight=0.0)
    states_BTE = torch.tensor([[[0.1], [0.2]]], requires_grad=True)
    quantizer(states_BTE, torch.ones(1, 2)).aux_loss.backward()
    assert (states_BTE.grad < 0).all()  # descent moves both inputs towards the entry that no input takes


def test_cosine_keeps_the_loss_independent_of_lengths() -> None:
    states_BTE, mask_BT = torch.randn(2, 5, 4), torch.ones(2, 5)
    quantizer = VQConfig(codebook_size=8, distance="cosine").build(4)
    losses = [quantizer(states_BTE, mask_BT).aux_loss]
    quantizer.entries_QKD.data.mul_(7.0)
    losses.append(quantizer(states_BTE * 3.0, mask_BT).aux_loss)
    assert torch.allclose(*losses, rtol=1e-5)
    codes_BTQ = quantizer(states_BTE, mask_BT).codes_BTQ
    assert torch.equal(
        codes_BTQ[..., 0],
        (F.normalize(states_BTE, dim=-1) @ F.normalize(quantizer.entries_QKD[0], dim=-1).T).argmax(-1),
    )


def test_revival_by_moving_counts() -> None:
    torch.manual_seed(0)
    quantizer = VQConfig(codebook_size=3, revive_below=0.9, start="random").build(2)
    quantizer.entries_QKD.data.copy_(torch.tensor([[[0.0, 0.0], [90.0, 0.0], [0.0, 90.0]]]))
    states_BTE = torch.randn(1, 30, 2)
    for _ in range(40):
        quantizer(states_BTE, torch.ones(1, 30))
        quantizer.update()
    assert quantizer.entries_QKD.detach().abs().max() < 10
    assert quantizer(states_BTE, torch.ones(1, 30)).codes_BTQ.unique().numel() == 3


def test_nothing_is_recorded_when_nothing_will_read_it() -> None:
    quantizer = VQConfig(codebook_size=3).build(2)
    quantizer(torch.randn(1, 3, 2), torch.ones(1, 3))
    assert quantizer._recorded == []
