"""What a user gives to a trained model: texts, codes, and what is neither."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from baseline_runs import build, tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from t5vqvae.errors import DataError
from t5vqvae.models.contract import load_model, reconstruct

TEXTS = ["a cat eats fish", "the moon is a satellite of the earth"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def model(cache: Path) -> Any:
    return build(tiny("t5vqvae"), cache).eval()


@pytest.fixture(scope="module")
def plain(cache: Path) -> Any:
    """A model without codes."""
    return build(tiny("t5vqvae", **{"quantizer.name": "none"}), cache).eval()


@pytest.fixture(scope="module")
def spelling(cache: Path) -> Any:
    """A model whose codebook is its embeddings, read before the first block."""
    spec = tiny("t5vqvae", **{"quantizer.name": "vq", "model.position": 0})
    vocabulary = len(build(spec, cache).tokenizer)
    found = build(spec.with_overrides({"quantizer.codebook_size": vocabulary}), cache).eval()
    with torch.no_grad():
        found.quantizer.entries_QKD[0] = found.shared.weight
    return found


@settings(deadline=None, derandomize=True, max_examples=40)
@given(texts=st.lists(st.text(max_size=12), min_size=1, max_size=3))
def test_with_the_embeddings_as_codebook_a_code_is_its_token(spelling: Any, texts: list[str]) -> None:
    tokens = spelling.tokenizer(texts, padding=True, return_tensors="pt")
    expected = tokens.input_ids.masked_fill(tokens.attention_mask == 0, -1)
    codes = spelling.encode(texts)
    assert (codes.squeeze(-1) == expected).all()
    states = spelling.embed_codes(codes)
    assert torch.equal(states[expected >= 0], spelling.shared.weight[expected[expected >= 0]])


def test_one_string_is_one_text(model: Any) -> None:
    assert torch.equal(model.encode("hello"), model.encode(["hello"]))
    assert torch.equal(model.encode_states("hello")[0], model.encode_states(["hello"])[0])
    assert reconstruct(model, "hi", 4) == reconstruct(model, ["hi"], 4)


def test_no_text_gives_no_codes(model: Any, plain: Any) -> None:
    assert (model.encode([]).shape, model.encode([]).dtype) == ((0, 0, 1), torch.int64)
    assert [tuple(found.shape) for found in model.encode_states([])] == [(0, 0, 32), (0, 0)]
    assert model.decode(model.encode([])) == []
    assert reconstruct(model, []) == ([], []) and reconstruct(plain, []) == ([], None)


def test_an_empty_text_has_the_code_of_its_end(model: Any) -> None:
    codes = model.encode(["", "a"])
    assert (codes[0] >= 0).sum() == 1 and len(model.decode(codes, 4)) == 2


def test_a_text_that_spells_a_special_token_is_read_letter_by_letter(model: Any, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    for each in (model, load_model(tmp_path).eval()):
        assert (each.encode("a </s> b") >= 0).sum() > 5
        assert (each.encode([("a", "b")]) >= 0).sum() == (model.encode("a") >= 0).sum() + (model.encode("b") >= 0).sum()


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["fine", "a \ud83d b"], r"texts\[1\]: .* has half a character \(\\ud83d\)"),
        ("a \udc00", r"texts\[0\]: .*half a character"),
        (["fine", None], r"texts\[1\]=None must be a string, not NoneType"),
        ([1.5], r"texts\[0\]=1.5 must be a string, not float"),
        ([float("nan")], r"texts\[0\]=nan must be a string"),
        ([["a", "b"]], r"texts\[0\]=\['a', 'b'\] must be a string, not list"),
        ([b"a"], r"texts\[0\]=b'a' must be a string, not bytes"),
        (b"a", r"must be a list of strings"),
        (None, r"texts=None must be a list of strings"),
        (7, r"texts=7 must be a list of strings"),
        ({"a": 1}, r"must be a list of strings"),
    ],
)
def test_what_is_no_text_is_refused(texts: Any, message: str, model: Any, plain: Any) -> None:
    asked = [
        lambda: model.encode(texts), lambda: model.encode_states(texts), lambda: reconstruct(model, texts),
        lambda: plain.encode(texts), lambda: reconstruct(plain, texts),
    ]  # fmt: skip
    for ask in asked:
        with pytest.raises(DataError, match=message) as refused:
            ask()
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (
            torch.zeros(2, 3, 3, dtype=torch.int64),
            r"codes of shape \(2, 3, 3\) must have .*\(sentences, positions, 1\)",
        ),
        (torch.zeros(2, 3, dtype=torch.int64), r"codes of shape \(2, 3\)"),
        (torch.zeros(3, dtype=torch.int64), r"codes of shape \(3,\)"),
        (torch.zeros(2, 3, 1), r"whole numbers \(int64\), not torch.float32"),
        ([[[1]]], r"must be a tensor of whole numbers \(int64\), not list"),
        (torch.full((1, 2, 1), 32), r"codes\[..., 0\] has the code 32; codes are 0 to 31, and -1 at padding"),
        (torch.full((1, 2, 1), -2), r"has the code -2"),
        (torch.tensor([[[1], [2]], [[-1], [-1]]]), r"sentence 1 has no codes, only padding"),
        (torch.zeros(2, 0, 1, dtype=torch.int64), r"sentence 0 has no codes"),
    ],
)
def test_codes_that_mean_nothing_are_refused(codes: Any, message: str, model: Any) -> None:
    with pytest.raises(DataError, match=message) as refused:
        model.decode(codes, 4)
    assert "\n" not in str(refused.value)


def test_codes_of_every_codebook_are_checked(cache: Path) -> None:
    model = build(tiny("t5vqvae", **{"quantizer.name": "rvq", "quantizer.codebook_size": 16}), cache).eval()
    codes = model.encode(TEXTS)
    assert codes.shape[-1] > 1 and len(model.decode(codes, 4)) == 2
    assert model.decode(codes.int(), 4) == model.decode(codes, 4)
    codes[0, 0, -1] = -1
    with pytest.raises(DataError, match=r"-1 in a part of a position"):
        model.decode(codes, 4)
    codes[0, 0, -1] = 16
    with pytest.raises(DataError, match=rf"codes\[..., {codes.shape[-1] - 1}\] has the code 16"):
        model.decode(codes, 4)


def test_codes_that_depend_on_roles_are_not_given_for_a_text_alone(tmp_path: Path) -> None:
    """Every position would have the slice of no role, whose codes the model never used for it."""
    model = build(tiny("t5vqvae", **{"quantizer.name": "role", "quantizer.codebook_size": 40}), tmp_path).eval()
    states_BTE = torch.zeros(1, 2, model.config.d_model)
    for asked in (lambda: model.encode("a"), lambda: model.quantize(states_BTE, torch.ones(1, 2))):
        with pytest.raises(DataError, match="codes of this model depend on roles"):
            asked()
    assert model.quantize(states_BTE, torch.ones(1, 2), torch.ones(1, 2, dtype=torch.int64)).codes_BTQ is not None
