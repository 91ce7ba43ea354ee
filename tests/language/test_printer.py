"""What is printed means what the tree means, with no parentheses that aren't needed.

The oracle is Python itself: the text is evaluated by Python on fractions, the tree by the few lines below.
"""

from __future__ import annotations

import math
import operator
import random
from fractions import Fraction
from typing import Any

import pytest

from gradcheck_cli.language.functions import ROWS, Function
from gradcheck_cli.language.parser import parse
from gradcheck_cli.language.printer import show
from gradcheck_cli.language.tree import Call, Constant, Node, Variable
from tests.every import every

X, Y, A, B, C = map(Variable, "xyabc")

OPERATIONS: dict[str, Any] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv, "neg": operator.neg,
    "pow": operator.pow, "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge, "eq": operator.eq,
    "ne": operator.ne, "logical_and": lambda x, y: x and y, "logical_or": lambda x, y: x or y, "logical_not": operator.not_,
    "where": lambda c, x, y: x if c else y,
}  # fmt: skip
COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")
NAMES = {"x": Fraction(3), "y": Fraction(-2), "a": Fraction(2), "b": Fraction(-1), "c": Fraction(1, 2)}


def value(node: Node) -> Any:
    """The value of a tree at NAMES, in fractions (powers of fractions may be floats)."""
    match node:
        case Constant(value=number):
            return number if isinstance(number, bool) else Fraction(number)
        case Variable(name=name):
            return NAMES[name]
        case Call(function=function, arguments=arguments):
            return OPERATIONS[function](*map(value, arguments))


def read(text: str) -> Any:
    """The value of a text at NAMES, by Python. (Its floats are exact in the fractions used here: halves and quarters.)"""
    return eval(text, {"__builtins__": {}}, {**NAMES, "where": OPERATIONS["where"]})


def op(name: str, *arguments: Node | float) -> Call:
    return Call(name, tuple(Constant(a) if isinstance(a, (int, float)) else a for a in arguments))


PRECEDENCE = [
    (op("neg", op("pow", X, 2)), "-x**2"),
    (op("pow", op("neg", X), 2), "(-x)**2"),
    (op("pow", X, -1), "x**-1"),
    (op("pow", Constant(-2), X), "(-2)**x"),
    (op("pow", 2, op("neg", X)), "2**-x"),
    (op("pow", 2, op("neg", op("mul", A, B))), "2**(-a*b)"),
    (op("pow", op("pow", A, 2), 3), "(a**2)**3"),
    (op("pow", A, op("pow", 2, 3)), "a**2**3"),
    (op("sub", A, op("sub", B, C)), "a - (b - c)"),
    (op("sub", op("sub", A, B), C), "a - b - c"),
    (op("sub", A, op("add", B, C)), "a - (b + c)"),
    (op("add", A, op("sub", B, C)), "a + (b - c)"),
    (op("div", A, op("div", B, C)), "a/(b/c)"),
    (op("div", op("div", A, B), C), "a/b/c"),
    (op("div", A, op("mul", B, C)), "a/(b*c)"),
    (op("mul", A, op("div", B, C)), "a*(b/c)"),
    (op("mul", op("add", A, B), C), "(a + b)*c"),
    (op("mul", A, op("neg", B)), "a*-b"),
    (op("mul", A, op("neg", op("mul", B, C))), "a*(-b*c)"),
    (op("div", A, op("neg", B)), "a/(-b)"),
    (op("div", A, -2), "a/(-2)"),
    (op("sub", A, -2), "a - -2"),
    (op("neg", op("add", A, B)), "-(a + b)"),
    (op("neg", op("neg", A)), "--a"),
    (op("neg", op("mul", A, B)), "-a*b"),
    (op("pow", Constant(-0.0), 0), "(-0.0)**0"),
    (op("pow", 0.5, 2), "0.5**2"),
]


@pytest.mark.parametrize(("tree", "text"), PRECEDENCE, ids=[text for _, text in PRECEDENCE])
def test_precedence(tree: Node, text: str) -> None:
    """Each corner case prints as written here, and Python reads that as the same number."""
    assert show(tree) == text
    assert read(text) == value(tree)
    assert value(parse(text)) == value(tree)


LESS, MORE, SAME = op("lt", X, Y), op("gt", X, 0), op("eq", X, Y)
LOGIC = [
    (op("logical_and", op("logical_or", LESS, MORE), SAME), "(x < y or x > 0) and x == y"),
    (op("logical_or", op("logical_and", LESS, MORE), SAME), "x < y and x > 0 or x == y"),
    (op("logical_or", LESS, op("logical_or", MORE, SAME)), "x < y or (x > 0 or x == y)"),
    (op("logical_and", LESS, op("logical_and", MORE, SAME)), "x < y and (x > 0 and x == y)"),
    (op("logical_not", op("logical_and", LESS, MORE)), "not (x < y and x > 0)"),
    (op("logical_and", op("logical_not", LESS), MORE), "not x < y and x > 0"),
    (op("logical_not", op("logical_not", LESS)), "not not x < y"),
    (op("logical_and", op("lt", 0, X), op("lt", X, op("add", Y, 1))), "0 < x and x < y + 1"),
    (op("lt", op("neg", X), op("mul", X, Y)), "-x < x*y"),
    (Constant(True), "True"),
]


