"""The model: plain T5 when nothing is quantized, the same through every door, saved and loaded whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from plain_t5 import V1_1, assert_starts_like_t5, saved_t5
from torch import Tensor

from t5vqvae.data import Batch
from t5vqvae.errors import SettingError
from t5vqvae.models.t5 import T5VQVAE
from t5vqvae.quantizers import QuantizerConfig
from t5vqvae.spec.run import RunSpec

VOCABULARY = 50
CROSS_POSITIONS = ("none", "absolute", "relative", "randomized", "labels")
KINDS = {"t5": {}, "t5_v1_1": V1_1}


class _Vocabulary:
    """Stands in for a tokenizer where only its size matters."""

    def __len__(self) -> int:
        return VOCABULARY


@pytest.fixture(scope="module", params=list(KINDS))
def backbone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A randomly initialised T5 checkpoint, saved locally."""
    folder = tmp_path_factory.mktemp("backbone")
    saved_t5(folder, VOCABULARY, d_model=32, d_kv=8, d_ff=64, **KINDS[request.param])
    return folder


@pytest.fixture
def inputs() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    input_ids = torch.randint(2, VOCABULARY, (4, 9), generator=generator)
    attention_mask = torch.ones(4, 9, dtype=torch.long)
    attention_mask[1, 5:] = 0
    attention_mask[3, 2:] = 0
    labels = torch.randint(2, VOCABULARY, (4, 7), generator=generator)
    labels[2, 4:] = -100
    return {"input_ids": input_ids * attention_mask, "attention_mask": attention_mask, "labels": labels}


def build(**overrides: Any) -> T5VQVAE:
    spec = RunSpec().with_overrides({"model.d_model": 32, "model.d_ff": 64, "quantizer.codebook_size": 20, **overrides})
    return spec.model.build(spec, _Vocabulary()).eval()


def build_on(backbone: Path, **overrides: Any) -> T5VQVAE:
    spec = RunSpec().with_overrides({"model.backbone": str(backbone), **overrides})
    return spec.model.build(spec, _Vocabulary()).eval()


@pytest.mark.parametrize("position", [0, 1, 2, 3, None])
def test_without_a_bottleneck_every_position_equals_plain_t5(backbone: Path, inputs: Any, position: int | None) -> None:
    plain = transformers.T5ForConditionalGeneration.from_pretrained(backbone).eval()(**inputs)
    ours = build_on(backbone, **{"quantizer.name": "none", "model.position": position})(**inputs)
    torch.testing.assert_close(ours.logits, plain.logits, rtol=0, atol=0)
    torch.testing.assert_close(ours.loss, plain.loss)
    assert ours.codes is None


def test_without_a_bottleneck_the_norm_and_dropout_are_plain_t5s(backbone: Path, inputs: Any) -> None:
    plain = transformers.T5ForConditionalGeneration.from_pretrained(backbone, dropout_rate=0.3).train()
    for place in (None, "before", "after"):
        settings = {"quantizer.name": "none", "model.dropout": 0.3, "model.final_norm": place}
        logits = []
        for model in (plain, build_on(backbone, **settings).train()):
            torch.manual_seed(7)
            logits.append(model(**inputs).logits)
        torch.testing.assert_close(logits[1], logits[0], rtol=0, atol=0)


@pytest.mark.parametrize("place", [None, "before", "after"])
def test_dropout_falls_on_the_states_before_the_codebook_and_not_on_codes(inputs: Any, place: str | None) -> None:
    """With .3, T5's own order zeroes .3 of the memory; published: the states before the codebook."""
    model = build(**{"model.dropout": 0.3, "model.final_norm": place, "quantizer.start": "random"}).train()
    mask = inputs["attention_mask"].bool()
    memory = model.encoder(inputs["input_ids"], inputs["attention_mask"]).last_hidden_state[mask]
    states = model.encoder.states_BTE[mask]
    assert (memory == 0).float().mean() == 0
    assert (states == 0).float().mean().item() == pytest.approx(0.3, abs=0.07)
    codes = model.quantizer.lookup(model.last_codes)
    expected = codes if place != "after" else model.encoder.final_layer_norm(codes)
    torch.testing.assert_close(memory, expected[mask])


