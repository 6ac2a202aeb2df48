r"""Random mathematical expressions, their derivatives and integrals, printed as SymPy prints them.

An expression starts as an operation on plain letters (cos, sin, exp, log of one letter; +, -, x, ^, / of two). Further
operations follow, each with one more letter or none. The result is a tree of plain tuples, such as
`("divide", ("cos", "x"), "y")`. Trees that were read from a text also have integers, and sums and products of more than
two parts. To add an operation, give it a line in `UNARY` or `BINARY` and in `_function`.

SymPy takes about a millisecond to evaluate and print a tree. Its output depends on the names only through their order,
so it is computed once for every *shape*: the tree with private characters in place of its letters, in their order.

Source: the generator described by Meadows et al. 2023 (arXiv 2305.12563).
"""

from __future__ import annotations

import functools
import itertools
import random
import string
from typing import Any, Literal

Tree = str | int | tuple[Any, ...]
Operation = Literal["diff", "integrate"]

LETTERS = tuple(letter for letter in string.ascii_letters if letter not in "iedO")
GREEK = ("alpha", "beta", "gamma", "delta", "theta", "lambda", "mu", "rho", "phi", "omega")
UNARY = ("cos", "sin", "exp", "log")
BINARY = ("add", "subtract", "multiply", "power", "divide")
ELEMENTARY = {"cos", "sin", "tan", "exp", "log"}
SLOTS = tuple(map(chr, range(0xE000, 0xE010)))
"""Private characters, sorted, in place of the letters of a shape."""


def draw(rng: random.Random, num_further: int) -> Tree:
    """Returns a random expression: an operation on plain letters, then `num_further` operations on the result."""
    tree = _draw_start(rng, rng.choice(UNARY + BINARY))
    for _ in range(num_further):
        kind = rng.choice(UNARY + BINARY)
        operands = [tree] if kind in UNARY else [tree, rng.choice(LETTERS)]
        rng.shuffle(operands)
        tree = (kind, *operands)
    return tree


def _draw_start(rng: random.Random, kind: str) -> Tree:
    """Returns the operation `kind` on different random letters."""
    return (kind, *rng.sample(LETTERS, 1 if kind in UNARY else 2))


def all_starts(kind: str) -> list[Tree]:
    """Returns the operation `kind` on every ordered choice of different letters."""
    return [(kind, *letters) for letters in itertools.permutations(LETTERS, 1 if kind in UNARY else 2)]


def letters_of(tree: Tree) -> list[str]:
    """Returns the letters of the simplified tree, sorted; none when a single letter or a number is left.

    So `(x * y) / y` and `x - x` have no letters.
    """
    shape, names = _shape(tree)
    return [names[SLOTS.index(slot)] for slot in _slots_left(shape)]


def names_of(tree: Tree) -> list[str]:
    """Returns the names in the tree as it stands, sorted."""
    return sorted(set(_leaves(tree)))


def in_greek(tree: Tree, rng: random.Random) -> dict[str, str]:
    """Returns `{letter: Greek letter}` for the letters of the tree, different and random, for `rename`."""
    names = _shape(tree)[1]
    return dict(zip(names, rng.sample(GREEK, len(names)), strict=True))


def rename(tree: Tree, names: dict[str, str]) -> Tree:
    """Returns the tree with its letters replaced."""
    if isinstance(tree, int):
        return tree
    return names[tree] if isinstance(tree, str) else (tree[0], *(rename(child, names) for child in tree[1:]))


def print_expression(tree: Tree) -> str:
    r"""Returns the simplified tree as `sympy.latex` prints it, without `\left` and `\right`."""
    shape, names = _shape(tree)
    return _fill(_printed_expression(shape), names)


def print_question(tree: Tree, operation: Operation, letter: str) -> str:
    """Returns a task without its answer: `d/dx f`, or the integral of f dx."""
    shape, names = _shape(tree)
    return _fill(_printed_question(shape, operation, SLOTS[names.index(letter)]), names)


