"""Where a formula has no value, at many points at once: a condition in the very language, made of the domains in the table,
which columns evaluate.

Only what is certain counts: of a point and of all points near it, as columns tell; or of a point by itself, a pole or the edge
of a domain, where no rounding is in the way (`exact.steps`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, reduce

import numpy as np
import numpy.typing as npt
from flint import arb, ctx

from gradcheck_cli.algebra.columns.evaluation import Evaluation, evaluation
from gradcheck_cli.algebra.columns.trust import TRUST
from gradcheck_cli.algebra.number import Ball
from gradcheck_cli.algebra.precision import ENCLOSURE
from gradcheck_cli.algebra.program import Program
from gradcheck_cli.exact.steps import Side, beside
from gradcheck_cli.floats import Floats
from gradcheck_cli.language import syntax
from gradcheck_cli.language.functions import TABLE
from gradcheck_cli.language.parser import definition, parse
from gradcheck_cli.language.tree import Call, Node, indicator, substitute, walk

_OPPOSITE = {
    syntax.GT: syntax.LT, syntax.GE: syntax.LT, syntax.LT: syntax.GT, syntax.LE: syntax.GT, syntax.EQ: syntax.NE,
}  # fmt: skip
"""What holds off the closure of where a comparison holds; of `ne` that is nowhere."""


Fails = Callable[[Node], Node | None]
"""From a condition to another one under which it doesn't hold."""


def outside(tree: Node, fails: Fails | None = None) -> Node | None:
    """A condition under which the tree has no value, here and nearby; None where there is none. It need not hold everywhere.
    `fails`: what is taken for failing to be in the domain of a row, on the edge too, or else off the edge only."""
    done: dict[Node, Node | None] = {}
    for item in walk(tree):
        done[item] = _outside(item, done, fails or _off) if isinstance(item, Call) else None
    return done[tree]


def _outside(call: Call, done: dict[Node, Node | None], fails: Fails) -> Node | None:
    parts = [done[argument] for argument in call.arguments]
    if call.function == syntax.WHERE:  # of the branches, one is looked at
        condition = call.arguments[0]
        chosen = (condition, _not(condition))
        return _any([parts[0], *(_both(c, part) for c, part in zip(chosen, parts[1:], strict=True))])
    row = TABLE[call.function]
    given = {p.name: argument for p, argument in row.bind(call.arguments)}
    if row.domain:
        own = fails(parse(row.domain))
        return _any([*parts, None if own is None else substitute(own, given)])
    return _any([*parts, outside(substitute(definition(row.name), given), fails) if row.definition else None])


def _not(condition: Node) -> Node:
    return Call(syntax.NOT, (condition,))


def _off(condition: Node) -> Node | None:
    """Where a condition doesn't hold, nor on its edge."""
    if not isinstance(condition, Call):
        return None
    parts = [_off(argument) for argument in condition.arguments]
    if condition.function == syntax.AND:
        return _any(parts)
    if condition.function == syntax.OR:
        return _both(*parts)
    opposite = _OPPOSITE.get(condition.function)
    return None if opposite is None else Call(opposite, condition.arguments)


def _any(parts: Sequence[Node | None]) -> Node | None:
    known = list(dict.fromkeys(part for part in parts if part is not None))
    return reduce(lambda a, b: Call(syntax.OR, (a, b)), known) if known else None


def _both(one: Node | None, other: Node | None) -> Node | None:
    return None if one is None or other is None else Call(syntax.AND, (one, other))


class Outside:
    """Says of many points which are certainly outside of a formula's domain."""

    def __init__(self, tree: Node, inputs: Sequence[str]) -> None:
        self._tree, self._inputs = tree, inputs

    @cached_property
    def _evaluation(self) -> Evaluation | None:
        condition = outside(self._tree)
        chosen = None if condition is None else indicator(condition)
        return None if chosen is None else evaluation((chosen,), tuple(self._inputs), "single")

    @cached_property
    def _exactly(self) -> Program | None:
        """The same on the edge too, where all numbers are known without rounding."""
        condition = outside(self._tree, _not)
        return None if condition is None else Program([condition], self._inputs, Side(1.0))

    def among(
        self, given: Sequence[Floats], open: npt.NDArray[np.bool_], balls: Callable[[Sequence[Ball]], Sequence[Ball] | None]
    ) -> npt.NDArray[np.bool_]:
        """Which of the open points are. Balls are asked about a sample of them: a value there ends the trust in columns."""
        found = np.zeros(len(open), dtype=bool)
        if not open.any() or not TRUST.sound() or self._exactly is None:
            return found
        if self._evaluation is not None:
            places = np.flatnonzero(open)
            (column,) = self._evaluation.at(*(values[places] for values in given))
            found[places] = (column.high == 1.0) & ~column.open
        places = np.flatnonzero(open & ~found)
        if len(places):
            (decided,) = beside(self._exactly, [values[places] for values in given])
            found[places] = decided.at & decided.known
        for index in TRUST.sample(given, found):
            point = [float(values[index]) for values in given]
            with ctx.workprec(ENCLOSURE[0]):
                known = balls([arb(x) for x in point])
            if known is not None and known[0].is_finite():
                TRUST.lose(f"at {', '.join(map(repr, point))}")
                return np.zeros(len(open), dtype=bool)
        return found
