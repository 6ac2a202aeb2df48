"""Swap denoising: whose codes are swapped for which, and what stays as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from baseline_runs import batch_of, build, tiny

from t5vqvae.errors import SettingError
from t5vqvae.models.t5.swapped import swapped


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_half_of_the_sentences_have_a_share_of_another_sentences_codes_at_the_same_place() -> None:
    torch.manual_seed(0)
    states_BTE = torch.arange(2_000 * 40.0).view(2_000, 40, 1)
    mask_BT = torch.ones(2_000, 40, dtype=torch.bool)
    found_BTE = swapped(states_BTE, mask_BT, 0.3)
    changed_BT = (found_BTE != states_BTE).squeeze(-1)
    assert torch.equal(found_BTE[changed_BT], states_BTE.roll(1, 0)[changed_BT])
    in_sentence_B = changed_BT.any(1)
    assert in_sentence_B.float().mean() == pytest.approx(0.5, abs=0.03)
    assert changed_BT[in_sentence_B].float().mean() == pytest.approx(0.3, abs=0.01)


def test_padding_is_neither_changed_nor_taken() -> None:
    torch.manual_seed(0)
    mask_BT = torch.tensor([[True] * 5, [True, True, False, False, False]]).repeat(200, 1)
    states_BTE = torch.rand(400, 5, 2) * mask_BT.unsqueeze(-1)
    changed_BT = (swapped(states_BTE, mask_BT, 0.99) != states_BTE).any(-1)
    assert changed_BT[:, :2].any() and not changed_BT[:, 2:].any()


def test_a_batch_of_one_sentence_stays_as_it_is() -> None:
    states_BTE = torch.rand(1, 6, 2)
    assert torch.equal(swapped(states_BTE, torch.ones(1, 6, dtype=torch.bool), 0.9), states_BTE)


def test_training_swaps_and_evaluation_does_not_and_the_quantizer_sees_all_as_it_is(cache: Path) -> None:
    plain, batch = build(tiny("t5vqvae"), cache).train(), batch_of(tiny("t5vqvae"), cache)
    model = build(tiny("t5vqvae", **{"train.code_swap": 0.5}), cache).train()
    for each in (plain, model):
        each.quantizer.active = True
        for part in each.modules():
            if isinstance(part, torch.nn.Dropout):
                part.p = 0.0
    torch.manual_seed(0)
    as_is, changed = plain.encode_memory(batch), model.encode_memory(batch)
    assert torch.equal(as_is.bottleneck.codes_BTQ, changed.bottleneck.codes_BTQ)
    assert torch.equal(as_is.bottleneck.aux_loss, changed.bottleneck.aux_loss)
    assert not torch.equal(as_is.states_BME, changed.states_BME)
    plain.eval(), model.eval()
    assert torch.equal(plain.encode_memory(batch).states_BME, model.encode_memory(batch).states_BME)


def test_a_model_without_codes_is_refused() -> None:
    with pytest.raises(SettingError, match=r"train.code_swap=0.5 needs codes of model.name=t5vqvae"):
        tiny("t5vqvae", **{"quantizer.name": "none", "train.code_swap": 0.5})


def test_a_sentence_alone_has_nothing_to_swap_with_so_it_is_refused() -> None:
    with pytest.raises(SettingError, match=r"train.code_swap=0.5 takes codes of another sentence.*at least 8"):
        tiny("t5vqvae", **{"train.code_swap": 0.5, "train.batch_size": 4, "train.microbatches": 4})
