"""The corpus `math`: generated expressions to reconstruct or to derive, and four out-of-distribution test sets.

VAR replaces the letters by Greek ones. EASY has one operation, of a kind that is held out from training. EQ is
`expression = expression`. LEN is drawn with more operations than training; a few of its expressions cancel to fewer
when they are printed.

In the training, validation and test splits, a string's split depends only on the string and the seed. So the validation
and test splits do not change with `size`, and no string of theirs is trained on with another size. LEN leaves out the
strings of these splits, so it depends on `size`: another size may train on a few of its strings. So do the harder tests
LEN3 to LEN6.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar, Literal

from t5vqvae.config import setting
from t5vqvae.data.corpora import expressions
from t5vqvae.data.corpora.base import CorpusConfig
from t5vqvae.data.corpora.corpus import Corpus, Example, spaced
from t5vqvae.data.corpora.edits import Edit, Span
from t5vqvae.data.corpora.expressions import Tree
from t5vqvae.data.corpora.kept_corpus import load_kept
from t5vqvae.data.corpora.math_edits import draw_edits
from t5vqvae.data.corpora.math_factors import factors, operator_of, parts_of, pieces
from t5vqvae.data.corpora.math_meaning import judge, same_meaning
from t5vqvae.data.corpora.math_ood import HARDER_NAMES, RESERVED, Asked, gate_ood, harder_tests, twins
from t5vqvae.data.corpora.math_parser import parse, parse_question
from t5vqvae.data.corpora.math_problem import Problem, draw, pose, related, split_of
from t5vqvae.errors import DataError
from t5vqvae.files import digest

GENERATOR_VERSION = 1
"""Raise it with every change of what is generated: cached corpora of the old version are then ignored."""
MAX_IDLE_DRAWS = 20_000
"""Draws in a row without a usable expression after which the generator counts as exhausted."""

Kind = Literal["cos", "sin", "exp", "log", "add", "subtract", "multiply", "power", "divide"]


class MathCorpus(CorpusConfig):
    """Generated mathematical expressions."""

    default_tokenizer: ClassVar[Literal["latex", "unigram"]] = "latex"
    harder_names: ClassVar[tuple[str, ...]] = HARDER_NAMES
    has_twins: ClassVar[bool] = True
    reserved: ClassVar[str] = RESERVED
    draws_gate: ClassVar[bool] = True

    name: Literal["math"] = "math"
    size: int = setting(20_000, ge=1, description="training expressions")
    validation_size: int = setting(1_000, ge=1)
    test_size: int = setting(1_000, ge=2, description="test expressions, and the largest size of each extra test set")
    task: Literal["reconstruct", "derive"] = setting(
        "reconstruct", description="derive: from 'differentiate (or integrate) this by x' to the result"
    )
    num_further: int = setting(1, ge=0, le=4, description="largest number of operations after the first, in training")
    easy_kind: Kind = setting("divide", description="the first operation that is held out from training, for EASY")
    seed: int = setting(0, ge=0)

    def load(self, cache_dir: Path) -> Corpus:
        key = digest(self.as_dict(), self.stamp(cache_dir))
        return load_kept(cache_dir / "corpora" / f"math-{key[:16]}.jsonl", lambda: _generate(self))

    def gate(self, cache_dir: Path) -> Mapping[str, Sequence[Example]]:
        return _gate(self, {example.source for found in self.load(cache_dir).splits.values() for example in found})

    def gate_ood(self, corpus: Corpus, drawn: Mapping[str, Sequence[Example]], size: int) -> dict[str, list[Example]]:
        return gate_ood(self._asked, corpus, expressions.all_starts(self.easy_kind), drawn, size)

    def stamp(self, cache_dir: Path) -> object:
        return [GENERATOR_VERSION, version("sympy")]

    def edits(self, cache_dir: Path, split: Literal["validation", "test"], per_factor: int, seed: int) -> list[Edit]:
        self.require_edits()
        texts, elsewhere = self.split_and_others(cache_dir, split)
        return draw_edits(texts, elsewhere, per_factor, random.Random(f"{seed} edits {split}")).edits

    def moved_edits(
        self, cache_dir: Path, split: Literal["validation", "test"], per_factor: int, seed: int
    ) -> list[Edit]:
        if not self.has_edits:
            return []
        texts, elsewhere = self.split_and_others(cache_dir, split)
        return draw_edits(texts, elsewhere, per_factor, random.Random(f"{seed} moved {split}"), moved=True).edits

    def same_meaning(self, answer: str, decoded: str) -> Literal["right", "wrong", "undecided"]:
        return same_meaning(answer, decoded)

    def twins(self, corpus: Corpus, size: int) -> dict[str, list[Example]]:
        return twins(self._asked, corpus, expressions.all_starts(self.easy_kind), size)

    def harder_tests(self, corpus: Corpus, size: int) -> dict[str, list[Example]]:
        return harder_tests(self._asked, corpus, expressions.all_starts(self.easy_kind), size)

    @property
    def _asked(self) -> Asked:
        return Asked(self.task, self.num_further, self.seed)

    @property
    def has_meaning(self) -> bool:
        return True

    def judge(self, source: str, answer: str) -> Literal["right", "wrong", "undecided"]:
        return judge(source, answer)

    def operator_of(self, token: str) -> str | None:
        return operator_of(token)

    @property
    def has_names(self) -> bool:
        return True

    def renamed(self, example: Example, names: Callable[[Sequence[str]], Mapping[str, str]]) -> Example | None:
        problem = Problem.of(example.source)
        return None if problem is None else problem.renamed(names(problem.names)).example()

    @property
    def has_edits(self) -> bool:
        return self.task == "reconstruct"

    def require_edits(self) -> None:
        if not self.has_edits:
            raise DataError(
                f"data.corpus.task={self.task} has no edits with known answers, which evaluate.control counts; take"
                " data.corpus.task=reconstruct"
            )

    def is_valid(self, text: str) -> bool:
        """Returns whether the corpus's printer could have printed a text, or two with ` = ` between them.

        The number of operations is not compared with `num_further`.
        """
        return self.factors_of(text) is not None

    def word_spans(self, text: str) -> list[Span]:
        """Returns the commands and characters of a text: what stands between spaces may be half an expression."""
        return pieces(text)

    def parts_of(self, text: str) -> dict[str, Span] | None:
        node = parse(text) if self.has_edits else None
        return None if node is None else parts_of(node)

    def factors_of(self, text: str) -> dict[str, str] | None:
        """Returns the value of every factor of a text, "none" where it lacks one; None if `is_valid` refuses it.

        The factors of an equation are those of its left side.
        """
        left, *right = (self._factors_of_side(side) for side in spaced(text).split(" = "))
        if left is None or None in right or len(right) > 1:
            return None
        return {**left, "equation": "yes" if right else "none"}

    def _factors_of_side(self, text: str) -> dict[str, str] | None:
        node = parse(text)
        if self.task == "reconstruct":
            # The generator drops what simplifies to a letter or a number.
            return factors(node) if node is not None and node.parts and node.letters else None
        if node is not None:
            return {**factors(node), "task": "none", "by": "none"}
        question = parse_question(text)
        return None if question is None else {**factors(question[2]), "task": question[0], "by": question[1]}


_Found = dict[str, tuple[Problem, Example]]


def _generate(config: MathCorpus) -> Corpus:
    easy_trees = expressions.all_starts(config.easy_kind)
    held_out = frozenset(map(expressions.print_expression, easy_trees))
    main = _main_splits(config, held_out)
    tested = main["test"]
    greek = random.Random(f"{config.seed} VAR")
    extra = {
        "VAR": _different(problem.in_greek(greek).example() for problem, _ in tested.values()),
        "EASY": _easy(config, easy_trees),
        "EQ": _different(related([example for _, example in tested.values()])),
        "LEN": _longer(config, held_out, {source for found in main.values() for source in found}),
    }
    train, validation, test = ([example for _, example in found.values()] for found in main.values())
    return Corpus(
        train, validation, test, extra, source=f"generated with SymPy {version('sympy')}", licence="Apache-2.0"
    )


def _main_splits(config: MathCorpus, held_out: Collection[str]) -> dict[str, _Found]:
    """Draws train, validation and test until each has its size.

    Raises:
        DataError: If the generator has too few different expressions.
    """
    wanted = {"train": config.size, "validation": config.validation_size, "test": config.test_size}
    found: dict[str, _Found] = {split: {} for split in wanted}
    idle = 0
    for problem, example in draw(
        config.task, random.Random(f"{config.seed} main"), range(config.num_further + 1), held_out
    ):
        split = split_of(example.source, config.seed)
        full = len(found[split]) >= wanted[split]
        idle = idle + 1 if full or example.source in found[split] else 0
        if idle == 0:
            found[split][example.source] = problem, example
        if all(len(found[split]) >= wanted[split] for split in wanted):
            break
        if idle > MAX_IDLE_DRAWS:
            counts = ", ".join(f"{len(found[split])} of {wanted[split]} {split}" for split in wanted)
            raise DataError(
                f"data.corpus.size={config.size} is more than the generator has ({counts}); lower the sizes or raise"
                " data.corpus.num_further"
            )
    return found


def _gate(config: MathCorpus, taken: Collection[str]) -> dict[str, list[Example]]:
    """Draws the split `gate` and its Greek form `VAR` as the test split is drawn, from another stream.

    Only strings of the test split's share count, so that no model of another `size` was trained on one.
    """
    held_out = frozenset(map(expressions.print_expression, expressions.all_starts(config.easy_kind)))
    found: _Found = {}
    idle = 0
    drawn = draw(config.task, random.Random(f"{config.seed} gate"), range(config.num_further + 1), held_out)
    while len(found) < config.test_size and idle <= MAX_IDLE_DRAWS:
        problem, example = next(drawn)
        known = example.source in taken or example.source in found
        fresh = not known and split_of(example.source, config.seed) == "test"
        idle = 0 if fresh else idle + 1
        found |= {example.source: (problem, example)} if fresh else {}
    greek = random.Random(f"{config.seed} gate VAR")
    shifted = _different(problem.in_greek(greek).example() for problem, _ in found.values())
    gate = [example for _, example in found.values()]
    return {"gate": gate, "VAR": [example for example in shifted if example.source not in taken]}


def _easy(config: MathCorpus, trees: list[Tree]) -> list[Example]:
    """Returns EASY: only the first operation, of the kind that is held out from training."""
    rng = random.Random(f"{config.seed} EASY")
    chosen = rng.sample(trees, min(config.test_size, len(trees)))
    return _different(pose(config.task, tree, expressions.letters_of(tree), rng).example() for tree in chosen)


def _longer(config: MathCorpus, held_out: Collection[str], elsewhere: Collection[str]) -> list[Example]:
    """Returns LEN: drawn with one or two operations more than the longest training expressions."""
    # Of the tasks only derivatives are used, because they always exist.
    lengths = range(config.num_further + 1, config.num_further + 3)
    drawn = draw(config.task, random.Random(f"{config.seed} LEN"), lengths, held_out, ("diff",))
    longer: dict[str, Example] = {}
    while len(longer) < config.test_size:
        _, example = next(drawn)
        if example.source not in elsewhere:
            longer[example.source] = example
    return list(longer.values())


def _different(examples: Iterable[Example | None]) -> list[Example]:
    return list({example.source: example for example in examples if example is not None}.values())
