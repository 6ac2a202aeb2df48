"""A latent space encodes what the model's own methods encode, also sparse codes, in any batches."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from baseline_runs import CASES, build, tiny

from t5vqvae.errors import DataError
from t5vqvae.latent.code_use import END, words_of
from t5vqvae.latent.latent_space import LatentSpace
from t5vqvae.latent.sentence import SPACE, Sentence, tokens_of
from t5vqvae.latent.splicing import substitution, words_in
from t5vqvae.latent.traversal import traverse
from t5vqvae.models.codes import NOT_SENT

TEXTS = ["a bat eats honey in a lake", "iron", "a cat eats fish"]


@pytest.fixture(scope="module")
def sparse(tmp_path_factory: pytest.TempPathFactory) -> LatentSpace:
    torch.manual_seed(0)
    model = build(tiny("t5vqvae", **{"train.code_dropout": 0.6}), tmp_path_factory.mktemp("cache"))
    return LatentSpace(model, max_new_tokens=4, batch_size=2)


def test_codes_and_texts_are_those_of_the_model(sparse: LatentSpace) -> None:
    codes_BTQ = sparse.model.encode(TEXTS)
    sentences = sparse.encode(TEXTS)
    for codes_TQ, sentence in zip(codes_BTQ, sentences, strict=True):
        assert torch.equal(codes_TQ[codes_TQ[:, 0] >= 0], sentence.latent_TX)
        assert len(sentence.tokens) == len(sentence.latent_TX) and sentence.tokens[-1] == ""
    assert sparse.reconstruct(sentences) == sparse.model.decode(codes_BTQ, 4)
    assert sparse.quantize([each.states_TE for each in sentences])[1].tolist() == sentences[1].latent_TX.tolist()


@pytest.mark.parametrize("case", ["t5vqvae", "prompts", "gaussian token", "transformer"])
def test_texts_are_reconstructed_in_one_as_through_their_latents(case: str, tmp_path: Path) -> None:
    name, overrides = CASES[case]
    torch.manual_seed(0)
    early = {"model.position": 0} if name == "t5vqvae" else {}  # blocks of the encoder stand behind the quantizer
    space = LatentSpace(build(tiny(name, **overrides, **early), tmp_path), max_new_tokens=4, batch_size=2)
    sentences = space.encode(TEXTS)
    assert [text for text, _ in space.reconstruct_texts(TEXTS)] == space.reconstruct(sentences)
    own = [None if each.codes_TQ is None else each.codes_TQ.tolist() for each in sentences]
    assert [codes for _, codes in space.reconstruct_texts(TEXTS)] == own


def test_prompts_of_another_number_than_the_models_are_refused(tmp_path: Path) -> None:
    name, overrides = CASES["prompts"]
    space = LatentSpace(build(tiny(name, **overrides), tmp_path), max_new_tokens=4)
    [sentence] = space.encode(TEXTS[:1])
    prompts, codes = sentence.prompt_codes_PQ, sentence.latent_TX
    assert prompts is not None and len(prompts) > 1 and len(space.decode([codes], [prompts])) == 1
    with pytest.raises(DataError, match=f"codes of 1 prompts were given, and the model has {len(prompts)}"):
        space.decode([codes, codes], [prompts, prompts[:1]])


def test_codes_that_are_left_out_stay_left_out_in_a_splice(sparse: LatentSpace) -> None:
    [sentence], [donor] = sparse.encode(TEXTS[:1], unsent=1e4), sparse.encode(TEXTS[2:])
    sent = [int(code) for code in sentence.latent_TX[:, 0] if code != NOT_SENT]
    assert len(sent) == 1, "with such a bound any code may go, but the last one"
    spliced = substitution(sentence, "bat", donor, "cat")
    first = next(place for place, token in enumerate(sentence.tokens) if token and token in "bat" and place)
    assert NOT_SENT not in spliced[first].tolist() and (spliced == NOT_SENT).sum() > 3
    assert len(sparse.decode([spliced])) == 1
    with pytest.raises(DataError, match="a code that is not sent has no neighbours"):
        traverse(sparse, sentence, [sentence.latent_TX[:, 0].tolist().index(NOT_SENT)])


def test_a_token_that_is_a_space_alone_is_not_the_end() -> None:
    spans = ((0, 1), (1, 2), (2, 4), (4, 6), (6, 6))
    sentence = Sentence("a lake", spans, torch.zeros(5, 2), torch.zeros(5, 1, dtype=torch.int64), None)
    assert sentence.tokens == ["a", SPACE, "la", "ke", ""]
    assert words_of(sentence) == ["a", SPACE, "lake", "lake", END]


def test_kept_words_are_sent_in_any_order_of_lengths(sparse: LatentSpace) -> None:
    kept = [words_in(TEXTS[0], "honey"), (0, len("iron")), words_in(TEXTS[2], "cat")]
    for sentence, span in zip(sparse.encode(TEXTS, unsent=1e4, kept=kept), kept, strict=True):
        first, end = tokens_of(sentence.spans, span)
        sent_T = sentence.latent_TX[:, 0] != NOT_SENT
        assert sent_T[first:end].all(), "these are sent; with such a bound any other may go"
        assert not sent_T[:first].any() and not sent_T[end:].any()


def test_a_model_without_code_dropout_sends_every_code(space: LatentSpace, tmp_path: Path) -> None:
    for each in (space, LatentSpace(build(tiny("t5vqvae"), tmp_path))):
        with pytest.raises(DataError, match=r"unsent=0.5: the model was trained without code dropout; train one with"):
            each.encode(["a bat"], unsent=0.5)
