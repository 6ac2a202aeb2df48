"""Damaged codes: of planted decoders whose answer is known, of one that ignores them, and of every kind of model."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from baseline_runs import build, tiny
from torch import Tensor

from t5vqvae.data import evaluation_batches, prepare
from t5vqvae.measures.attention import attention
from t5vqvae.measures.base import Probed
from t5vqvae.measures.latent_use import DAMAGES, SWAPPED, latent_use
from t5vqvae.models.contract import Memory, load_model
from t5vqvae.models.t5 import T5VQVAE
from t5vqvae.spec.run import RunSpec

CHECKPOINTS = Path(__file__).parent / "checkpoints"
SENTENCES = 40
NAMES_OF_DAMAGES = (*DAMAGES, SWAPPED)
SURE = 10.0
"""How many nats a planted decoder puts the token that it reads above every other one."""
NAMES = {"model.position": 0, "quantizer.name": "vq", "quantizer.codebook_size": 512, "model.dropout": 0.0}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def probed(model: Any, spec: RunSpec, cache: Path) -> Probed:
    data = prepare(spec.data, cache)
    return Probed(model, spec, data.train, data.validation, "validation", data.role_names, cache, SENTENCES, 10)


def planted(cache: Path, **words: Any) -> Probed:
    """A T5VQVAE at position 0 whose codes are its tokens, whose encoder blocks pass everything on as it is."""
    spec = tiny("t5vqvae", **NAMES, **words)
    model = build(spec, cache).eval()
    with torch.no_grad():
        table_KE = model.quantizer.entries_QKD[0]
        table_KE[: len(model.shared.weight)] = model.shared.weight
        table_KE[len(model.shared.weight) :] = 1e3
        for name, weight in model.encoder.named_parameters():
            if name.endswith((".o.weight", ".wo.weight")):
                weight.zero_()
    return probed(model, spec, cache)


def reading(base: Probed) -> Callable[..., Tensor]:
    """A decoder that writes at every position the token whose code lies there, and anything where there is none."""
    words_VE = F.normalize(base.model.get_input_embeddings().weight, dim=-1)

    def logits(states_BME: Tensor, mask_BM: Tensor, labels_BS: Tensor) -> Tensor:
        near_BMV = F.normalize(states_BME, dim=-1) @ words_VE.T
        read_BMV = SURE * F.one_hot(near_BMV.argmax(-1), len(words_VE)) * (near_BMV.amax(-1, keepdim=True) > 0.9)
        return F.pad(read_BMV, (0, 0, 0, max(0, labels_BS.shape[1] - read_BMV.shape[1])))[:, : labels_BS.shape[1]]

    return logits


def sentences(base: Probed) -> Iterator[tuple[list[int], list[int]]]:
    """Token numbers of every sentence, and of the one before it in its batch."""
    for _, batch in evaluation_batches(base.split, base.spec.evaluate.batch_size, limit=SENTENCES):
        rows = [row[mask].tolist() for row, mask in zip(batch.input_ids_BT, batch.mask_BT, strict=True)]
        yield from zip(rows, rows[-1:] + rows[:-1], strict=True)


def given_to(
    base: Probed, monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[str, float], dict[str, list[tuple[Memory, Tensor, Tensor]]]]:
    """The metrics; and by damage the memory, the damaged vectors and their mask, of every batch."""
    seen: dict[str, list[tuple[Memory, Tensor, Tensor]]] = {name: [] for name in NAMES_OF_DAMAGES}
    before, turns = base.model.with_latents, itertools.cycle(NAMES_OF_DAMAGES)

    def note(memory: Memory, latents_BTE: Tensor, mask_BT: Tensor) -> Memory:
        seen[next(turns)].append((memory, latents_BTE, mask_BT))
        return before(memory, latents_BTE, mask_BT)

    monkeypatch.setattr(base.model, "with_latents", note)
    return dict(latent_use(base).metrics), seen


# Known rises


def test_a_decoder_that_reads_codes_token_by_token_loses_what_is_known(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = planted(cache)
    monkeypatch.setattr(base.model, "_logits", reading(base))
    found = latent_use(base).metrics
    pairs, V = list(sentences(base)), len(base.model.get_input_embeddings().weight)
    rows, chars = [row for row, _ in pairs], int(sum(map(len, base.texts)))
    total, used = sum(map(len, rows)), len({token for row in rows for token in row})
    # A wrong token costs SURE more than the right one; where nothing is read, all V are equally likely.
    nothing = math.log(V) - (math.log(math.exp(SURE) + V - 1) - SURE)
    wrong = sum(a != b for row, other in pairs for a, b in zip(row, other, strict=False))
    behind = sum(max(0, len(row) - len(other)) for row, other in pairs)
    assert found["latent_use/swapped"] == pytest.approx((wrong * SURE + behind * nothing) / chars, rel=1e-4)
    assert found["latent_use/zeroed"] == pytest.approx(total * nothing / chars, rel=1e-4)
    # The others are drawn, so they are their expected values but for the draw: four standard deviations at most.
    moved = sum(1 - row.count(token) / len(row) for row in rows for token in row)
    few = 4 * math.sqrt(total) / 2
    assert found["latent_use/dropped"] == pytest.approx(total / 2 * nothing / chars, abs=few * nothing / chars)
    assert found["latent_use/shuffled"] == pytest.approx(moved * SURE / chars, abs=few * SURE / chars)
    replaced = total * (1 - 1 / used) * SURE / chars
    assert found["latent_use/replaced"] == pytest.approx(replaced, abs=4 * math.sqrt(total / used) * SURE / chars)
    assert [row["to"] for row in latent_use(base).tables["Use of the latent"]] == ["codes"] * len(NAMES_OF_DAMAGES)


def test_a_decoder_that_ignores_its_codes_loses_nothing(cache: Path) -> None:
    spec = RunSpec.parse(json.loads((CHECKPOINTS / "names" / "spec.json").read_text()))
    model = load_model(CHECKPOINTS / "names" / "model").eval()
    base = probed(model, spec, cache)
    used = latent_use(base).metrics
    assert min(used.values()) > 0.2, "the trained model does read them"
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("EncDecAttention.o.weight"):
                weight.zero_()
    assert latent_use(base).metrics == dict.fromkeys(used, 0.0)
    assert set(used) == {f"latent_use/{name}" for name in NAMES_OF_DAMAGES}


def test_blocks_behind_the_quantizer_read_the_damaged_codes(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = planted(cache)
    model: Any = base.model

    def gathers(norm: Any, args: tuple[Tensor], states_BTE: Tensor) -> Tensor:
        # The encoder writes the first position's code into all of them.
        return states_BTE[:, :1].expand_as(states_BTE)

    model.encoder.final_layer_norm.register_forward_hook(gathers)
    monkeypatch.setattr(model, "_logits", reading(base))
    found, seen = given_to(base, monkeypatch)
    chars, table_KE, fewer, by_memory = sum(map(len, base.texts)), model.quantizer.entries_QKD[0], 0, 0.0
    batches = evaluation_batches(base.split, base.spec.evaluate.batch_size, limit=SENTENCES)
    for (_, batch), (memory, vectors_BTE, _) in zip(batches, seen["shuffled"], strict=True):
        firsts_B1, ids_BT = torch.cdist(vectors_BTE[:, :1], table_KE).argmin(-1), batch.labels_BS
        fewer += int((ids_BT == ids_BT[:, :1]).sum() - (ids_BT == firsts_B1).sum())
        turned = replace(memory, states_BME=memory.states_BME.flip(1))
        by_memory += float(model.losses(batch, memory=turned).nll_sum - model.losses(batch, memory=memory).nll_sum)
    # What is read everywhere is now another token, which is right where that token stands.
    assert found["latent_use/shuffled"] == pytest.approx(fewer * SURE / chars, rel=1e-4)
    assert abs(found["latent_use/shuffled"]) > 0 and by_memory == 0, "the memory's positions may stand in any order"


# What decoders get


def test_replaced_codes_are_codes_in_use_and_dropped_ones_are_zero(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = planted(cache)
    _, seen = given_to(base, monkeypatch)
    quantizer: Any = base.model.quantizer
    table_KE = quantizer.entries_QKD[0]
    used = {token for row, _ in sentences(base) for token in row}
    for memory, vectors_BTE, mask_BT in seen["replaced"]:
        found_N = torch.cdist(vectors_BTE[mask_BT], table_KE).argmin(-1)
        assert set(found_N.tolist()) <= used and bool((vectors_BTE[~mask_BT] == 0).all())
        assert not torch.equal(vectors_BTE, memory.bottleneck.quantized_BTE)
    for memory, vectors_BTE, mask_BT in seen["dropped"]:
        lost_BT = (vectors_BTE == 0).all(-1)
        assert torch.equal(vectors_BTE[~lost_BT], memory.bottleneck.quantized_BTE[~lost_BT])
        assert 0.3 < float(lost_BT[mask_BT].float().mean()) < 0.7


@pytest.mark.parametrize("form", ["replaced", "removed"])
def test_a_dropped_code_is_what_is_not_sent_where_training_left_codes_out(
    form: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = planted(cache, **{"train.code_dropout": 0.5, "model.not_sent": form})
    model: Any = base.model
    if form == "replaced":
        with torch.no_grad():
            model.encoder.not_sent.vector_E.fill_(3.0)
    shares = []
    for memory, vectors_BTE, mask_BT in given_to(base, monkeypatch)[1]["dropped"]:
        own_BT = memory.mask_BM
        if form == "removed":
            assert bool(mask_BT.any(1).all()), "one code stays"
            shares.append(float(mask_BT.sum() / own_BT.sum()))
            continue
        lost_BT = (vectors_BTE == 3.0).all(-1)
        assert torch.equal(mask_BT, own_BT) and not bool(lost_BT[~own_BT].any())
        shares.append(float(1 - lost_BT[own_BT].float().mean()))
    assert sum(shares) / len(shares) == pytest.approx(0.5, abs=0.12)


def test_prompts_are_never_damaged(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = tiny("t5vqvae", **NAMES, **{"model.prompts.num_prompts": 3, "model.prompts.hidden_width": 16})
    base = probed(build(spec, cache).eval(), spec, cache)
    read, model = dict[int, list[Tensor]](), base.model  # by sentences in a batch: swapped, it has one more
    assert isinstance(model, T5VQVAE)
    score = model._logits

    def note(states_BME: Tensor, mask_BM: Tensor, labels_BS: Tensor) -> Tensor:
        assert bool(mask_BM[:, :3].all())
        read.setdefault(len(labels_BS), []).append(states_BME)
        return score(states_BME, mask_BM, labels_BS)

    monkeypatch.setattr(model, "_logits", note)
    latent_use(base)
    assert sorted(map(len, read.values())) == [2, 1 + len(DAMAGES)]
    for plain_BME, *damaged in read.values():
        for states_BME in damaged:
            assert torch.equal(states_BME[:, :3], plain_BME[:, :3])
            assert not torch.equal(states_BME[:, 3:], plain_BME[:, 3:])


# Other models


@pytest.mark.parametrize(
    ("name", "words", "part", "without"),
    [
        ("transformer", {}, "codes", set()),
        ("t5vqvae", {"quantizer.name": "none"}, "vectors of the bottleneck", {"replaced"}),
        ("gaussian", {"model.latent_width": 16, "model.kl_weight": 0.01}, "vectors of the bottleneck", {"replaced"}),
        (
            "gaussian",
            {"model.latent_width": 16, "model.kl_weight": 0.01, "model.level": "sentence"},
            "memory",
            {"replaced", "shuffled"},
        ),
    ],
)
def test_what_other_models_have_is_damaged_and_named(
    name: str, words: dict[str, Any], part: str, without: set[str], cache: Path
) -> None:
    spec = tiny(name, **words)
    found = latent_use(probed(build(spec, cache).eval(), spec, cache))
    assert set(found.metrics) == {f"latent_use/{each}" for each in NAMES_OF_DAMAGES if each not in without}
    assert {row["to"] for row in found.tables["Use of the latent"]} == {part}
    assert all(math.isfinite(value) for value in found.metrics.values())


@pytest.mark.parametrize("checkpoint", ["end", "names"])
def test_another_sentences_codes_are_those_of_the_same_sentence_in_any_batch(checkpoint: str, cache: Path) -> None:
    """Batches are by length, and one of a single sentence has no other one."""
    spec = RunSpec.parse(json.loads((CHECKPOINTS / checkpoint / "spec.json").read_text()))
    model = load_model(CHECKPOINTS / checkpoint / "model").eval()
    found = []
    for size in (40, 16, 1):
        base = probed(model, spec.with_overrides({"evaluate.batch_size": size}), cache)
        found.append([latent_use(base).metrics["latent_use/swapped"], *attention(base).metrics.values()])
    assert found[0][0] > 1 and len(found[0]) > 3
    assert found[1] == pytest.approx(found[0], rel=1e-4) == found[2]
