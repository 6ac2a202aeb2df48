r"""Edits of generated expressions with known answers.

Factors:

- `variable` (local): a letter that occurs once becomes another one.
- `function` (local): `\cos`, `\sin` or `\log` at one place becomes another of them.
- `sign` (local): the `+` or `-` in front of a term that is not the first becomes the other.
- `repeated_variable` (distributed): a letter that occurs several times. The span holds its first occurrence; in the
  answer all of them are replaced.

Numbers are no factor: few texts have one, and it is nearly always 2. Few texts repeat a letter, too, so many edits of
`repeated_variable` share a source; larger splits and a larger `num_further` have more sources.

What holds of every edit:

- The donor has the wanted value in the same kind of place as the source's span: term, factor, base, exponent, argument,
  numerator, denominator, or the whole expression (a sign has the place of its sum). A letter or function occurs there
  once; a sign may recur.
- Source and donor have no letter, no function (`e^{x}` counts as one) and no number in common. Their operations (sum,
  product, power, fraction) may coincide.
- Answer and contrast *print in place*: the text with the words replaced is what the printer prints. SymPy sorts terms
  and factors, so other edits would move them. They are left out and counted. With `moved`, they alone are drawn: the
  answer is what the printer prints, and a decoded text is to be judged by its meaning.
- Answer and contrast are in the split, or in no split at all.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from t5vqvae.data.corpora.edits import Edit, Kind, Span
from t5vqvae.data.corpora.expressions import print_expression
from t5vqvae.data.corpora.math_factors import FUNCTIONS, placed
from t5vqvae.data.corpora.math_parser import parse, read, tree_of

FACTORS = ("variable", "function", "sign", "repeated_variable")
Reason = Literal["reordered", "not reordered", "in another split", "no donor"]


@dataclass(frozen=True)
class Drawn:
    """Edits, and how many were tried without success.

    Attributes:
        edits: Up to the wanted number of every factor.
        left_out: Number of tried (source, value) without an edit, by factor and reason.
    """

    edits: list[Edit]
    left_out: Mapping[str, Mapping[Reason, int]]


@dataclass(frozen=True)
class _Role:
    """The value of a factor at one place of a text."""

    factor: str
    value: str
    place: str
    words: tuple[Span, ...]
    """What an edit replaces; the first one is the factor's own span."""


@dataclass(frozen=True)
class _Sentence:
    text: str
    roles: tuple[_Role, ...]
    vocabulary: frozenset[str]
    """Its letters, functions and numbers, as they are written."""

    def replaced(self, role: _Role, value: str) -> str:
        """Returns the text with another value in a role, if that prints in place; else an empty string."""
        text = self._with(role, value)
        return "" if parse(text) is None else text

    def moved(self, role: _Role, value: str) -> str:
        """Returns what the printer writes for another value in a role, if that does not print in place; else ""."""
        text = self._with(role, value)
        node = read(text)
        printed = "" if node is None else print_expression(tree_of(node))
        return "" if printed == text or parse(printed) is None else printed

    def _with(self, role: _Role, value: str) -> str:
        text = self.text
        for start, end in reversed(role.words):
            text = text[:start] + value + text[end:]
        return text


_Donors = dict[tuple[str, str], dict[str, list[tuple[_Sentence, _Role]]]]
"""Sentences by what is edited (factor, place) and by the value that they have there."""


def draw_edits(
    texts: Sequence[str], elsewhere: Collection[str], per_factor: int, rng: random.Random, moved: bool = False
) -> Drawn:
    """Draws edits of every factor, first one of each source, then a second one.

    Args:
        texts: The sentences of one split; those that the parser refuses are passed over.
        elsewhere: All sentences of the other splits.
        per_factor: Largest number of edits of each factor.
        rng: Decides everything that is random.
        moved: Draw the edits whose answers do not print in place, instead of those that do.
    """
    sentences = [sentence for text in texts if (sentence := _sentence_of(text)) is not None]
    donors = _donors_of(sentences)
    edits: list[Edit] = []
    left_out: dict[str, Counter[Reason]] = {factor: Counter() for factor in FACTORS}
    for factor in FACTORS:
        sources = [(each, role) for each in sentences for role in each.roles if role.factor == factor]
        rng.shuffle(sources)
        queues = [_edits_of(*source, donors, elsewhere, rng, left_out[factor], moved) for source in sources]
        edits += _take_turns(queues, per_factor)
    return Drawn(edits, left_out)


