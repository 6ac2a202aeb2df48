r"""Reads what the printer of `expressions` prints, and nothing else.

The reader follows the printer's LaTeX: `\cos{(x )}`, `\sin^{n}{(x )}`, `e^{x}`, `\frac{a}{b}`, `a b`, `- a + b`. What
it reads is checked by printing it: a text is valid if its tree prints as that text. So `b + a` is refused, because
SymPy prints `a + b`.

Decoders write anything, so texts whose numbers alone would keep SymPy busy are refused before it reads them: such as
`9^{9^{9}}`, which the printer never prints.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from t5vqvae.data.corpora import expressions
from t5vqvae.data.corpora.edits import Span
from t5vqvae.data.corpora.expressions import ELEMENTARY, GREEK, LETTERS, SLOTS, Operation, Tree

MAX_DEPTH = 40
"""Brackets within brackets after which a text is refused: Python's stack is short."""
MAX_EXPONENT = 20
"""Largest integer exponent that is read; it bounds the size of numbers, and the generator stays below it."""

_WORD = re.compile(r"\\[a-z]+|-?[0-9]{1,3}(?![0-9])|[A-Za-z(]")
_QUESTION = re.compile(r"\\frac\{(d|\\partial)\}\{\1 (?P<letter>\\?[A-Za-z]+)\} ")
_VARIABLE = re.compile(r"\\, d(?P<letter>\\?[A-Za-z]+)$")


@dataclass(frozen=True)
class Node:
    """A part of a text that was read.

    Attributes:
        head: A letter, an integer, or an operation: add, multiply, divide, power, negate, exp, cos, sin, tan, log.
        parts: What the operation is applied to; none for letters and integers.
        words: Its own words as characters of the text: the letter, the number, the function's name, or, of a sum, the
            sign of every term but the first.
    """

    head: str | int
    parts: tuple[Node, ...] = ()
    words: tuple[Span, ...] = ()

    @property
    def letters(self) -> set[str]:
        """The letters of the part."""
        return {node.head for node in self.nodes() if isinstance(node.head, str) and not node.parts}

    def nodes(self) -> Iterator[Node]:
        """Yields the node and all below it, in the order of the text but for exponents of functions."""
        yield self
        for part in self.parts:
            yield from part.nodes()


class _RefusedError(Exception):
    """The printer does not print this."""


def parse(text: str) -> Node | None:
    """Returns the expression that prints as the text; None where none does."""
    node = read(text)
    return node if node is not None and expressions.print_expression(tree_of(node)) == text else None


def parse_question(text: str) -> tuple[Operation, str, Node] | None:
    """Returns the operation, the letter and the expression of a task that prints as the text; None where none does."""
    if found := _QUESTION.match(text):
        operation: Operation = "diff"
        inner = text[found.end() :]
    elif text.startswith(r"\int ") and (found := _VARIABLE.search(text)):
        operation, inner = "integrate", text[len(r"\int ") : found.start()]
    else:
        return None
    letter, node = found["letter"].removeprefix("\\"), read(inner)
    if node is None or letter not in node.letters:
        return None
    printed = expressions.print_question(tree_of(node), operation, letter)
    return (operation, letter, node) if printed == text else None


def tree_of(node: Node) -> Tree:
    """Returns the node as a tree to evaluate and print; a product is one operation on all of its factors."""
    # SymPy evaluates 2 (a + b) to 2 a + 2 b, but leaves 2 (a + b) / c alone: so factors must not be grouped.
    if node.head in ("multiply", "divide", "negate"):
        return ("multiply", *_factors(node))
    return (node.head, *map(tree_of, node.parts)) if node.parts else node.head


def _factors(node: Node) -> list[Tree]:
    if node.head == "negate":
        return [-1, *_factors(node.parts[0])]
    if node.head == "divide":
        above, below = node.parts
        return [*_factors(above), *(("power", factor, -1) for factor in _factors(below))]
    if node.head == "multiply":
        return [factor for part in node.parts for factor in _factors(part)]
    return [tree_of(node)]


