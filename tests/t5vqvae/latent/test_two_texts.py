"""A source of two texts is encoded as training encoded it, whoever gives it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from baseline_runs import finish, tiny

from t5vqvae.data.corpora.base import CorpusConfig
from t5vqvae.data.corpora.public import PublicCorpus
from t5vqvae.data.corpora.syllogisms import SyllogismsCorpus
from t5vqvae.data.corpora.text import TextCorpus
from t5vqvae.latent.answers import answer
from t5vqvae.latent.code_use import END, words_of
from t5vqvae.latent.latent_space import LatentSpace
from t5vqvae.latent.requests import REQUESTS
from t5vqvae.latent.two_texts import as_trained
from t5vqvae.measures.base import Probed
from t5vqvae.measures.examples import examples
from t5vqvae.measures.information import information
from t5vqvae.measures.path_states import path_states
from t5vqvae.measures.probing import probed_of
from t5vqvae.measures.trajectories import smoothness
from t5vqvae.spec.probe import ProbeSpec
from t5vqvae.tracking.pyfunc import _PyfuncModel
from tune.operations.opened import Opened, open_model

SMALL = {
    "data.corpus.name": "syllogisms",
    "data.corpus.size": 60,
    "data.corpus.num_nouns": 16,
    "data.corpus.two_texts": True,
    "data.max_length": 120,
}
NUM = 12


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def checkpoint(state: Path) -> Path:
    milestones, _ = finish(tiny("t5vqvae", **SMALL), state / "cache")
    return milestones[-1].state.save(state / "run")


@pytest.fixture(scope="module")
def opened(checkpoint: Path, state: Path) -> Opened:
    return open_model(str(checkpoint), state)


@pytest.fixture(scope="module")
def probed(opened: Opened, checkpoint: Path, state: Path) -> Probed:
    assert opened.spec is not None
    spec = ProbeSpec(sentences=NUM, edits=2, encoder=str(checkpoint))
    return probed_of(opened.space.model, opened.spec, spec, state / "cache")


def as_batches_have_them(opened: Opened) -> list[list[list[int]]]:
    """The codes of the first training sentences, from the token ids that training reads."""
    batch = opened.prepared("").train.batch(range(NUM))
    assert ((batch.input_ids_BT == 1).sum(-1) == 2).all(), "each has two ends of text"
    with torch.no_grad():
        codes_BTQ = opened.space.model.encode_memory(batch).bottleneck.codes_BTQ
    assert codes_BTQ is not None
    return [codes_TQ[(codes_TQ >= 0).all(-1)].tolist() for codes_TQ in codes_BTQ]


def test_training_texts_have_the_codes_of_training(opened: Opened) -> None:
    texts, expected = opened.training_texts(NUM, None), as_batches_have_them(opened)
    assert all(text.count(" </s> ") == 1 for text in texts)
    sentences = opened.space.encode(texts)
    assert [each.latent_TX.tolist() for each in sentences] == expected
    assert [codes for _, codes in opened.space.reconstruct_texts(texts)] == expected
    for text, sentence in zip(texts, sentences, strict=True):
        first, second = text.split(" </s> ")
        assert words_of(sentence).count(END) == 2 and sentence.tokens[-1] == ""
        cut = sentence.tokens.index("")
        assert "".join(sentence.tokens[:cut]) == first.replace(" ", "")
        assert "".join(sentence.tokens[cut + 1 : -1]) == second.replace(" ", "")


def test_a_server_and_a_registered_model_answer_the_same(opened: Opened, checkpoint: Path) -> None:
    texts, expected = opened.training_texts(NUM, None), as_batches_have_them(opened)
    for operation in ("reconstruct", "encode"):
        request = REQUESTS[operation].parse({"texts": texts, "max_new_tokens": 4})
        assert [each["codes"] for each in answer(opened.space, request.shared(), request.items())] == expected
    model: Any = _PyfuncModel()
    model.load_context(type("Context", (), {"artifacts": {n: str(checkpoint / f) for n, f in FILES.items()}}))
    for operation in ("reconstruct", "encode"):
        found = model.predict(None, pd.DataFrame({"text": texts}), {"operation": operation, "max_new_tokens": 4})
        assert found["codes"].tolist() == expected


FILES = {"model": "model", "spec": "spec.json"}


def test_a_probe_measures_the_codes_of_training(probed: Probed) -> None:
    assert [each.latent_TX.tolist() for each in probed.space().encode(probed.texts)] == [
        each.tolist() for each in probed.codes
    ]
    assert {word.sentence for word in probed.words} == set(range(NUM)), "words vanish where tokens and codes differ"
    assert "</s>" not in {word.text for word in probed.words}
    assert "information/word" in information(probed).metrics
    assert "smoothness/length_changes" in smoothness(probed).metrics
    assert "smoothness/frechet" in path_states(probed).metrics
    assert "examples/splice_copied" in examples(probed).metrics


@pytest.mark.parametrize(
    ("corpus", "expected"),
    [
        (SyllogismsCorpus(two_texts=True), True),
        (SyllogismsCorpus(), False),
        (PublicCorpus(dataset="entailment"), True),
        (PublicCorpus(), False),
        (TextCorpus(path="a"), False),
    ],
)
def test_two_corpora_give_two_texts(corpus: CorpusConfig, expected: bool) -> None:
    assert corpus.gives_pairs == expected


def test_what_is_two_texts() -> None:
    shown = ["a </s> b c", "a </s> ", "a </s>", "a b", "a</s> b"]
    assert as_trained(shown, True) == [("a", "b c"), ("a", ""), ("a", ""), "a b", "a</s> b"]
    assert as_trained(shown, False) == shown


def test_a_model_of_single_texts_reads_an_end_letter_by_letter(opened: Opened) -> None:
    [two], [one] = (LatentSpace(opened.space.model, pairs=pairs).encode(["no a </s> is b"]) for pairs in (True, False))
    assert two.tokens.count("") == 2 and one.tokens.count("") == 1 and len(one.tokens) > len(two.tokens)