def _take_turns(queues: list[Iterator[Edit]], number: int) -> list[Edit]:
    taken: list[Edit] = []
    while queues and len(taken) < number:
        waiting, queues = queues, []
        for queue in waiting:
            if len(taken) < number and (edit := next(queue, None)) is not None:
                taken.append(edit)
                queues.append(queue)
    return taken


def _edits_of(
    source: _Sentence,
    role: _Role,
    donors: _Donors,
    elsewhere: Collection[str],
    rng: random.Random,
    left_out: Counter[Reason],
    moved: bool,
) -> Iterator[Edit]:
    """Yields one edit for every value that a role can take, in random order."""
    by_value = donors.get((_donated(role.factor), role.place), {})
    for value in rng.sample(sorted(by_value), len(by_value)):
        if value in source.vocabulary or value == role.value:
            continue
        answer = source.moved(role, value) if moved else source.replaced(role, value)
        if not answer or answer in elsewhere:
            reason: Reason = "not reordered" if moved else "reordered"
            left_out["in another split" if answer else reason] += 1
            continue
        found = _donor_for(source, role, by_value[value], elsewhere, rng)
        if found is None:
            left_out["no donor"] += 1
            continue
        donor, place, contrast = found
        kind: Kind = "local" if len(role.words) == 1 else "distributed"
        yield Edit(source.text, donor, answer, contrast, role.factor, kind, role.words[0], place)


def _donor_for(
    source: _Sentence,
    role: _Role,
    candidates: list[tuple[_Sentence, _Role]],
    elsewhere: Collection[str],
    rng: random.Random,
) -> tuple[str, Span, str] | None:
    """Returns a donor, the wanted value's span in it, and the donor with the source's value instead."""
    for donor, donated in rng.sample(candidates, len(candidates)):
        if donor.vocabulary.isdisjoint(source.vocabulary):
            contrast = donor.replaced(donated, role.value)
            if contrast and contrast not in elsewhere:
                return donor.text, donated.words[0], contrast
    return None


def _donated(factor: str) -> str:
    """Returns the factor of the donors: a letter that the source repeats is taken from where it occurs once."""
    return "variable" if factor == "repeated_variable" else factor


def _donors_of(sentences: Sequence[_Sentence]) -> _Donors:
    donors: _Donors = defaultdict(lambda: defaultdict(list))
    for sentence in sentences:
        often = Counter(role.value for role in sentence.roles if role.factor == "function")
        for role in sentence.roles:
            if often[role.value] < 2:
                donors[role.factor, role.place][role.value].append((sentence, role))
    return donors


def _sentence_of(text: str) -> _Sentence | None:
    node = parse(text)
    if node is None:
        return None
    roles, letters, vocabulary = [], defaultdict(list), set()
    for each, place in placed(node):
        if each.head == "add":
            roles += [_Role("sign", text[start:end], place, ((start, end),)) for start, end in each.words]
            continue
        for span in each.words:
            word = text[slice(*span)]
            vocabulary.add(word)
            if each.head in FUNCTIONS:
                roles.append(_Role("function", word, place, (span,)))
            elif isinstance(each.head, str) and not each.parts:
                letters[word].append((span, place))
    roles += [_letter_role(letter, sorted(found)) for letter, found in letters.items()]
    return _Sentence(text, tuple(roles), frozenset(vocabulary))


def _letter_role(letter: str, found: list[tuple[Span, str]]) -> _Role:
    factor = "variable" if len(found) == 1 else "repeated_variable"
    return _Role(factor, letter, found[0][1], tuple(span for span, _ in found))
