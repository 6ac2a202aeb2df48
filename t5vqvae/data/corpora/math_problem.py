"""An expression to reconstruct or to derive: a tree that is printed anew after its letters were renamed."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from t5vqvae.data.corpora import expressions
from t5vqvae.data.corpora.corpus import Example
from t5vqvae.data.corpora.expressions import Operation, Tree
from t5vqvae.data.corpora.math_parser import parse, parse_question, tree_of

SHARE = 0.05
"""Share of all strings in the test split, and in the validation split."""


@dataclass(frozen=True)
class Problem:
    """An expression to reconstruct or, with an operation and a letter, to derive."""

    tree: Tree
    operation: Operation | None = None
    letter: str = ""

    @classmethod
    def of(cls, source: str) -> Problem | None:
        """Returns the problem that is printed as a source; None if there is none, as of an equation."""
        if (node := parse(source)) is not None:
            return cls(tree_of(node))
        question = parse_question(source)
        return None if question is None else cls(tree_of(question[2]), question[0], question[1])

    @property
    def names(self) -> list[str]:
        """The names in the expression, sorted."""
        return expressions.names_of(self.tree)

    def example(self) -> Example | None:
        """Returns the printed problem and its answer; None without an elementary answer."""
        if self.operation is None:
            return Example(expressions.print_expression(self.tree))
        printed = expressions.print_task(self.tree, self.operation, self.letter)
        return None if printed is None else Example(*printed)

    def renamed(self, names: Mapping[str, str]) -> Problem:
        """Returns the problem with other names; those without a new one stay."""
        new = {name: names.get(name, name) for name in self.names}
        return Problem(expressions.rename(self.tree, new), self.operation, new.get(self.letter, ""))

    def in_greek(self, rng: random.Random) -> Problem:
        """Returns the problem with Greek letters."""
        return self.renamed(expressions.in_greek(self.tree, rng))


def split_of(source: str, seed: int) -> str:
    """Returns the split of a source string; it does not depend on what else is generated."""
    number = int.from_bytes(hashlib.blake2b(f"{seed} {source}".encode(), digest_size=8).digest(), "big") / 2**64
    return "test" if number < SHARE else "validation" if number < 2 * SHARE else "train"


def draw(
    task: str,
    rng: random.Random,
    num_further: range,
    held_out: Collection[str],
    operations: tuple[Operation, ...] = get_args(Operation),
) -> Iterator[tuple[Problem, Example]]:
    """Yields random problems without end, as drawn and as printed, without the held-out expressions."""
    while True:
        tree = expressions.draw(rng, rng.choice(num_further))
        letters = expressions.letters_of(tree)
        if letters and expressions.print_expression(tree) not in held_out:
            problem = pose(task, tree, letters, rng, operations)
            example = problem.example()
            if example is not None:
                yield problem, example


def pose(
    task: str,
    tree: Tree,
    letters: list[str],
    rng: random.Random,
    operations: tuple[Operation, ...] = get_args(Operation),
) -> Problem:
    """Returns the problem of a tree: its reconstruction, or a random operation of calculus by a random letter."""
    if task == "reconstruct":
        return Problem(tree)
    return Problem(tree, rng.choice(operations), rng.choice(letters))


def related(examples: Sequence[Example], relations: Sequence[str] = ("=",)) -> list[Example]:
    """Returns every example in relation to the next one, source to source and target to target."""
    pairs = zip(examples, [*examples[1:], *examples[:1]], strict=True)
    return [
        Example(f"{a.source} {sign} {b.source}", None if a.target is None else f"{a.target} {sign} {b.target}")
        for (a, b), sign in zip(pairs, (relations[n % len(relations)] for n in range(len(examples))), strict=True)
    ]
