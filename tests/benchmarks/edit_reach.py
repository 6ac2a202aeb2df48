"""How far the right answers of edits follow from text alone: the words of `grammar` version 2 whose forms must change.

    python -m tests.benchmarks.edit_reach --output tests/benchmarks/results/edit_reach.md

After some edits a word outside the edited ones takes another of its forms: "when it takes", "when it took". Which past
belongs to which present, the corpus does not say: words of one kind fill the same places with the same chance, so its
sentences stay as likely when the presents of a kind change places (a test swaps presents, bases and plurals). A model
that is trained on the corpus, and whose codes name whole words, therefore meets the right one among the words of the
kind by chance. Parts say it where two forms share some: pieces, or letters.
"""

from __future__ import annotations

import math
import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from t5vqvae.data import prepare
from t5vqvae.data.corpora.edits import Edit, Span
from t5vqvae.data.corpora.grammar_words import KNOWN, WORDS
from t5vqvae.measures.control import Control
from tests.benchmarks.control_rows import Model
from tests.benchmarks.search_tables import described, parser, write

EDITS = 900
ENDINGS = ("", "s", "es", "d", "ed")
KIND_OF = {form: kind for kind, forms in KNOWN.items() for form in forms if len(set(WORDS[kind][forms[form]])) > 1}
"""The kind of every form of a word that has several."""
_FORMS = re.compile(rf"\b({'|'.join(sorted(map(re.escape, KIND_OF), key=len, reverse=True))})\b")
Change = tuple[str, str]
"""A form and the one that it becomes."""
Knows = Callable[[Change], bool]
"""Whether two forms are seen to be of one word."""


def forms_outside(text: str, span: Span = (0, 0)) -> list[str]:
    """Returns the forms in a text that lie outside a span, in their order."""
    return [found[0] for found in _FORMS.finditer(text) if found.end() <= span[0] or found.start() >= span[1]]


def changes(edit: Edit) -> list[Change]:
    """Returns the words outside the edited ones that must take another form, with that form."""
    brought = Counter(forms_outside(edit.donor[slice(*edit.donor_span)]))
    before = Counter(forms_outside(edit.source, edit.source_span))
    after = Counter(forms_outside(edit.answer)) - brought
    left, new = list((before - after).elements()), list((after - before).elements())
    return [(old, form) for form in new for old in left if _word(old) == _word(form)]


def by_ending(change: Change) -> bool:
    """Returns whether two forms are one stem with endings, such as rests and rested."""
    first, second = ({form.removesuffix(ending) for ending in ENDINGS} for form in change)
    return bool(first & second)


def sharing_pieces(tokenizer: Any) -> Knows:
    """Returns a judge of forms: those that begin with one piece of a tokenizer are of one word."""
    return lambda change: len({tokenizer.tokenize(form)[0] for form in change}) == 1


def reach(edit: Edit, knows: Knows = lambda change: False) -> float:
    """Returns the chance of the right answer for a model that knows all that the corpus says.

    Args:
        edit: The edit.
        knows: What else it knows. Without it, forms of whole words are drawn from all of their kind.
    """
    return math.prod(1 / _left_open(change, knows) for change in changes(edit))


def _left_open(change: Change, knows: Knows) -> int:
    """Returns how many words of the kind the new form may belong to: 1 if it is known, else those that are not."""
    if knows(change):
        return 1
    old, new = (next(name for name, each in _forms_of(form).items() if each == form) for form in change)
    others = WORDS[KIND_OF[change[1]]].values()
    return sum(not knows((forms[old], forms[new])) for forms in others)


def _forms_of(form: str) -> Mapping[Any, str]:
    return WORDS[KIND_OF[form]][KNOWN[KIND_OF[form]][form]]


def _word(form: str) -> tuple[str, str]:
    return KIND_OF[form], KNOWN[KIND_OF[form]][form]


def rows_of(edits: Sequence[Edit], known: Mapping[str, Knows]) -> Iterator[str]:
    """Yields a row for every distributed factor, and one for all of them."""
    by_factor: dict[str, list[Edit]] = defaultdict(list)
    for edit in edits:
        if edit.kind == "distributed":
            by_factor[edit.factor].append(edit)
    by_factor["all"] = [edit for some in by_factor.values() for edit in some]
    yield f"| factor | edits | another form is needed | not by an ending | {' | '.join(known)} |"
    yield f"| --- | ---: | ---: | ---: |{' ---: |' * len(known)}"
    for factor, some in by_factor.items():
        needed = [changes(edit) for edit in some]
        other = fmean(bool(each) for each in needed)
        irregular = fmean(any(not by_ending(change) for change in each) for each in needed)
        reached = " | ".join(f"{fmean(reach(edit, knows) for edit in some):.2f}" for knows in known.values())
        yield f"| {factor} | {len(some)} | {other:.2f} | {irregular:.2f} | {reached} |"


def main() -> None:
    """Draws the edits of test sentences and writes what they need."""
    options = parser(__doc__, edits=EDITS).parse_args()
    data = Model("grammar", "0", "ema").spec(0, "cpu").data
    with tempfile.TemporaryDirectory() as cache:
        tokenizer = prepare(data, Path(cache)).tokenizer
        control = Control.of(data.corpus, Path(cache), "test", options.edits, 0, ())
    known: dict[str, Knows] = {
        "whole words": lambda change: False,
        "words and pieces": sharing_pieces(tokenizer),
        "letters": by_ending,
    }
    lines = [
        "# What edits ask for",
        "",
        *described("edit_reach", ("torch",)),
        f"Grammar version 2, {options.edits} edits of test sentences, the distributed ones. Shares of edits: a word",
        "outside the edited ones must take another form; one does whose two forms are not one stem with endings (s,",
        "es, d, ed). Then the chance of the right answer, on average, for a model that knows all that the corpus",
        "says. Its sentences stay as likely when presents or plurals of one kind change places, so it does not say",
        "which forms belong to one word. *Whole words*: the right one is met by chance among those of the kind.",
        "*Words and pieces*: the tokens of the control table, of which forms that begin with the same one count as",
        "known. *Letters*: forms of one stem count as known; the others are drawn from those that are left, though",
        "some share letters (sing, sang). Nothing is said of what decoding and rate allow: a code that is left out",
        "takes along what else it says.",
        "",
        *rows_of(control.edits, known),
    ]
    write("\n".join(lines) + "\n", options.output)


if __name__ == "__main__":
    main()
