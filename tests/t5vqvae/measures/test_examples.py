"""Random traversals and splices on a model whose codes name words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from spelling_model import CODE, Spelling

from t5vqvae.measures.base import Found, Probed
from t5vqvae.measures.examples import examples
from t5vqvae.spec.run import RunSpec

TEXTS = ["a bat eats honey", "a big cat eats eggs in caves", "dog eats honey in trees", "a cat eats honey and eggs"]


@dataclass(frozen=True)
class Fixed(Probed):
    texts: Any = None


def found(model: Spelling, seed: int = 0, texts: Sequence[str] = TEXTS) -> Found:
    none, run = cast(Any, None), RunSpec().with_overrides({"data.corpus.name": "grammar"})
    return examples(Fixed(model, run, none, none, "validation", ("none",), Path(), 10, 1, seed=seed, texts=texts))


def test_a_code_that_names_its_word_changes_that_word_alone() -> None:
    result = found(Spelling())
    assert result.metrics == {"examples/splice_copied": 1.0, "examples/swap_locality": 1.0}
    swaps, splices = result.tables["Traversals, drawn at random"], result.tables["Splices, drawn at random"]
    assert len(swaps) == 15 and len(splices) == len(TEXTS)
    for row in splices:
        words = str(row["source"]).split()
        words[int(str(row["word"]))] = str(row["donor's word"])
        assert row["decoded"] == " ".join(words)


def test_a_decoder_that_loses_a_word_is_no_copy_and_keeps_less() -> None:
    class Losing(Spelling):
        """Reads `bat` for whatever its last word is."""

        def greedy(self, *given: Any, **named: Any) -> torch.Tensor:
            ids_BT = super().greedy(*given, **named)
            changed_BT = ids_BT.clone()
            swapped_B = (ids_BT == CODE["honey"]).any(1)
            changed_BT[swapped_B, 0] = CODE["old"]
            return changed_BT

    seeds = [found(Losing(), seed).metrics for seed in range(6)]
    assert min(each["examples/splice_copied"] for each in seeds) < 1
    assert min(each["examples/swap_locality"] for each in seeds) < 1


def test_a_decoder_that_ignores_codes_copies_no_word() -> None:
    class Deaf(Spelling):
        """Says `a` at every position."""

        def greedy(self, *given: Any, **named: Any) -> torch.Tensor:
            return torch.full_like(super().greedy(*given, **named), CODE["a"])

    texts = ["a a a bat", "a a a cat", "a a a dog"]
    for seed in range(6):
        assert found(Deaf(), seed, texts).metrics.get("examples/splice_copied", 0.0) == 0
    assert "examples/splice_copied" not in found(Spelling(), 0, ["a", "a", "a"]).metrics, "no other word to draw"


def test_examples_are_seeded_and_need_codes() -> None:
    assert found(Spelling(), 1) == found(Spelling(), 1) != found(Spelling(), 2)
    assert not found(Spelling("none")).metrics
