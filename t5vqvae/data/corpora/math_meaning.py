r"""Judges an answer of `math` by its meaning: right, wrong or undecided.

An answer is read by the strict parser, so a text that the printer could not print is wrong: a remainder that was not
read, or a derivative or integral that is only written down. A derivative is compared with the derivative of what was
asked; the *derivative* of an integral is compared with what was asked, so any constant is right. The two sides of an
equation are judged one by one.

Names mean nothing by themselves: before both are read, those of a source and its answer become letters together, in
their order, because the printer sorts by it. So `\zeta`, a made-up command and a letter of any script are read alike.

Two expressions are equal here if they agree at random points, to the accuracy of floats. That is no proof, but two
different expressions of this corpus do not agree at a dozen points by chance. Where they agree at some points only, or
can be evaluated at too few, the answer is undecided: near cancellation, overflow or underflow, floats decide nothing.
Points lie a little above the real line, because a negative real number is on the cut of logarithms and powers.
"""

from __future__ import annotations

import cmath
import random
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, Literal

from t5vqvae.data.corpora import expressions
from t5vqvae.data.corpora.expressions import ELEMENTARY, LETTERS, Tree
from t5vqvae.data.corpora.math_ood import TWIN_RELATIONS, UNSEEN_RELATIONS
from t5vqvae.data.corpora.math_parser import parse, read, tree_of
from t5vqvae.data.corpora.math_problem import Problem
from t5vqvae.data.corpora.time_limit import within

Verdict = Literal["right", "wrong", "undecided"]
POINTS, NEEDED = 12, 4
"""Points that are tried, and points at which both sides must have a value."""
TOLERANCE = 1e-6
"""Relative difference that floats may have."""
SMALLEST = 1e-9
"""Size below which two values are not compared: what is left by underflow or cancellation is no value."""
SECONDS = 2.0
"""Processor time after which an answer counts as wrong: no other process's load makes it so."""
_UNDEFINED = (ZeroDivisionError, OverflowError, ValueError)
Value = Callable[[Mapping[str, complex]], complex]

_RELATIONS = ("=", *TWIN_RELATIONS, *UNSEEN_RELATIONS)
_RELATION = re.compile(" (" + "|".join(map(re.escape, _RELATIONS)) + ") ")
_WORD = re.compile(r"\\[A-Za-z]+|\w")
_NO_NAMES = ELEMENTARY | {"frac", "partial", "int"} | {relation.removeprefix("\\") for relation in _RELATIONS}
"""Commands that stand for something else than a variable."""


def judge(source: str, answer: str) -> Verdict:
    """Returns whether an answer means what a source asks for.

    Args:
        source: An expression to reconstruct, a question, or two of either in a relation. The answers of one that the
            printer could not print are undecided, whatever they are.
        answer: The decoded text.
    """
    return _in_time(lambda: _judged(source, answer))


def same_meaning(answer: str, decoded: str) -> Verdict:
    """Returns whether a decoded text means what an answer does, in whatever order it has its terms and factors."""
    return _in_time(lambda: _compared(answer, decoded))


def _in_time(verdict: Callable[[], Verdict]) -> Verdict:
    import sympy  # noqa: F401  # before the clock starts: the first import takes seconds

    try:
        return within(SECONDS, verdict)
    except TimeoutError:
        return "wrong"


def _judged(source: str, answer: str) -> Verdict:
    asked, given = _RELATION.split(source), _RELATION.split(answer)
    if asked[1::2] != given[1::2]:
        return "wrong"
    verdicts = [_judge_side(one, other) for one, other in zip(asked[::2], given[::2], strict=True)]
    return next((verdict for verdict in ("wrong", "undecided") if verdict in verdicts), "right")  # type: ignore[return-value]


def _compared(answer: str, decoded: str) -> Verdict:
    one, other = read(answer), read(decoded)
    if one is None or other is None:
        return "wrong"
    return _compare(_value_of(tree_of(one)), _value_of(tree_of(other)), sorted(one.letters))


