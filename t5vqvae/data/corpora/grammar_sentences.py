"""The sentences of `grammar` version 2: a meaning is written in one way, and every word has a role and known factors.

Two kinds of factor: *roles* (`ARG0`, `V`, `size`, ...), whose values are words, and *properties* (number, tense,
negation, voice). A factor's own words are those that express it; what agrees with them is not among them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from t5vqvae.data.corpora.edits import Span
from t5vqvae.data.corpora.grammar_templates import TEMPLATES, Pattern
from t5vqvae.data.corpora.grammar_words import PLURALS, WORDS, Form, article

SENTENCES_VERSION = 1
"""Raise it with every change of the words, the patterns or the drawing."""

Determiner = Literal["a", "the", "this"]
Number = Literal["singular", "plural"]
Tense = Literal["present", "past"]
Negation = Literal["affirmative", "negative"]
Voice = Literal["active", "passive"]


PROPERTIES: Mapping[str, tuple[str, ...]] = {
    "number": get_args(Number),
    "tense": get_args(Tense),
    "negation": get_args(Negation),
    "voice": get_args(Voice),
}
"""The two values of every property."""
FIELDS = {"demonstrative": "number"}
"""The property behind a factor of another name: the number, where `this` and `these` express it."""


@dataclass(frozen=True)
class Meaning:
    """What a sentence says, and in which form.

    Attributes:
        template: The kind of sentence.
        fillers: The word of every role that it has, in its first form.
        determiner: The determiner of the noun phrase, as in the singular; there is no plural of "a".
        number: The number of the noun phrase, which is the subject of an active sentence.
        tense: The tense of all its verbs.
        negation: Whether it is negated.
        voice: Whether its agent is the subject.
    """

    template: str
    fillers: Mapping[str, str]
    determiner: Determiner = "a"
    number: Number = "singular"
    tense: Tense = "present"
    negation: Negation = "affirmative"
    voice: Voice = "active"

    @property
    def pattern(self) -> Pattern:
        """The pattern in the meaning's voice."""
        template = TEMPLATES[self.template]
        return template.active if self.voice == "active" else template.passive

    def value(self, factor: str) -> str:
        """Returns the value of a role, or of a property."""
        return self.fillers[factor] if factor in self.fillers else str(getattr(self, FIELDS.get(factor, factor)))

    def with_value(self, factor: str, value: str) -> Meaning:
        """Returns the meaning with another value of a role that it has, or of a property."""
        if factor in self.fillers:
            return replace(self, fillers={**self.fillers, factor: value})
        changed: dict[str, Any] = {FIELDS.get(factor, factor): value}
        return replace(self, **changed)


@dataclass(frozen=True)
class Written:
    """A sentence, the role of every word, and the own words of every factor that can be edited, in characters."""

    text: str
    roles: tuple[str, ...]
    spans: Mapping[str, Span]


@dataclass(frozen=True)
class _Part:
    """Words of one role that are written together, and the factors that they express."""

    text: str
    role: str
    factors: tuple[str, ...] = ()


def write(meaning: Meaning) -> Written:
    """Writes a meaning; two meanings never have the same text."""
    text, roles, spans = "", list[str](), dict[str, Span]()
    for part in _with_articles(list(_parts(meaning))):
        start = len(text) + 1 if text else 0
        text = f"{text} {part.text}".lstrip()
        roles += [part.role] * len(part.text.split())
        for factor in part.factors:
            spans[factor] = spans.get(factor, (start, 0))[0], len(text)
    return Written(text, tuple(roles), spans)


def draw_meaning(rng: random.Random) -> Meaning:
    """Returns a random meaning: every kind of sentence, filler and property is equally likely."""
    name = rng.choice(list(TEMPLATES))
    template = TEMPLATES[name]
    with_size = rng.random() < 0.5
    kinds = {role: kind for role, kind in template.kinds.items() if role != "size" or with_size}
    properties: dict[str, Any] = {key: rng.choice(values) for key, values in PROPERTIES.items()}
    if not template.passive:
        properties["voice"] = "active"
    fillers = {role: rng.choice(list(WORDS[kind])) for role, kind in kinds.items()}
    return Meaning(name, fillers, rng.choice(get_args(Determiner)), **properties)


