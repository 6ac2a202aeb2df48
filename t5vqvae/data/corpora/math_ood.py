r"""Further sets of `math` that are out of distribution: twins of the test sets to choose by, and harder tests.

A twin has what makes its test set hard, with other strings: VAR other names, EQ other relations, and, in the symbols of
their test sets, EASY other pairs of letters of the held-out operation, LEN other strings of its lengths. A search may
read twins, so no string of a test set is in them. A promotion reads sets that are drawn for it as the test sets are
drawn. Harder tests have no twin, and nothing that chooses reads them:

- LEN3 to LEN6: drawn with three to six operations more than training (LEN: with one or two). A few cancel to fewer
  when they are printed. No string of this `size`'s splits is in them, which another `size` may train on.
- VAR_CYRILLIC and so on: the letters of a script instead of Latin ones.
- REL: two expressions in a relation that neither EQ nor its twin has.
- MIXED: LEN3 with letters of all scripts, in these relations.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from t5vqvae.data.corpora import expressions
from t5vqvae.data.corpora.corpus import Corpus, Example, spaced
from t5vqvae.data.corpora.expressions import GREEK, Tree
from t5vqvae.data.corpora.math_problem import Problem, draw, pose, related, split_of

TWIN_NAMES = ("epsilon", "zeta", "eta", "kappa", "nu", "xi", "sigma", "tau", "chi", "psi")
TWIN_RELATIONS = (r"\sim", r"\approx")
SCRIPTS = {
    "CYRILLIC": "бгджзлпфця",
    "HEBREW": "אבגדהלמקרש",
    "ARABIC": "بجدرسصطعقن",
    "DEVANAGARI": "कगचजतदनपमर",
    "HIRAGANA": "あいうえおかきくけこ",
}
UNSEEN_RELATIONS = (r"\leq", r"\propto", r"\mapsto", r"\equiv", "<", ">", "\u2260", "\u2282", "\u21d2")
FURTHER = range(3, 7)
"""Operations more than training in LEN3 to LEN6."""
HARDER_NAMES = (*(f"LEN{more}" for more in FURTHER), *(f"VAR_{script}" for script in SCRIPTS), "REL", "MIXED")
RESERVED = " ".join(
    [*(f"\\{name} " for name in (*GREEK, *TWIN_NAMES)), "=", *TWIN_RELATIONS, *UNSEEN_RELATIONS, *SCRIPTS.values()]
)
MAX_DRAWS = 200
"""Draws for each sentence that is wanted, after which a set stays smaller."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """What decides the sets of a `math` corpus besides its splits."""

    task: str
    num_further: int
    seed: int

    def rng(self, name: str) -> random.Random:
        """Returns the random numbers of a set."""
        return random.Random(f"{self.seed} {name}")


_MORE = {
    "EASY": "the test set has the others: lower data.corpus.test_size, or take another data.corpus.easy_kind",
    "LEN": "no more of that length were drawn: lower data.ood",
}
"""How a twin becomes larger, where it is not of validation sentences."""


def twins(asked: Asked, corpus: Corpus, easy_trees: Sequence[Tree], size: int) -> dict[str, list[Example]]:
    """Returns the twins of VAR, EASY, EQ and LEN; see `CorpusConfig.twins`."""
    names = asked.rng("twin VAR")
    found: dict[str, Iterable[Example | None]] = {
        "VAR": (_in_names(e, TWIN_NAMES, names) for e in corpus.validation),
        "EASY": _easy(asked, "twin EASY", easy_trees, corpus.extra_tests["EASY"]),
        "EQ": related(corpus.validation, TWIN_RELATIONS),
        "LEN": _longer_of(asked, "twin LEN", easy_trees, "validation"),
    }
    sets = _cut(found, corpus, size)
    for name, rows in sets.items():
        if len(rows) < size:
            without = "" if rows else ", so means such as validation_ood/ and test_ood/ leave it out"
            logger.warning(
                "the twin of %s has %d sentences, and data.ood=%d asks for more%s; %s",
                name, len(rows), size, without, _MORE.get(name, "raise data.corpus.validation_size")
            )  # fmt: skip
    return sets


def gate_ood(
    asked: Asked, corpus: Corpus, easy_trees: Sequence[Tree], drawn: Mapping[str, Sequence[Example]], size: int
) -> dict[str, list[Example]]:
    """Returns EASY, EQ and LEN as the test sets are, with other strings; see `CorpusConfig.gate_ood`."""
    seen = [*corpus.extra_tests["EASY"], *corpus.twins.get("EASY", ())]
    found: dict[str, Iterable[Example | None]] = {
        "EASY": _easy(asked, "gate EASY", easy_trees, seen),
        "EQ": related(drawn["gate"]),
        "LEN": _longer_of(asked, "gate LEN", easy_trees, "test"),
    }
    sets = _cut(found, replace(corpus, extra_tests={**corpus.extra_tests, **drawn}), size)
    for name, rows in sets.items():
        if len(rows) < size:
            logger.warning(
                "%s of the sentences that decide a promotion has %d, and data.ood=%d asks for more: the test set and"
                " its twin have the others; lower data.corpus.test_size or data.ood", name, len(rows), size
            )  # fmt: skip
    return sets


def _easy(asked: Asked, name: str, easy_trees: Sequence[Tree], seen: Sequence[Example]) -> Iterator[Example | None]:
    """Yields sentences about the trees of EASY in random order, without those that a seen sentence is about."""
    rng = asked.rng(name)
    shuffled = rng.sample(list(easy_trees), len(easy_trees))
    for tree in _other_pairs(shuffled, {example.source for example in seen}):
        yield pose(asked.task, tree, expressions.letters_of(tree), rng).example()


def _longer_of(asked: Asked, name: str, easy_trees: Sequence[Tree], split: str) -> Iterator[Example]:
    """Yields sentences of LEN's lengths whose strings belong to a split, so that no other `size` trains on one."""
    return (e for e in _longer(asked, name, range(1, 3), easy_trees) if split_of(e.source, asked.seed) == split)


