"""The model lives in its ecosystem as plain T5 does: copies, averages, tuples, beams, types, trainers, odd batches."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from plain_t5 import V1_1, saved_t5
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from t5vqvae.models.t5 import T5VQVAE
from t5vqvae.quantizers import QuantizerConfig
from t5vqvae.spec.run import RunSpec

VOCABULARY = 50
SMALL = {"model.d_model": 32, "model.d_ff": 64, "model.num_layers": 1, "model.num_decoder_layers": 1}
every_variant = pytest.mark.parametrize("variant", list(QuantizerConfig.variants))


class _Tokens:
    def __len__(self) -> int:
        return VOCABULARY


def build(backbone: Path | None = None, **overrides: Any) -> T5VQVAE:
    place: dict[str, Any] = SMALL if backbone is None else {"model.backbone": str(backbone)}
    spec = RunSpec().with_overrides({**place, **overrides})
    model = spec.model.build(spec, _Tokens(), 2)
    model.tokenizer = None
    return model


def of_variant(variant: str, **overrides: Any) -> T5VQVAE:
    """A small model with the quantizer of a variant, in training mode."""
    size = {"quantizer.codebook_size": 16} if "codebook_size" in QuantizerConfig.variants[variant].model_fields else {}
    return build(**{"quantizer.name": variant, **size, **overrides}).train()


def batch(num: int = 3, source: int = 9, target: int = 7) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    ids, labels = (torch.randint(2, VOCABULARY, (num, size), generator=generator) for size in (source, target))
    mask = torch.ones_like(ids)
    mask[1:2, 5:] = 0
    labels[2:3, 4:] = -100
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def step(model: Any, **inputs: Tensor) -> Any:
    """One optimizer step, without a word to the quantizer."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    output = model(**(inputs or batch()))
    output.loss.backward()
    optimizer.step()
    return output


