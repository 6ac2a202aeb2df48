"""`rvq`: two layers by hand, a commitment term that reaches every layer, coarse prefixes, dropped layers."""

from __future__ import annotations

import pytest
import torch

from t5vqvae.quantizers.rvq import RVQConfig, RVQQuantizer


def two_layers(**settings: object) -> RVQQuantizer:
    """Returns layers of width 1 with the entries 0 and 3, then 0 and 0.5."""
    quantizer = RVQConfig.parse({"codebook_size": 2, "depth": 2, "commitment_weight": 1.0, **settings}).build(1)
    for layer, entries in zip(quantizer.layers, ([0.0, 3.0], [0.0, 0.5]), strict=True):
        layer.tables_QKD.data.copy_(torch.tensor(entries).view(1, 2, 1))
    return quantizer


def test_residuals_by_hand() -> None:
    packed = two_layers().quantize_packed(torch.tensor([[3.4], [3.2], [0.3]]))
    assert packed.codes_NQ.tolist() == [[1, 1], [1, 0], [0, 1]]
    assert packed.quantized_NC.flatten().tolist() == [3.5, 3.0, 0.5]


def test_each_layer_has_its_commitment_term() -> None:
    inputs_NC = torch.tensor([[3.4]], requires_grad=True)
    commitment = two_layers().quantize_packed(inputs_NC).terms["commitment"]
    assert commitment.item() == pytest.approx(0.4**2 + 0.1**2)  # residuals 0.4 and -0.1
    commitment.backward()
    assert inputs_NC.grad.item() == pytest.approx(2 * 0.4 + 2 * -0.1)


def test_fewer_codes_give_the_coarser_reconstruction() -> None:
    assert two_layers().lookup_packed(torch.tensor([[1], [0]])).flatten().tolist() == [3.0, 0.0]


def test_each_layer_lessens_the_error_after_a_start_on_residuals() -> None:
    torch.manual_seed(0)
    vectors_NC = torch.randn(400, 6)
    quantizer = RVQConfig(codebook_size=8, depth=4).build(6)
    quantizer.start(vectors_NC)
    codes_NQ = quantizer.eval().quantize_packed(vectors_NC).codes_NQ
    errors = [float((vectors_NC - quantizer.lookup_packed(codes_NQ[:, :q])).square().mean()) for q in range(1, 5)]
    assert errors == sorted(errors, reverse=True) and errors[3] < 0.5 * errors[0]


def test_layers_learn_from_residuals() -> None:
    quantizer = two_layers(decay=0.5)
    quantizer.quantize_packed(torch.tensor([[3.4]]))
    quantizer.update()
    # Counts 1: a hit weighs 0.5 / (0.5 + 0.5). Entry 3 moves half-way to 3.4, entry 0.5 half-way to the residual 0.4.
    assert quantizer.layers[0].tables_QKD[0, 1].item() == pytest.approx(3.2)
    assert quantizer.layers[1].tables_QKD[0, 1].item() == pytest.approx(0.45)


def test_dropout_uses_fewer_layers_in_training_alone() -> None:
    quantizer = two_layers(dropout=1.0)
    seen = set()
    for _ in range(20):
        packed = quantizer.quantize_packed(torch.tensor([[3.4]]))
        seen.add(round(packed.quantized_NC.item(), 2))
        quantizer._num_updates += 1
    assert seen == {3.0, 3.5}
    assert quantizer.eval().quantize_packed(torch.tensor([[3.4]])).quantized_NC.item() == 3.5


def test_a_dropped_layer_does_not_learn() -> None:
    quantizer = two_layers(dropout=1.0)
    while quantizer._num_kept() != 1:
        quantizer._num_updates += 1
    before = quantizer.layers[1].tables_QKD.clone()
    quantizer.quantize_packed(torch.tensor([[3.4]]))
    quantizer.update()
    assert torch.equal(quantizer.layers[1].tables_QKD, before)
