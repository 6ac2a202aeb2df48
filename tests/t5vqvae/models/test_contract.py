"""The laws of a text autoencoder, over every architecture: it trains, decodes as it scores, is saved and resumed."""

from __future__ import annotations

import copy
import math
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from baseline_runs import CASES, batch_of, build, finish, tiny
from torch.optim.swa_utils import AveragedModel

from t5vqvae.data import Batch
from t5vqvae.errors import CheckpointError, SettingError
from t5vqvae.models.contract import load_model, reconstruct
from t5vqvae.spec.architectures import ModelConfig
from t5vqvae.training import checkpoint
from t5vqvae.training.trainer import train

TRAINED_ON = {"cross_layer": "cross_layer/unexplained"}
"""What falls in training where it is not the cross-entropy."""


@pytest.fixture(params=list(CASES))
def case(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    name, overrides = CASES[request.param]
    if overrides.get("model.backbone") == "NETWORK":
        overrides = {**overrides, "model.backbone": str(request.getfixturevalue("network"))}
    return name, overrides


def test_every_architecture_is_under_test() -> None:
    assert {name for name, _ in CASES.values()} == set(ModelConfig.variants)


def test_its_loss_falls(case: Any, cache: Path) -> None:
    name, overrides = case
    steps = {"train.max_steps": 50, "train.eval_every": 50, "train.batch_size": 16, "evaluate.num_generated": 0}
    spec = tiny(name, **steps, **{"optim.learning_rate": 4e-3, "optim.schedule": "constant"}, **overrides)
    batch = batch_of(spec, cache, 16)
    with torch.no_grad():
        losses = build(spec, cache).eval().losses(batch)
    measures = {"validation/nll": (float(losses.nll_sum), losses.num_tokens), **losses.measures}
    above, below = measures[TRAINED_ON.get(name, "validation/nll")]
    milestones, _ = finish(spec, cache)
    assert milestones[-1].metrics[TRAINED_ON.get(name, "validation/nll")] < 0.75 * above / below


def test_a_resumed_run_equals_an_uninterrupted_one(case: Any, cache: Path, tmp_path: Path) -> None:
    name, overrides = case
    spec = tiny(name, **overrides, **{"train.quantize_from": 2, "evaluate.num_generated": 2})
    whole, expected = finish(spec, cache)
    path = next(train(spec, cache_dir=cache)).state.save(tmp_path)
    torch.manual_seed(99)
    resumed, state = finish(spec, cache, resume_from=path)
    assert all(torch.equal(state[name], value) for name, value in expected.items())
    mine, theirs = whole[-1].metrics, resumed[-1].metrics
    assert {k: v for k, v in mine.items() if "cost/" not in k} == {k: v for k, v in theirs.items() if "cost/" not in k}


def test_saved_and_loaded_whole(case: Any, cache: Path, tmp_path: Path) -> None:
    name, overrides = case
    spec = tiny(name, **overrides, **{"train.max_steps": 2, "train.eval_every": 2})
    trained = next(train(spec, cache_dir=cache)).state
    model, loaded = trained.model.eval(), load_model(trained.save(tmp_path) / "model").eval()
    assert type(loaded) is type(model)
    ours, theirs = model.state_dict(), loaded.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(theirs[key], value) for key, value in ours.items())
    batch = batch_of(spec, cache)
    assert torch.equal(model.losses(batch).logits_BSV, loaded.losses(batch).logits_BSV)
    texts = ["a cat eats fish", "the moon is a satellite of a planet"]
    assert reconstruct(model, texts, 8) == reconstruct(loaded, texts, 8)
    checkpoint.verify(tmp_path / "step-00000002")


def test_greedy_decoding_is_what_it_scores_highest(case: Any, cache: Path) -> None:
    name, overrides = case
    spec = tiny(name, **overrides)
    model, batch = build(spec, cache).eval(), batch_of(spec, cache)
    with torch.no_grad():
        ids = model.greedy(batch, 7)
        labels = ids[:, 1:]
        scored = model.losses(replace(batch, labels_BS=labels)).logits_BSV.argmax(-1)
    ended = (labels == 1).cumsum(-1) - (labels == 1).long() > 0
    assert labels.shape[1] > 1 and ((scored == labels) | ended).all()


def test_a_decoder_with_more_blocks_than_the_encoder_decodes(case: Any, cache: Path) -> None:
    name, overrides = case
    if not hasattr(tiny(name, **overrides).model, "num_decoder_layers") or "model.backbone" in overrides:
        pytest.skip("its decoder has no number of blocks of its own")
    spec = tiny(name, **{**overrides, "model.num_layers": 1, "model.num_decoder_layers": 3})
    model, batch = build(spec, cache).eval(), batch_of(spec, cache)
    with torch.no_grad():
        ids = model.greedy(batch, 5)
        scored = model.losses(replace(batch, labels_BS=ids[:, 1:])).logits_BSV.argmax(-1)
    assert (scored[:, 0] == ids[:, 1]).all() and ids.shape[1] > 1


