"""Edits of `grammar` version 2: one factor of a sentence takes the value that it has in another sentence.

What holds of every edit:

- The donor's own words are the words that stand in their place in the answer. So they carry the wanted value and
  nothing that the answer contradicts: a donor of "bats" for "a bat eats honey" also speaks of bats.
- Every role that source and donor share has another filler, but for the roles whose fillers are among the own words:
  the noun where the number is the noun's, the verb where tense, negation or voice are the verb's.
- Of the other properties (number, tense, negation, voice, determiner), as many differ as in any of a few donors drawn.
  Not all can: the own words of "does not eat" carry tense and number, too.

A kind is measured, never declared: an edit is local if answer and source have the same words outside the own ones.
A factor whose edits are now local and now distributed has two names:

| factor | local | distributed: what follows |
| --- | --- | --- |
| a role (`ARG0`, `V`, `size`, ...) | its own name | `article`: a or an; `agreement`: the verb of a passive |
| the number of a noun phrase | `number` | `agreement`: verbs, `its` and `their` |
| the number in `this` and `these` | - | `demonstrative`: the noun, verbs, `its` and `their` |
| the tense of the first verb | `tense` | `tense_sequence`: the second verb |
| a negated verb | `negation` | `negation_scope`: some and any, and and or, too and either |
| a verb's voice | - | `voice`: the arguments change places |
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from t5vqvae.data.corpora.edits import Edit
from t5vqvae.data.corpora.grammar_parser import parse
from t5vqvae.data.corpora.grammar_sentences import FIELDS, PROPERTIES, Meaning, Written, write
from t5vqvae.data.corpora.grammar_templates import TEMPLATES

MAX_TRIES = 60
"""Donors that are looked at for one edit."""
MAX_FITTING = 6
"""Donors among them that fit and are compared; the one with the most other properties is taken."""
_DISTRIBUTED = {
    "number": "agreement",
    "demonstrative": "demonstrative",
    "tense": "tense_sequence",
    "negation": "negation_scope",
    "voice": "voice",
}


@dataclass(frozen=True)
class _Sentence:
    """A meaning and how it is written."""

    meaning: Meaning

    @cached_property
    def written(self) -> Written:
        return write(self.meaning)

    def own(self, factor: str) -> str:
        """Returns the own words of a factor; empty if it has none."""
        start, end = self.written.spans.get(factor, (0, 0))
        return self.written.text[start:end]

    def outside(self, factor: str) -> tuple[list[str], list[str]]:
        """Returns the words before and behind a factor's own."""
        text, (start, end) = self.written.text, self.written.spans[factor]
        return text[:start].split(), text[end:].split()

    def roles_within(self, factor: str) -> set[str]:
        """Returns the roles whose fillers are among a factor's own words."""
        start, end = self.written.spans[factor]
        spans = self.written.spans
        return {role for role in self.meaning.fillers if start <= spans[role][0] and spans[role][1] <= end}

    def with_value(self, factor: str, value: str) -> _Sentence:
        """Returns the sentence with another value of a factor."""
        return _Sentence(self.meaning.with_value(factor, value))


class _Donors:
    """The sentences of a split, by the factors that they have and by these factors' own words."""

    def __init__(self, sentences: Sequence[_Sentence], elsewhere: Collection[str]) -> None:
        self._elsewhere = elsewhere
        self._by_factor: dict[str, list[_Sentence]] = defaultdict(list)
        self._by_words: dict[tuple[str, str], list[_Sentence]] = defaultdict(list)
        for sentence in sentences:
            for factor in sentence.written.spans:
                self._by_factor[factor].append(sentence)
                self._by_words[factor, sentence.own(factor)].append(sentence)

    def best(self, source: _Sentence, factor: str, rng: random.Random) -> Edit | None:
        """Returns an edit of a factor; None if no donor was found."""
        fitting = list(islice(self._fitting(source, factor, rng), MAX_FITTING))
        fitting.sort(key=lambda pair: _num_different(source.meaning, pair[0].meaning), reverse=True)
        edits = (_edit(source, donor, answer, factor) for donor, answer in fitting)
        return next((edit for edit in edits if {edit.answer, edit.contrast}.isdisjoint(self._elsewhere)), None)

    def _fitting(self, source: _Sentence, factor: str, rng: random.Random) -> Iterator[tuple[_Sentence, _Sentence]]:
        """Yields donors that fit, each with its answer, in random order."""
        within = source.roles_within(factor)
        for donor, answer in self._drawn(source, factor, rng):
            # The cheaper check comes first: most donors share a filler with the source.
            if _differ(source.meaning, donor.meaning, within) and answer.own(factor) == donor.own(factor):
                yield donor, answer

    def _drawn(self, source: _Sentence, factor: str, rng: random.Random) -> Iterator[tuple[_Sentence, _Sentence]]:
        """Yields possible donors, each with its answer: a filler's value is the donor's, a property has two values."""
        if factor not in source.meaning.fillers:
            values = PROPERTIES[FIELDS.get(factor, factor)]
            answer = source.with_value(factor, values[1 - values.index(source.meaning.value(factor))])
            for donor in _some(self._by_words[factor, answer.own(factor)], rng):
                yield donor, answer
            return
        for donor in _some(self._by_factor[factor], rng):
            value = donor.meaning.fillers[factor]
            if value != source.meaning.fillers[factor] and _kind(source, factor) == _kind(donor, factor):
                yield donor, source.with_value(factor, value)


