"""How large a formula is where no float holds it, at many points at once: the logarithm of its size, and its sign, as formulas
of the very language, which columns evaluate.

The derivative of exp at 1000 is beyond every float, and that is all that a judge needs. Sizes are bounds from below, exact
where nothing is added up; what they don't bound for certain is open.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from flint import arb, ctx

from gradcheck_cli.algebra.columns.algebra import ColumnAlgebra
from gradcheck_cli.algebra.columns.backends import on_numpy
from gradcheck_cli.algebra.columns.evaluation import Evaluation
from gradcheck_cli.algebra.columns.trust import TRUST
from gradcheck_cli.algebra.number import Ball
from gradcheck_cli.algebra.precision import ENCLOSURE
from gradcheck_cli.algebra.program import expand
from gradcheck_cli.floats import Floats, Format
from gradcheck_cli.language import syntax
from gradcheck_cli.language.tree import Call, Constant, Node, walk

_GROWING = frozenset({syntax.EXP, syntax.EXPM1, syntax.COSH, syntax.SINH, syntax.POW})
"""Rows whose values leave the range of floats while their arguments don't."""

_WRITTEN = ColumnAlgebra("single", on_numpy())
"""What rows are replaced by that have no kernel."""

_UNKNOWN = Call(syntax.LOG, (Constant(0),))
"""A number that is open everywhere."""

_HALF = Constant(0.75)
"""More than log(2), which a sum of two, or half an exponential, may be smaller by."""


class Size(NamedTuple):
    """A formula's sign, 1 or -1, and a bound from below of the logarithm of its size; `exact`: it is the logarithm."""

    sign: Node
    log: Node
    exact: bool = True


def sizes(trees: Sequence[Node]) -> list[Size] | None:
    """That of each tree; None where none of them grows so fast."""
    trees = [expand(tree, _WRITTEN) for tree in trees]
    if not any(isinstance(item, Call) and item.function in _GROWING for tree in trees for item in walk(tree)):
        return None
    done: dict[Node, Size] = {}
    for tree in trees:
        for item in walk(tree):
            if item not in done:
                done[item] = _size(item, done)
    return [done[tree] for tree in trees]


def _call(name: str, *arguments: Node) -> Node:
    return Call(name, arguments)


def _one_or(condition: Node, there: Node, elsewhere: Node = _UNKNOWN) -> Node:
    return _call(syntax.WHERE, condition, there, elsewhere)


def _size(node: Node, done: dict[Node, Size]) -> Size:
    one = Constant(1)
    match node:
        case Call(function=syntax.EXP, arguments=(u,)):
            return Size(one, u)
        case Call(function=syntax.EXPM1, arguments=(u,)):  # at least exp(u - 1) from 1 on
            large = _call("gt", u, one)
            return Size(one, _one_or(large, _call(syntax.SUB, u, one)), False)
        case Call(function=syntax.COSH, arguments=(u,)):
            return Size(one, _call(syntax.SUB, _call("abs", u), _HALF), False)
        case Call(function=syntax.SINH, arguments=(u,)):
            large = _call("gt", _call("abs", u), one)
            return Size(_call("sign", u), _one_or(large, _call(syntax.SUB, _call("abs", u), one)), False)
        case Call(function=syntax.NEG, arguments=(a,)):
            return done[a]._replace(sign=_call(syntax.NEG, done[a].sign))
        case Call(function=syntax.MUL, arguments=(a, b)):
            return _product(syntax.ADD, done[a], done[b])
        case Call(function=syntax.DIV, arguments=(a, b)) if done[b].exact:
            return _product(syntax.SUB, done[a], done[b])
        case Call(function=syntax.POW, arguments=(a, Constant(value=int(n)))) if n > 0 and not isinstance(n, bool):
            sign = one if n % 2 == 0 else done[a].sign
            return Size(sign, _call(syntax.MUL, Constant(n), done[a].log), done[a].exact)
        case Call(function=syntax.POW, arguments=(a, b)):
            return Size(one, _call(syntax.MUL, b, _call(syntax.LOG, a)))
        case Call(function=syntax.ADD, arguments=(a, b)):
            return _sum(done[a], done[b])
        case Call(function=syntax.SUB, arguments=(a, b)):
            return _sum(done[a], done[b]._replace(sign=_call(syntax.NEG, done[b].sign)))
    return Size(_call("sign", node), _call(syntax.LOG, _call("abs", node)))


def _product(combined: str, a: Size, b: Size) -> Size:
    return Size(_call(syntax.MUL, a.sign, b.sign), _call(combined, a.log, b.log), a.exact and b.exact)


def _sum(a: Size, b: Size) -> Size:
    """The larger term; of two with different signs if it is twice as large."""
    larger = _call("gt", a.log, b.log)
    log = _one_or(larger, a.log, b.log)
    same = _call("gt", _call(syntax.MUL, a.sign, b.sign), Constant(0))
    apart: Node = _UNKNOWN
    if a.exact and b.exact:
        twice = _call("gt", _call("abs", _call(syntax.SUB, a.log, b.log)), _HALF)
        apart = _one_or(twice, _call(syntax.SUB, log, _HALF))
    return Size(_one_or(larger, a.sign, b.sign), _one_or(same, log, apart), False)


class Sizes:
    """Says of many points at which derivatives of a formula (`trees`: its value first) are beyond every float of a format."""

    def __init__(self, trees: Sequence[Node], inputs: Sequence[str], form: Format) -> None:
        found = sizes(trees)
        self._limit = (form.maximum_exponent + 2) * math.log(2) * (1 + 2.0**-40)
        self._evaluation: Evaluation | None = None
        if found is not None:
            beyond = [_one_or(_call("gt", size.log, Constant(self._limit)), size.sign, Constant(0)) for size in found[1:]]
            self._evaluation = Evaluation([found[0].log, *beyond], inputs, "single")

    def beyond(
        self, given: Sequence[Floats], open: npt.NDArray[np.bool_], balls: Callable[[Sequence[Ball]], Sequence[Ball] | None]
    ) -> list[Floats] | None:
        """For each derivative 1 or -1, its sign, at those of the open points where it is, else 0; None where none is. A ball
        that says otherwise ends the trust in columns."""
        if self._evaluation is None or not TRUST.sound() or not open.any():
            return None
        places = np.flatnonzero(open)
        value, *columns = self._evaluation.at(*(values[places] for values in given))
        found = []
        for column in columns:
            signs = np.zeros(len(open))
            signs[places] = np.where(column.open | value.open, 0.0, column.high)
            found.append(signs)
        for index in TRUST.sample(given, np.any([signs != 0.0 for signs in found], axis=0)):
            point = [float(values[index]) for values in given]
            with ctx.workprec(ENCLOSURE[0]):
                known = balls([arb(x) for x in point])
                least = arb(self._limit).exp() / 2
                wrong = known is not None and any(
                    signs[index] and b.is_finite() and b * signs[index] < least
                    for b, signs in zip(known[1:], found, strict=True)
                )
            if wrong:
                TRUST.lose(f"at {', '.join(map(repr, point))}")
                return None
        return found