def _other_pairs(trees: Iterable[Tree], tested: set[str]) -> Iterator[Tree]:
    """Yields the trees that no test sentence is about."""
    for tree in trees:
        printed = expressions.print_expression(tree)
        if not any(printed in source for source in tested):
            yield tree


def harder_tests(asked: Asked, corpus: Corpus, easy_trees: Sequence[Tree], size: int) -> dict[str, list[Example]]:
    """Returns the tests without a twin; see `CorpusConfig.harder_tests`."""
    found: dict[str, Iterable[Example | None]] = {
        f"LEN{more}": _longer(asked, f"LEN{more}", range(more, more + 1), easy_trees) for more in FURTHER
    }
    for script, letters in SCRIPTS.items():
        rng = asked.rng(script)
        found[f"VAR_{script}"] = [_in_names(e, letters, rng) for e in corpus.test]
    found["REL"] = related(corpus.test, UNSEEN_RELATIONS)
    rng, letters = asked.rng("MIXED"), "".join(SCRIPTS.values())
    longer = islice(_longer(asked, "MIXED", range(FURTHER[0], FURTHER[0] + 1), easy_trees), size)
    renamed = [e for e in (_in_names(each, letters, rng) for each in longer) if e is not None]
    found["MIXED"] = related(renamed, UNSEEN_RELATIONS)
    return _cut(found, corpus, size)


def _in_names(example: Example, names: Sequence[str], rng: random.Random) -> Example | None:
    """Returns an example with its letters replaced by different random names."""
    problem = Problem.of(example.source)
    if problem is None:
        return None
    return problem.renamed(dict(zip(problem.names, rng.sample(names, len(problem.names)), strict=True))).example()


def _longer(asked: Asked, name: str, more: range, easy_trees: Sequence[Tree]) -> Iterator[Example]:
    """Yields examples drawn with so many operations more than training.

    Of the tasks only derivatives are asked, which always exist.
    """
    held_out = frozenset(map(expressions.print_expression, easy_trees))
    lengths = range(asked.num_further + more.start, asked.num_further + more.stop)
    return (example for _, example in draw(asked.task, asked.rng(name), lengths, held_out, ("diff",)))


def _cut(found: dict[str, Iterable[Example | None]], corpus: Corpus, size: int) -> dict[str, list[Example]]:
    """Returns up to `size` different examples of each set that are in no split and in no set before."""
    known = {spaced(e.shown) for examples in corpus.splits.values() for e in examples}
    return {name: _new(examples, known, size) for name, examples in found.items()}


def _new(examples: Iterable[Example | None], known: set[str], size: int) -> list[Example]:
    """Returns the first examples that are not known, and adds them to the known ones."""
    kept: list[Example] = []
    for example in islice(examples, MAX_DRAWS * size):
        if example is not None and spaced(example.shown) not in known:
            known.add(spaced(example.shown))
            kept.append(example)
        if len(kept) == size:
            break
    return kept
