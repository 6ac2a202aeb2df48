"""What a run is labelled: that its codes may only name tokens, and that training rows were added."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from baseline_runs import finish

from t5vqvae.data import prepare
from t5vqvae.spec.run import RunSpec

TINY = {
    "data.corpus.name": "math",
    "data.corpus.size": 200,
    "data.corpus.validation_size": 20,
    "data.corpus.test_size": 10,
    "model.d_model": 16,
    "model.d_ff": 32,
    "model.num_heads": 2,
    "model.num_layers": 1,
    "model.num_decoder_layers": 1,
    "model.position": 0,
    "quantizer.codebook_size": 512,
    "train.max_steps": 2,
    "train.eval_every": 2,
    "train.batch_size": 16,
    "evaluate.num_generated": 0,
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def labelled(cache: Path, **overrides: Any) -> dict[str, str]:
    milestones, _ = finish(RunSpec().with_overrides({**TINY, **overrides}), cache)
    return {name: text for name, text in milestones[-1].tags.items() if name.startswith("label/")}


def test_codes_of_embeddings_that_are_as_many_as_the_tokens_name_them(cache: Path) -> None:
    tokens = len(prepare(RunSpec().with_overrides(TINY).data, cache).tokenizer)
    text = f"names tokens: model.position=0 quantizes embeddings, with 512 codes for {tokens} tokens"
    assert labelled(cache) == {"label/names_tokens": text}
    exact = {"label/names_tokens": text.replace("512", str(tokens))}
    assert labelled(cache, **{"quantizer.codebook_size": tokens}) == exact
    assert labelled(cache, **{"quantizer.codebook_size": tokens - 1}) == {}, "one token has no code"
    assert labelled(cache, **{"model.position": 1}) == {}, "states are no embeddings"


def test_added_training_rows_are_a_label_with_their_numbers(cache: Path) -> None:
    added = {"data.augment.rename": 0.5, "data.augment.join": 0.25, "model.position": 1}
    (name, text), *others = labelled(cache, **added).items()
    assert (name, text, others) == (
        "label/augmented",
        "rename 100, join 50 of 350 training rows were added",
        [],
    )