@pytest.mark.parametrize(("tree", "text"), LOGIC, ids=[text for _, text in LOGIC])
def test_conditions(tree: Node, text: str) -> None:
    """Conditions print with the fewest parentheses and are read back as the same tree."""
    assert show(tree) == text
    assert parse(text) == tree
    assert read(text) is value(tree)


def test_nested_where() -> None:
    """A where within a where, in each place, keeps its parts apart."""
    inner = op("where", LESS, X, op("neg", Y))
    for tree in (
        op("where", MORE, inner, A),
        op("where", MORE, A, inner),
        op("where", op("lt", inner, A), A, op("pow", inner, 2)),
    ):
        text = show(tree)
        assert text is not None
        assert parse(text) == tree
        assert read(text) == value(tree)


def random_tree(rng: random.Random, depth: int) -> Node:
    """Numbers from arithmetic on small numbers of both signs, with conditions inside where."""
    if depth == 0 or rng.random() < 0.15:
        return rng.choice([X, Y, A, B, C, Constant(2), Constant(-3), Constant(0.25), Constant(-0.5)])
    name = rng.choice(["add", "sub", "mul", "div", "neg", "neg", "pow", "where"])
    if name == "pow":  # small whole exponents keep fractions exact
        exponent = rng.choice([Constant(2), Constant(-1), op("neg", Constant(1)), op("neg", op("mul", Constant(1), A))])
        return Call("pow", (random_tree(rng, depth - 1), exponent))
    if name == "where":
        return Call("where", (random_condition(rng, 2), random_tree(rng, depth - 1), random_tree(rng, depth - 1)))
    return Call(name, tuple(random_tree(rng, depth - 1) for _ in range(1 if name == "neg" else 2)))


def random_condition(rng: random.Random, depth: int) -> Node:
    if depth == 0 or rng.random() < 0.3:
        return Call(rng.choice(COMPARISONS), (random_tree(rng, 1), random_tree(rng, 1)))
    name = rng.choice(["logical_and", "logical_or", "logical_not"])
    return Call(name, tuple(random_condition(rng, depth - 1) for _ in range(1 if name == "logical_not" else 2)))


@pytest.mark.slow(reason="thousands of formulas")
def test_a_print_has_the_value_of_the_tree() -> None:
    """Thousands of random trees: Python reads the print as the tree's value, and so does the parser."""
    rng, compared = random.Random(20240501), 0
    for _ in range(4000):
        tree = random_tree(rng, 4)
        text = show(tree)
        assert text is not None
        try:
            expected = value(tree)
        except (ZeroDivisionError, OverflowError):
            continue
        if isinstance(expected, complex):
            continue
        assert value(parse(text)) == expected, text
        # Python divides a literal by a literal in floats: powers of two and a third may be rounded.
        assert math.isclose(read(text), expected, rel_tol=1e-12), text
        compared += 1
    assert compared > 2000


def call(row: Function) -> Call:
    """The row with variables for its tensors and plain numbers for its settings."""
    arguments: list[Node] = []
    for parameter in row.parameters:
        if parameter.kind == "integer":
            arguments.append(Constant(1))
        elif parameter.kind == "number":
            arguments.append(Constant(0.75))
        elif parameter.kind == "truth":
            arguments.append(op("lt", X, Constant(len(arguments))))
        else:
            arguments.append(Variable(parameter.name))
    return Call(row.name, tuple(arguments))


@every(ROWS, lambda row: row.name)
def test_every_row_is_read_back(row: Function) -> None:
    """Every function of the table prints as text that is read as the same call."""
    text = show(call(row))
    assert text is not None
    assert parse(text) == call(row)


def test_defaults_are_left_out() -> None:
    """Settings at their defaults are not printed, from the last one backwards; others are."""
    for text in ("softplus(x)", "softplus(x, 2)", "softplus(x, 1, 30)", "zeta(x)", "zeta(x, 2)", "heaviside(x)"):
        assert show(parse(text)) == text
    assert show(parse("softplus(x, 1, 20)")) == "softplus(x)"
    assert show(parse("clamp(x, 0, 1)")) == "clamp(x, 0, 1)"


def test_the_limit_is_a_limit() -> None:
    """None instead of a text that is longer than the limit, also where sharing hides 2**200 characters."""
    tree = parse("sin(x) + 1")
    assert show(tree, 10) == "sin(x) + 1"
    assert show(tree, 9) is None
    for _ in range(200):
        tree = Call("mul", (tree, tree))
    assert show(tree, 500) is None
