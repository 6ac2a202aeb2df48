"""How far the right answers of edits follow from text alone: the words of `grammar` version 2 whose forms must change.

    python -m tests.benchmarks.edit_reach --output tests/benchmarks/results/edit_reach.md

After some edits a word outside the edited ones takes another of its forms: "when it takes", "when it took". Which past
belongs to which present, the corpus does not say: words of one kind stand in the same places, so that its sentences
keep their probability when the pasts of a kind change places (a test does it). A model that is trained on the corpus,
and whose codes name whole words, therefore meets the right one among the words of the kind by chance. Letters say it
where a form is another one with an ending.
"""

from __future__ import annotations

import math
import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean

from t5vqvae.data.corpora.edits import Edit, Span
from t5vqvae.data.corpora.grammar_words import KNOWN, WORDS
from t5vqvae.measures.control import Control
from t5vqvae.spec.run import RunSpec
from tests.benchmarks.search_tables import described, parser, write

EDITS = 900
ENDINGS = ("s", "es", "d", "ed")
KIND_OF = {form: kind for kind, forms in KNOWN.items() for form in forms if len(set(WORDS[kind][forms[form]])) > 1}
"""The kind of every form of a word that has several."""
_FORMS = re.compile(rf"\b({'|'.join(sorted(map(re.escape, KIND_OF), key=len, reverse=True))})\b")
Change = tuple[str, str]
"""A form and the one that it becomes."""


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
    """Returns whether one of the two forms is the other one with an ending."""
    short, long = sorted(change, key=len)
    return long in [short + ending for ending in ENDINGS]


def reach(edit: Edit, spelt: bool) -> float:
    """Returns the chance of the right answer for a model that knows all that the corpus says.

    Args:
        edit: The edit.
        spelt: Whether forms that differ by an ending are known to be of one word.
    """
    needed = [change for change in changes(edit) if not (spelt and by_ending(change))]
    return math.prod(1 / len(WORDS[KIND_OF[form]]) for _, form in needed)


def _word(form: str) -> tuple[str, str]:
    return KIND_OF[form], KNOWN[KIND_OF[form]][form]


def rows_of(edits: Sequence[Edit]) -> Iterator[str]:
    """Yields a row for every distributed factor, and one for all of them."""
    by_factor: dict[str, list[Edit]] = defaultdict(list)
    for edit in edits:
        if edit.kind == "distributed":
            by_factor[edit.factor].append(edit)
    by_factor["all"] = [edit for some in by_factor.values() for edit in some]
    yield "| factor | edits | another form is needed | not by an ending | reach of whole words | reach of letters |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for factor, some in by_factor.items():
        needed = [changes(edit) for edit in some]
        other = fmean(bool(each) for each in needed)
        irregular = fmean(any(not by_ending(change) for change in each) for each in needed)
        reached = [fmean(reach(edit, spelt) for edit in some) for spelt in (False, True)]
        yield f"| {factor} | {len(some)} | {other:.2f} | {irregular:.2f} | {reached[0]:.2f} | {reached[1]:.2f} |"


def main() -> None:
    """Draws the edits of test sentences and writes what they need."""
    options = parser(__doc__, edits=EDITS).parse_args()
    base = {"data.corpus.name": "grammar", "data.corpus.version": 2, "data.corpus.size": 20_000}
    with tempfile.TemporaryDirectory() as cache:
        corpus = RunSpec().with_overrides(base).data.corpus
        control = Control.of(corpus, Path(cache), "test", options.edits, 0, ())
    lines = [
        "# What edits ask for",
        "",
        *described("edit_reach", ("torch",)),
        f"Grammar version 2, {options.edits} edits of test sentences, the distributed ones. A word outside the edited",
        "ones must take another form: of all edits, and of those whose two forms differ by more than an ending (s, es,",
        "d, ed). Reach: the chance of the right answer for a model that knows all that the corpus says. Its sentences",
        "are as likely when forms of one kind change places, so it does not say which of them belong to one word:",
        "codes of whole words meet the right one by chance. Letters give those with an ending; the others are counted",
        "as chance, too, though some share their letters (sing, sang).",
        "",
        *rows_of(control.edits),
    ]
    write("\n".join(lines) + "\n", options.output)


if __name__ == "__main__":
    main()