def read(text: str) -> Node | None:
    """Returns the text as a tree, if it has the printer's form; it may still print in another order."""
    try:
        reader = _Reader(text)
        node = reader.sum()
        letters = node.letters
    except _RefusedError:
        return None
    one_alphabet = letters <= set(LETTERS) or letters <= set(GREEK)
    return node if reader.at == len(text) and one_alphabet and len(letters) <= len(SLOTS) else None


class _Reader:
    """Reads a text from left to right; `at` is the next character."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.depth = text, 0, 0

    def sum(self) -> Node:
        """Reads terms with signs between them."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _RefusedError
        parts, signs = [self._signed("- ")], []
        while self.text.startswith((" + ", " - "), self.at):
            self.at += 1
            signs.append((self.at, self.at + 1))
            if self._take("+ "):
                parts.append(self._product())
            else:
                parts.append(self._signed("- "))
        self.depth -= 1
        return _sum_of(parts, signs) if signs else parts[0]

    def _signed(self, sign: str) -> Node:
        return Node("negate", (self._product(),)) if self._take(sign) else self._product()

    def _product(self) -> Node:
        factors = [self._factor()]
        while self.text.startswith(" ", self.at) and self.text[self.at + 1 : self.at + 2] not in ("", "+", "-", ")"):
            self.at += 1
            factors.append(self._factor())
        return _operation("multiply", *factors) if len(factors) > 1 else factors[0]

    def _factor(self) -> Node:
        base = self._atom()
        return _power(base, self._sum_until("}")) if self._take("^{") else base

    def _atom(self) -> Node:
        found = _WORD.match(self.text, self.at)
        if found is None:
            raise _RefusedError
        word, self.at = found[0], found.end()
        name = word.removeprefix("\\")
        if word == "(":
            return self._sum_until(")")
        if word == "e":
            self._expect("^{")
            return _operation("exp", self._sum_until("}"), words=found.span())
        if word == r"\frac":
            return self._fraction()
        if word[0] == "\\" and name in ELEMENTARY - {"exp"}:
            return self._function(name, found.span())
        if word in LETTERS or (word[0] == "\\" and name in GREEK):
            return Node(name, words=(found.span(),))
        if word[-1].isdecimal():
            return Node(int(word), words=(found.span(),))
        raise _RefusedError

    def _function(self, name: str, span: Span) -> Node:
        exponent = self._sum_until("}") if self._take("^{") else None
        self._expect("{(")
        node = _operation(name, self._sum_until(" )}"), words=span)
        return node if exponent is None else _power(node, exponent)

    def _fraction(self) -> Node:
        self._expect("{")
        above = self._sum_until("}")
        self._expect("{")
        return Node("divide", (above, self._sum_until("}")))

    def _sum_until(self, end: str) -> Node:
        node = self.sum()
        self._expect(end)
        return node

    def _take(self, words: str) -> bool:
        found = self.text.startswith(words, self.at)
        self.at += len(words) if found else 0
        return found

    def _expect(self, words: str) -> None:
        if not self._take(words):
            raise _RefusedError


def _operation(head: str, *parts: Node, words: Span | None = None) -> Node:
    """Returns an operation; one on numbers alone is refused, because SymPy prints its result instead."""
    node = Node(head, parts, () if words is None else (words,))
    if not node.letters:
        raise _RefusedError
    return node


def _power(base: Node, exponent: Node) -> Node:
    """Returns a power; SymPy never leaves an integer exponent at a product, a power or a number."""
    node = _operation("power", base, exponent)
    if isinstance(exponent.head, int) and (
        abs(exponent.head) > MAX_EXPONENT
        or base.head in ("multiply", "divide", "negate", "power", "exp")
        or isinstance(base.head, int)
        or sum(each.head == "power" and isinstance(each.parts[1].head, int) for each in base.nodes()) > 1
    ):
        raise _RefusedError
    return node


def _sum_of(parts: list[Node], signs: list[Span]) -> Node:
    """Returns a sum; SymPy adds up terms that differ in a number alone, so a sum that has some is refused."""
    bare = [_without_numbers(part) for part in parts]
    if len(set(bare)) < len(bare):
        raise _RefusedError
    return Node("add", tuple(parts), tuple(signs))


def _without_numbers(term: Node) -> tuple[str, ...]:
    return tuple(sorted(repr(factor) for factor in _factors(term) if factor != -1 and not isinstance(factor, int)))