def test_padding_changes_nothing(case: Any, cache: Path) -> None:
    name, overrides = case
    spec = tiny(name, **overrides)
    model, batch = build(spec, cache).eval(), batch_of(spec, cache)
    longer = [torch.cat([t, torch.full((len(batch), 3), fill)], 1) for t, fill in
              ((batch.input_ids_BT, 7), (batch.mask_BT, False), (batch.labels_BS, -100))]  # fmt: skip
    padded = Batch(longer[0], longer[1].bool(), longer[2], None, batch.num_chars_B)
    with torch.no_grad():
        mine, theirs = model.losses(replace(batch, roles_BT=None)), model.losses(padded)
    torch.testing.assert_close(mine.nll_sum, theirs.nll_sum, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(mine.aux_loss, theirs.aux_loss, rtol=1e-4, atol=1e-5)
    assert mine.num_positions == theirs.num_positions == batch.num_source_tokens


def test_its_own_latents_give_its_memory_and_others_give_another_with_the_same_prompts(case: Any, cache: Path) -> None:
    name, overrides = case
    spec = tiny(name, **overrides)
    model, batch = build(spec, cache).eval(), batch_of(spec, cache)
    with torch.no_grad():
        memory = model.encode_memory(batch)
        latents_BTE = model.latents_of(memory)
        num_prompts = memory.mask_BM.shape[1] - latents_BTE.shape[1]
        assert num_prompts == overrides.get("model.prompts.num_prompts", 0)
        mask_BT = memory.mask_BM[:, num_prompts:]
        again = model.with_latents(memory, latents_BTE, mask_BT)
        other = model.with_latents(memory, latents_BTE.roll(1, 0), mask_BT.roll(1, 0))
    torch.testing.assert_close(again.states_BME[again.mask_BM], memory.states_BME[memory.mask_BM])
    assert torch.equal(again.mask_BM, memory.mask_BM)
    assert not torch.equal(other.states_BME, memory.states_BME)
    assert torch.equal(other.states_BME[:, :num_prompts], memory.states_BME[:, :num_prompts])


def test_micro_batches_add_up(case: Any, cache: Path) -> None:
    """nll_sum and aux_loss x positions are sums over sentences, so any split of a batch gives the same gradient."""
    name, overrides = case
    spec = tiny(name, **overrides)
    model, batch = build(spec, cache).eval(), batch_of(spec, cache)
    parts = [batch._map(lambda t: t[:2]), batch._map(lambda t: t[2:])]
    with torch.no_grad():
        whole, pieces = model.losses(batch), [model.losses(part) for part in parts]
    torch.testing.assert_close(sum(p.nll_sum for p in pieces), whole.nll_sum, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(
        sum(p.aux_loss * p.num_positions for p in pieces), whole.aux_loss * whole.num_positions, rtol=1e-4, atol=1e-3
    )


def test_it_starts_near_the_uniform_guess(case: Any, cache: Path) -> None:
    """A start with a wrong spread (a linear layer of standard deviation 1) scores far above log V."""
    name, overrides = case
    if "model.backbone" in overrides:
        pytest.skip("starts from trained weights")
    spec = tiny(name, **overrides)
    model, batch = build(spec, cache).eval(), batch_of(spec, cache)
    with torch.no_grad():
        nll = float(model.losses(batch).nll_sum) / batch.num_target_tokens
    assert nll < 1.35 * math.log(len(model.tokenizer))


def test_it_is_copied_and_pickled_after_a_step(case: Any, cache: Path) -> None:
    name, overrides = case
    spec = tiny(name, **overrides)
    model, batch = build(spec, cache), batch_of(spec, cache)
    losses = model.losses(batch)
    (losses.nll_sum + losses.aux_loss).backward()
    model.eval()
    with torch.no_grad():
        expected = model.losses(batch).nll_sum
        for other in (copy.deepcopy(model), AveragedModel(model).module, pickle.loads(pickle.dumps(model))):
            assert torch.equal(other.losses(batch).nll_sum, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.half], ids=["bfloat16", "half"])
def test_it_trains_and_decodes_in_another_type(case: Any, dtype: torch.dtype, cache: Path) -> None:
    name, overrides = case
    spec = tiny(name, **overrides)
    model, batch = build(spec, cache).to(dtype), batch_of(spec, cache)
    losses = model.losses(batch)
    (losses.nll_sum / losses.num_tokens + losses.aux_loss).backward()
    assert losses.nll_sum.isfinite() and losses.aux_loss.isfinite()
    assert model.eval().greedy(batch, 4).shape[0] == len(batch)
    with torch.no_grad():
        assert model.losses(batch).nll_sum.isfinite()


def test_evaluation_is_deterministic(case: Any, cache: Path) -> None:
    name, overrides = case
    spec = tiny(name, **overrides)
    model, batch = build(spec, cache).eval(), batch_of(spec, cache)
    with torch.no_grad():
        assert torch.equal(model.losses(batch).nll_sum, model.losses(batch).nll_sum)


def test_a_folder_without_a_known_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no model"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(CheckpointError, match="'bert', which is none of"):
        load_model(tmp_path)


@pytest.mark.parametrize("name", [name for name, config in ModelConfig.variants.items() if config.own_bottleneck])
def test_an_architecture_with_its_own_bottleneck_takes_no_quantizer(name: str) -> None:
    with pytest.raises(SettingError, match=r"quantizer.name=ema .*set quantizer.name=none"):
        tiny(name, **{"quantizer.name": "ema"})
