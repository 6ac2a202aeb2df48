"""Judges an answer of `math` by its meaning: right, wrong or undecided.

An answer is read by the strict parser, so a text that the printer could not print is wrong: a remainder that was not
read, or a derivative or integral that is only written down. A derivative is compared with the derivative of what was
asked; the *derivative* of an integral is compared with what was asked, so any constant is right. The two sides of an
equation are judged one by one.

Two expressions are equal here if they agree at random points, to the accuracy of floats. That is no proof, but two
different expressions of this corpus do not agree at a dozen points by chance. Where they agree at some points only, or
can be evaluated at too few, the answer is undecided: near cancellation or overflow, floats decide nothing.
"""

from __future__ import annotations

import cmath
import random
import re
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Literal

from t5vqvae.data.corpora import expressions
from t5vqvae.data.corpora.expressions import Tree
from t5vqvae.data.corpora.math_ood import TWIN_RELATIONS, UNSEEN_RELATIONS
from t5vqvae.data.corpora.math_parser import parse, read, tree_of
from t5vqvae.data.corpora.math_problem import Problem

Verdict = Literal["right", "wrong", "undecided"]
POINTS, NEEDED = 12, 4
"""Points that are tried, and points at which both sides must have a value."""
TOLERANCE = 1e-6
"""Relative difference that floats may have."""
SECONDS = 2.0
"""Processor time after which an answer counts as wrong; the parser already refuses what would keep SymPy busy."""
_UNDEFINED = (ZeroDivisionError, OverflowError, ValueError)
Value = Callable[[Mapping[str, complex]], complex]


_RELATION = re.compile(" (" + "|".join(map(re.escape, ["=", *TWIN_RELATIONS, *UNSEEN_RELATIONS])) + ") ")


def judge(source: str, answer: str) -> Verdict:
    """Returns whether an answer means what a source asks for.

    Args:
        source: An expression to reconstruct, a question, or two of either in a relation. One whose names are neither
            Latin nor VAR's Greek ones cannot be read, so its answers are undecided.
        answer: The decoded text.
    """
    import sympy  # noqa: F401  # before the clock starts: the first import takes seconds

    started = time.thread_time()  # no other process's load makes an answer wrong
    asked, given = _RELATION.split(source), _RELATION.split(answer)
    if asked[1::2] != given[1::2]:
        return "wrong"
    verdicts = [_judge_side(one, other, started) for one, other in zip(asked[::2], given[::2], strict=True)]
    return next((verdict for verdict in ("wrong", "undecided") if verdict in verdicts), "right")  # type: ignore[return-value]


def same_meaning(answer: str, decoded: str) -> Verdict:
    """Returns whether a decoded text means what an answer does, in whatever order it has its terms and factors."""
    started = time.thread_time()
    one, other = read(answer), read(decoded)
    if one is None or other is None:
        return "wrong"
    return _compare(_value_of(tree_of(one)), _value_of(tree_of(other)), sorted(one.letters), started)


def _judge_side(source: str, answer: str, started: float) -> Verdict:
    problem, node = Problem.of(source), parse(answer)
    if node is None:
        return "wrong"
    if problem is None:
        return "undecided"
    found = tree_of(node)
    if problem.operation == "diff":
        return _compare(_derivative(problem.tree, problem.letter), _value_of(found), problem.names, started)
    if problem.operation == "integrate":
        return _compare(_value_of(problem.tree), _derivative(found, problem.letter), problem.names, started)
    return _compare(_value_of(problem.tree), _value_of(found), problem.names, started)


def _compare(wanted: Value, found: Value, names: list[str], started: float) -> Verdict:
    """Returns whether two values agree at random points, seeded so that the verdict is always the same."""
    rng, agreed = random.Random(0), []
    for _ in range(POINTS):
        point = {name: complex(rng.uniform(0.4, 2.1)) for name in names}
        try:
            agreed.append(_is_close(wanted(point), found(point)))
        except KeyError:
            return "wrong"  # it has a letter that the question lacks
        except _UNDEFINED:
            continue
        if time.thread_time() - started > SECONDS:
            return "wrong"
    if len(agreed) < NEEDED or (any(agreed) and not all(agreed)):
        return "undecided"
    return "right" if all(agreed) else "wrong"


def _is_close(one: complex, other: complex) -> bool:
    if not (cmath.isfinite(one) and cmath.isfinite(other)):
        raise OverflowError
    return abs(one - other) <= TOLERANCE * max(1.0, abs(one), abs(other))


def _value_of(tree: Tree) -> Value:
    """Returns a function from a point to the tree's value."""
    return lambda point: _value(tree, point)


def _value(tree: Tree, point: Mapping[str, complex]) -> complex:
    if isinstance(tree, int):
        return complex(tree)
    if isinstance(tree, str):
        return point[tree]
    parts = [_value(part, point) for part in tree[1:]]
    return _OPERATIONS[tree[0]](*parts)


def _sum(*parts: complex) -> complex:
    return sum(parts, 0j)


def _product(*parts: complex) -> complex:
    result = 1 + 0j
    for part in parts:
        result *= part
    return result


_OPERATIONS: Mapping[str, Callable[..., complex]] = {
    "add": _sum,
    "subtract": lambda a, b: a - b,
    "multiply": _product,
    "divide": lambda a, b: a / b,
    "power": lambda a, b: a**b,
    "cos": cmath.cos,
    "sin": cmath.sin,
    "tan": cmath.tan,
    "exp": cmath.exp,
    "log": cmath.log,
}


_FUNCTIONS = {name: getattr(cmath, name) for name in ("cos", "sin", "tan", "exp", "log")}
"""What SymPy's functions are evaluated as."""


@cache
def _derivative(tree: Tree, letter: str) -> Value:
    """Returns a function from a point to the value of the tree's derivative by a letter."""
    import sympy

    result = sympy.diff(expressions.evaluate(tree), sympy.Symbol(letter))
    names = sorted(str(symbol) for symbol in result.free_symbols)
    function: Any = sympy.lambdify([sympy.Symbol(name) for name in names], result, modules=[_FUNCTIONS])
    return lambda point: complex(function(*(point[name] for name in names)))
