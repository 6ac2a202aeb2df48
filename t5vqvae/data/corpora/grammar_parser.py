"""The parser of `grammar` version 2: it reads what the generator writes, and nothing else.

A regular expression a pattern finds the words; the meaning that they suggest is then written again, and whatever does
not come out letter by letter is refused. So agreement and articles have one place, the writer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import get_args

from t5vqvae.data.corpora.grammar_sentences import (
    PROPERTIES,
    Determiner,
    Meaning,
    Negation,
    Number,
    Tense,
    Voice,
    write,
)
from t5vqvae.data.corpora.grammar_templates import TEMPLATES, Pattern
from t5vqvae.data.corpora.grammar_words import KNOWN, WORDS

NO_VALUE = "none"
"""The value of a role that a sentence does not have."""
_DETERMINERS: dict[str | None, Determiner] = {"the": "the", "this": "this", "these": "this"}


def parse(text: str) -> Meaning | None:
    """Returns the meaning of a sentence; None for a text that the generator does not write."""
    return next((meaning for meaning in _candidates(text) if write(meaning).text == text), None)


def factors_of(text: str) -> dict[str, str] | None:
    """Returns the value of every factor of a sentence: `none` for a role that it lacks, None for another text."""
    meaning = parse(text)
    if meaning is None:
        return None
    roles = {role: meaning.fillers.get(role, NO_VALUE) for role in _roles()}
    properties = {name: meaning.value(name) for name in PROPERTIES}
    return {"template": meaning.template, "determiner": meaning.determiner, **roles, **properties}


@cache
def _roles() -> tuple[str, ...]:
    """Returns every role that some template fills."""
    return tuple(dict.fromkeys(role for template in TEMPLATES.values() for role in template.kinds))


def _candidates(text: str) -> Iterator[Meaning]:
    for name, voice, expression in _expressions():
        found = expression.fullmatch(text)
        if found is None:
            continue
        words = {key: word for key, word in found.groupdict().items() if word is not None}
        kinds = TEMPLATES[name].kinds
        fillers = {role: KNOWN[kind][words[_key(role)]] for role, kind in kinds.items() if _key(role) in words}
        determiner = _DETERMINERS.get(words.get("determiner"), "a")
        negation: Negation = "negative" if "not" in text.split() else "affirmative"
        for number, tense in product(get_args(Number), get_args(Tense)):
            yield Meaning(name, fillers, determiner, number, tense, negation, voice)


@cache
def _expressions() -> list[tuple[str, Voice, re.Pattern[str]]]:
    """Returns the regular expression of every pattern, with its template and voice."""
    voices: list[tuple[str, Voice, Pattern]] = [(name, "active", t.active) for name, t in TEMPLATES.items()]
    voices += [(name, "passive", t.passive) for name, t in TEMPLATES.items() if t.passive]
    return [(name, voice, re.compile(" ".join(_phrases(pattern)))) for name, voice, pattern in voices]


def _phrases(pattern: Pattern) -> Iterator[str]:
    for role, phrase in pattern:
        for word in phrase.split():
            before, _, kind = word.rstrip(">").partition("<")
            filler = f"(?P<{_key(role)}>{'|'.join(KNOWN[kind])})" if kind else ""
            if before == "NP":
                yield f"(?:(?P<determiner>an?|the|this|these) )?(?:(?P<size>{'|'.join(WORDS['size'])}) )?{filler}"
            elif word == "VP":
                yield "(?:is|are|was|were)(?: not)?"
            elif before == "VP":
                yield f"(?:(?:do|does|did|is|are|was|were) )?(?:not )?{filler}"
            else:
                yield filler or f"(?:{before.replace('/', '|')})"


def _key(role: str) -> str:
    """Returns a role as the name of a group."""
    return role.replace("-", "_")