@pytest.fixture(scope="module", params=["t5", "v1.1"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[T5VQVAE, Any]:
    """A T5VQVAE without a bottleneck, and the plain T5 that it was built on."""
    folder = tmp_path_factory.mktemp("plain")
    plain = saved_t5(folder, VOCABULARY, d_model=32, d_kv=8, **(V1_1 if request.param == "v1.1" else {}))
    return build(folder, **{"quantizer.name": "none"}).eval(), plain


def assert_equal(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, tuple | list):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_equal(one, other)
    elif isinstance(theirs, Tensor):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(
    "arguments",
    [
        {"output_hidden_states": True},
        {"output_attentions": True},
        {"output_hidden_states": True, "output_attentions": True, "return_dict": False},
        {"return_dict": False},
        {"use_cache": False},
        {"decoder_attention_mask": torch.tensor([[1] * 7, [1] * 3 + [0] * 4, [1] * 7])},
    ],
    ids=lambda arguments: " ".join(arguments),
)
def test_every_output_is_plain_t5s(pair: tuple[T5VQVAE, Any], arguments: dict[str, Any]) -> None:
    for model in pair:
        model.set_attn_implementation("eager" if "output_attentions" in arguments else "sdpa")
    ours, theirs = (model(**batch(), **arguments) for model in pair)
    if arguments.get("return_dict") is False:
        assert isinstance(ours, tuple)
        ours, theirs = ours[:-1], theirs  # the quantizer's loss comes last
    else:
        assert set(theirs.keys()) <= set(ours.keys())
        ours, theirs = [ours[name] for name in theirs], list(theirs.values())
    assert_equal(ours, theirs)


ODD: dict[str, dict[str, Tensor]] = {
    "one sentence": batch(1),
    "one token": batch(3, source=1),
    "one target": batch(3, target=1),
    "no mask": {name: value for name, value in batch().items() if name != "attention_mask"},
    "a sentence without a token": {**batch(), "attention_mask": torch.tensor([[0] * 9, [1] * 9, [1] * 9])},
    "padding alone": {**batch(), "attention_mask": torch.zeros(3, 9, dtype=torch.long)},
    "no label": {**batch(), "labels": torch.full((3, 7), -100)},
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_batch_is_read_as_plain_t5_reads_it(pair: tuple[T5VQVAE, Any], name: str) -> None:
    ours, theirs = (model(**ODD[name]) for model in pair)
    assert_equal(*[[each.loss, each.logits, each.encoder_last_hidden_state] for each in (ours, theirs)])


@pytest.mark.parametrize("name", ODD)
@every_variant
def test_an_odd_batch_trains(variant: str, name: str) -> None:
    model = of_variant(variant)
    output = step(model, **ODD[name])
    assert output.logits.isfinite().all() and output.aux_loss.isfinite()
    assert all(value.isfinite().all() for value in model.state_dict().values()) or name == "no label"


def test_embeddings_states_and_caches_are_taken_as_plain_t5_takes_them(pair: tuple[T5VQVAE, Any]) -> None:
    inputs = batch()
    ids, rest = inputs["input_ids"], {name: inputs[name] for name in ("attention_mask", "labels")}
    decoder_ids = torch.randint(2, VOCABULARY, (3, 4), generator=torch.Generator().manual_seed(2))
    results = []
    for model in pair:
        by_embeds = model(inputs_embeds=model.shared(ids), **rest).logits
        encoded = model.encoder(ids, rest["attention_mask"])
        given = model(encoder_outputs=encoded, **rest)
        as_tuple = model(encoder_outputs=(encoded[0],), **rest, return_dict=False)
        decoded = model(ids, rest["attention_mask"], decoder_inputs_embeds=model.shared(decoder_ids)).logits
        by_place = model(ids, rest["attention_mask"], decoder_ids, None, encoded).logits
        first = model(
            encoder_outputs=encoded, attention_mask=rest["attention_mask"], decoder_input_ids=decoder_ids[:, :3]
        )
        last = model(
            encoder_outputs=encoded,
            attention_mask=rest["attention_mask"],
            decoder_input_ids=decoder_ids[:, 3:],
            past_key_values=first.past_key_values,
        ).logits
        torch.testing.assert_close(last[:, -1], by_place[:, -1], rtol=1e-4, atol=1e-4)
        results.append([by_embeds, given.loss, given.logits, as_tuple[0], as_tuple[1], decoded, by_place, last])
    assert_equal(*results)


@pytest.mark.parametrize(
    "how", [{}, {"num_beams": 3}, {"num_beams": 4, "num_return_sequences": 2}, {"use_cache": False, "num_beams": 2}]
)
def test_generation_is_plain_t5s(pair: tuple[T5VQVAE, Any], how: dict[str, Any]) -> None:
    inputs = {name: batch()[name] for name in ("input_ids", "attention_mask")}
    ours, theirs = (model.generate(**inputs, max_new_tokens=8, do_sample=False, **how) for model in pair)
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("cross_positions", ["none", "absolute", "relative", "randomized", "labels"])
def test_beams_with_a_cache_find_what_beams_without_find(cross_positions: str) -> None:
    model = build(**{"model.cross_positions": cross_positions}).eval()
    inputs = {name: batch()[name] for name in ("input_ids", "attention_mask")}
    ours = [model.generate(**inputs, max_new_tokens=6, num_beams=3, use_cache=cached) for cached in (True, False)]
    assert torch.equal(*ours)


@every_variant
def test_a_model_is_copied_averaged_and_pickled_after_a_step(variant: str) -> None:
    model = of_variant(variant)
    step(model)
    copies = [copy.deepcopy(model), AveragedModel(model).module, pickle.loads(pickle.dumps(model))]
    for each in copies:
        assert_equal(list(each.state_dict().values()), list(model.state_dict().values()))
        assert each.encoder.quantizer is not model.encoder.quantizer and each.last_codes is None
        assert_equal(each.eval()(**batch()).logits, model.eval()(**batch()).logits)
        each.train(), model.train()


def test_a_model_is_copied_with_its_graph_alive_and_the_copy_has_hooks_of_its_own() -> None:
    model = build(**{"model.position": 0, "model.prompts.num_prompts": 2}).train()
    loss = model(**batch()).loss
    other = copy.deepcopy(model)
    loss.backward()
    model.encoder.output = None
    other(**batch())
    assert other.encoder.output is not None and model.encoder.output is None


@pytest.mark.parametrize("use_buffers", [False, True])
def test_an_average_follows_as_plain_t5s_does(use_buffers: bool, pair: tuple[T5VQVAE, Any]) -> None:
    averages = []
    for model in (copy.deepcopy(each) for each in pair):
        average = AveragedModel(model, use_buffers=use_buffers)
        for _ in range(3):
            step(model)
            average.update_parameters(model)
        averages.append(average(**batch()).logits)
    assert_equal(*averages)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.half], ids=["bfloat16", "half"])
@every_variant
def test_a_model_in_another_type_encodes_trains_and_decodes(variant: str, dtype: torch.dtype, tmp_path: Path) -> None:
    fields = QuantizerConfig.variants[variant].model_fields
    narrow = {"quantizer.code_width": 8} if "code_width" in fields else {}
    model = of_variant(variant, **narrow).to(dtype)
    output = step(model)
    assert output.logits.dtype == dtype and output.logits.isfinite().all()
    assert {value.dtype for value in model.quantizer.parameters()} <= {torch.float32}
    assert model.encoder(batch()["input_ids"]).last_hidden_state.dtype == dtype
    model.save_pretrained(tmp_path)
    loaded = T5VQVAE.from_pretrained(tmp_path, dtype=dtype)
    states = model.quantizer.state_dict(), loaded.quantizer.state_dict()
    for (name, mine), theirs in zip(states[0].items(), states[1].values(), strict=True):
        assert torch.equal(mine, theirs) and mine.dtype == theirs.dtype, name
    for (name, mine), theirs in zip(model.named_buffers(), loaded.buffers(), strict=True):
        assert torch.equal(mine, theirs), name  # those that are in no file too
    if dtype is torch.bfloat16:  # of half models T5 loads some layers in float32
        assert torch.equal(loaded.eval()(**batch()).logits, model.eval()(**batch()).logits)
    if model.quantizer.discrete:
        quantized_BTE = model.embed_codes(output.codes)
        assert quantized_BTE.dtype == dtype
        assert model._generate_from(model.encoder(inputs_embeds=quantized_BTE), batch()["attention_mask"], 3).ndim == 2


def test_codes_and_prompts_decode_in_bfloat16() -> None:
    model = build(**{"model.prompts.num_prompts": 2, "model.prompts.hidden_width": 16}).to(torch.bfloat16).eval()
    model.tokenizer = _Decoder()
    memory = model._remember(batch()["input_ids"], batch()["attention_mask"])
    texts = model.decode(memory.bottleneck.codes_BTQ, 3, prompt_codes_BPQ=memory.prompt_codes_BPQ)
    assert len(texts) == 3


class _Decoder:
    def batch_decode(self, ids: Tensor, skip_special_tokens: bool) -> list[str]:
        return [str(row) for row in ids.tolist()]


@pytest.mark.parametrize("position", [0, 1, None])
def test_gradient_checkpointing_changes_nothing_and_learns_once(position: int | None) -> None:
    models = [build(**{"model.position": position, "quantizer.codebook_size": 16}).train() for _ in range(2)]
    models[1].gradient_checkpointing_enable()
    for model in models:
        step(model)
    for (name, one), other in zip(models[0].state_dict().items(), models[1].state_dict().values(), strict=True):
        torch.testing.assert_close(one, other, msg=name)


def test_evaluation_leaves_the_codebook_alone() -> None:
    model = of_variant("ema")
    step(model)
    before = copy.deepcopy(model.state_dict())
    model.eval()
    for _ in range(2):
        step(model)
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items() if ".quantizer." in name)


