"""Estimators: the forward pass gives the entry, the backward pass the published gradient."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from t5vqvae.quantizers.parts.estimators import DIVEQ_STD, ESTIMATORS, TEACHES_ENTRIES


def grad_through(name: str, inputs_ND: Tensor, entries_ND: Tensor, grad_ND: Tensor) -> Tensor:
    inputs_ND = inputs_ND.clone().requires_grad_()
    ESTIMATORS[name](inputs_ND, entries_ND).backward(grad_ND)
    assert inputs_ND.grad is not None
    return inputs_ND.grad


def rotation_matrix(e_D: Tensor, q_D: Tensor) -> Tensor:
    """Returns R of equation 4 in arXiv 2410.06424 as a matrix."""
    e_D, q_D = e_D / e_D.norm(), q_D / q_D.norm()
    r_D = (e_D + q_D) / (e_D + q_D).norm()
    return torch.eye(len(e_D)).to(e_D) - 2 * torch.outer(r_D, r_D) + 2 * torch.outer(q_D, e_D)


@pytest.mark.parametrize("name", list(ESTIMATORS))
def test_forward_is_the_entry_to_the_bit_and_only_diveq_teaches_it(name: str) -> None:
    inputs_ND, entries_ND = torch.randn(5, 3, requires_grad=True), torch.randn(5, 3, requires_grad=True)
    passed_ND = ESTIMATORS[name](inputs_ND, entries_ND)
    assert torch.equal(passed_ND, entries_ND)
    passed_ND.sum().backward()
    assert (entries_ND.grad is None) == (name not in TEACHES_ENTRIES) and inputs_ND.grad is not None


def test_straight_through_passes_the_gradient_unchanged() -> None:
    grad_ND = torch.randn(5, 3)
    assert torch.equal(grad_through("straight_through", torch.randn(5, 3), torch.randn(5, 3), grad_ND), grad_ND)


@pytest.mark.parametrize("scaled", [True, False])
def test_rotation_equals_the_matrix_of_the_paper(scaled: bool) -> None:
    inputs_ND, entries_ND, grad_ND = (torch.randn(6, 9, dtype=torch.float64) for _ in range(3))
    grads_ND = grad_through("rotation" if scaled else "rotation_unscaled", inputs_ND, entries_ND, grad_ND)
    for e_D, q_D, g_D, found_D in zip(inputs_ND, entries_ND, grad_ND, grads_ND, strict=True):
        matrix_DD = rotation_matrix(e_D, q_D)
        scale = q_D.norm() / e_D.norm() if scaled else 1.0
        assert torch.allclose(scale * matrix_DD @ e_D, q_D if scaled else q_D * e_D.norm() / q_D.norm())
        assert torch.allclose(torch.linalg.det(matrix_DD), torch.tensor(1.0, dtype=torch.float64))
        assert torch.allclose(found_D, scale * matrix_DD.T @ g_D)


def test_rotation_by_a_quarter_turn_by_hand() -> None:
    # e = (1, 0) turns onto q = (0, 2): R = [[0, -1], [1, 0]], so R^T (3, 5) = (5, -3), times 2 / 1.
    grad_ND = grad_through(
        "rotation", torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]]), torch.tensor([[3.0, 5.0]])
    )
    assert torch.allclose(grad_ND, torch.tensor([[10.0, -6.0]]), atol=1e-5)


def test_rotation_keeps_the_angle_between_vector_and_gradient() -> None:
    inputs_ND, entries_ND, grad_ND = (torch.randn(20, 8, dtype=torch.float64) for _ in range(3))
    grads_ND = grad_through("rotation", inputs_ND, entries_ND, grad_ND)
    before_N = torch.cosine_similarity(grad_ND, entries_ND)
    assert torch.allclose(torch.cosine_similarity(grads_ND, inputs_ND), before_N)


@pytest.mark.parametrize("name", ["rotation", "rotation_unscaled"])
def test_vectors_without_direction_pass_the_gradient_unchanged(name: str) -> None:
    inputs_ND = torch.tensor([[0.0, 0.0], [1e-9, 0.0], [1.0, 2.0]])
    entries_ND = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    grad_ND = torch.randn(3, 2)
    assert torch.equal(grad_through(name, inputs_ND, entries_ND, grad_ND), grad_ND)


def test_opposite_vectors_give_a_finite_gradient_of_the_same_length() -> None:
    inputs_ND, grad_ND = torch.randn(4, 6), torch.randn(4, 6)
    grads_ND = grad_through("rotation_unscaled", inputs_ND, -inputs_ND, grad_ND)
    assert torch.allclose(grads_ND.norm(dim=-1), grad_ND.norm(dim=-1), rtol=1e-2)


def test_diveq_splits_the_gradient_between_input_and_entry_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    # e = (0, 0), q = (3, 4): without noise v / ||v|| = (.6, .8). A gradient (1, 2) has 2.2 along it, which goes to the
    # entry as (1.32, 1.76); the rest, (-.32, .24), stands across it and goes to the input.
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    e_ND, q_ND = torch.zeros(1, 2, requires_grad=True), torch.tensor([[3.0, 4.0]], requires_grad=True)
    ESTIMATORS["diveq"](e_ND, q_ND).backward(torch.tensor([[1.0, 2.0]]))
    torch.testing.assert_close(q_ND.grad, torch.tensor([[1.32, 1.76]]))
    torch.testing.assert_close(e_ND.grad, torch.tensor([[-0.32, 0.24]]))


def test_diveq_equals_the_derivative_of_the_published_formula() -> None:
    inputs_ND, entries_ND, grad_ND = (torch.randn(6, 5, dtype=torch.float64) for _ in range(3))
    torch.manual_seed(1)
    mine = [x.clone().requires_grad_() for x in (inputs_ND, entries_ND)]
    ESTIMATORS["diveq"](*mine).backward(grad_ND)
    torch.manual_seed(1)
    theirs = [x.clone().requires_grad_() for x in (inputs_ND, entries_ND)]
    toward_ND = theirs[1] - theirs[0]
    v_ND = toward_ND.detach() + DIVEQ_STD * torch.randn_like(toward_ND)
    (theirs[0] + toward_ND.norm(dim=-1, keepdim=True) * v_ND / v_ND.norm(dim=-1, keepdim=True)).backward(grad_ND)
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one.grad, other.grad)
