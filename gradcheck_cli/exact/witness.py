"""The second witness: derivatives without SymPy, from power series with ball coefficients (`flint.arb_series`).

A direction's n-th derivative is n! times a Taylor coefficient of f(x + t*d); mixed partials follow by polarisation,

    d^n f / dv1...dvn = sum over nonempty S of (-1)**(n - |S|) * [t**n] f(x + t * sum of S)

(the n! of the coefficient cancels the 1/n! of the identity; see Griewank, Utke, Walther, Math. Comp. 69, 2000). Where a
function has no series here, limits of difference quotients (`exact.kinks`) take its place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from itertools import combinations
from typing import Any

from flint import arb, arb_series, ctx

from gradcheck_cli.algebra.effort import WITNESS, price
from gradcheck_cli.algebra.number import Ball, conditions
from gradcheck_cli.algebra.precision import QUOTIENT, QUOTIENT_STEP
from gradcheck_cli.algebra.precision import SERIES as SERIES_BITS
from gradcheck_cli.algebra.program import Program
from gradcheck_cli.algebra.series import SERIES, coefficient, terms
from gradcheck_cli.exact.accumulation import Step, accumulate
from gradcheck_cli.exact.kinks import limits
from gradcheck_cli.exact.values import TINY, Values, Wrt
from gradcheck_cli.language.chain import Chain
from gradcheck_cli.language.tree import Node, canonical
from gradcheck_cli.verdict.truth import Kind

NEAR_ZERO = 1400
"""The step from 0 is 2**-1400: below the smallest double, so that no constant lies between, and 200 bits are left."""

SHORT = -64
"""The step is at most 2**-64: beyond 2**400, where floats are whole numbers, it must not lead from one to the next (y**y has a
value at each, and none between). 500 bits are left at the largest double."""

GOAL = 64
"""Bits to which a derivative is confirmed: 11 more than the longest format has."""


class Witness:
    """Confirms derivatives of one chain's output."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._steps = [(s, _program(canonical(s.tree, s.inputs), len(s.inputs))) for s in chain.stages]
        self._values = Values(chain)
        self._work = sum(program.work for _, program in self._steps)
        self._key: object = None
        self._totals: dict[str, Ball] | None = None

    def work(self, order: int, count: int = 1) -> float:
        """What so many derivatives of an order cost by series, at a few bits."""
        return self._work * (order + 1) ** 2 * (1 if order == 1 else count * 2**order)

    def confirms(self, point: Mapping[str, float], wrt: Wrt, ball: Ball, series: bool = True) -> bool | None:
        """True where a derivative found without SymPy overlaps `ball`, at a precision that would show a difference; False where
        it certainly doesn't, None where none was found.

        `series=False` leaves the series out: where `ball` comes from them, they are no second witness.
        """
        spent = 0.0
        for precision in SERIES_BITS if series else ():
            spent += self.work(len(wrt)) * price(precision)
            if spent > WITNESS:
                break
            with ctx.workprec(precision):
                found = self.derivative({name: arb(x) for name, x in point.items()}, wrt)
            if found is None or not found.is_finite():
                continue
            if not found.overlaps(ball):
                return False
            if found.abs_upper() < TINY and ball.abs_upper() < TINY:
                return True
            if found.rel_accuracy_bits() >= GOAL or found.rad() <= ball.rad() + abs(ball).abs_upper() * arb(2) ** -GOAL:
                return True
        if len(wrt) == 1 and wrt[0] in point and self._quotient_agrees(point, wrt[0], ball):
            return True
        settled = limits(self._values, point, wrt, WITNESS)
        return bool(settled.ball.overlaps(ball)) if settled.kind is Kind.REGULAR else None

    def _quotient_agrees(self, point: Mapping[str, float], name: str, ball: Ball) -> bool:
        """Whether difference quotients on both sides give `ball` to GOAL bits: see `algebra.precision`.

        Agreement confirms; disagreement says nothing, for the step may be too long.
        """
        with ctx.workprec(QUOTIENT):
            exact = {n: arb(x) for n, x in point.items()}
            step = arb(2) ** (min(math.frexp(point[name])[1] - QUOTIENT_STEP, SHORT) if point[name] else -NEAR_ZERO)
            for sign in (1, -1):
                near, far = (self._values(exact, {name: sign * n * step}) for n in (1, 2))
                if not abs((far - near) / (sign * step) - ball) <= abs(ball) * arb(2) ** -GOAL:
                    return False
            return True

    def between(self, first: Mapping[str, float], last: Mapping[str, float], wrt: Wrt) -> Ball | None:
        """What holds the derivative at all points between two; None where none was found."""
        with ctx.workprec(SERIES_BITS[0]):
            return self.derivative({name: arb(x).union(arb(last[name])) for name, x in first.items()}, wrt)

    def derivative(self, point: Mapping[str, Ball], wrt: Wrt) -> Ball | None:
        """The derivative at the present precision; None where the series has no value."""
        return self._first(point, wrt[0]) if len(wrt) == 1 else self._higher(point, wrt)

    def _first(self, point: Mapping[str, Ball], name: str) -> Ball | None:
        """A first derivative: slopes of the stages from series, accumulated once a point for all names."""
        exact = all(x.is_finite() and x.is_exact() for x in point.values())
        key = (ctx.prec, *((n, x.man_exp()) for n, x in point.items())) if exact else None
        if key is None or key != self._key:
            with terms(2):
                found = accumulate([(stage, _slopes(program)) for stage, program in self._steps], point)
            self._key, self._totals = key, None if found is None else found[1]
        return None if self._totals is None else self._totals.get(name, arb(0))

    def _higher(self, point: Mapping[str, Ball], wrt: Wrt) -> Ball | None:
        order = len(wrt)
        total = arb(0)
        with terms(order + 1):
            for size in range(1, order + 1):
                for chosen in combinations(range(order), size):
                    direction = {name: sum(1 for i in chosen if wrt[i] == name) for name in wrt}
                    term = self._coefficient(point, direction, order)
                    if term is None:
                        return None
                    total += (-1) ** (order - size) * term
        return total

    def _coefficient(self, point: Mapping[str, Ball], direction: Mapping[str, int], order: int) -> Ball | None:
        values: dict[str, Any] = {
            name: arb_series([x, arb(direction.get(name, 0))], prec=order + 1) for name, x in point.items()
        }
        for stage, program in self._steps:
            (value,) = program(*(values[name] for name in stage.inputs))
            if direction.get(stage.name):
                value = value + arb_series([arb(0), arb(direction[stage.name])], prec=order + 1)
            values[stage.name] = value
        result = values[self._chain.output]
        found = coefficient(result, order) if isinstance(result, arb_series) else arb(0)
        return found if found.is_finite() else None


def _slopes(program: Program) -> Step:
    """A stage's value and slopes, each from a series in one argument."""

    def step(*arguments: Ball) -> list[Ball]:
        results: list[Ball] = []
        for index in range(max(len(arguments), 1)):
            series = [arb_series([x, arb(i == index)], prec=2) for i, x in enumerate(arguments)]
            (value,) = program(*series)
            if not results:
                results.append(coefficient(value, 0) if isinstance(value, arb_series) else value)
            if arguments:
                results.append(coefficient(value, 1) if isinstance(value, arb_series) else arb(0))
        return results

    return step


@lru_cache(maxsize=1024)
def _program(tree: Node, count: int) -> Program:
    return Program([tree], [f"_{i}" for i in range(count)], SERIES, conditions)