def print_task(tree: Tree, operation: Operation, letter: str) -> tuple[str, str] | None:
    """Returns a task (`d/dx f`, or the integral of f dx) and its answer; None without an elementary answer.

    The antiderivative is the generic one: `x**n` gives `x**(n + 1)/(n + 1)`, although n = -1 is an exception.
    """
    shape, names = _shape(tree)
    printed = _printed_task(shape, operation, SLOTS[names.index(letter)])
    return None if printed is None else (_fill(printed[0], names), _fill(printed[1], names))


def _shape(tree: Tree) -> tuple[Tree, list[str]]:
    """Returns the tree with private characters in place of its letters, and the letters in their order."""
    names = names_of(tree)
    return rename(tree, dict(zip(names, SLOTS, strict=False))), names


def _leaves(tree: Tree) -> list[str]:
    if isinstance(tree, int):
        return []
    return [tree] if isinstance(tree, str) else [leaf for child in tree[1:] for leaf in _leaves(child)]


def _fill(printed: str, names: list[str]) -> str:
    # A name of more than one letter is a command, as the Greek ones are.
    return printed.translate({ord(s): f"\\{n}" if len(n) > 1 else n for s, n in zip(SLOTS, names, strict=False)})


@functools.cache
def _slots_left(shape: Tree) -> list[str]:
    expression = evaluate(shape)
    is_proper = not (expression.is_Symbol or expression.is_number)
    return sorted(symbol.name for symbol in expression.free_symbols) if is_proper else []


@functools.cache
def _printed_expression(shape: Tree) -> str:
    return _latex(evaluate(shape))


@functools.cache
def _printed_task(shape: Tree, operation: Operation, slot: str) -> tuple[str, str] | None:
    answer = derive(shape, operation, slot)
    return None if answer is None else (_printed_question(shape, operation, slot), _latex(answer))


@functools.cache
def _printed_question(shape: Tree, operation: Operation, slot: str) -> str:
    import sympy

    return _latex((sympy.Derivative if operation == "diff" else sympy.Integral)(evaluate(shape), sympy.Symbol(slot)))


def evaluate(tree: Tree) -> Any:
    """Returns the tree as a SymPy expression, simplified only as SymPy does automatically."""
    import sympy

    if isinstance(tree, int):
        return sympy.Integer(tree)
    return sympy.Symbol(tree) if isinstance(tree, str) else _function(tree[0])(*map(evaluate, tree[1:]))


def derive(tree: Tree, operation: Operation, letter: str) -> Any | None:
    """Returns the derivative or an antiderivative by `letter` as a SymPy expression; see `print_task`."""
    import sympy

    # Integrals are slow, so one is computed for all orders of the letters, and its letters are renamed.
    names = {leaf: f"x{number}" for number, leaf in enumerate(dict.fromkeys(_leaves(tree)))}
    result = _derived(rename(tree, names), operation, names[letter])
    back = {sympy.Symbol(new): sympy.Symbol(old) for old, new in names.items()}
    return None if result is None else result.xreplace(back)


@functools.cache
def _derived(tree: Tree, operation: Operation, letter: str) -> Any | None:
    import sympy
    from sympy.integrals.manualintegrate import manualintegrate

    expression, variable = evaluate(tree), sympy.Symbol(letter)
    if operation == "diff":
        return sympy.diff(expression, variable)
    result = manualintegrate(expression, variable).replace(sympy.Piecewise, _generic_branch)
    functions = {type(found).__name__ for found in result.atoms(sympy.Function)}
    return None if result.has(sympy.Integral) or not functions <= ELEMENTARY else result


def _generic_branch(*branches: Any) -> Any:
    """Returns the value of a piecewise expression for parameters without exceptional values."""
    import sympy

    return next(value for value, condition in branches if not isinstance(condition, sympy.Eq))


def _latex(expression: Any) -> str:
    import sympy

    return str(sympy.latex(expression)).replace(r"\left", "").replace(r"\right", "")


@functools.cache
def _function(kind: str) -> Any:
    """Returns the SymPy function of an operation's name."""
    import sympy

    return {
        "cos": sympy.cos,
        "sin": sympy.sin,
        "exp": sympy.exp,
        "log": sympy.log,
        "tan": sympy.tan,
        "add": sympy.Add,
        "subtract": lambda a, b: a - b,
        "multiply": sympy.Mul,
        "power": lambda a, b: a**b,
        "divide": lambda a, b: a / b,
    }[kind]
