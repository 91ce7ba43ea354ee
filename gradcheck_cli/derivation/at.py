"""Numbers at one point: formulas, conditions and kinks, in balls at one precision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradcheck_cli.algebra.balls import evaluate
from gradcheck_cli.algebra.number import NAN, Ball, exactly, is_ball, working
from gradcheck_cli.algebra.precision import LESSON
from gradcheck_cli.language.functions import TABLE
from gradcheck_cli.language.parser import is_truth, parse
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, substitute, walk


class At:
    """A point, by the names of inputs and stages; what is evaluated is remembered."""

    def __init__(self, values: Mapping[str, Ball]) -> None:
        self._found: dict[Node, Any] = {Variable(name): ball for name, ball in values.items()}

    def give(self, name: str, ball: Ball) -> None:
        """Enter one more value."""
        self._found[Variable(name)] = ball

    def __call__(self, node: Node) -> Any:
        """The ball of a formula (nan where it has no value), or a truth value, None where that isn't decided."""
        with working(LESSON):
            for item in walk(node):
                if item not in self._found:
                    self._found[item] = self._one(item)
        return self._found[node]

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
        """Whether the point lies on the border of a condition: some comparison in it is one of equal numbers."""
        for item in walk(condition):
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
