"""The price on the rate: the bigram, its gradients, and what it does in training."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from baseline_runs import batch_of, build, finish, tiny

from t5vqvae.config import Overrides
from t5vqvae.errors import SettingError
from t5vqvae.models.t5.code_prior import CodePrior
from t5vqvae.training.trainer import train

PRICED: Overrides = {"train.rate_price": 0.5}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_an_untrained_prior_costs_the_logarithm_of_the_codes() -> None:
    prior = CodePrior(8, price=0.5)
    mask_BT = torch.tensor([[True, True, True, False]])
    cost = prior.cost(torch.randn(1, 4, 3), torch.tensor([[3, 1, 7, -1]]), mask_BT, torch.randn(8, 3))
    assert cost.item() == pytest.approx(0.5 * math.log(8))


def test_the_prior_learns_a_chain_down_to_its_entropy() -> None:
    # A code repeats itself nine times of ten and else is the next of four: .325 nats a code behind the first.
    torch.manual_seed(0)
    steps_BT = (torch.rand(512, 40) < 0.1).long()
    steps_BT[:, 0] = torch.randint(4, (512,))
    codes_BT = steps_BT.cumsum(1) % 4
    prior = CodePrior(4, price=1.0)
    optimizer = torch.optim.Adam(prior.parameters(), 0.05)
    mask_BT, states_BTE = torch.ones(512, 40, dtype=torch.bool), torch.zeros(512, 40, 1)
    for _ in range(60):
        optimizer.zero_grad()
        cost = prior.cost(states_BTE, codes_BT, mask_BT, torch.arange(4.0).unsqueeze(1))
        cost.backward()
        optimizer.step()
    entropy = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    assert cost.item() == pytest.approx((39 * entropy + math.log(4)) / 40, abs=0.02)


def test_a_state_between_two_entries_moves_to_the_likely_one_by_hand() -> None:
    # Entries at 0 and 1, a state at .4 with code 0: t = .16. Logits are (0, ln 3), so the entries cost ln 4 and ln 4/3.
    prior = CodePrior(2, price=1.0)
    with torch.no_grad():
        prior.logits.bias.copy_(torch.tensor([0.0, math.log(3)]))
    state_BTE = torch.tensor([[[0.4]]], requires_grad=True)
    codebook_KE = torch.tensor([[0.0], [1.0]])
    cost = prior.cost(state_BTE, torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1, dtype=torch.bool), codebook_KE)
    cost.backward()
    assert cost.item() == pytest.approx(math.log(4)), "the value is that of the chosen code"
    second = 1 / (1 + math.exp((0.36 - 0.16) / 0.16))
    slope = second * (1 - second) * 2 / 0.16  # of the second entry's weight along the line between the entries
    assert state_BTE.grad is not None
    assert state_BTE.grad.item() == pytest.approx(slope * (math.log(4 / 3) - math.log(4)), rel=1e-4)
    assert state_BTE.grad.item() < 0, "a step against the gradient goes to the likely entry"


def test_training_pays_the_price_and_evaluation_does_not(cache: Path) -> None:
    model, batch = build(tiny("t5vqvae", **PRICED), cache).train(), batch_of(tiny("t5vqvae"), cache)
    model.quantizer.active = False
    assert torch.equal(model.losses(batch).aux_loss, model.encoder.output.aux_loss), "no code costs nothing"
    model.quantizer.active = True
    paid = model.losses(batch).aux_loss - model.encoder.output.aux_loss
    assert paid.item() == pytest.approx(0.5 * math.log(model.quantizer.code_sizes[0]), rel=1e-5)
    model.eval()
    assert torch.equal(model.losses(batch).aux_loss, model.encoder.output.aux_loss)


def test_a_price_gathers_states_at_fewer_codes(cache: Path) -> None:
    used = []
    for price in (1e-6, 3.0):
        words = {"train.rate_price": price, "quantizer.name": "vq", "quantizer.codebook_size": 32}
        model = build(tiny("t5vqvae", **words), cache)
        batch = batch_of(tiny("t5vqvae"), cache, 12)
        model.quantizer.start(model.states_to_quantize(batch))
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        for _ in range(25):
            optimizer.zero_grad()
            losses = model.losses(batch)
            (losses.nll_sum / losses.num_tokens + losses.aux_loss).backward()
            optimizer.step()
        used.append(model.eval().encode_memory(batch).bottleneck.codes_BTQ[batch.mask_BT].unique().numel())
    assert used[1] < 0.7 * used[0]


def test_a_resumed_run_ends_as_an_uninterrupted_one(cache: Path, tmp_path: Path) -> None:
    spec = tiny("t5vqvae", **PRICED)
    whole = finish(spec, cache)[1]
    path = next(train(spec, cache_dir=cache)).state.save(tmp_path)
    resumed = finish(spec, cache, resume_from=path)[1]
    assert any("prior" in name for name in whole)
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())


def test_bfloat16_around_it_changes_nothing() -> None:
    torch.manual_seed(0)
    prior, codebook_KE = CodePrior(64, price=1.0), torch.randn(64, 16)
    torch.nn.init.normal_(prior.logits.weight)
    codes_BT, mask_BT = torch.randint(64, (4, 10)), torch.ones(4, 10, dtype=torch.bool)
    states_BTE = (codebook_KE[codes_BT] + 0.05 * torch.randn(4, 10, 16)).requires_grad_()
    gradients = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            cost = prior.cost(states_BTE, codes_BT, mask_BT, codebook_KE)
        gradients.append(torch.autograd.grad(cost, states_BTE)[0])
    assert torch.equal(gradients[0], gradients[1])


def test_parts_of_a_batch_cost_what_the_batch_costs() -> None:
    torch.manual_seed(0)
    prior, codebook_KE = CodePrior(8, price=1.0), torch.randn(8, 4)
    torch.nn.init.normal_(prior.logits.weight)
    codes_BT, mask_BT = torch.randint(8, (4, 6)), torch.ones(4, 6, dtype=torch.bool)
    near = torch.tensor([0.01, 0.01, 1.0, 1.0]).view(4, 1, 1)  # two sentences near to their entries, two far away
    states_BTE = (codebook_KE[codes_BT] + near * torch.randn(4, 6, 4)).requires_grad_()
    whole = torch.autograd.grad(prior.cost(states_BTE, codes_BT, mask_BT, codebook_KE), states_BTE)[0]
    halves = [prior.cost(states_BTE[rows], codes_BT[rows], mask_BT[rows], codebook_KE) / 2 for rows in ([0, 1], [2, 3])]
    assert torch.allclose(torch.autograd.grad(sum(halves), states_BTE)[0], whole, atol=1e-7)


@pytest.mark.parametrize(
    "overrides",
    [
        {"quantizer.name": "rvq", "quantizer.depth": 2},
        {"quantizer.name": "fsq"},
        {"quantizer.name": "role"},
        {"quantizer.distance": "cosine"},
        {"quantizer.selection": "topk"},
    ],
)
def test_codes_that_are_not_the_nearest_entries_are_refused(overrides: Overrides) -> None:
    with pytest.raises(SettingError, match=r"train.rate_price=0.5 .* needs codes that are the nearest entries"):
        tiny("t5vqvae", **PRICED, **overrides)


def test_codes_of_another_width_are_refused(cache: Path) -> None:
    spec = tiny("t5vqvae", **PRICED, **{"quantizer.code_width": 8})
    with pytest.raises(SettingError, match=r"train.rate_price=0.5 needs one codebook of the model's own width"):
        build(spec, cache)


def test_a_model_without_codes_is_refused() -> None:
    with pytest.raises(SettingError, match=r"train.rate_price=0.5 needs codes of model.name=t5vqvae"):
        tiny("t5vqvae", **PRICED, **{"quantizer.name": "none"})
