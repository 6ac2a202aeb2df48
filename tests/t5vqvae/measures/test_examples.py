"""Random traversals and splices on a model whose codes name words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from spelling_model import CODE, Spelling

from t5vqvae.measures.base import Found, Probed
from t5vqvae.measures.examples import _swaps, examples
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


@pytest.mark.parametrize(
    ("decoded", "kept"),
    [
        ("a fox eats honey", 1.0),
        ("a bat eats eggs", 2 / 3),
        ("a bat eats honey at night", 1.0),
        ("an fox eats eggs", 1 / 3),
    ],
)
def test_the_word_whose_code_is_swapped_is_none_of_the_others(
    decoded: str, kept: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A code that leaves its own word alone and changes a distant one is not local."""
    text, none = "a bat eats honey", cast(Any, None)
    run = RunSpec().with_overrides({"data.corpus.name": "grammar"})
    space = Fixed(Spelling(), run, none, none, "validation", ("none",), Path(), 10, 1, texts=[text]).space()
    [sentence] = space.encode([text])
    second = SimpleNamespace(randrange=lambda number: 1)
    swaps = [SimpleNamespace(code=3, text=decoded)]
    monkeypatch.setattr("t5vqvae.measures.examples.traverse", lambda *_: swaps)
    [row] = _swaps(space, sentence, text, cast(Any, second), run.data.corpus)
    assert row["token"] == "bat" and row["kept"] == pytest.approx(kept)
    [row] = _swaps(space, sentence, "a bat", cast(Any, second), run.data.corpus)
    assert row["kept"] is None, "which word of another text is the code's, nobody knows"


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
