"""`hypervq`: the hyperplane's logit by hand and by its geometry; the choice differs from the nearest entry."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from t5vqvae.quantizers.hypervq import HyperVQConfig, exp_0, hyperplane_logits


@pytest.mark.parametrize("curvature", [0.3, 1.0, 2.5])
def test_the_logit_is_zero_on_the_hyperplane_and_minus_4_r_z_in_the_origin(curvature: float) -> None:
    normals_KC, offsets_K = torch.randn(4, 3), torch.tensor([0.1, 0.4, -0.3, 0.0])
    representative_KC = exp_0(offsets_K.unsqueeze(-1) * F.normalize(normals_KC, dim=-1), curvature)
    logits_KK = hyperplane_logits(representative_KC, normals_KC, offsets_K, curvature)
    torch.testing.assert_close(logits_KK.diagonal(), torch.zeros(4), atol=1e-5, rtol=0)
    in_origin_K = hyperplane_logits(torch.zeros(1, 3), normals_KC, offsets_K, curvature)[0]
    torch.testing.assert_close(in_origin_K, -4 * offsets_K * normals_KC.norm(dim=-1))


def test_the_logit_by_hand() -> None:
    # c = 1, r = 0, z = (2, 0), x = (1/2, 0): 4 asinh(2 * 1/2 / (1 - 1/4)) = 4 asinh(4/3) = 4 ln 3
    logit = hyperplane_logits(torch.tensor([[0.5, 0.0]]), torch.tensor([[2.0, 0.0]]), torch.zeros(1), 1.0)
    assert logit.item() == pytest.approx(4 * math.log(3))


def test_exp_0_by_hand() -> None:
    point = exp_0(torch.tensor([[3.0, 4.0], [0.0, 0.0]]), 0.25)
    assert point[0].tolist() == pytest.approx([2 * math.tanh(2.5) * 0.6, 2 * math.tanh(2.5) * 0.8])
    assert point[1].tolist() == [0.0, 0.0]


def test_the_choice_is_the_largest_logit_not_the_nearest_entry() -> None:
    quantizer = HyperVQConfig(codebook_size=2).build(2).eval()
    with torch.no_grad():
        quantizer.normals_KC.copy_(torch.tensor([[0.1, 0.0], [3.0, 3.0]]))
        quantizer.offsets_K.copy_(torch.tensor([0.5, 0.1]))
    packed = quantizer.quantize_packed(torch.tensor([[0.6, 0.1]]))
    assert (quantizer.entries_KC - torch.tensor([0.6, 0.1])).norm(dim=-1).argmin() == 0
    assert packed.codes_NQ.item() == 1
    torch.testing.assert_close(packed.quantized_NC, torch.tensor([[0.1, 0.1]]) / 2**0.5)


def test_long_states_and_the_origin_have_finite_logits_and_gradients() -> None:
    quantizer = HyperVQConfig(codebook_size=4).build(3)
    inputs_NC = torch.tensor([[1e4, -1e4, 0.0], [0.0, 0.0, 0.0]], requires_grad=True)
    logits_NK = quantizer.logits(inputs_NC)
    assert logits_NK.isfinite().all()
    logits_NK.sum().backward()
    assert inputs_NC.grad.isfinite().all()


@pytest.mark.parametrize("curvature", [0.25, 1.0, 4.0])
def test_normals_start_as_in_hnn_plus_plus(curvature: float) -> None:
    quantizer = HyperVQConfig(codebook_size=4096, curvature=curvature).build(64)
    assert float(quantizer.normals_KC.std()) == pytest.approx((64 * curvature) ** -0.5, rel=0.01)
