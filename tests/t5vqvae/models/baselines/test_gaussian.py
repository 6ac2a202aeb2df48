"""The Gaussian latent: its KL term, annealing and free bits by hand, at both levels, and what it reports as rate."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from baseline_runs import batch_of, build, finish, tiny
from plain_t5 import assert_starts_like_t5, saved_t5
from torch.distributions import Normal, kl_divergence

from t5vqvae.errors import SettingError
from t5vqvae.models.baselines.gaussian_latent import GaussianLatent, SentenceLatent, kl_weight_at
from t5vqvae.models.contract import pooled
from t5vqvae.spec.architectures import LatentSettings

CONSTANT = {"kl_schedule": "constant", "latent_width": 3}


def latent(kind: type[GaussianLatent] = GaussianLatent, **settings: object) -> GaussianLatent:
    torch.manual_seed(0)
    made = kind(LatentSettings(**{**CONSTANT, **settings}), 8, 0)
    made.active = True
    return made.train()


def kl_by_hand(made: GaussianLatent, states: torch.Tensor) -> torch.Tensor:
    mean, log_variance = made.moments(states).chunk(2, -1)
    return kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0))


def test_the_term_is_the_kl_divergence_a_token() -> None:
    made, states = latent(kl_weight=0.7), torch.randn(2, 5, 8)
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]).bool()
    output = made(states, mask)
    torch.testing.assert_close(output.aux_loss, 0.7 * kl_by_hand(made, states[mask]).sum() / 8)
    assert output.codes_BTQ is None and (output.quantized_BTE[0, 3:] == 0).all()


def test_the_sentence_latent_is_of_the_mean_state_and_its_term_a_token() -> None:
    made, states = latent(SentenceLatent, kl_weight=0.7), torch.randn(2, 5, 8)
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]).bool()
    output = made(states, mask)
    torch.testing.assert_close(output.aux_loss, 0.7 * kl_by_hand(made, pooled(states, mask)).sum() / 8)
    assert output.num_positions == 8 and (output.quantized_BTE[:, 1:] == 0).all()


def test_training_samples_and_evaluation_takes_the_mean() -> None:
    made = latent()
    with torch.no_grad():
        made.moments.weight.zero_()
        made.moments.bias.copy_(torch.tensor([1.0, -2.0, 0.5, math.log(0.25), 0.0, math.log(4.0)]))
        drawn, _ = made.draw(torch.zeros(20_000, 8))
        torch.testing.assert_close(drawn.mean(0), torch.tensor([1.0, -2.0, 0.5]), rtol=0, atol=0.06)
        torch.testing.assert_close(drawn.std(0), torch.tensor([0.5, 1.0, 2.0]), rtol=0.03, atol=0)
        assert torch.equal(made.eval().draw(torch.zeros(4, 8))[0], torch.tensor([[1.0, -2.0, 0.5]]).expand(4, -1))


def test_free_bits_are_free() -> None:
    """Below lambda nats a dimension costs lambda and has no gradient."""
    made, states = latent(free_bits=0.3), torch.randn(50, 8)
    kl = kl_by_hand(made, states)
    _, counted = made.draw(states)
    torch.testing.assert_close(counted, kl.clamp_min(0.3).sum())
    (gradient,) = torch.autograd.grad(counted, made.moments.bias, retain_graph=True)
    (paid_only,) = torch.autograd.grad(kl[kl > 0.3].sum(), made.moments.bias)
    torch.testing.assert_close(gradient, paid_only)
    assert 0 < int((kl < 0.3).sum()) < kl.numel()


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [2.0] * 10),
        ("linear", [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.0]),
        ("cyclical", [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 2.0, 0.0, 0.0]),
    ],
)
def test_annealing_by_hand(schedule: str, expected: list[float]) -> None:
    settings = LatentSettings(kl_weight=2.0, kl_schedule=schedule, kl_steps=8)
    assert [kl_weight_at(step, settings) for step in range(10)] == pytest.approx(expected)


def test_updates_advance_the_annealing(cache: Path) -> None:
    spec = tiny("gaussian", **{"model.kl_steps": 100, "model.latent_width": 8})
    (_, last), _ = finish(spec, cache)
    assert last.state.model.quantizer.weight == pytest.approx(0.06)


@pytest.mark.parametrize("level", ["token", "sentence"])
def test_the_rate_is_the_kl_in_bits_and_never_bits_of_codes(cache: Path, level: str) -> None:
    spec = tiny("gaussian", **{"model.level": level, "model.latent_width": 8, "train.eval_every": 6})
    (last,) = finish(spec, cache)[0]
    metrics, model = last.metrics, last.state.model.eval()
    assert "rate/bits_per_token" not in metrics and "codebook/perplexity" not in metrics
    batch = batch_of(spec, cache)
    with torch.no_grad():
        measures = model.losses(batch).measures
        states, mask = model.encoder.states_BTE, batch.mask_BT
    seen = states[mask] if level == "token" else pooled(states, mask)
    bits, sentences = measures["rate/kl_bits_per_sentence"]
    assert sentences == len(batch)
    assert bits == pytest.approx(float(kl_by_hand(model.quantizer, seen).sum().detach()) / math.log(2), rel=1e-4)
    assert metrics["rate/kl_bits_per_sentence"] > metrics["rate/kl_bits_per_token"] > 0


def test_a_sentence_is_one_vector_to_the_decoder(cache: Path) -> None:
    spec = tiny("gaussian", **{"model.level": "sentence", "model.latent_width": 8})
    model, batch = build(spec, cache).eval(), batch_of(spec, cache)
    with torch.no_grad():
        memory = model.encode_memory(batch)
        assert memory.states_BME.shape == (len(batch), 1, 32) and memory.mask_BM.shape == (len(batch), 1)
        mean = model.quantizer.moments(pooled(model.encoder.states_BTE, batch.mask_BT)).chunk(2, -1)[0]
        torch.testing.assert_close(memory.states_BME[:, 0], model.quantizer.project_out(mean))


def test_a_token_latent_stands_where_the_codes_would(cache: Path) -> None:
    spec = tiny("gaussian", **{"model.latent_width": 8})
    model, batch = build(spec, cache).eval(), batch_of(spec, cache)
    with torch.no_grad():
        memory = model.encode_memory(batch)
        mean = model.quantizer.moments(model.encoder.states_BTE).chunk(2, -1)[0]
    expected = model.quantizer.project_out(mean)
    torch.testing.assert_close(memory.states_BME[batch.mask_BT], expected[batch.mask_BT])


def test_it_starts_with_the_spread_of_t5_and_its_own_maps_with_theirs(cache: Path) -> None:
    model = build(tiny("gaussian", **{"model.latent_width": 40}), cache)
    assert_starts_like_t5(dict(model.named_parameters()), model.config, at_least=20)
    assert model.quantizer.moments.weight.abs().max() <= 32**-0.5  # nn.Linear's start


def test_a_backbone_keeps_its_weights(cache: Path, tmp_path: Path) -> None:
    plain = saved_t5(tmp_path)
    spec = tiny("gaussian", **{"model.backbone": str(tmp_path), "model.position": 1, "data.tokenizer.kind": "unigram"})
    ours = build(spec, cache).state_dict()
    assert all(torch.equal(ours[name], value) for name, value in plain.state_dict().items())


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"model.level": "sentence", "model.position": 1}, "model.position=1 must be null"),
        ({"model.prompts.num_prompts": 2}, "model.prompts must be null"),
    ],
)
def test_ways_past_the_latent_are_refused(overrides: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        tiny("gaussian", **overrides)
