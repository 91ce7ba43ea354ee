"""How large a formula is where no float holds it, at many points at once: the logarithm of its size, and its sign, as formulas
of the very language, which columns evaluate.

The derivative of exp at 1000 is beyond every float, and that is all that a judge needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from flint import arb, ctx

from gradcheck_cli.algebra.columns.algebra import ColumnAlgebra
from gradcheck_cli.algebra.columns.backends import on_numpy
from gradcheck_cli.algebra.columns.evaluation import Evaluation, evaluation
from gradcheck_cli.algebra.columns.stretches import LARGE
from gradcheck_cli.algebra.columns.trust import TRUST
from gradcheck_cli.algebra.number import Ball
from gradcheck_cli.algebra.precision import ENCLOSURE
from gradcheck_cli.algebra.program import expand
from gradcheck_cli.floats import Floats, Format
from gradcheck_cli.language import syntax
from gradcheck_cli.language.parser import parse
from gradcheck_cli.language.tree import Call, Constant, Node, substitute, walk

_GROWING = frozenset({syntax.EXP, syntax.EXPM1, syntax.COSH, syntax.SINH, syntax.POW}) | LARGE.keys()
"""Rows whose values leave the range of floats while their arguments don't."""

_WRITTEN = ColumnAlgebra("single", on_numpy())
"""What rows are replaced by that have no kernel."""


class Size(NamedTuple):
    """A formula's sign, 1 or -1, and the logarithm of its size, `rest` + `large`, if there is one: two sums that are the same
    but for what is small beside that are told apart."""

    sign: Node
    rest: Node
    large: Node | None = None

    @property
    def log(self) -> Node:
        """The logarithm."""
        return self.rest if self.large is None else _call(syntax.ADD, self.large, self.rest)


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


def _size(node: Node, done: dict[Node, Size]) -> Size:
    one, log_of_2 = Constant(1), _call(syntax.LOG, Constant(2))
    match node:
        case Call(function=syntax.EXP, arguments=(u,)):
            return Size(one, u)
        case Call(function=syntax.EXPM1, arguments=(u,)):
            return _sum(Size(one, u), Size(Constant(-1), Constant(0)))
        case Call(function=syntax.COSH | syntax.SINH as name, arguments=(u,)):  # (exp(|u|) +- exp(-|u|))/2, and the sign of u
            away = _call("abs", u)
            other = Size(one if name == syntax.COSH else Constant(-1), _call(syntax.NEG, away))
            whole = _sum(Size(one, away), other)
            return Size(one if name == syntax.COSH else _call("sign", u), _call(syntax.SUB, whole.log, log_of_2))
        case Call(function=name, arguments=(*settings, u)) if name in LARGE and all(isinstance(n, Constant) for n in settings):
            texts = LARGE[name](*(int(n.value) for n in settings if isinstance(n, Constant)))
            return Size(*(substitute(parse(text), {"x": u}) for text in texts))
        case Call(function=syntax.NEG, arguments=(a,)):
            return _negative(done[a])
        case Call(function=syntax.MUL, arguments=(a, b)):
            return _product(done[a], done[b])
        case Call(function=syntax.DIV, arguments=(a, b)):
            below = done[b]
            large = None if below.large is None else _call(syntax.NEG, below.large)
            return _product(done[a], Size(below.sign, _call(syntax.NEG, below.rest), large))
        case Call(function=syntax.POW, arguments=(a, Constant(value=int(n)))) if n > 0 and not isinstance(n, bool):
            return Size(one if n % 2 == 0 else done[a].sign, _call(syntax.MUL, Constant(n), done[a].log))
        case Call(function=syntax.POW, arguments=(a, b)):
            return Size(one, _call(syntax.MUL, b, _call(syntax.LOG, a)))
        case Call(function=syntax.ADD, arguments=(a, b)):
            return _sum(done[a], done[b])
        case Call(function=syntax.SUB, arguments=(a, b)):
            return _sum(done[a], _negative(done[b]))
    return Size(_call("sign", node), _call(syntax.LOG, _call("abs", node)))


def _negative(a: Size) -> Size:
    return a._replace(sign=_call(syntax.NEG, a.sign))


def _product(a: Size, b: Size) -> Size:
    large = _call(syntax.ADD, a.large, b.large) if a.large is not None and b.large is not None else a.large or b.large
    return Size(_call(syntax.MUL, a.sign, b.sign), _call(syntax.ADD, a.rest, b.rest), large)


def _sum(a: Size, b: Size) -> Size:
    """The larger term times 1 + r, where r is the other one divided by it; where neither is certainly larger, that of two terms
    of one sign all the same. Else it is open."""
    shared = a.large if a.large == b.large else None
    first, second = (a.rest, b.rest) if a.large == b.large else (a.log, b.log)
    apart = _call(syntax.SUB, first, second)
    larger = _call(syntax.GT, apart, Constant(0))
    same = _call(syntax.MUL, a.sign, b.sign)
    ratio = _call(syntax.MUL, same, _call(syntax.EXP, _call(syntax.NEG, _call("abs", apart))))
    sign, log = (_call(syntax.WHERE, larger, f, g) for f, g in ((a.sign, b.sign), (first, second)))
    log = _call(syntax.ADD, log, _call(syntax.LOG1P, ratio))
    near = _call(syntax.LT, _call(syntax.SQUARE, apart), Constant(1))
    alike = _call(syntax.AND, near, _call(syntax.GT, same, Constant(0)))
    both = _call(syntax.ADD, second, _call(syntax.LOG1P, _call(syntax.EXP, apart)))
    return Size(_call(syntax.WHERE, alike, b.sign, sign), _call(syntax.WHERE, alike, both, log), shared)


class Sizes:
    """Says of many points at which derivatives of a formula (`trees`: its value first) are beyond every float of a format."""

    def __init__(self, trees: Sequence[Node], inputs: Sequence[str], form: Format) -> None:
        self._trees, self._inputs = trees, inputs
        self._limit = (form.maximum_exponent + 2) * math.log(2) * (1 + 2.0**-40)

    @cached_property
    def _evaluation(self) -> Evaluation | None:
        found = sizes(self._trees)
        if found is None:
            return None
        large = [_call(syntax.GT, size.log, Constant(self._limit)) for size in found[1:]]
        beyond = [_call(syntax.WHERE, c, size.sign, Constant(0)) for c, size in zip(large, found[1:], strict=True)]
        return evaluation((found[0].log, *beyond), tuple(self._inputs), "single")

    def beyond(
        self, given: Sequence[Floats], open: npt.NDArray[np.bool_], balls: Callable[[Sequence[Ball]], Sequence[Ball] | None]
    ) -> list[Floats] | None:
        """For each derivative 1 or -1, its sign, at those of the open points where it is, else 0; None where none is. A ball
        that says otherwise ends the trust in columns."""
        if not open.any() or not TRUST.sound() or self._evaluation is None:
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
