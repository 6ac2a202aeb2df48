"""Control on planted models whose answers are known by hand."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from baseline_runs import finish, tiny
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from t5vqvae.data.batch import Batch
from t5vqvae.data.corpora.edits import Edit
from t5vqvae.data.corpora.math import MathCorpus
from t5vqvae.errors import DataError
from t5vqvae.latent.intervention import from_answers, spliced
from t5vqvae.latent.sentence import tokens_of
from t5vqvae.measures.control import Control, Outcome, by_factor, ceiling_scores, choose, run_edits, scores
from t5vqvae.models.contract import Losses, Memory, TextAutoencoder
from t5vqvae.quantizers import NoneConfig
from t5vqvae.quantizers.base import QuantizerOutput

WORDS = ["a", "an", "old", "big", "bat", "cat", "dog", "eats", "honey", "eggs", "in", "caves", "trees"]
VOCABULARY = {word: number for number, word in enumerate(["<pad>", "</s>", "<unk>", *WORDS])}
V, END = len(VOCABULARY), 1
MOST = 9
"""Positions of the sentence-level model."""

FOOD = Edit(
    source="a big bat eats honey in caves",
    donor="a big cat eats eggs in trees",
    answer="a big bat eats eggs in caves",
    contrast="a big cat eats honey in trees",
    factor="food",
    kind="local",
    source_span=(15, 20),
    donor_span=(15, 19),
)
ANIMAL = Edit(
    source="a big bat eats honey in caves",
    donor="an old dog eats eggs in trees",
    answer="a big dog eats honey in caves",
    contrast="an old bat eats eggs in trees",
    factor="animal",
    kind="local",
    source_span=(6, 9),
    donor_span=(7, 10),
)
SIZE = Edit(
    source="a big bat eats honey in caves",
    donor="an old dog eats eggs in trees",
    answer="an old bat eats honey in caves",
    contrast="a big dog eats eggs in trees",
    factor="size",
    kind="distributed",
    source_span=(2, 5),
    donor_span=(3, 6),
)
ALL = [FOOD, ANIMAL, SIZE]
Reader = Callable[[Tensor], Tensor]


def tokenizer() -> PreTrainedTokenizerFast:
    inner = Tokenizer(models.WordLevel(VOCABULARY, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing("$A </s>", None, [("</s>", END)])
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


class Planted(TextAutoencoder):
    """Has a one-hot vector for every token, or all of them in one vector a sentence; the decoder reads it back."""

    def __init__(self, read: Reader = lambda ids_BT: ids_BT, by_token: bool = True) -> None:
        super().__init__()
        self.read, self.by_token, self.tokenizer, self.leaks = read, by_token, tokenizer(), False
        self.quantizer, self.last_codes = NoneConfig().build(V), None
        self.weight = nn.Parameter(torch.zeros(1))

    def encode_memory(self, batch: Batch) -> Memory:
        hot_BTV = F.one_hot(batch.input_ids_BT, V).float()
        output = QuantizerOutput(hot_BTV, None, hot_BTV.new_zeros(()), {}, int(batch.mask_BT.sum()))
        if self.by_token:
            return Memory(hot_BTV, batch.mask_BT, output)
        padded_BTV = F.pad(hot_BTV * batch.mask_BT.unsqueeze(-1), (0, 0, 0, MOST - hot_BTV.shape[1]))
        return Memory(padded_BTV.flatten(1).unsqueeze(1), batch.mask_BT.new_ones(len(hot_BTV), 1), output)

    def greedy(self, batch: Batch, max_new_tokens: int, enough: float = 1.0, memory: Memory | None = None) -> Tensor:
        memory = memory or self.encode_memory(batch)
        states_BTV = memory.states_BME if self.by_token else memory.states_BME.squeeze(1).unflatten(1, (MOST, V))
        return self.read(states_BTV.argmax(-1)) * (states_BTV.amax(-1) > 0.5)

    def losses(self, batch: Batch, swap_memory: bool = False, memory: Memory | None = None) -> Losses:
        raise NotImplementedError

    def states_to_quantize(self, batch: Batch) -> Tensor:
        raise NotImplementedError

    def get_input_embeddings(self) -> nn.Embedding:
        raise NotImplementedError

    def save_pretrained(self, directory: str | Path, /) -> None:
        raise NotImplementedError


def is_valid(text: str) -> bool:
    """Whether every article fits the word behind it."""
    pairs = [pair for pair in itertools.pairwise(text.split()) if pair[0] in ("a", "an")]
    return all(article == ("an" if word[0] in "aeiou" else "a") for article, word in pairs)


def measured(model: TextAutoencoder, edits: list[Edit] = ALL, **words: Any) -> dict[str, float]:
    return scores(run_edits(model, Control(edits, is_valid), max_new_tokens=12, **words).whole)


def test_codes_that_name_tokens_are_right_on_local_factors_and_wrong_on_distributed_ones() -> None:
    found = measured(Planted())
    assert found["control/local_intervention"] == 1
    assert found["control/distributed_intervention"] == 0, "'a old bat ...': the article does not follow"
    assert found["control/validity"] == pytest.approx(2 / 3)
    assert found["control/locality"] == 1 and found["control/changed_share"] == found["control/exact_share"] == 1
    outcomes = run_edits(Planted(), Control(ALL, is_valid), max_new_tokens=12).whole
    assert outcomes[2].decoded == "a old bat eats honey in caves"
    assert by_factor(outcomes) == {"animal": (1.0, 1), "food": (1.0, 1), "size": (0.0, 1)}


def test_a_decoder_that_makes_neighbours_agree_is_right_on_both() -> None:
    def agreeing(ids_BT: Tensor) -> Tensor:
        vowel_BT = torch.isin(ids_BT.roll(-1, 1), torch.tensor([VOCABULARY["old"]]))
        article_BT = torch.isin(ids_BT, torch.tensor([VOCABULARY["a"], VOCABULARY["an"]]))
        right_BT = torch.where(vowel_BT, VOCABULARY["an"], VOCABULARY["a"])
        return torch.where(article_BT, right_BT, ids_BT)

    found = measured(Planted(agreeing))
    assert found["control/local_intervention"] == found["control/distributed_intervention"] == 1
    assert found["control/validity"] == 1


def test_permuted_meanings_are_wrong() -> None:
    foods = [VOCABULARY["honey"], VOCABULARY["eggs"]]

    def permuted(ids_BT: Tensor) -> Tensor:
        swapped_BT = ids_BT.clone()
        swapped_BT[ids_BT == foods[0]], swapped_BT[ids_BT == foods[1]] = foods[1], foods[0]
        return swapped_BT

    back = replace(FOOD, source=FOOD.answer, answer=FOOD.source, donor=FOOD.contrast, contrast=FOOD.donor,
                   source_span=(15, 19), donor_span=(15, 20))  # fmt: skip
    found = measured(Planted(permuted), [FOOD, back])
    assert found["control/local_intervention"] == 0 and found["control/exact_share"] == 0
    assert found["control/changed_share"] == 1, "the edit does something, and the wrong thing"


def test_over_all_permutations_of_meanings_one_edit_in_as_many_as_there_are_fillers_is_right() -> None:
    animals = [VOCABULARY[word] for word in ("bat", "cat", "dog")]

    def permuted(order: tuple[int, ...]) -> Reader:
        meanings_V = torch.arange(V)
        meanings_V[animals] = torch.tensor(order)
        return lambda ids_BT: meanings_V[ids_BT]

    found = [measured(Planted(permuted(order)), [ANIMAL]) for order in itertools.permutations(animals)]
    assert sum(each["control/local_intervention"] for each in found) / len(found) == pytest.approx(1 / 3)


def test_a_decoder_that_ignores_its_codes_scores_nothing_and_neither_locality_nor_validity_praises_it() -> None:
    constant = tokenizer()("a big bat eats honey in caves", return_tensors="pt")["input_ids"]
    found = measured(Planted(lambda ids_BT: constant.expand(len(ids_BT), -1)[:, : ids_BT.shape[1]]))
    assert found["control/local_intervention"] == found["control/distributed_intervention"] == 0
    assert found["control/changed_share"] == 0
    assert "control/locality" not in found and "control/validity" not in found


def test_a_latent_of_the_sentence_is_moved_by_a_minimal_pair() -> None:
    found = measured(Planted(by_token=False))
    assert found["control/local_intervention"] == 1, "the words stand at the same places in all sentences"
    assert found["control/distributed_intervention"] == 1, "the pair holds the article, too"


def test_locality_counts_the_words_that_an_edit_should_have_left() -> None:
    def losing(ids_BT: Tensor) -> Tensor:
        return torch.where(ids_BT == VOCABULARY["caves"], VOCABULARY["trees"], ids_BT)

    found = measured(Planted(losing), [FOOD])
    assert found["control/locality"] == pytest.approx(5 / 6), "a big bat eats (honey) in, of these and caves"
    assert found["control/local_intervention"] == 0 and "control/locality_exact" not in found


def test_the_words_of_an_expression_are_its_tokens() -> None:
    source, words = r"x^{2} + \cos{(y )}", MathCorpus().words
    edit = Edit(source, "", r"x^{a} + \cos{(y )}", "", "variable", "local", (3, 4), (0, 1))
    wrong = Outcome(edit, r"z^{a} + \cos{(y )}", source, "", valid=True, words=words)
    assert words(source)[:5] == ["x", "^", "{", "2", "}"]
    assert wrong.kept == pytest.approx(10 / 11), "the base changed, too"
    assert replace(wrong, words=str.split).kept == 1, "x^{2} is one word between spaces"


def test_the_answer_itself_for_a_donor_is_the_ceiling() -> None:
    made = from_answers(ALL)
    assert [each.donor for each in made] == [each.answer for each in ALL]
    assert [each.donor[slice(*each.donor_span)] for each in made] == ["eggs", "dog", "old"]
    edited = run_edits(Planted(), Control(ALL, is_valid), max_new_tokens=12, with_ceiling=True)
    # Tokens of a minimal pair name nothing but themselves, so the article does not follow even there.
    assert ceiling_scores(edited.ceiling) == {"control/local_ceiling": 1, "control/distributed_ceiling": 0}
    assert not run_edits(Planted(), Control(ALL, is_valid), max_new_tokens=12).ceiling
    of_sentences = run_edits(Planted(by_token=False), Control(ALL, is_valid), max_new_tokens=12, with_ceiling=True)
    assert ceiling_scores(of_sentences.ceiling)["control/distributed_ceiling"] == 1
    twice = replace(FOOD, answer="a big bat eats eggs in eggs")
    assert not from_answers([twice]), "nobody can say which of them is meant"


def test_the_order_of_the_edits_and_the_batches_change_nothing() -> None:
    together = run_edits(Planted(), Control(ALL, is_valid), max_new_tokens=12).whole
    alone = run_edits(Planted(), Control(ALL[::-1], is_valid), max_new_tokens=12, batch_size=1).whole
    assert [outcome.decoded for outcome in together] == [outcome.decoded for outcome in alone[::-1]]


def test_a_choice_takes_every_factor_and_is_seeded() -> None:
    many = [
        replace(edit, donor=f"{edit.donor} {number}") for number in range(50) for edit in (FOOD, FOOD, ANIMAL, SIZE)
    ]
    chosen = choose(many, 30, seed=1)
    assert [sum(edit.factor == name for edit in chosen) for name in ("food", "animal", "size")] == [10, 10, 10]
    assert chosen == choose(many, 30, seed=1) != choose(many, 30, seed=2)
    assert len(choose(ALL, 100, seed=0)) == 3


def test_a_token_belongs_to_every_span_that_it_touches() -> None:
    spans = [(0, 1), (1, 5), (5, 9), (0, 0)]
    assert tokens_of(spans, (2, 5)) == (1, 2)
    assert tokens_of(spans, (4, 6)) == (1, 3)
    with pytest.raises(DataError, match="characters 9 to 12"):
        tokens_of(spans, (9, 12))


def test_a_splice_may_change_the_length() -> None:
    source_TE, donor_TE = torch.arange(5.0).unsqueeze(-1), torch.arange(10.0, 16.0).unsqueeze(-1)
    assert spliced(source_TE, (1, 2), donor_TE, (2, 5)).squeeze(-1).tolist() == [0, 12, 13, 14, 2, 3, 4]


def test_a_decoder_that_reads_past_the_codes_has_no_control(tmp_path: Path) -> None:
    edited = {"data.corpus.version": 2, "evaluate.control": 6, "train.max_steps": 2, "train.eval_every": 2}
    for quantize, measured_ in ((True, True), (False, False)):
        prompts = {"model.prompts.num_prompts": 3, "model.prompts.hidden_width": 16, "model.prompts.quantize": quantize}
        milestones, _ = finish(tiny("t5vqvae", **{**edited, **prompts}), tmp_path / "cache")
        assert any(key.startswith("control/") for key in milestones[-1].metrics) == measured_
