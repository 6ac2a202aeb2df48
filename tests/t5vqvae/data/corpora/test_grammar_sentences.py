"""The sentences of `grammar` version 2: examples by hand, and laws over random meanings."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from typing import Any

import pytest

from t5vqvae.data.corpora.grammar_sentences import Meaning, draw_meaning, write
from t5vqvae.data.corpora.grammar_templates import TEMPLATES
from t5vqvae.data.corpora.grammar_words import PLURALS, WORDS

FORAGE = Meaning("forage", {"ARG0": "bat", "V": "eat", "ARG1": "honey", "V2": "sleep", "ARGM-LOC": "cave"})
EAT = Meaning("eat", {"ARG0": "elephant", "V": "eat", "ARG1": "leaves", "ARGM-TMP": "at night"}, "the")
SEEK = Meaning("seek", {"ARG0": "owl", "V": "find", "ARG1": "nuts", "ARGM-LOC": "attic", "ARGM-TMP": "at noon"})
USE = Meaning(
    "use", {"ARG0": "wolf", "V": "keep", "ARG1": "tooth", "ARGM-PRP": "hunting", "ARGM-TMP": "in spring"}, "this"
)
WHEN = Meaning("when", {"ARG0": "fox", "V": "sing", "V2": "steal", "ARG1": "eggs", "ARGM-TMP": "at dawn"})
GIVE = Meaning(
    "give", {"ARG0": "iris", "V": "give", "ARG1": "nectar", "ARG2": "insect", "ARGM-TMP": "in summer"}, "this"
)
KIND = Meaning("kind", {"ARG1": "goose", "ARG2": "animal", "size": "old"})
PLURAL: dict[str, Any] = {"number": "plural"}


def written(meaning: Meaning, **values: str) -> str:
    for factor, value in values.items():
        meaning = meaning.with_value(factor, value)
    return write(meaning).text


def test_number_changes_article_noun_and_every_verb() -> None:
    assert written(FORAGE) == "a bat eats honey and sleeps in a cave"
    assert written(FORAGE, number="plural") == "bats eat honey and sleep in a cave"
    assert written(USE) == "this wolf keeps its tooth for hunting in spring"
    assert written(USE, number="plural") == "these wolves keep their teeth for hunting in spring"
    assert written(WHEN) == "a fox sings when it steals eggs at dawn"
    assert written(WHEN, number="plural") == "foxes sing when they steal eggs at dawn"
    assert written(KIND, number="plural") == "old geese are a kind of animal"


def test_tense_changes_both_verbs() -> None:
    assert written(FORAGE, tense="past") == "a bat ate honey and slept in a cave"
    assert written(WHEN, tense="past", number="plural") == "foxes sang when they stole eggs at dawn"
    assert written(WHEN, tense="past", negation="negative") == "a fox did not sing when it stole eggs at dawn"
    assert written(KIND, tense="past") == "an old goose was a kind of animal"


def test_negation_changes_words_elsewhere() -> None:
    assert written(FORAGE, negation="negative") == "a bat does not eat honey or sleep in a cave"
    assert written(SEEK) == "an owl finds some nuts in an attic at noon"
    assert written(SEEK, negation="negative", number="plural") == "owls do not find any nuts in an attic at noon"
    assert written(EAT) == "the elephant eats leaves at night too"
    assert written(EAT, negation="negative") == "the elephant does not eat leaves at night either"
    assert written(KIND, negation="negative") == "an old goose is not a kind of animal"


def test_passive_moves_the_arguments_and_agrees_with_the_patient() -> None:
    assert written(EAT, voice="passive") == "leaves are eaten by the elephant at night too"
    assert written(EAT, voice="passive", ARG1="honey") == "honey is eaten by the elephant at night too"
    past = written(GIVE, voice="passive", tense="past", negation="negative", number="plural")
    assert past == "nectar was not given to an insect by these irises in summer"


def test_the_article_follows_the_next_word() -> None:
    assert written(KIND) == "an old goose is a kind of animal"
    assert written(KIND, size="big") == "a big goose is a kind of animal"
    assert written(SEEK, ARG0="bat", **{"ARGM-LOC": "cave"}) == "a bat finds some nuts in a cave at noon"


def own_words(meaning: Meaning) -> dict[str, str]:
    found = write(meaning)
    return {factor: found.text[start:end] for factor, (start, end) in found.spans.items()}


def test_own_words_of_every_factor() -> None:
    assert own_words(FORAGE) == {
        "number": "a bat", "ARG0": "bat", "V": "eats", "tense": "eats", "negation": "eats", "ARG1": "honey",
        "V2": "sleeps", "ARGM-LOC": "cave",
    }  # fmt: skip
    assert own_words(EAT.with_value("negation", "negative")) == {
        "number": "elephant", "ARG0": "elephant", "tense": "does", "V": "eat", "negation": "does not eat",
        "voice": "does not eat", "ARG1": "leaves", "ARGM-TMP": "at night",
    }  # fmt: skip
    passive = own_words(GIVE.with_value("voice", "passive"))
    assert passive["voice"] == passive["negation"] == "is given" and passive["tense"] == "is"
    assert passive["demonstrative"] == "this" and "number" not in passive
    assert "number" not in own_words(KIND), "'an old goose' is more than the number's own words"


def test_words_have_roles_and_spans_are_whole_words() -> None:
    rng = random.Random(3)
    for _ in range(500):
        meaning = draw_meaning(rng)
        found = write(meaning)
        assert len(found.roles) == len(found.text.split()) and "/" not in found.text and "_" not in found.text
        starts = {0, *(place + 1 for place, letter in enumerate(found.text) if letter == " ")}
        ends = {*(start - 1 for start in starts - {0}), len(found.text)}
        assert all(start in starts and end in ends for start, end in found.spans.values())
        assert set(meaning.fillers) <= set(found.spans)
        for role in set(meaning.fillers) - {"size"}:
            words = found.text[: found.spans[role][0]].split()
            assert found.roles[len(words)] == role


def test_articles_fit_in_every_sentence() -> None:
    rng = random.Random(4)
    words = " | ".join(write(draw_meaning(rng)).text for _ in range(500)).split()
    pairs = [pair for pair in itertools.pairwise(words) if pair[0] in ("a", "an")]
    assert all((article == "an") == (word[0] in "aeiou") for article, word in pairs)
    assert min(Counter(article for article, _ in pairs).values()) > 100


def test_every_template_and_word_is_drawn_often() -> None:
    rng = random.Random(5)
    meanings = [draw_meaning(rng) for _ in range(5_000)]
    words = Counter((role, word) for meaning in meanings for role, word in meaning.fillers.items())
    possible = {(role, word) for t in TEMPLATES.values() for role, kind in t.kinds.items() for word in WORDS[kind]}
    assert set(words) == possible and min(words.values()) > 20
    assert min(Counter(meaning.template for meaning in meanings).values()) > 400
    assert len({write(meaning).text for meaning in meanings}) > 4_900


@pytest.mark.parametrize("kind", sorted(WORDS))
def test_no_two_words_of_a_kind_share_a_form(kind: str) -> None:
    forms = [form for forms in WORDS[kind].values() for form in set(forms.values())]
    assert len(forms) == len(set(forms))
    assert kind not in ("animal", "plant", "tool", "meter", "part") or len(forms) == 2 * len(WORDS[kind])


def test_the_foods_in_the_plural_are_foods() -> None:
    assert set(WORDS["food"]) > PLURALS
