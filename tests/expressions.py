"""A seeded generator of random formulas over the whole function table."""

from __future__ import annotations

import random

from gradcheck_cli.language.functions import ROWS, Function
from gradcheck_cli.language.printer import show
from gradcheck_cli.language.tree import Call, Constant, Node, Variable

LITERALS = (0.5, 1, 2, 3, 0.1, -1, 0.75, 10, -2.5)
COMPARISONS = ("lt", "le", "gt", "ge")
HELD = "detach"
"""The row whose derivative isn't that of its value: tests/formulas/test_constants.py is about it."""

FUNCTIONS = tuple(row for row in ROWS if row.parameters and not row.truths and row.name != HELD)


def random_formula(rng: random.Random, depth: int = 3, names: tuple[str, ...] = ("x", "y")) -> str:
    """The text of a formula in which at least one of `names` occurs."""
    while True:
        tree = _tree(rng, depth, names)
        text = show(tree)
        if isinstance(tree, Call) and any(name in text for name in names):
            assert text is not None
            return text


def _tree(rng: random.Random, depth: int, names: tuple[str, ...]) -> Node:
    if depth == 0 or rng.random() < 0.1:
        return Variable(rng.choice(names)) if rng.random() < 0.8 else Constant(rng.choice(LITERALS))
    if rng.random() < 0.4:
        return Call(rng.choice(("add", "sub", "mul", "div", "pow")), tuple(_tree(rng, depth - 1, names) for _ in range(2)))
    if rng.random() < 0.06:
        condition = Call(rng.choice(COMPARISONS), (_tree(rng, 0, names), _tree(rng, 0, names)))
        return Call("where", (condition, _tree(rng, depth - 1, names), _tree(rng, depth - 1, names)))
    row = rng.choice(FUNCTIONS)
    return Call(row.name, tuple(_argument(rng, row, i, depth - 1, names) for i in range(len(row.parameters))))


def _argument(rng: random.Random, row: Function, index: int, depth: int, names: tuple[str, ...]) -> Node:
    parameter = row.parameters[index]
    if parameter.kind == "integer":
        return Constant(rng.choice((0, 1)))
    if parameter.kind == "number":
        return Constant(abs(rng.choice(LITERALS)))
    return _tree(rng, depth, names)
