"""The adversarial autoencoders: both sides' terms and gradients by hand, the noise, and the way of the latent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from baseline_runs import batch_of, build, finish, tiny

from t5vqvae.models.baselines.aae import drop_words

SIZES = {
    "model.embedding_width": 12,
    "model.hidden_width": 10,
    "model.latent_width": 6,
    "model.discriminator_width": 8,
    "model.dropout": 0.0,
}


def aae(cache: Path, **overrides: Any) -> tuple[Any, Any]:
    spec = tiny("aae", **SIZES, **overrides)
    return build(spec, cache), batch_of(spec, cache)


def test_both_sides_terms_by_hand(cache: Path) -> None:
    model, _ = aae(cache, **{"model.adversarial_weight": 3.0})
    z = torch.randn(5, 6)
    torch.manual_seed(1)
    terms = model.adversarial(z)
    torch.manual_seed(1)
    score, prior = model.discriminator(z).sigmoid(), model.discriminator(torch.randn(5, 6)).sigmoid()
    torch.testing.assert_close(terms["adversary"], -3.0 * score.log().sum())
    torch.testing.assert_close(terms["discriminator"], -(prior.log() + (1 - score).log()).sum())


def test_each_side_moves_its_own_weights_alone(cache: Path) -> None:
    """One backward pass gives what the published two optimizers would."""
    model, _ = aae(cache)
    z = torch.randn(5, 6, requires_grad=True)
    own = list(model.discriminator.parameters())
    terms = model.adversarial(z)
    assert torch.autograd.grad(terms["adversary"], own, allow_unused=True, retain_graph=True) == (None,) * len(own)
    assert torch.autograd.grad(terms["discriminator"], z, allow_unused=True, retain_graph=True) == (None,)
    (pull,) = torch.autograd.grad(terms["adversary"], z, retain_graph=True)
    (expected,) = torch.autograd.grad(10.0 * F.softplus(-model.discriminator(z)).sum(), z)
    torch.testing.assert_close(pull, expected)
    assert all(g.abs().sum() > 0 for g in torch.autograd.grad(terms["discriminator"], own))


def test_the_loss_adds_the_terms_a_token(cache: Path) -> None:
    model, batch = aae(cache, **{"model.log_variance_weight": 0.5})
    torch.manual_seed(2)
    memory = model.encode_memory(batch)
    log_variance = model.encode(batch.input_ids_BT, batch.mask_BT)[1]
    terms, tokens = memory.bottleneck.terms, batch.num_source_tokens
    torch.testing.assert_close(terms["log_variance"], 0.5 * log_variance.detach().abs().sum() / tokens)
    torch.testing.assert_close(memory.bottleneck.aux_loss.detach(), sum(terms.values()))
    assert set(terms) == {"adversary", "discriminator", "log_variance"} and "kl" not in terms


def test_the_adversary_holds_the_latent_to_the_prior(cache: Path) -> None:
    """What the game is for: latents that start far from N(0, 1) come nearer; without the adversary they stay."""
    distances = {}
    for weight in (0.0, 10.0):
        model, batch = aae(cache, **{"model.adversarial_weight": weight})
        with torch.no_grad():
            model.mean.bias += 3.0
        optimizer = torch.optim.Adam(model.parameters(), 5e-3, betas=(0.5, 0.999))
        for _ in range(150):
            optimizer.zero_grad()
            losses = model.losses(batch)
            (losses.nll_sum / losses.num_tokens + losses.aux_loss).backward()
            optimizer.step()
        distances[weight] = float(model.eval().encode_memory(batch).states_BME.mean().abs())
    assert distances[10.0] < 0.5 * distances[0.0]


def test_every_step_of_the_decoder_sees_the_latent(cache: Path) -> None:
    model, batch = aae(cache)
    memory = model.eval().encode_memory(batch)
    ids = torch.randint(2, 100, (len(batch), 4))
    x = model.embedding(ids) + model.from_latent(memory.states_BME)
    torch.testing.assert_close(model.logits(memory, ids), model.output(model.decoder(x)[0]))


def test_the_latent_is_of_the_last_states_of_both_directions(cache: Path) -> None:
    model, batch = aae(cache)
    row = batch.mask_BT.sum(-1).argmin()
    length = int(batch.mask_BT[row].sum())
    states, _ = model.encoder(model.embedding(batch.input_ids_BT[row, :length])[None])
    last = torch.cat([states[0, -1, :10], states[0, 0, 10:]])
    mean, log_variance = model.encode(batch.input_ids_BT, batch.mask_BT)
    torch.testing.assert_close(mean[row], model.mean(last))
    torch.testing.assert_close(log_variance[row], model.log_variance(last))


def test_words_are_dropped_at_their_rate_and_the_end_never() -> None:
    torch.manual_seed(0)
    ids = torch.randint(2, 50, (400, 20))
    ids[:, 14], mask = 1, torch.arange(20).expand(400, -1) < 15
    noisy, kept = drop_words(ids * mask, mask, 0.3)
    assert kept.sum() / mask.sum() == pytest.approx(1 - 0.3 * 14 / 15, abs=0.02)
    lengths = kept.sum(-1)
    assert torch.equal(kept, torch.arange(20).expand(400, -1) < lengths[:, None]), "closed up from the left"
    assert (noisy.gather(1, (lengths - 1)[:, None]) == 1).all() and (noisy[~kept] == 0).all()
    for row in range(20):
        rest = iter(ids[row, :15].tolist())
        assert all(word in rest for word in noisy[row, : lengths[row]].tolist()), "the order stays"


def test_noise_is_on_the_source_in_training_alone(cache: Path) -> None:
    model, batch = aae(cache, **{"model.word_drop": 0.5})
    assert tokens_read(model, batch) < batch.num_source_tokens
    assert tokens_read(model.eval(), batch) == batch.num_source_tokens
    clean, _ = aae(cache)
    assert tokens_read(clean.train(), batch) == batch.num_source_tokens


def tokens_read(model: Any, batch: Any) -> int:
    """How many tokens the encoder gets to see."""
    seen: list[int] = []
    encode = type(model).encode
    model.encode = lambda ids, mask: (seen.append(int(mask.sum())), encode(model, ids, mask))[1]
    losses = model.losses(batch)
    assert losses.num_tokens == batch.num_target_tokens, "the target stays whole"
    return seen[0]


def test_it_has_no_rate(cache: Path) -> None:
    last = finish(tiny("aae", **SIZES), cache)[0][-1]
    of_tokens = {"rate/log2_vocabulary", "rate/token_entropy_bits"}
    assert {name for name in last.metrics if name.startswith("rate/")} <= of_tokens
    assert 0 < last.metrics["adversary/score"] < 1


def test_it_starts_as_published(cache: Path) -> None:
    model, _ = aae(cache)
    for weight in (model.embedding.weight, model.output.weight):
        assert 0.09 < weight.abs().max() <= 0.1
    assert (model.output.bias == 0).all()