def test_a_bottleneck_before_the_final_norm_quantizes_raw_states(inputs: Any) -> None:
    """T5's norm divides by the root mean square: normed states have 1, those before it do not."""
    memory, states = {}, {}
    for place in ("before", "after"):
        model = build(**{"model.final_norm": place})
        memory[place] = model.encoder(inputs["input_ids"], inputs["attention_mask"]).last_hidden_state[0]
        states[place] = model.encoder.states_BTE[0]
    size = {place: each.square().mean(-1, keepdim=True).sqrt() for place, each in states.items()}
    ones = torch.ones_like(size["before"])
    torch.testing.assert_close(size["before"], ones, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(memory["after"].square().mean(-1, keepdim=True).sqrt(), ones, rtol=1e-3, atol=1e-3)
    assert (size["after"] - 1).abs().min() > 0.01
    torch.testing.assert_close(states["after"] / size["after"], states["before"])


def test_a_final_norm_where_blocks_follow_is_refused(backbone: Path) -> None:
    with pytest.raises(SettingError, match=r"model.final_norm=after is for the last position, 2"):
        build(**{"model.position": 1, "model.final_norm": "after"})
    with pytest.raises(SettingError, match=r"model.final_norm=before is for the last position, 3"):
        build_on(backbone, **{"model.position": 1, "model.final_norm": "before"})


@pytest.mark.parametrize("position", [0, 1, 3])
def test_a_bottleneck_changes_what_the_decoder_sees(backbone: Path, inputs: Any, position: int) -> None:
    plain = transformers.T5ForConditionalGeneration.from_pretrained(backbone).eval()(**inputs)
    ours = build_on(backbone, **{"model.position": position})(**inputs)
    assert (ours.logits - plain.logits).abs().max() > 1e-3
    assert ours.loss > torch.nn.functional.cross_entropy(ours.logits.flatten(0, 1), inputs["labels"].flatten())


def test_the_decoder_sees_code_vectors_alone_at_the_last_position(inputs: Any) -> None:
    model = build()
    output = model(**inputs)
    memory = model.encoder(inputs["input_ids"], inputs["attention_mask"]).last_hidden_state
    table = model.quantizer.tables_QKD[0]
    assert torch.equal(memory[0], table[output.codes[0, :, 0]])
    assert (output.codes[1, 5:] == -1).all() and (memory[1, 5:] == 0).all()


@pytest.mark.parametrize("overrides", [{}, {"model.position": 1}, {"quantizer.code_width": 8, "model.position": 0}])
def test_padding_changes_nothing(inputs: Any, overrides: dict[str, Any]) -> None:
    model = build(**overrides)
    short = {k: v[3:, :2] for k, v in inputs.items() if k != "labels"} | {"labels": inputs["labels"][3:]}
    garbage = inputs["input_ids"].clone()
    garbage[3, 2:] = 7
    padded, alone = model(**{**inputs, "input_ids": garbage}), model(**short)
    torch.testing.assert_close(padded.logits[3:], alone.logits, rtol=1e-4, atol=1e-5)
    assert torch.equal(padded.codes[3:, :2], alone.codes)


@pytest.mark.parametrize("cross_positions", CROSS_POSITIONS)
def test_cached_generation_equals_teacher_forcing(inputs: Any, cross_positions: str) -> None:
    model = build(**{"model.cross_positions": cross_positions, "model.position": 1})
    batch = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    ids = model.generate(**batch, max_new_tokens=8, do_sample=False)
    step_by_step = model(**batch, decoder_input_ids=ids[:, :-1]).logits.argmax(-1)
    ended = (ids[:, 1:] == 1).cumsum(-1) - (ids[:, 1:] == 1).long() > 0
    assert ((step_by_step == ids[:, 1:]) | ended).all()


def test_relative_cross_positions_look_both_ways(inputs: Any) -> None:
    attention = build(**{"model.cross_positions": "relative"}).decoder.block[0].layer[1].EncDecAttention
    bias = attention.compute_bias(4, 4)[0, 0]
    assert bias[0, 3] != bias[3, 0] and bias[0, 1] == bias[2, 3] and bias[0, 3] != bias[0, 0]
    one_step = attention.compute_bias(1, 4, past_seen_tokens=3)[0, 0]
    assert torch.equal(one_step[0], bias[2])


@pytest.mark.parametrize("position", [0, 1, 2])
def test_decoding_from_codes_is_the_forward_pass(inputs: Any, position: int) -> None:
    model = build(**{"model.position": position})
    mask = inputs["attention_mask"]
    memory = model.encoder(inputs["input_ids"], mask).last_hidden_state
    quantized = model.embed_codes(model.last_codes)
    again = model.encoder(inputs_embeds=torch.zeros_like(quantized), attention_mask=mask, quantized=quantized)
    torch.testing.assert_close(again.last_hidden_state * mask[..., None], memory * mask[..., None])


@pytest.mark.parametrize("cross_positions", CROSS_POSITIONS)
def test_saved_and_loaded_whole(tmp_path: Path, inputs: Any, cross_positions: str) -> None:
    model = build(**{"model.cross_positions": cross_positions, "quantizer.code_width": 8})
    model.tokenizer = None
    model.save_pretrained(tmp_path)
    assert {file.suffix for file in tmp_path.iterdir()} == {".json", ".safetensors"}
    loaded = T5VQVAE.from_pretrained(tmp_path).eval()
    for (name, mine), theirs in zip(model.state_dict().items(), loaded.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs), name
    assert torch.equal(model(**inputs).logits, loaded(**inputs).logits)


@pytest.mark.parametrize("variant", list(QuantizerConfig.variants))
def test_every_quantizer_is_loaded_as_it_was_saved(variant: str, tmp_path: Path, inputs: Any) -> None:
    size = {"quantizer.codebook_size": 16} if "codebook_size" in QuantizerConfig.variants[variant].model_fields else {}
    spec = RunSpec().with_overrides({"model.d_model": 32, "model.d_ff": 64, "quantizer.name": variant, **size})
    model = spec.model.build(spec, _Vocabulary()).eval()
    model.tokenizer = None
    model.save_pretrained(tmp_path)
    ours, theirs = (each(**inputs) for each in (model, T5VQVAE.from_pretrained(tmp_path).eval()))
    assert torch.equal(ours.logits, theirs.logits)
    assert ours.codes is None or torch.equal(ours.codes, theirs.codes)


def test_the_backbone_keeps_its_weights_and_the_quantizer_its_own_start(backbone: Path) -> None:
    plain = transformers.T5ForConditionalGeneration.from_pretrained(backbone)
    model = build_on(backbone, **{"quantizer.code_width": 8})
    ours = model.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in plain.state_dict().items())
    bound = 32**-0.5  # nn.Linear's own start: uniform within 1/sqrt(fan in); T5's would be N(0, 1)
    assert model.quantizer.project_in.weight.abs().max() <= bound