def edits_between(sources: Sequence[str], elsewhere: Collection[str], per_factor: int, seed: int) -> list[Edit]:
    """Returns edits within a split, up to `per_factor` of every factor; a larger number only adds to them.

    Args:
        sources: The sentences of the split: sources and donors.
        elsewhere: The sentences of all other splits; no answer and no contrast is among them.
        per_factor: The largest number of edits of a factor.
        seed: Seed of every choice.
    """
    sentences = [_Sentence(meaning) for text in sources if (meaning := parse(text)) is not None]
    random.Random(f"{seed} edits").shuffle(sentences)
    donors, counts, found = _Donors(sentences, elsewhere), Counter[str](), list[Edit]()
    for source in sentences:
        for factor in source.written.spans:
            if all(counts[name] >= per_factor for name in _names(factor)):
                continue
            edit = donors.best(source, factor, random.Random(f"{seed} {factor} {source.written.text}"))
            if edit is not None and counts[edit.factor] < per_factor:
                counts[edit.factor] += 1
                found.append(edit)
    return found


def _names(factor: str) -> set[str]:
    """Returns every name that an edit of a factor may get."""
    return {factor, _DISTRIBUTED[factor]} if factor in _DISTRIBUTED else {factor, "article", "agreement"}


def _edit(source: _Sentence, donor: _Sentence, answer: _Sentence, factor: str) -> Edit:
    contrast = donor.with_value(factor, source.meaning.value(factor))
    before, after = source.outside(factor), answer.outside(factor)
    return Edit(
        source=source.written.text,
        donor=donor.written.text,
        answer=answer.written.text,
        contrast=contrast.written.text,
        factor=factor if before == after else _distributed_name(factor, before, after),
        kind="local" if before == after else "distributed",
        source_span=source.written.spans[factor],
        donor_span=donor.written.spans[factor],
    )


def _distributed_name(factor: str, before: tuple[list[str], list[str]], after: tuple[list[str], list[str]]) -> str:
    """Returns the name of a factor whose edit changes words outside its own: what follows it."""
    if factor in _DISTRIBUTED:
        return _DISTRIBUTED[factor]
    without = ([["a" if word == "an" else word for word in words] for words in sides] for sides in (before, after))
    return "article" if next(without) == next(without) else "agreement"


def _differ(source: Meaning, donor: Meaning, within: set[str]) -> bool:
    """Whether all fillers of shared roles differ, but for those of the roles `within` the edited words."""
    return all(
        role in within or role not in donor.fillers or donor.fillers[role] != filler
        for role, filler in source.fillers.items()
    )


def _num_different(source: Meaning, donor: Meaning) -> int:
    names = ("template", "determiner", *PROPERTIES)
    return sum(source.value(name) != donor.value(name) for name in names)


def _kind(sentence: _Sentence, role: str) -> str:
    return TEMPLATES[sentence.meaning.template].kinds[role]


def _some(pool: Sequence[_Sentence], rng: random.Random) -> list[_Sentence]:
    """Returns a few sentences of a pool in random order."""
    return rng.sample(pool, min(MAX_TRIES, len(pool)))
