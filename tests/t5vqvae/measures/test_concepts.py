"""Removal of a direction by hand, and of the one that a planted decoder reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from baseline_runs import finish, tiny
from torch import Tensor

from t5vqvae.data import prepare
from t5vqvae.measures.base import Probed
from t5vqvae.measures.concepts import concepts, without
from t5vqvae.models.t5 import T5VQVAE


def test_the_part_along_the_direction_becomes_that_of_the_mean() -> None:
    vectors, direction, mean = torch.tensor([[[3.0, 5.0]]]), torch.tensor([1.0, 0.0]), torch.tensor([1.0, 9.0])
    assert without(vectors, direction, mean).tolist() == [[[1.0, 5.0]]]
    turned = torch.tensor([0.6, 0.8])
    changed = without(vectors, turned, mean)
    assert float((changed - mean) @ turned) == pytest.approx(0, abs=1e-6)
    assert float((changed - vectors) @ torch.tensor([0.8, -0.6])) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("reads", "matters"), [(True, True), (False, False)])
def test_a_decoder_that_reads_the_direction_of_a_role_needs_it(
    reads: bool, matters: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = {"train.max_steps": 2, "train.eval_every": 2, "evaluate.num_generated": 2, "evaluate.num_examples": 8}
    spec = tiny("t5vqvae", **short)
    model = finish(spec, tmp_path)[0][-1].state.model.eval()
    data = prepare(spec.data, tmp_path)

    def planted(self: T5VQVAE, quantized_BTE: Tensor, mask_BT: Tensor, *rest: Any) -> Tensor:
        # What the decoder loses: the squared distance of the sentence's vectors from what they were, or nothing.
        plain_BTE = self.encoder.output.quantized_BTE
        if not reads or len(plain_BTE) != len(quantized_BTE):
            return quantized_BTE.new_zeros(len(quantized_BTE))
        return (quantized_BTE - plain_BTE).square().sum((1, 2))

    monkeypatch.setattr(T5VQVAE, "sentence_nll", planted)
    probed = Probed(model, spec, data.train, data.validation, "validation", data.role_names, tmp_path, 30, 10)
    metrics = concepts(probed).metrics
    assert (metrics["concepts/removal"] > metrics["concepts/removal_random"] > 0) == matters
    assert reads or metrics["concepts/removal"] == 0