@pytest.mark.parametrize("cross_positions", CROSS_POSITIONS)
def test_a_backbone_in_half_precision_trains_in_float32_with_cross_positions_drawn(
    tmp_path: Path, cross_positions: str
) -> None:
    plain = saved_t5(tmp_path, VOCABULARY, d_model=32, num_heads=16).to(torch.bfloat16)
    plain.save_pretrained(tmp_path)
    model = build_on(tmp_path, **{"model.cross_positions": cross_positions})
    parameters = dict(model.named_parameters())
    assert {weight.dtype for weight in parameters.values()} == {torch.float32}
    assert not any(weight.is_meta for weight in model.state_dict(keep_vars=True).values())
    assert model.encoder.embed_tokens.weight is model.decoder.embed_tokens.weight is model.shared.weight
    for name, weight in plain.named_parameters():
        assert torch.equal(parameters[name], weight.float()), name
    if cross_positions == "relative":
        bias = parameters["decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"]
        assert float(bias.detach().std()) == pytest.approx(32**-0.5, rel=0.2)  # as T5 draws it; nn.Embedding's own is 1
    if cross_positions in ("absolute", "randomized", "labels"):
        assert model.decoder.input_scale.item() == model.decoder.memory_scale.item() == 1


@pytest.mark.parametrize("cross_positions", CROSS_POSITIONS)
def test_from_scratch_starts_with_the_spread_of_t5(cross_positions: str) -> None:
    model = build(**{"model.cross_positions": cross_positions})
    assert_starts_like_t5(dict(model.named_parameters()), model.config, at_least=20)


def test_losses_are_sums_of_what_forward_averages(inputs: Any) -> None:
    model = build()
    mask = inputs["attention_mask"].bool()
    batch = Batch(inputs["input_ids"], mask, inputs["labels"], None, torch.ones(4, dtype=torch.long))
    losses, output = model.losses(batch), model(**inputs)
    torch.testing.assert_close(losses.nll_sum / losses.num_tokens + losses.aux_loss, output.loss)
    assert losses.num_tokens == 25 and losses.num_positions == int(mask.sum())
    assert model.losses(batch, swap_memory=True).nll_sum != losses.nll_sum


def test_a_position_beyond_the_backbone_is_refused(backbone: Path) -> None:
    with pytest.raises(SettingError, match=r"model.position=4 must lie between 0 and 3"):
        build_on(backbone, **{"model.position": 4})


def test_a_missing_backbone_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"model.backbone='.*nothing' cannot be loaded") as caught:
        build_on(tmp_path / "nothing")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("codes", "width"), [(1, None), (2, None), (4, 16)])
def test_several_codes_a_token(inputs: Any, codes: int, width: int | None) -> None:
    model = build(**{"quantizer.num_codebooks": codes, "quantizer.code_width": width})
    output = model(**inputs)
    assert output.codes.shape == (4, 9, codes)
    quantized = model.embed_codes(output.codes)
    assert torch.equal(quantized, model.encoder(inputs["input_ids"], inputs["attention_mask"]).last_hidden_state)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux says what is mapped")
def test_a_backbones_weights_are_mapped_and_not_read_by_every_trial(
    backbone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All processes of a node read the one copy in the system's page cache; a copy of their own is the model alone."""
    mapped, load = [], transformers.T5ForConditionalGeneration.from_pretrained

    def watched(*args: Any, **kwargs: Any) -> Any:
        model = load(*args, **kwargs)
        mapped.append(str(backbone / "model.safetensors") in Path("/proc/self/maps").read_text())
        return model

    monkeypatch.setattr(transformers.T5ForConditionalGeneration, "from_pretrained", watched)
    spec = RunSpec().with_overrides({"model.backbone": str(backbone), "quantizer.codebook_size": 8})
    built = spec.model.build(spec, _Vocabulary())
    assert mapped == [True]
    assert str(backbone / "model.safetensors") not in Path("/proc/self/maps").read_text(), "it trains on its own copy"
    assert isinstance(built, T5VQVAE)
