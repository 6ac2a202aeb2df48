"""Codes that name words are pure, and a swap changes their word."""

from __future__ import annotations

import pytest
import torch
from spelling_model import CODE

from t5vqvae.data.corpora.math import MathCorpus
from t5vqvae.errors import DataError
from t5vqvae.latent.code_use import END, swaps_of, use_of_codes, words_of
from t5vqvae.latent.latent_space import LatentSpace
from t5vqvae.latent.sentence import SPACE, Sentence

TEXTS = ["a bat eats honey", "a cat eats honey", "a dog eats eggs in old trees"]


def test_a_code_that_names_a_word_is_pure_and_by_chance_it_is_not(space: LatentSpace) -> None:
    uses = {use.code: use for use in use_of_codes(space.encode(TEXTS))}
    eats = uses[CODE["eats"]]
    assert (eats.count, eats.words, eats.purity) == (3, (("eats", 3),), 1.0)
    assert {use.purity for use in uses.values()} == {1.0}
    total = sum(use.count for use in uses.values())
    assert total == 18 and sum(use.count * use.shuffled_purity for use in uses.values()) / total < 0.8
    assert uses[CODE["</s>"]].words == ((END, 3),)
    assert [use.count for use in use_of_codes(space.encode(TEXTS))][:3] == [3, 3, 3]


def test_a_swap_takes_the_nearest_code_that_is_in_use(space: LatentSpace) -> None:
    swaps = swaps_of(space, space.encode(TEXTS), CODE["honey"])
    assert [(swap.position, swap.word, swap.swapped_to, swap.text) for swap in swaps] == [
        (3, "honey", CODE["eggs"], "a bat eats eggs"),
        (3, "honey", CODE["eggs"], "a cat eats eggs"),
    ]
    assert [swap.plain for swap in swaps] == TEXTS[:2]
    [first] = swaps_of(space, space.encode(TEXTS), CODE["eats"], most=1)
    assert first.swapped_to == CODE["dog"], "6 before 9: 'and', 8, is nearer, and no sentence uses it"


def test_codes_that_are_not_there_are_refused(space: LatentSpace) -> None:
    sentences = space.encode(TEXTS)
    with pytest.raises(DataError, match="code=99 must lie between 0 and 15"):
        swaps_of(space, sentences, 99)
    with pytest.raises(DataError, match="code=8 occurs in none of 3 sentences; they use 11 of 16"):
        swaps_of(space, sentences, CODE["and"])


def test_the_words_of_a_formula_are_those_of_its_corpus() -> None:
    text = "\\sin{(E )}"
    spans = ((0, 4), (4, 5), (5, 6), (6, 7), (7, 8), (8, 9), (9, 10), (0, 0))
    sentence = Sentence(text, spans, torch.zeros(8, 1), None, None)
    assert words_of(sentence, MathCorpus().word_spans) == ["\\sin", "{", "(", "E", SPACE, ")", "}", END]
    assert words_of(sentence)[0] == "\\sin{(E", "white space alone makes no words of it"


def test_a_piece_of_a_word_stands_for_the_word(space: LatentSpace) -> None:
    [sentence] = space.encode(["a bat"])
    pieces = Sentence("big berries", ((0, 3), (3, 8), (8, 11), (0, 0)), sentence.states_TE, None, None)
    assert words_of(pieces) == ["big", "berries", "berries", END]