def _with_articles(parts: list[_Part]) -> Iterator[_Part]:
    for place, part in enumerate(parts):
        yield replace(part, text=article(parts[place + 1].text)) if part.text == "a/an" else part


def _parts(meaning: Meaning) -> Iterator[_Part]:
    for role, phrase in meaning.pattern:
        for word in phrase.split():
            if word.startswith("NP"):
                yield from _noun_phrase(meaning, role)
            elif word.startswith("VP"):
                yield from _verb_phrase(meaning)
            elif word.endswith(">"):
                yield _Part(_form(meaning, role, word), role, (role,))
            else:
                yield _Part(_following(word, meaning), role)


def _noun_phrase(meaning: Meaning, role: str) -> Iterator[_Part]:
    """Writes determiner, size and noun; the number is the noun's (with its article), or that of `this` and `these`."""
    size, determiner, is_singular = meaning.fillers.get("size"), meaning.determiner, meaning.number == "singular"
    # The own words of a factor stand together: with a size between article and noun, the number has none.
    number = ("number",) if determiner == "the" or (determiner == "a" and size is None) else ()
    if determiner == "this":
        yield _Part("this" if is_singular else "these", role, ("demonstrative",))
    elif determiner == "the":
        yield _Part("the", role)
    elif is_singular:
        yield _Part("a/an", role, number)
    if size is not None:
        yield _Part(size, role, ("size",))
    kind = TEMPLATES[meaning.template].kinds[role]
    yield _Part(WORDS[kind][meaning.fillers[role]][meaning.number], role, (role, *number))


def _verb_phrase(meaning: Meaning) -> Iterator[_Part]:
    """Writes the verb with its auxiliaries; tense is the finite verb's, negation and voice are the whole group's."""
    is_negative, with_voice = meaning.negation == "negative", bool(TEMPLATES[meaning.template].passive)
    group = ("negation", "voice") if with_voice else ("negation",)
    if "V" not in meaning.fillers or meaning.voice == "passive":
        yield _Part(_be(meaning), "V", ("tense", *group))
        if is_negative:
            yield _Part("not", "V", group)
        if "V" in meaning.fillers:
            yield _Part(_verb(meaning, "V", "participle"), "V", ("V", *group))
    elif is_negative:
        yield _Part({"base": "do", "third": "does", "past": "did"}[_finite(meaning)], "V", ("tense", *group))
        yield _Part("not", "V", group)
        yield _Part(_verb(meaning, "V", "base"), "V", ("V", *group))
    else:
        yield _Part(_verb(meaning, "V", _finite(meaning)), "V", ("V", "tense", *group))


def _finite(meaning: Meaning) -> Literal["base", "third", "past"]:
    if meaning.tense == "past":
        return "past"
    return "third" if meaning.number == "singular" else "base"


def _be(meaning: Meaning) -> str:
    is_plural = meaning.fillers["ARG1"] in PLURALS if meaning.voice == "passive" else meaning.number == "plural"
    if meaning.tense == "past":
        return "were" if is_plural else "was"
    return "are" if is_plural else "is"


def _verb(meaning: Meaning, role: str, form: Form) -> str:
    return WORDS[TEMPLATES[meaning.template].kinds[role]][meaning.fillers[role]][form]


def _form(meaning: Meaning, role: str, word: str) -> str:
    """Returns a filler in the form that its place needs; a part has the number of its owner."""
    if word.startswith(("FINITE", "AGAIN")):
        is_negated = word.startswith("AGAIN") and meaning.negation == "negative"
        return _verb(meaning, role, "base" if is_negated else _finite(meaning))
    filler, kind = meaning.fillers[role], TEMPLATES[meaning.template].kinds[role]
    return WORDS[kind][filler][meaning.number] if kind == "part" else filler


def _following(word: str, meaning: Meaning) -> str:
    """Returns a word of a pattern as the sentence's negation or number needs it; articles are chosen later."""
    if "/" not in word or word == "a/an":
        return word
    first, second = word.split("/")
    is_second = meaning.number == "plural" if word.startswith("it") else meaning.negation == "negative"
    return second if is_second else first