def _judge_side(source: str, answer: str) -> Verdict:
    letters = _letters_of(source, answer)
    problem, node = Problem.of(_in_letters(source, letters)), parse(_in_letters(answer, letters))
    if problem is None:
        return "undecided"
    if node is None:
        return "wrong"
    found = tree_of(node)
    if problem.operation == "diff":
        return _compare(_derivative(problem.tree, problem.letter), _value_of(found), problem.names)
    if problem.operation == "integrate":
        return _compare(_value_of(problem.tree), _derivative(found, problem.letter), problem.names)
    return _compare(_value_of(problem.tree), _value_of(found), problem.names)


def _letters_of(source: str, answer: str) -> dict[str, str]:
    """Returns a letter for every name of two texts; letters are in the order of the names, by which SymPy prints."""
    names = sorted({*_names_in(source), *_names_in(answer)})
    if len(names) > len(LETTERS):  # no source has as many, so the answer is wrong
        names = sorted(set(_names_in(source)))
    return dict(zip(names, sorted(LETTERS), strict=False))


def _names_in(text: str) -> Iterator[str]:
    return (name for word in _WORD.findall(text) if (name := _name_of(word)) is not None)


def _name_of(word: str) -> str | None:
    """Returns a command without its backslash, or a letter of any script; None if the word is no variable."""
    name = word.removeprefix("\\")
    if name != word:
        return None if name in _NO_NAMES or len(name) == 1 else name
    return name if name in LETTERS or (name.isalpha() and not name.isascii()) else None


def _in_letters(text: str, letters: Mapping[str, str]) -> str:
    return _WORD.sub(lambda found: letters.get(_name_of(found[0]) or "", found[0]), text)


def _compare(wanted: Value, found: Value, names: list[str]) -> Verdict:
    """Returns whether two values agree at random points, seeded so that the verdict is always the same."""
    rng, agreed, num_zero, num_tiny = random.Random(0), list[bool](), 0, 0
    for _ in range(POINTS):
        point = {name: complex(rng.uniform(0.4, 2.1), rng.uniform(0.01, 0.1)) for name in names}
        try:
            one, other = _finite(wanted(point)), _finite(found(point))
        except KeyError:
            return "wrong"  # it has a letter that the question lacks
        except _UNDEFINED:
            continue
        size = max(abs(one), abs(other))
        if size >= SMALLEST:
            agreed.append(abs(one - other) <= TOLERANCE * size)
        elif size:
            num_tiny += 1
        else:
            num_zero += 1
    if not (agreed or num_tiny):
        agreed = [True] * num_zero  # zero at every point, as the derivative of a constant
    if len(agreed) < NEEDED or (any(agreed) and not all(agreed)):
        return "undecided"
    return "right" if all(agreed) else "wrong"


def _finite(value: complex) -> complex:
    if not cmath.isfinite(value):
        raise OverflowError
    return value


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


def _power(base: complex, exponent: complex) -> complex:
    return _not_zero(base**exponent) if base else base**exponent


def _exp(exponent: complex) -> complex:
    return _not_zero(cmath.exp(exponent))


def _not_zero(value: complex) -> complex:
    """Returns a value that cannot be zero.

    Raises:
        OverflowError: If it is: it was too small for a float.
    """
    if not value:
        raise OverflowError
    return value


_OPERATIONS: Mapping[str, Callable[..., complex]] = {
    "add": _sum,
    "subtract": lambda a, b: a - b,
    "multiply": _product,
    "divide": lambda a, b: a / b,
    "power": _power,
    "cos": cmath.cos,
    "sin": cmath.sin,
    "tan": cmath.tan,
    "exp": _exp,
    "log": cmath.log,
}


_FUNCTIONS = {name: _OPERATIONS[name] for name in ("cos", "sin", "tan", "exp", "log")}
"""What SymPy's functions are evaluated as."""


@cache
def _derivative(tree: Tree, letter: str) -> Value:
    """Returns a function from a point to the value of the tree's derivative by a letter."""
    import sympy

    result = sympy.diff(expressions.evaluate(tree), sympy.Symbol(letter))
    names = sorted(str(symbol) for symbol in result.free_symbols)
    function: Any = sympy.lambdify([sympy.Symbol(name) for name in names], result, modules=[_FUNCTIONS])
    return lambda point: complex(function(*(point[name] for name in names)))
