"""`rvq`: two layers by hand, a commitment term that reaches every layer, coarse prefixes, dropped layers."""

from __future__ import annotations

import pytest
import torch

from t5vqvae.errors import SettingError
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


def test_residual_fsq_by_hand() -> None:
    """Three levels are -1, 0 and 1. Layer 0 rounds tanh(h) to 0; layer 1 takes the residual twice as fine."""
    quantizer = RVQConfig(learning="fsq", codebook_size=3, depth=3).build(1).eval()
    bounded = torch.tensor([[0.3]])
    packed = quantizer.quantize_packed(bounded.atanh())
    # Layer 0: 0.3 -> 0. Layer 1: 2 * 0.3 = 0.6 -> 1, worth 0.5. Layer 2: 4 * (0.3 - 0.5) = -0.8 -> -1, worth -0.25.
    assert packed.codes_NQ.tolist() == [[1, 2, 0]]
    assert packed.quantized_NC.item() == pytest.approx(0.25)


def test_residual_lfq_by_hand() -> None:
    """Signs of size 1, 1/2 and 1/4: 0.3 = 1 - 1/2 - 1/4 + 0.05."""
    packed = RVQConfig(learning="lfq", codebook_size=2, depth=3).build(1).eval().quantize_packed(torch.tensor([[0.3]]))
    assert packed.codes_NQ.tolist() == [[1, 0, 0]]
    assert packed.quantized_NC.item() == pytest.approx(0.25)


@pytest.mark.parametrize("learning", ["ema", "gradient", "simvq", "fsq", "lfq"])
def test_the_error_falls_with_every_layer_whatever_a_layer_is(learning: str) -> None:
    torch.manual_seed(0)
    quantizer = RVQConfig.parse({"learning": learning, "codebook_size": 16, "depth": 4}).build(4)
    vectors_NC = 0.5 * torch.randn(400, quantizer.code_width)
    if quantizer.num_start_vectors:
        quantizer.start(vectors_NC)
    quantizer.eval()
    wanted_NC = quantizer._shaped(vectors_NC)
    codes_NQ = quantizer.quantize_packed(vectors_NC).codes_NQ
    with torch.no_grad():
        errors = [float((wanted_NC - quantizer.lookup_packed(codes_NQ[:, :q])).square().mean()) for q in range(1, 5)]
    assert errors == sorted(errors, reverse=True)
    assert errors[3] < errors[0] * (0.95 if learning == "simvq" else 0.5)  # simvq starts from a random table


def test_groups_have_chains_of_their_own() -> None:
    quantizer = RVQConfig(codebook_size=2, depth=2, groups=2).build(2).eval()
    for chain, first in zip(quantizer.chains, (1.0, 10.0), strict=True):
        for layer, step in zip(chain.layers, (first, first / 4), strict=True):
            layer.tables_QKD.data.copy_(torch.tensor([0.0, step]).view(1, 2, 1))
    packed = quantizer.quantize_packed(torch.tensor([[1.2, 2.6]]))
    assert quantizer.code_sizes == (2, 2, 2, 2) and packed.codes_NQ.tolist() == [[1, 1, 0, 1]]
    assert packed.quantized_NC.tolist() == [[1.25, 2.5]] == quantizer.lookup_packed(packed.codes_NQ).tolist()


def test_an_estimator_acts_on_the_sum_of_all_layers() -> None:
    inputs_NC = torch.tensor([[1.0, 0.0]], requires_grad=True)
    quantizer = RVQConfig(codebook_size=2, depth=2, estimator="rotation").build(2)
    for layer, entry in zip(quantizer.layers, ([0.0, 1.0], [0.0, 1.0]), strict=True):
        layer.tables_QKD.data.copy_(torch.tensor([entry, entry]).view(1, 2, 2))
    quantizer.quantize_packed(inputs_NC).quantized_NC.backward(torch.tensor([[3.0, 5.0]]))
    # The sum (0, 2) is a quarter turn and twice the length away: R^T (3, 5) = (5, -3), times 2.
    torch.testing.assert_close(inputs_NC.grad, torch.tensor([[10.0, -6.0]]))


def test_diveq_teaches_the_entries_of_all_layers_without_a_loss_term() -> None:
    quantizer = two_layers(learning="gradient", estimator="diveq")
    packed = quantizer.quantize_packed(torch.tensor([[3.4]]))
    assert packed.terms == {}
    packed.quantized_NC.sum().backward()
    assert all(layer.entries_QKD.grad.abs().sum() > 0 for layer in quantizer.layers)


def test_cosine_scales_to_unit_length_and_revival_reaches_the_layers() -> None:
    quantizer = RVQConfig(codebook_size=4, depth=2, distance="cosine", revive_below=0.1, revive_beyond=0.5).build(3)
    quantizer.start(torch.randn(50, 3))
    first, second = quantizer.eval().quantize_packed(torch.tensor([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0]])).quantized_NC
    assert torch.equal(first, second)
    assert all(layer.config.revive_below == 0.1 and layer.config.revive_beyond == 0.5 for layer in quantizer.layers)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"learning": "fsq", "revive_below": 0.1}, r"quantizer\.revive_below=0\.1 needs entries, unlike fsq"),
        ({"learning": "ema", "estimator": "diveq"}, r"quantizer\.estimator=diveq needs entries that learn by gradient"),
        ({"learning": "lfq", "codebook_size": 100}, r"quantizer\.codebook_size=100 must be a power of two"),
        ({"groups": 3, "code_width": 4}, r"quantizer\.groups=3 must divide quantizer\.code_width=4"),
    ],
)
def test_what_a_layer_cannot_do_is_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        RVQConfig.parse(settings)


def test_the_commitment_of_a_layer_is_of_its_residual_not_of_the_scaled_one() -> None:
    """LFQ's layers quantize residuals at twice the scale of the layer before."""
    torch.manual_seed(0)
    inputs_NC = torch.rand(64, 8) * 2 - 1
    terms = [
        float(
            RVQConfig(depth=depth, codebook_size=256, learning="lfq")
            .build(8)
            .quantize_packed(inputs_NC)
            .terms["commitment"]
        )
        for depth in (1, 2, 3)
    ]
    quantizer = RVQConfig(depth=3, codebook_size=256, learning="lfq").build(8).eval()
    codes_NQ = quantizer.quantize_packed(inputs_NC).codes_NQ
    errors = [float((inputs_NC - quantizer.lookup_packed(codes_NQ[:, :q])).square().mean()) for q in (1, 2, 3)]
    weight = terms[0] / errors[0]
    assert [terms[1] - terms[0], terms[2] - terms[1]] == pytest.approx([weight * e for e in errors[1:]], rel=1e-4)
