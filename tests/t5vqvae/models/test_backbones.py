"""Every checkpoint of the T5 family is taken whole; every other one is refused by name, in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from plain_t5 import MT5, V1_1, edit_json, saved_t5
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from t5vqvae.errors import CheckpointError, SettingError
from t5vqvae.models.backbones import BERT, GPT2, read_backbone
from t5vqvae.models.contract import load_model
from t5vqvae.models.t5 import T5VQVAE
from t5vqvae.spec.run import RunSpec

VOCABULARY = 50
FAMILY: dict[str, dict[str, Any]] = {
    "t5": {},
    "gated and tied": {"feed_forward_proj": "gated-gelu"},
    "v1.1": V1_1,
    "relu with a head of its own": {"tie_word_embeddings": False},
    "mt5": MT5,
    "mt5 and tied": {"kind": "MT5"},
}
every_kind = pytest.mark.parametrize("kind", FAMILY)


class _Tokens:
    """Stands in for a tokenizer where only its size matters."""

    def __len__(self) -> int:
        return VOCABULARY


def spec_of(folder: Path | str, **overrides: Any) -> RunSpec:
    return RunSpec().with_overrides({"model.backbone": str(folder), "quantizer.name": "none", **overrides})


def build(folder: Path | str, **overrides: Any) -> T5VQVAE:
    spec = spec_of(folder, **overrides)
    model = spec.model.build(spec, _Tokens()).eval()
    model.tokenizer = None  # nothing to save
    return model


def batch() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    ids, labels = (torch.randint(2, VOCABULARY, (3, size), generator=generator) for size in (9, 7))
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


@torch.no_grad()
def logits(model: Any) -> Tensor:
    return model.eval()(**batch()).logits


def refusal(folder: Path | str, **overrides: Any) -> str:
    """The one line with which a backbone is refused."""
    with pytest.raises(SettingError) as caught:
        build(folder, **overrides)
    line = str(caught.value)
    assert "\n" not in line and f"model.backbone={str(folder)!r}" in line and "; name " in line, line
    return line


@every_kind
def test_built_saved_loaded_and_resized_it_is_plain_transformers(kind: str, tmp_path: Path) -> None:
    plain = saved_t5(tmp_path / "plain", VOCABULARY, **FAMILY[kind])
    separate = plain.lm_head.weight is not plain.shared.weight
    model = build(tmp_path / "plain")
    assert torch.equal(logits(model), logits(plain))
    model.save_pretrained(tmp_path / "saved")
    loaded = load_model(tmp_path / "saved")
    assert torch.equal(logits(loaded), logits(plain))
    for each in (model, loaded):
        assert (each.lm_head.weight is not each.shared.weight) is separate
        assert each.encoder.embed_tokens.weight is each.decoder.embed_tokens.weight is each.shared.weight
        assert torch.equal(each.lm_head.weight, plain.lm_head.weight)
    stored = load_file(tmp_path / "saved" / "model.safetensors")
    assert ("lm_head.weight" in stored) is separate and "shared.weight" in stored
    loaded.resize_token_embeddings(VOCABULARY + 14)
    assert (loaded.lm_head.weight is not loaded.shared.weight) is separate
    assert torch.equal(logits(loaded)[..., :VOCABULARY], logits(plain))
    loaded.save_pretrained(tmp_path / "resized")
    assert torch.equal(logits(T5VQVAE.from_pretrained(tmp_path / "resized")), logits(loaded))


def test_a_head_of_its_own_trains_apart_from_the_embedding(tmp_path: Path) -> None:
    saved_t5(tmp_path, VOCABULARY, **V1_1)
    model = build(tmp_path).train()
    assert (
        len({weight for name, weight in model.named_parameters() if name in ("lm_head.weight", "shared.weight")}) == 2
    )
    assert model.tied_names() == {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight"}
    torch.optim.SGD(model.parameters(), lr=0.1).zero_grad()
    model(**batch()).loss.backward()
    assert model.lm_head.weight.grad is not None and not torch.equal(
        model.lm_head.weight.grad, model.shared.weight.grad
    )


def _as_bin(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def _in_shards(folder: Path) -> None:
    transformers.T5ForConditionalGeneration.from_pretrained(folder).save_pretrained(folder, max_shard_size="20KB")
    (folder / "model.safetensors").unlink()
    assert len(list(folder.glob("*.safetensors"))) > 1


@pytest.mark.parametrize("form", [_as_bin, _in_shards], ids=["bin", "shards"])
def test_a_backbone_in_another_form_is_read(form: Callable[[Path], None], tmp_path: Path) -> None:
    plain = saved_t5(tmp_path, VOCABULARY)
    form(tmp_path)
    assert torch.equal(logits(build(tmp_path)), logits(plain))


def test_a_backbone_without_an_output_layer_uses_its_embedding(tmp_path: Path) -> None:
    saved_t5(tmp_path, VOCABULARY)
    transformers.T5Model.from_pretrained(tmp_path).save_pretrained(tmp_path / "base")
    plain = transformers.T5ForConditionalGeneration.from_pretrained(tmp_path / "base")
    assert torch.equal(logits(build(tmp_path / "base")), logits(plain))


SMALL = {"vocab_size": VOCABULARY, "d_model": 16, "d_kv": 4, "d_ff": 32, "num_heads": 4, "num_layers": 2}
SMALL_BART = {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
OTHERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "bart": ("Bart", "BartForConditionalGeneration", {"vocab_size": VOCABULARY, "d_model": 16, **SMALL_BART}),
    "longt5": ("LongT5", "LongT5ForConditionalGeneration", SMALL),
    "switch_transformers": ("SwitchTransformers", "SwitchTransformersForConditionalGeneration", SMALL),
    "umt5": ("UMT5", "UMT5ForConditionalGeneration", SMALL),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_architecture_is_refused_by_name(name: str, tmp_path: Path) -> None:
    config, model, sizes = OTHERS[name]
    settings = getattr(transformers, f"{config}Config")(**sizes)
    getattr(transformers, model)(settings).save_pretrained(tmp_path)
    assert f"is of type {name}, not T5 or MT5" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["T5EncoderModel", "T5ForQuestionAnswering", "T5ForSequenceClassification"])
def test_another_model_of_t5s_parts_is_refused_by_name(name: str, tmp_path: Path) -> None:
    getattr(transformers, name)(transformers.T5Config(**SMALL)).save_pretrained(tmp_path)
    assert f"is no T5ForConditionalGeneration but a {name}: " in refusal(tmp_path)


def test_a_saved_t5vqvae_is_no_backbone(tmp_path: Path) -> None:
    saved_t5(tmp_path / "plain", VOCABULARY)
    build(tmp_path / "plain").save_pretrained(tmp_path / "saved")
    assert "is of type t5vqvae, not T5 or MT5" in refusal(tmp_path / "saved")


def _weights(change: Callable[[dict[str, Tensor]], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    return edit


def _settings(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: edit_json(folder / "config.json", **changes)


def _cut(name: str, size: int) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        if name.endswith(".bin"):
            _as_bin(folder)
        (folder / name).write_bytes((folder / name).read_bytes()[:size])

    return edit


def _lose_a_shard(folder: Path) -> None:
    _in_shards(folder)
    sorted(folder.glob("*.safetensors"))[-1].unlink()


LAYER = "decoder.block.1.layer.2.DenseReluDense.wo.weight"
DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a tensor less": (_weights(lambda w: w.pop(LAYER)), f"1 tensor is missing, such as {LAYER}"),
    "a layer more": (_settings(num_layers=4), "tensors are missing, such as encoder.block.3.layer"),
    "a layer less": (_settings(num_layers=2), "tensors have no place, such as encoder.block.2.layer.0"),
    "a tensor more": (_weights(lambda w: w.update(extra=torch.ones(2))), "1 tensor has no place, such as extra"),
    "another shape": (
        _weights(lambda w: w.update({LAYER: torch.ones(16, 8)})),
        f"{LAYER} has shape (16, 8), where config.json needs (16, 32)",
    ),
    "another width": (_settings(d_model=32), "where config.json needs"),
    "no embedding": (_weights(lambda w: w.pop("shared.weight")), "such as decoder.embed_tokens.weight"),
    "NaN": (_weights(lambda w: w[LAYER].fill_(float("nan"))), f"1 tensor is not finite, such as {LAYER}"),
    "infinity": (_weights(lambda w: w[LAYER][0].fill_(float("-inf"))), "1 tensor is not finite"),
    "an embedding of the decoder": (
        _weights(lambda w: w.update({"decoder.embed_tokens.weight": torch.ones_like(w["shared.weight"])})),
        "decoder.embed_tokens.weight differs from shared.weight",
    ),
    "a lost output layer": (_settings(tie_word_embeddings=False), "lm_head.weight is missing"),
    "no config.json": (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
    "half a config.json": (_cut("config.json", 40), "is not a valid JSON file"),
    "a list": (lambda folder: (folder / "config.json").write_text("[1]"), "cannot be loaded"),
    "no type": (_settings(model_type=None), "is of type None, not T5 or MT5"),
    "a width in words": (_settings(d_model="wide"), "d_model"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "no file named model.safetensors"),
    "empty weights": (_cut("model.safetensors", 0), "header too small"),
    "half the weights": (_cut("model.safetensors", 30_000), "file not fully covered"),
    "an empty bin": (_cut("pytorch_model.bin", 0), "EOFError"),
    "the start of a bin": (_cut("pytorch_model.bin", 100), "failed reading zip archive"),
    "half a bin": (_cut("pytorch_model.bin", 30_000), "cannot be loaded"),
    "a shard less": (_lose_a_shard, "model-0"),
    "another dtype": (_settings(dtype="nope"), "nope"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_torn_checkpoint_is_refused_by_name(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    saved_t5(tmp_path, VOCABULARY)
    damage, words = DAMAGES[name]
    damage(tmp_path)
    capfd.readouterr()
    assert words in refusal(tmp_path)
    assert "MISSING" not in capfd.readouterr().err, "Transformers' table of tensors was printed too"


@pytest.mark.parametrize("name", ["a tensor less", "another shape", "NaN", "half the weights", "no weights", "a list"])
@pytest.mark.parametrize("architecture", ["t5vqvae", "transformer"])
def test_a_torn_model_of_ours_is_refused_by_name(name: str, architecture: str, tmp_path: Path) -> None:
    sizes = {"model.d_model": 16, "model.d_ff": 32, "model.num_layers": 1, "quantizer.codebook_size": 8}
    spec = RunSpec().with_overrides({"model.name": architecture, **sizes})
    spec.model.build(spec, _tokenizer(VOCABULARY)).save_pretrained(tmp_path)
    load_model(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    layer = next(key for key, tensor in stored.items() if tensor.ndim == 2 and "encoder" in key)
    edits = {
        "a tensor less": _weights(lambda w: w.pop(layer)),
        "another shape": _weights(lambda w: w.update({layer: w[layer][:3].clone()})),
        "NaN": _weights(lambda w: w[layer].fill_(float("nan"))),
    }
    (edits[name] if name in edits else DAMAGES[name][0])(tmp_path)
    with pytest.raises(CheckpointError) as caught:
        load_model(tmp_path)
    line = str(caught.value)
    assert "\n" not in line and str(tmp_path) in line and "; use another copy" in line
    assert layer in line or name not in edits


def _tokenizer(size: int, gap: int = 0) -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, models

    vocabulary = {f"w{number}": number for number in range(size - 1)} | {"last": size - 1 + gap}
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel(vocabulary, "w0")))


@pytest.mark.parametrize("architecture", ["t5vqvae", "gaussian", "optimus", "cross_layer"])
def test_fewer_rows_than_tokens_are_refused_with_both_sizes(architecture: str, tmp_path: Path) -> None:
    saved_t5(tmp_path, VOCABULARY)
    quantizer = "ema" if architecture in ("t5vqvae", "cross_layer") else "none"
    spec = spec_of(tmp_path, **{"model.name": architecture, "quantizer.name": quantizer})
    for tokenizer, number in ((_tokenizer(VOCABULARY + 1), 51), (_tokenizer(VOCABULARY - 5, gap=20), 65)):
        with pytest.raises(SettingError, match=rf"an embedding of 50 rows, but its tokenizer has {number} tokens"):
            spec.model.build(spec, tokenizer)
    spec.model.build(spec, _tokenizer(VOCABULARY))


def test_a_torn_bert_or_gpt2_is_refused_and_a_head_is_left_out(tmp_path: Path) -> None:
    bert = transformers.BertConfig(
        vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    transformers.BertForPreTraining(bert).save_pretrained(tmp_path / "bert")
    transformers.BertForMaskedLM(bert).save_pretrained(tmp_path / "no pooler")
    gpt2 = transformers.GPT2Config(vocab_size=9, n_embd=8, n_head=2, n_layer=2)
    transformers.GPT2LMHeadModel(gpt2).save_pretrained(tmp_path / "gpt2")
    read_backbone("model.bert", str(tmp_path / "bert"), BERT)
    read_backbone("model.gpt2", str(tmp_path / "gpt2"), GPT2)
    with pytest.raises(SettingError, match=r"model.bert='.*' is no BertModel but a BertForMaskedLM: .* such as pooler"):
        read_backbone("model.bert", str(tmp_path / "no pooler"), BERT)
    with pytest.raises(SettingError, match=r"model.bert='.*' is of type gpt2, not BERT; name a BERT checkpoint"):
        read_backbone("model.bert", str(tmp_path / "gpt2"), BERT)
    shutil.copytree(tmp_path / "gpt2", tmp_path / "short")
    edit_json(tmp_path / "short" / "config.json", n_layer=1)
    with pytest.raises(SettingError, match="have no place"):
        read_backbone("model.gpt2", str(tmp_path / "short"), GPT2)


def test_an_optimus_on_mt5_reads_its_output_layer(tmp_path: Path) -> None:
    plain = saved_t5(tmp_path, VOCABULARY, **MT5)
    spec = spec_of(tmp_path, **{"model.name": "optimus"})
    blocks = spec.model.build(spec, _tokenizer(VOCABULARY)).blocks
    assert torch.equal(blocks.head.weight, plain.lm_head.weight) and not blocks.config.scale_decoder_outputs


def test_settings_are_saved_with_the_output_layers_kind(tmp_path: Path) -> None:
    saved_t5(tmp_path / "plain", VOCABULARY, **V1_1)
    build(tmp_path / "plain").save_pretrained(tmp_path / "saved")
    saved = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert saved["separate_head"] is True and saved["scale_decoder_outputs"] is False
