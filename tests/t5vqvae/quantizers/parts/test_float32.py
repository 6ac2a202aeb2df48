"""Codes are chosen in float32, on GPUs with TF32 as well: here a CPU stands for the GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from contract_cases import Case, all_cases, ragged_batch, run, train_step
from torch.utils._python_dispatch import TorchDispatchMode

from t5vqvae.quantizers import base
from t5vqvae.quantizers.parts import losses, relaxation
from t5vqvae.quantizers.parts.float32 import full_float32


@pytest.fixture(autouse=True)
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """TF32 is on, as training sets it, and the device counts as a GPU."""

    def as_if_cuda(device: str) -> AbstractContextManager[None]:
        return full_float32("cuda")

    for module in (base, losses, relaxation):
        monkeypatch.setattr(module, "full_float32", as_if_cuda)
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    yield
    assert torch.backends.cuda.matmul.allow_tf32, "it is on again"
    torch.backends.cuda.matmul.allow_tf32 = before


class Products(TorchDispatchMode):
    """Notes of each matrix product whether TF32 was allowed."""

    def __init__(self) -> None:
        super().__init__()
        self.allowed: list[bool] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in ("mm", "addmm", "bmm", "baddbmm", "mkldnn_linear", "_mkldnn_linear"):
            self.allowed.append(torch.backends.cuda.matmul.allow_tf32)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.id)
def test_no_code_is_chosen_in_tf32(case: Case) -> None:
    quantizer = case.build()
    with Products() as products, torch.no_grad():
        codes_BTQ = run(quantizer, ragged_batch()).codes_BTQ
        if codes_BTQ is not None:
            quantizer.lookup(codes_BTQ)
    assert not any(products.allowed)
    train_step(quantizer, ragged_batch())
    with Products() as products:
        quantizer._has_learned = False
        quantizer.update()
    assert not any(products.allowed)


def test_the_backward_pass_computes_logits_again_in_float32() -> None:
    allowed: list[bool] = []

    def logits(inputs_nC: torch.Tensor) -> torch.Tensor:
        allowed.append(torch.backends.cuda.matmul.allow_tf32)
        return inputs_nC @ torch.eye(3)

    inputs_NC = torch.randn(4, 3, requires_grad=True)
    relaxation.choose(inputs_NC, logits, torch.eye(3), relaxation.Relaxation(1.0, True)).mixed_ND.sum().backward()
    assert allowed == [False, False]


def test_it_leaves_what_was_off_and_other_devices() -> None:
    with full_float32("cpu"):
        assert torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    with full_float32("cuda"):
        assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
