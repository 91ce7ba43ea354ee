"""Numbers at one point: formulas, conditions and kinks, in balls at one precision."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from types import MappingProxyType
from typing import Any

from gradcheck_cli.algebra.balls import evaluate
from gradcheck_cli.algebra.number import NAN, Ball, exactly, is_ball, working
from gradcheck_cli.algebra.precision import LESSON
from gradcheck_cli.language import syntax
from gradcheck_cli.language.functions import TABLE
from gradcheck_cli.language.parser import is_truth, parse
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, substitute, walk

_BITS, _LARGE = 2048, 2**1000
"""Fractions are followed up to this size of a numerator or denominator; they start from floats below the latter."""


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def _computed(function: str, parts: Sequence[Fraction]) -> Fraction | None:
    match function, parts:
        case syntax.POW, (x, n) if n.denominator == 1 and abs(n) <= 64 and (x or n >= 0):
            return Fraction(x ** int(n))
        case syntax.DIV, (x, y):
            return x / y if y else None
    operation = _OPERATIONS.get(function)
    return None if operation is None else operation(*parts)


_OPERATIONS: Mapping[str, Callable[..., Fraction]] = MappingProxyType(
    {syntax.ADD: operator.add, syntax.SUB: operator.sub, syntax.MUL: operator.mul, syntax.NEG: operator.neg}
)
_COMPUTED = frozenset({*_OPERATIONS, syntax.DIV, syntax.POW})


class At:
    """A point, by the names of inputs and stages; what is evaluated is remembered."""

    def __init__(self, values: Mapping[str, Ball]) -> None:
        self._found: dict[Node, Any] = {Variable(name): ball for name, ball in values.items()}
        self._fractions: dict[Node, Fraction | None] = {}

    def give(self, name: str, tree: Node) -> None:
        """Enter the value of a formula under a name."""
        self._found[Variable(name)] = self(tree)
        self._fractions[Variable(name)] = self.fraction(tree)

    def __call__(self, node: Node) -> Any:
        """The ball of a formula (nan where it has no value), or a truth value, None where that isn't decided."""
        with working(LESSON):
            for item in walk(node):
                if item not in self._found:
                    self._found[item] = self._one(item)
        return self._found[node]

    def fraction(self, node: Node) -> Fraction | None:
        """The value, where it follows from the numbers of the point by + - * / and whole powers, and isn't long."""
        for item in walk(node):
            if item not in self._fractions:
                self._fractions[item] = self._rational(item)
        return self._fractions[node]

    def _rational(self, item: Node) -> Fraction | None:
        match item:
            case Constant(value=int() | float() as value) if math.isfinite(value):
                return Fraction(value)
            case Call(function=function, arguments=arguments) if function in _COMPUTED and len(arguments) <= 2:
                parts = [part for a in arguments if (part := self._fractions[a]) is not None]
                found = _computed(function, parts) if len(parts) == len(arguments) else None
                return None if found is None or _bits(found) > _BITS else found
        ball = self(item)  # a float, or what comes out exactly: sqrt(25), sign(-2)
        exact = is_ball(ball) and ball.is_finite() and ball.is_exact() and abs(ball) < _LARGE
        return Fraction(float(ball)) if exact and exactly(float(ball)) == ball else None

    def _one(self, item: Node) -> Any:
        match item:
            case Constant(value=value):
                return value if isinstance(value, bool) else exactly(value)
            case Call(function=function, arguments=arguments):
                bound = TABLE[function].bind(arguments)
                cells = [int(a.value) if p.kind == "integer" and isinstance(a, Constant) else self._found[a] for p, a in bound]
                if any(cell is None and p.kind != "truth" for cell, (p, _) in zip(cells, bound, strict=True)):
                    return None if is_truth(item) else NAN
                return evaluate(function)(*cells)
        raise LookupError(f"no value is known of {item}")

    def holds(self, condition: Node) -> bool | None:
        """Whether a condition holds; None where that can't be told."""
        found = self(condition)
        return found if isinstance(found, bool) else None

    def tied(self, condition: Node) -> bool:
        """Whether the point lies on the border of a condition: some comparison in it is one of equal numbers, or
        of what may jump here."""
        for item in walk(condition):
            if isinstance(item, Call) and not is_truth(item) and self.kink(item):
                return True
            if isinstance(item, Call) and is_truth(item) and len(item.arguments) == 2:
                x, y = (self(a) for a in item.arguments)
                if is_ball(x) and is_ball(y) and x.overlaps(y):
                    return True
        return False

    def kink(self, call: Call) -> bool:
        """Whether a function of the table is at one of its kinks."""
        row = TABLE[call.function]
        if not row.kinks:
            return False
        bound = {p.name: a for p, a in row.bind(call.arguments)}
        return self.holds(substitute(parse(row.kinks), bound)) is True
