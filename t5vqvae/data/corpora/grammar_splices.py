"""Splices of `grammar` version 2 whose result is known: whole phrases move from one sentence to another.

- `substitution`: the phrase of a role (determiner, size, noun, preposition) is replaced by a donor's phrase of the same
  role and kind. The answer is what the generator writes for the phrase's meaning, and has the phrase word by word.
- `specification`: the size of a donor's noun is put in front of a noun that has none.
- `conjunction`: "and" and all that follows a donor's subject is put at the end. The generator writes no such sentence,
  so the answer is the two texts as they are; source and donor have subjects of the same number.

Donors share no filler with the source. A splice is distributed if the answer changes words outside the span, too.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from t5vqvae.data.corpora.edits import Span, Splice
from t5vqvae.data.corpora.grammar_parser import parse
from t5vqvae.data.corpora.grammar_sentences import Meaning, Written, write
from t5vqvae.data.corpora.grammar_templates import TEMPLATES

MAX_TRIES = 40
"""Donors that are looked at for one splice."""


@dataclass(frozen=True)
class _Read:
    meaning: Meaning
    written: Written

    def phrase(self, role: str) -> Span:
        """Returns where all words of a role stand, in characters."""
        places = [place for place, own in enumerate(self.written.roles) if own == role]
        words = self.written.text.split()
        start = len(" ".join(words[: places[0]])) + bool(places[0])
        return start, start + len(" ".join(words[places[0] : places[-1] + 1]))


_Make = Callable[[_Read, _Read, random.Random], Splice | None]


def splices_between(sources: Sequence[str], elsewhere: Collection[str], per_kind: int, seed: int) -> list[Splice]:
    """Returns splices within a split, up to `per_kind` of each kind.

    Args:
        sources: The sentences of the split.
        elsewhere: The sentences of all other splits; no answer is among them.
        per_kind: The largest number of splices of a kind.
        seed: Seed of every choice.
    """
    read = [_Read(meaning, write(meaning)) for text in sources if (meaning := parse(text)) is not None]
    found: list[Splice] = []
    for name, make in (
        ("substitution", _substitution),
        ("specification", _specification),
        ("conjunction", _conjunction),
    ):
        rng = random.Random(f"{seed} {name}")
        made = (splice for splice in _made(read, make, rng) if splice.answer not in elsewhere)
        found += [splice for splice, _ in zip(made, range(per_kind), strict=False)]
    return found


def _made(read: Sequence[_Read], make: _Make, rng: random.Random) -> Iterator[Splice]:
    """Yields at most one splice for every sentence, in random order."""
    for source in rng.sample(read, len(read)):
        donors = (donor for donor in rng.sample(read, min(MAX_TRIES, len(read))) if _differ(source, donor))
        splice = next((splice for donor in donors if (splice := make(source, donor, rng)) is not None), None)
        if splice is not None:
            yield splice


def _differ(source: _Read, donor: _Read) -> bool:
    fillers = donor.meaning.fillers
    return all(fillers.get(role) != filler for role, filler in source.meaning.fillers.items())


def _substitution(source: _Read, donor: _Read, rng: random.Random) -> Splice | None:
    kinds, others = (TEMPLATES[each.meaning.template].kinds for each in (source, donor))
    shared = [role for role, kind in kinds.items() if others.get(role) == kind and not role.startswith(("V", "size"))]
    if not shared:
        return None
    role = rng.choice(shared)
    answer = write(_with_phrase(source.meaning, donor.meaning, role))
    read = replace(source, written=answer)
    span, own = read.phrase(role), donor.phrase(role)
    if answer.text[slice(*span)] != donor.written.text[slice(*own)] or answer.text == source.written.text:
        return None
    return Splice("substitution", source.written.text, donor.written.text, answer.text, source.phrase(role), own)


def _with_phrase(meaning: Meaning, donor: Meaning, role: str) -> Meaning:
    """Returns a meaning with the donor's filler of a role and, of a noun phrase, its size, determiner and number."""
    changed = replace(meaning, fillers={**meaning.fillers, role: donor.fillers[role]})
    pattern = dict(TEMPLATES[meaning.template].active)
    if not pattern[role].startswith("NP"):
        return changed
    fillers = {name: filler for name, filler in changed.fillers.items() if name != "size"}
    size = {"size": donor.fillers["size"]} if "size" in donor.fillers else {}
    return replace(changed, fillers=fillers | size, determiner=donor.determiner, number=donor.number)


def _specification(source: _Read, donor: _Read, rng: random.Random) -> Splice | None:
    if "size" in source.meaning.fillers or "size" not in donor.meaning.fillers:
        return None
    role = next(role for role, phrase in TEMPLATES[source.meaning.template].active if phrase.startswith("NP"))
    size = donor.meaning.fillers["size"]
    answer = write(replace(source.meaning, fillers={**source.meaning.fillers, "size": size}))
    start = source.written.spans[role][0]
    return Splice(
        "specification",
        source.written.text,
        donor.written.text,
        answer.text,
        (start, start),
        donor.written.spans["size"],
    )


def _conjunction(source: _Read, donor: _Read, rng: random.Random) -> Splice | None:
    meanings = (source.meaning, donor.meaning)
    if "passive" in {each.voice for each in meanings} or source.meaning.number != donor.meaning.number:
        return None
    text, end = source.written.text, len(source.written.text)
    start = donor.phrase("V")[0]
    predicate = donor.written.text[start:]
    return Splice(
        "conjunction", text, donor.written.text, f"{text} and {predicate}", (end, end), (start, start + len(predicate))
    )
