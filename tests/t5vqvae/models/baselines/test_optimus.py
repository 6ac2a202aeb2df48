"""Optimus: each way of giving attention the latent against its formula, and that there is no other way in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import transformers
from baseline_runs import batch_of, build, tiny
from plain_t5 import V1_1, assert_starts_like_t5, saved_t5

from t5vqvae.errors import SettingError
from t5vqvae.models.baselines.injection import Injection
from t5vqvae.spec.architectures import OptimusConfig
from t5vqvae.spec.run import RunSpec
from t5vqvae.training.trainer import train

WAYS = [("memory", "kv"), *[(way, into) for way in ("addition", "fusion") for into in ("q", "kv", "qkv")]]
LONG = {"model.blocks": "bert_gpt2", "model.injection": "addition"}
TWO = [("memory", "addition"), ("memory", "fusion"), ("addition", "fusion"), ("fusion", "fusion")]


def optimus(cache: Path, **overrides: Any) -> tuple[Any, Any]:
    spec = tiny("optimus", **{"model.latent_width": 8, **overrides})
    return build(spec, cache).eval(), batch_of(spec, cache)


@pytest.mark.parametrize("blocks", ["t5", "bert_gpt2"])
@pytest.mark.parametrize(("way", "into"), WAYS)
def test_the_latent_is_the_only_way_in_and_it_counts(cache: Path, blocks: str, way: str, into: str) -> None:
    """Logits depend on the sentence through z alone, and do depend on z."""
    model, batch = optimus(cache, **{"model.blocks": blocks, "model.injection": way, "model.into": into})
    ids = torch.randint(2, 100, (len(batch), 5))
    with torch.no_grad():
        memory = model.encode_memory(batch)
        same = replace(memory, states_BME=memory.states_BME[:1].expand_as(memory.states_BME))
        logits = model.logits(same, ids[:1].expand_as(ids))
        torch.testing.assert_close(logits, logits[:1].expand_as(logits), rtol=1e-4, atol=1e-5)
        elsewhere = replace(memory, states_BME=3 * torch.randn_like(memory.states_BME))
        other = model.logits(elsewhere, ids[:1].expand_as(ids))
    assert (other - logits).abs().max() > 1e-4


@pytest.mark.parametrize("blocks", ["t5", "bert_gpt2"])
@pytest.mark.parametrize(("way", "query"), TWO)
def test_a_second_latent_enters_queries_and_the_first_keys_and_values(
    cache: Path, blocks: str, way: str, query: str
) -> None:
    model, batch = optimus(cache, **{"model.blocks": blocks, "model.injection": way, "model.query": query})
    ids, z = torch.randint(2, 100, (len(batch), 5)), model.encode_memory(batch).states_BME
    assert z.shape == (len(batch), 1, 16) and model.quantizer.kl_sum > 0
    seen: dict[str, torch.Tensor | None] = {}
    for part, fuse in model.injection.maps.items():
        fuse.register_forward_pre_hook(lambda m, args, part=part: seen.__setitem__(part, args[1]))
    plain = model.logits(replace(model.encode_memory(batch), states_BME=z), ids)
    for part, latent in seen.items():
        torch.testing.assert_close(latent, z[:, 0, 8:] if part.startswith("q") else z[:, 0, :8])
    assert {part[0] for part in seen} == ({"q"} if way == "memory" else {"q", "k", "v"})
    for half in (slice(8), slice(8, 16)):
        moved = z.clone()
        moved[:, :, half] += 3 * torch.randn(len(batch), 1, 8)
        other = model.logits(replace(model.encode_memory(batch), states_BME=moved), ids)
        assert (other - plain).abs().max() > 1e-4


def injection(way: str, into: str, width: int, inner: int, layers: int, rank: int = 1, **more: Any) -> Injection:
    settings = {"injection": way, "into": into, "latent_width": width, "fusion_rank": rank, **more}
    return Injection(OptimusConfig(**settings), inner, layers)


def test_addition_by_hand() -> None:
    torch.manual_seed(0)
    made = injection("addition", "kv", 3, 8, 2)
    made.latent_BZ = torch.randn(2, 3)
    x = torch.randn(2, 5, 8)
    for part in "kv":
        expected = x + (made.latent_BZ @ made.maps[f"{part}1"].map.weight.T)[:, None]
        torch.testing.assert_close(made.into(part, 1, x), expected)
    assert made.into("q", 1, x) is x


def test_fusion_by_hand() -> None:
    """A sums to ((1, 1), (1, 1)), B to (4, 6), and 1 to the bias of each: (2 + 3 + 1, 5 + 1) * (4 / 2 + 1, 6 / 2 + 1).

    With the sum over ranks outside, as the first version had it, the result would be another one.
    """
    made = injection("fusion", "q", 1, 2, 1, rank=2)
    fusion = made.maps["q0"]
    with torch.no_grad():
        fusion.of_x_RIJ.copy_(torch.tensor([[[1.0, 0, 1], [0, 1, 0]], [[0, 1, 0], [1, 0, 1]]]))
        fusion.of_z_RIJ.copy_(torch.tensor([[[1.0, 1], [2, 0]], [[3, 0], [4, 1]]]))
    made.latent_BZ, x = torch.tensor([[0.5]]), torch.tensor([[[2.0, 3.0]]])
    assert made.into("q", 0, x).tolist() == [[[6.0 * 3.0, 6.0 * 4.0]]]
    assert made.into("k", 0, x) is x


def test_fusion_is_the_published_layer_and_nearly_nothing_at_the_start() -> None:
    """`LMFLayer`: a linear layer of [x; 1] and of [z; 1] for each rank, the outputs summed, then multiplied."""
    torch.manual_seed(0)
    made = injection("fusion", "q", 3, 8, 1, rank=4)
    made.latent_BZ = torch.randn(2, 3)
    x, fusion = torch.randn(2, 5, 8), made.maps["q0"]
    assert (made.into("q", 0, x) - x).abs().max() < 1.0
    for parameter in fusion.parameters():
        parameter.data.normal_()
    of_x, of_z = torch.zeros(2, 5, 8), torch.zeros(2, 8)
    for r in range(4):
        of_x += torch.cat([x, torch.ones(2, 5, 1)], -1) @ fusion.of_x_RIJ[r].T
        of_z += torch.cat([made.latent_BZ, torch.ones(2, 1)], -1) @ fusion.of_z_RIJ[r].T
    torch.testing.assert_close(made.into("q", 0, x), of_x * of_z[:, None], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("way", ["addition", "fusion"])
def test_gpt2_gets_it_in_the_parts_named(cache: Path, way: str) -> None:
    model, batch = optimus(cache, **{"model.blocks": "bert_gpt2", "model.injection": way, "model.into": "kv"})
    attention, x = model.blocks.decoder.h[1].attn, torch.randn(len(batch), 3, 32)
    model.injection.latent_BZ = torch.randn(len(batch), 8)
    plain = F.linear(x, attention.c_attn.weight.T, attention.c_attn.bias).chunk(3, -1)
    given = attention.c_attn(x).chunk(3, -1)
    torch.testing.assert_close(given[0], plain[0])
    for place, part in ((1, "k"), (2, "v")):
        torch.testing.assert_close(given[place], model.injection.into(part, 1, plain[place]))
        assert (given[place] - plain[place]).abs().max() > 1e-3


def test_memory_is_one_more_key_and_value_in_t5(cache: Path) -> None:
    """One layer, one token, by hand: softmax over the memory (one place before) and the token itself."""
    model, batch = optimus(cache, **{"model.num_decoder_layers": 1})
    block, memory = model.blocks.decoder.block[0], model.encode_memory(batch)
    attention, norm = block.layer[0].SelfAttention, block.layer[0].layer_norm
    ids, heads = torch.full((len(batch), 1), 7), 4
    x = model.blocks.embedding(ids)
    q, k, v = (getattr(attention, part)(norm(x)).unflatten(-1, (heads, -1)) for part in "qkv")
    m = (memory.states_BME @ model.injection.memory.weight.T).unflatten(-1, (heads, -1))
    keys, values = torch.cat([m, k], 1), torch.cat([m, v], 1)
    bias = attention.relative_attention_bias.weight[[1, 0]]  # buckets of distance 1 and 0
    weights = (torch.einsum("bshd,bthd->bsth", q, keys) + bias).softmax(2)
    y = x + attention.o(torch.einsum("bsth,bthd->bshd", weights, values).flatten(2))
    y = model.blocks.decoder.final_layer_norm(block.layer[1](y))
    expected = F.linear(y * 32**-0.5, model.blocks.embedding.weight)
    torch.testing.assert_close(model.logits(memory, ids), expected, rtol=1e-4, atol=1e-4)


def test_memory_in_gpt2_is_transformers_own_past(cache: Path) -> None:
    model, batch = optimus(cache, **{"model.blocks": "bert_gpt2"})
    memory, ids = model.encode_memory(batch), torch.randint(2, 100, (len(batch), 5))
    split = (memory.states_BME @ model.injection.memory.weight.T).chunk(2, -1)
    cache_of = transformers.DynamicCache()
    for layer, key in enumerate(split):
        by_head = key.unflatten(-1, (4, -1)).transpose(1, 2)
        cache_of.update(by_head, by_head, layer)
    states = model.blocks.decoder(
        inputs_embeds=model.blocks.embedding(ids),
        position_ids=torch.arange(1, 6)[None],
        past_key_values=cache_of,
        use_cache=True,
    ).last_hidden_state
    expected = states @ model.blocks.embedding.weight.T
    torch.testing.assert_close(model.logits(memory, ids), expected, rtol=1e-4, atol=1e-4)


def test_the_embeddings_get_it_too_where_asked(cache: Path) -> None:
    model, batch = optimus(cache, **{"model.latent_in_embeddings": True})
    seen = []
    model.blocks.decoder.register_forward_pre_hook(lambda m, a, kw: seen.append(kw["inputs_embeds"]), with_kwargs=True)
    memory, ids = model.encode_memory(batch), torch.full((len(batch), 2), 7)
    model.logits(memory, ids)
    expected = model.blocks.embedding(ids) + model.to_embeddings(memory.states_BME)
    torch.testing.assert_close(seen[0], expected)


def test_there_is_no_cross_attention(cache: Path) -> None:
    t5, _ = optimus(cache)
    assert not [name for name, _ in t5.named_parameters() if "EncDecAttention" in name]
    gpt2, _ = optimus(cache, **{"model.blocks": "bert_gpt2"})
    assert not [name for name, _ in gpt2.named_parameters() if "crossattention" in name]


def test_t5_blocks_start_with_the_spread_of_t5(cache: Path) -> None:
    model, _ = optimus(cache)
    ours = {
        name.replace("layer.1.Dense", "layer.2.Dense") if name.startswith("decoder") else name: weight
        for name, weight in model.blocks.named_parameters()
    }
    assert_starts_like_t5(ours, model.blocks.config, at_least=20)


def test_bert_and_gpt2_start_with_their_own_spread(cache: Path) -> None:
    model, _ = optimus(cache, **{"model.blocks": "bert_gpt2"})
    for name, weight in model.blocks.named_parameters():
        if weight.ndim == 2 and weight.numel() > 500:
            assert weight.std().item() < 0.025, name


def test_a_t5_checkpoint_gives_its_weights(cache: Path, tmp_path: Path) -> None:
    plain = saved_t5(tmp_path, **V1_1)
    model, batch = optimus(cache, **{"model.backbone": str(tmp_path), "data.tokenizer.kind": "unigram"})
    theirs = plain.state_dict()
    for name, weight in model.blocks.encoder.state_dict().items():
        assert torch.equal(weight, theirs[f"encoder.{name}"])
    for name, weight in model.blocks.decoder.state_dict().items():
        assert torch.equal(weight, theirs[f"decoder.{name.replace('layer.1.', 'layer.2.')}"])
    assert torch.equal(model.blocks.embedding.weight, theirs["shared.weight"])
    assert not model.blocks.config.scale_decoder_outputs and torch.isfinite(model.losses(batch).nll_sum)
    model.save_pretrained(tmp_path / "ours")
    loaded = type(model).load(tmp_path / "ours").eval()
    assert torch.equal(loaded.losses(batch).nll_sum, model.losses(batch).nll_sum)


def test_bert_and_gpt2_checkpoints_give_their_blocks(cache: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    bert = transformers.BertModel(
        transformers.BertConfig(
            vocab_size=30, hidden_size=16, intermediate_size=32, num_attention_heads=2, num_hidden_layers=2
        )
    )
    gpt2 = transformers.GPT2Model(transformers.GPT2Config(vocab_size=40, n_embd=24, n_head=2, n_layer=2))
    bert.save_pretrained(tmp_path / "bert")
    gpt2.save_pretrained(tmp_path / "gpt2")
    places = {"model.bert": str(tmp_path / "bert"), "model.gpt2": str(tmp_path / "gpt2")}
    model, batch = optimus(cache, **{"model.blocks": "bert_gpt2", **places})
    for ours, theirs in ((model.blocks.encoder, bert), (model.blocks.decoder, gpt2)):
        assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in ours.state_dict().items())
    assert model.blocks.embedding.weight.shape == (400, 24)
    assert torch.isfinite(model.losses(batch).nll_sum)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"model.injection": "memory", "model.into": "qkv"},
            "model.into=qkv cannot be used with model.injection",
        ),
        ({"model.injection": "addition", "model.into": "qkv", "model.query": "fusion"}, "model.query=fusion needs"),
        ({"model.bert": "somewhere"}, "model.bert needs model.blocks=bert_gpt2, not t5"),
        ({"model.blocks": "bert_gpt2", "model.backbone": "t5"}, "model.backbone needs model.blocks=t5"),
    ],
)
def test_what_does_not_combine_is_refused(overrides: dict[str, str], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        tiny("optimus", **overrides)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"data.max_length": 513}, "data.max_length=513 must be at most 512 with model.blocks=bert_gpt2"),
        ({"data.max_length": 512, "model.injection": "memory"}, "data.max_length=512 must be at most 511"),
        ({"data.max_target_length": 513}, "data.max_target_length=513 must be at most 512"),
        ({"evaluate.max_new_tokens": 600}, "evaluate.max_new_tokens=600 must be at most 512"),
    ],
)
def test_no_run_begins_with_more_tokens_than_positions(
    tmp_path: Path, overrides: dict[str, object], message: str
) -> None:
    spec = RunSpec.parse(tiny("optimus", **{**LONG, **overrides}).as_dict())
    with pytest.raises(SettingError, match=message):
        next(train(spec, cache_dir=tmp_path))
    assert not list(tmp_path.iterdir()), "no data are prepared"


def test_as_many_tokens_as_positions_are_computed(cache: Path) -> None:
    for way, longest in (("addition", 512), ("memory", 511)):
        model, batch = optimus(cache, **{**LONG, "data.max_length": longest, "model.injection": way})
        ids = torch.full((2, longest), 3)
        whole = replace(batch, input_ids_BT=ids, mask_BT=ids > 0, labels_BS=ids, num_chars_B=ids[:, 0])
        assert torch.isfinite(model.losses(whole).nll_sum)


def test_a_missing_checkpoint_is_refused_in_one_line(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"model.gpt2='.*nothing' cannot be loaded") as caught:
        optimus(cache, **{"model.blocks": "bert_gpt2", "model.gpt2": str(tmp_path / "nothing")})
    assert "\n" not in str(caught.value)
