"""The parser reads what the generator writes, and refuses everything else."""

from __future__ import annotations

import random

import pytest

from t5vqvae.data.corpora.grammar_parser import factors_of, parse
from t5vqvae.data.corpora.grammar_sentences import draw_meaning, write

WRONG = [
    "",
    "a",
    "a bat",
    "a bat eat honey and sleeps in a cave",
    "a bat eats honey and sleep in a cave",
    "a bat eats honey and slept in a cave",
    "bats eats honey and sleep in a cave",
    "a bats eat honey and sleep in a cave",
    "an bat eats honey and sleeps in a cave",
    "a old bat eats honey and sleeps in a cave",
    "an big bat eats honey and sleeps in a cave",
    "the a bat eats honey and sleeps in a cave",
    "these bat eats honey and sleeps in a cave",
    "this bats eat honey and sleep in a cave",
    "a bat does not eats honey or sleep in a cave",
    "a bat does not eat honey and sleep in a cave",
    "a bat do not eat honey or sleep in a cave",
    "a bat not eat honey or sleep in a cave",
    "a bat does eat honey and sleeps in a cave",
    "a bat eats honey and sleeps in an cave",
    "a bat eats stones and sleeps in a cave",
    "a honey eats bat and sleeps in a cave",
    "A bat eats honey and sleeps in a cave",
    "a bat eats honey and sleeps in a cave.",
    "a bat eats honey and sleeps in a cave\n",
    " a bat eats honey and sleeps in a cave",
    "a bat  eats honey and sleeps in a cave",
    "a bat eats some honey and sleeps in a cave",
    "an owl finds any nuts in an attic at noon",
    "an owl does not find some nuts in an attic at noon",
    "the elephant eats leaves at night either",
    "the elephant does not eat leaves at night too",
    "leaves is eaten by the elephant at night too",
    "honey are eaten by the elephant at night too",
    "leaves are ate by the elephant at night too",
    "leaves do not eaten by the elephant at night either",
    "the elephant is eaten by leaves at night too",
    "this wolf keeps their tooth for hunting in spring",
    "these wolves keep their tooth for hunting in spring",
    "foxes sing when it steals eggs at dawn",
    "a fox does not sing when it steal eggs at dawn",
    "old geese is a kind of animal",
]


def test_every_sentence_is_read_as_it_was_meant() -> None:
    rng = random.Random(0)
    for _ in range(3_000):
        meaning = draw_meaning(rng)
        assert parse(write(meaning).text) == meaning


@pytest.mark.parametrize("text", WRONG)
def test_what_the_generator_does_not_write_is_refused(text: str) -> None:
    assert parse(text) is None and factors_of(text) is None


def test_mutated_sentences_are_refused_or_read_as_what_they_say() -> None:
    rng = random.Random(1)
    texts = [write(draw_meaning(rng)).text.split() for _ in range(1_500)]
    words = sorted({word for text in texts for word in text})
    refused = 0
    for text in texts:
        place = rng.randrange(len(text))
        dropped, repeated = text[:place] + text[place + 1 :], text[: place + 1] + text[place:]
        other = [*text[:place], rng.choice(words), *text[place + 1 :]]
        swapped = [*text[:place], *text[place : place + 2][::-1], *text[place + 2 :]]
        for mutated in (" ".join(some) for some in (dropped, repeated, other, swapped)):
            meaning = parse(mutated)
            assert meaning is None or write(meaning).text == mutated
            refused += meaning is None
    assert refused > 0.85 * 4 * len(texts), refused


def test_factors_have_a_value_for_every_role_and_property() -> None:
    assert factors_of("an old goose was not a kind of animal") == {
        "template": "kind", "determiner": "a", "ARG0": "none", "V": "none", "ARG1": "goose", "V2": "none",
        "ARGM-LOC": "none", "size": "old", "ARGM-TMP": "none", "ARG2": "animal", "ARGM-MNR": "none",
        "ARGM-PRP": "none", "number": "singular", "tense": "past", "negation": "negative", "voice": "active",
    }  # fmt: skip
    rng = random.Random(2)
    names = {tuple(factors_of(write(draw_meaning(rng)).text) or ()) for _ in range(200)}
    assert len(names) == 1, "every sentence has the same factors in the same order"
