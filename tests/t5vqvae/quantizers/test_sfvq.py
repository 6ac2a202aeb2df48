"""`sfvq`: doubling by hand, training points on the curve, noise of the error's length, the two evaluations."""

from __future__ import annotations

import pytest
import torch

from t5vqvae.errors import SettingError
from t5vqvae.quantizers.sfvq import SFVQConfig, SFVQQuantizer, along_segments, doubled, nearest_point


def square_curve(**settings: object) -> SFVQQuantizer:
    """Returns the curve with corners (0, 0), (1, 0), (1, 1), (0, 1)."""
    quantizer = SFVQConfig.parse({"codebook_size": 4, **settings}).build(2)
    with torch.no_grad():
        quantizer.corners_KC.copy_(torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]))
    return quantizer


def test_doubling_by_hand() -> None:
    assert doubled(torch.tensor([[0.0], [1.0], [3.0]])).flatten().tolist() == pytest.approx([0, 0.01, 1, 1.02, 2.98, 3])


def test_the_curve_grows_on_schedule_to_its_size_and_no_further() -> None:
    quantizer = SFVQConfig(codebook_size=8, first_corners=2, double_every=2).build(3)
    sizes = []
    for _ in range(8):
        quantizer.update()
        sizes.append(quantizer.num_corners)
    assert sizes == [2, 4, 4, 8, 8, 8, 8, 8]


def test_the_curve_does_not_grow_while_it_is_bypassed() -> None:
    """Else it has all corners at its start, and grows from no short curve."""
    quantizer = SFVQConfig(codebook_size=8, first_corners=2, double_every=1).build(3)
    quantizer.active = False
    states = torch.randn(1, 4, 3, requires_grad=True)
    optimizer = torch.optim.SGD([states], lr=0.1)
    for active, corners in ((False, 2), (True, 8)):
        quantizer.active = active
        for _ in range(3):
            quantizer(states, torch.ones(1, 4)).quantized_BTE.sum().backward()
            optimizer.step()
            quantizer.update()
        assert quantizer.num_corners == corners


def test_training_takes_points_of_segments_and_their_nearer_corners_codes() -> None:
    packed = square_curve(gradient="straight_through").quantize_packed(torch.tensor([[0.5, -0.1], [1.1, 0.5]]))
    first, second = packed.quantized_NC.tolist()
    assert 0 < first[0] < 1 and first[1] == 0
    assert second[0] == 1 and 0 < second[1] < 1
    assert packed.codes_NQ.flatten().tolist() == [round(first[0]), 1 + round(second[1])]


def test_both_corners_of_a_segment_learn() -> None:
    quantizer = square_curve(gradient="noise")
    packed = quantizer.quantize_packed(torch.tensor([[0.5, -0.1]]))
    grad_KC = torch.autograd.grad(packed.quantized_NC.sum(), quantizer.corners_KC)[0]
    assert (grad_KC.abs().sum(-1) > 0).tolist() == [True, True, False, False]


def test_the_noise_is_as_long_as_the_error_and_there_is_no_loss_term() -> None:
    quantizer, inputs_NC = square_curve(gradient="noise"), torch.tensor([[0.5, -3.0]]).repeat(100, 1)
    packed = quantizer.quantize_packed(inputs_NC)
    errors_N = (packed.quantized_NC - inputs_NC).norm(dim=-1)
    assert not packed.terms
    assert float(errors_N.min()) >= 3.0
    torch.testing.assert_close(errors_N, errors_N[:1].expand(100))
    assert float((packed.quantized_NC - inputs_NC).mean(0).norm()) < 1.0


def test_evaluation_hard_takes_corners_and_soft_projects_on_the_curve() -> None:
    quantizer, inputs_NC = square_curve().eval(), torch.tensor([[0.4, -0.2], [1.3, 0.7], [-1.0, 2.0]])
    hard = quantizer.quantize_packed(inputs_NC)
    assert hard.codes_NQ.flatten().tolist() == [0, 2, 3]
    quantizer.hard = False
    soft = quantizer.quantize_packed(inputs_NC)
    assert torch.equal(soft.codes_NQ, hard.codes_NQ)
    torch.testing.assert_close(soft.quantized_NC, torch.tensor([[0.4, 0.0], [1.0, 0.7], [0.0, 1.0]]))


def test_a_curve_folded_onto_itself_has_a_nearest_point() -> None:
    curve_kC = torch.zeros(3, 2)
    assert nearest_point(torch.ones(1, 2), curve_kC, torch.tensor([1])).tolist() == [[0.0, 0.0]]


def test_it_starts_on_the_means_of_quantiles_by_length() -> None:
    quantizer = SFVQConfig(codebook_size=4, first_corners=2).build(1)
    quantizer.start(torch.tensor([[4.0], [1.0], [3.0], [2.0]]))
    assert quantizer.curve_kC.flatten().tolist() == [1.5, 3.5]


def test_a_size_that_doubling_does_not_reach_is_refused() -> None:
    with pytest.raises(SettingError, match=r"codebook_size=100 must be .*=4 times a power of two"):
        SFVQConfig.parse({"codebook_size": 100})


def test_sf_diveq_is_about_the_point_and_teaches_both_corners_of_its_segment() -> None:
    torch.manual_seed(0)
    quantizer, inputs_NC = square_curve(gradient="diveq"), torch.tensor([[0.5, -3.0]]).repeat(200, 1)
    packed = quantizer.quantize_packed(inputs_NC)
    assert not packed.terms
    assert float(packed.quantized_NC[:, 1].abs().mean()) < 0.05  # noise substitution is 3 away on average
    grad_KC = torch.autograd.grad(packed.quantized_NC.sum(), quantizer.corners_KC)[0]
    assert (grad_KC.abs().sum(-1) > 0).tolist() == [True, True, False, False]


def test_sf_diveq_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    # h = (0, 0), corners (2, 0) and (0, 4), u = 1/4: 3/4 of (2, 0) and 1/4 of (0, 4). For the gradient (1, 1), corner 0
    # gets 3/4 of what stands along its direction (1, 0), and corner 1 gets 1/4 of what stands along (0, 1).
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    corners_N2C = torch.tensor([[[2.0, 0.0], [0.0, 4.0]]], requires_grad=True)
    out_NC = along_segments(torch.zeros(1, 2), corners_N2C, torch.tensor([[0.25]]))
    assert out_NC.tolist() == [[1.5, 1.0]]
    out_NC.sum().backward()
    assert corners_N2C.grad.tolist() == [[[0.75, 0.0], [0.0, 0.25]]]
