"""Similarity and its rank correlation, by hand."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from t5vqvae.data.corpora.math import MathCorpus
from t5vqvae.measures.sensitivity import rank_correlation, sensitivity, similarity


def test_the_similarity_by_hand() -> None:
    assert similarity(["a", "bat", "eats", "honey"], ["a", "cat", "eats", "honey"]) == pytest.approx(2 * 3 / 8)
    assert similarity([(1, 2), (3, 4)], [(1, 2), (3, 5)]) == pytest.approx(1 / 2), "all codes of a position"
    assert similarity(["a", "b"], ["b", "a"]) == pytest.approx(1 / 2), "in their order"
    assert similarity([1], [1]) == 1 and similarity([1], [2]) == 0


def test_codes_that_differ_as_texts_do_have_one_and_what_never_differs_has_none() -> None:
    assert rank_correlation([0.1, 0.5, 0.9], [0.2, 0.3, 1.0]) == pytest.approx(1)
    assert rank_correlation([0.1, 0.5, 0.9], [0.9, 0.4, 0.3]) == pytest.approx(-1)
    assert rank_correlation([1.0, 1.0, 1.0], [0.9, 0.4, 0.3]) is None


def test_codes_that_name_the_commands_and_characters_of_formulas_differ_as_the_formulas_do() -> None:
    """White space cuts a formula at other places, and gave .2 instead of 1."""
    corpus = MathCorpus()
    pairs = [
        ("x + \\sin{(y )}", "x + \\cos{(y )}"),
        ("x + y", "z + w"),
        ("\\log{(x y )}", "\\log{(x z )}"),
        ("x^{y}", "e^{x^{y}}"),
    ]

    def encode(texts: list[str]) -> list[SimpleNamespace]:
        return [
            SimpleNamespace(latent_TX=torch.tensor([[sum(map(ord, word))] for word in corpus.words(text)]))
            for text in texts
        ]

    probed = SimpleNamespace(
        spec=SimpleNamespace(data=SimpleNamespace(corpus=corpus)),
        model=SimpleNamespace(has_codes=True, leaks=False),
        space=lambda: SimpleNamespace(encode=encode),
        control=lambda: SimpleNamespace(edits=[SimpleNamespace(source=a, answer=b) for a, b in pairs]),
        seed=0,
    )
    assert sensitivity(probed).metrics["codebook/sensitivity"] == pytest.approx(1)  # type: ignore[arg-type]