def test_a_state_with_a_missing_or_unknown_tensor_is_refused() -> None:
    model = build()
    state = model.state_dict()
    model.load_state_dict(state)
    with pytest.raises(RuntimeError, match="Unexpected key"):
        model.load_state_dict({**state, "encoder.quantizer.nonsense": torch.ones(1)})
    with pytest.raises(RuntimeError, match="Missing key"):
        model.load_state_dict({name: value for name, value in state.items() if "counts_QK" not in name})


def test_resizing_is_plain_t5s(pair: tuple[T5VQVAE, Any]) -> None:
    resized = []
    for model in (copy.deepcopy(each) for each in pair):
        torch.manual_seed(0)
        model.resize_token_embeddings(VOCABULARY + 6, mean_resizing=False)
        resized.append(model)
    ours, theirs = resized
    assert ours.config.vocab_size == theirs.config.vocab_size == VOCABULARY + 6
    if pair[1].lm_head.weight is pair[1].shared.weight:
        assert_equal(ours(**batch()).logits, theirs(**batch()).logits)
    else:  # plain T5 ties the two by a resize; here they stay apart
        assert_equal(ours(**batch()).logits[..., :VOCABULARY], pair[1](**batch()).logits)
    assert (ours.lm_head.weight is ours.shared.weight) is (pair[1].lm_head.weight is pair[1].shared.weight)
    step(ours.train())


class _Pairs(torch.utils.data.Dataset):  # type: ignore[type-arg]
    def __len__(self) -> int:
        return 24

    def __getitem__(self, place: int) -> dict[str, Tensor]:
        ids = torch.randint(2, VOCABULARY, (6,), generator=torch.Generator().manual_seed(place))
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids.clone()}


@pytest.mark.parametrize("variant", ["ema", "kmeans", "vq", "pca", "gumbel", "rvq"])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_transformers_own_trainer_moves_the_codebook(variant: str, accumulation: int, tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    model = of_variant(variant)
    before = copy.deepcopy(model.quantizer.state_dict())
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path),
        max_steps=6,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=accumulation,
        eval_strategy="steps",
        eval_steps=3,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        save_strategy="no",
    )
    trainer = transformers.Trainer(
        model,
        arguments,
        train_dataset=_Pairs(),
        eval_dataset=_Pairs(),
        compute_metrics=lambda result: {"outputs": float(len(result.predictions))},
    )
    trainer.train()
    moved = [name for name, value in model.quantizer.state_dict().items() if not torch.equal(value, before[name])]
    assert any("num_updates" not in name for name in moved), moved
    assert int(model.quantizer._num_updates) == 6
    assert not getattr(model.quantizer, "_recorded", [])
    assert trainer.evaluate()["eval_outputs"] == 2  # logits and the encoder's states, as of plain T5
    trainer.save_model(str(tmp_path / "saved"))
    assert_equal(T5VQVAE.from_pretrained(tmp_path / "saved").eval()(**batch()).logits, model.eval()(**batch()).logits)


def test_a_plain_loop_learns_as_our_own_does() -> None:
    models = [of_variant("ema") for _ in range(2)]
    for model in models:
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        for _ in range(4):
            optimizer.zero_grad()
            model(**batch()).loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            if model is models[0]:
                model.quantizer.update()
    assert_equal(*[list(model.state_dict().values()) for model in models])
