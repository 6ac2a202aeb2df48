"""What a mathematical text is made of: its parts by the place where they stand, and factors of the whole."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from t5vqvae.data.corpora.edits import Span
from t5vqvae.data.corpora.math_parser import Node

PLACES = ("term", "factor", "numerator", "denominator", "base", "exponent", "argument", "whole")
"""Where a part may stand: in the operation around it, or alone."""
FUNCTIONS = ("cos", "sin", "log")
"""Any of them may stand where another does."""
NAMED = ("cos", "sin", "tan", "log", "exp")
_PIECE = re.compile(r"\\[A-Za-z]+|\S")
_OPERATORS = {"+", "-", "^", "=", "e", r"\frac", r"\sqrt", r"\int", r"\partial", *(rf"\{name}" for name in NAMED)}
"""Tokens that are operators: `e` is no letter of the generator, so it is the base of exp."""
_PARTS = {
    "add": ("term",),
    "multiply": ("factor",),
    "divide": ("numerator", "denominator"),
    "power": ("base", "exponent"),
    "exp": ("exponent",),
}
"""Places of an operation's parts; the last one is that of all further parts. Other functions have arguments."""


def pieces(text: str) -> list[Span]:
    """Returns start and end of every command and of every other character of a text that is no space."""
    return [found.span() for found in _PIECE.finditer(text)]


def operator_of(token: str) -> str:
    """Returns the operator that a token is, or "none": letters, digits and brackets are none."""
    return token if token in _OPERATORS else "none"


def placed(node: Node, place: str = "whole") -> Iterator[tuple[Node, str]]:
    """Yields a node and all below it with their places; a minus sign keeps the place of what it stands before."""
    yield node, place
    places = (place,) if node.head == "negate" else _PARTS.get(str(node.head), ("argument",))
    for number, part in enumerate(node.parts):
        yield from placed(part, places[min(number, len(places) - 1)])


def factors(node: Node) -> dict[str, str]:
    """Returns the value of every factor of an expression, "none" where it lacks one.

    `operation` is the outermost one, `operand` the outermost one of its first part that is no letter. The letter of a
    place is the first one in the text that stands there.
    """
    outer = _without_minus(node)
    inner = [_without_minus(part).head for part in outer.parts if _without_minus(part).parts]
    functions = sorted({str(each.head) for each in node.nodes() if each.parts and each.head in NAMED})
    terms = len(outer.parts) if outer.head == "add" else 1
    return {
        "operation": _kind(outer),
        "operand": str(inner[0]) if inner else "none",
        "functions": " ".join(functions) or "none",
        "terms": str(terms),
        "letters": str(len(node.letters)),
        "minus": "first" if _starts_with_minus(node) else "none",
        **{f"letter of {place}": "none" for place in PLACES},
        **_letters_by_place(node),
    }


def parts_of(node: Node) -> dict[str, Span]:
    """Returns letters, functions of one argument, and the signs between terms, numbered in the order of the text."""
    kinds = [(each, _part_kind(each)) for each in node.nodes()]
    counts: Counter[str] = Counter()
    parts = {}
    for span, kind in sorted((span, kind) for each, kind in kinds if kind is not None for span in each.words):
        counts[kind] += 1
        parts[f"{kind} {counts[kind]}"] = span
    return parts


def _part_kind(node: Node) -> str | None:
    if node.head == "add":
        return "sign"
    if not node.parts:
        return "letter" if isinstance(node.head, str) else None
    return "function" if node.head in FUNCTIONS else None


def _letters_by_place(node: Node) -> dict[str, str]:
    leaves = [(each, place) for each, place in placed(node) if isinstance(each.head, str) and not each.parts]
    leaves.sort(key=lambda leaf: leaf[0].words, reverse=True)
    return {f"letter of {place}": str(each.head) for each, place in leaves}


def _without_minus(node: Node) -> Node:
    return node.parts[0] if node.head == "negate" else node


def _starts_with_minus(node: Node) -> bool:
    return node.head == "negate" or (node.head == "add" and node.parts[0].head == "negate")


def _kind(node: Node) -> str:
    if node.parts:
        return str(node.head)
    return "number" if isinstance(node.head, int) else "letter"
