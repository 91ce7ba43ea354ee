"""Derivatives where no formula holds: limits of one-sided difference quotients at several thousand bits.

At a kink, a removable point, the end of the domain or an infinite slope, the function itself is asked, in balls, at
points so close that the quotient's own error is below 2**-400: x + h, x + 2h, ... with h = 2**-1200, 2**-1600 and 2**-2400.
Three quotients that settle are a limit, three that grow are an infinite slope; anything else stays unknown. The
step lies below the smallest subnormal double (2**-1074), so that no constant of a formula can lie between.
The point itself is never used in a quotient: a formula may be undefined there and its limit exist.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from flint import arb, ctx

from gradcheck_cli.algebra.balls import PLAIN, evaluate
from gradcheck_cli.algebra.program import expand
from gradcheck_cli.exact.truth import Ball, Kind, Truth
from gradcheck_cli.exact.values import Values, Wrt
from gradcheck_cli.language.functions import TABLE
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, walk

EXPONENTS = (1200, 1600, 2400)
MAX_NAMES = 2
"""Mixed partials at singular points are settled for up to this many different names (4 quadrants)."""


class _Unsettled:
    """The quotients on one side neither settle nor grow."""


UNSETTLED = _Unsettled()
Side = Any  # a ball (an infinity for an infinite slope), None outside the domain, UNSETTLED


_FIRST_LOOK = 256
"""Bits at which most points outside of the domain are known already."""


def precision(order: int, size: int) -> int:
    """Working bits for an order, at a point below 2**size: every difference cancels the exponents of h and of the point
    once, an argument may move by h**2 only (acos near 1), and 1,500 bits stay."""
    return (order + 1) * (EXPONENTS[-1] + size) + 1500


class _Late(Exception):
    """The deadline has passed."""


def limits(values: Values, point: Mapping[str, float], wrt: Wrt, deadline: float = math.inf) -> Truth:
    """The derivative at `point` from both sides of every name in `wrt`, judged: see `Truth`.

    An order above 1 exists only where the lower ones do. Past the `deadline` (of time.monotonic) the answer is UNKNOWN.
    """
    try:
        return _limits(values, point, wrt, deadline)
    except _Late:
        return Truth(Kind.UNKNOWN, text="the limits from both sides take too long to certify")


def _limits(values: Values, point: Mapping[str, float], wrt: Wrt, deadline: float) -> Truth:
    if not all(math.isfinite(x) for x in point.values()):
        return Truth(Kind.UNKNOWN, text="limits at an infinite point are not taken")
    names = tuple(dict.fromkeys(wrt))
    if len(names) > MAX_NAMES:
        return Truth(Kind.UNKNOWN, text="a mixed partial of more than two names at a singular point")
    with ctx.workprec(_FIRST_LOOK):
        exact = {name: arb(x) for name, x in point.items()}
        if values(exact, {}).is_nan() and _undefined(values, exact):
            return Truth(Kind.OUTSIDE, singular=True)
    size = max(0, *(math.frexp(x)[1] for x in point.values()))
    with ctx.workprec(precision(len(wrt), size)):
        exact = {name: arb(x) for name, x in point.items()}
        here = values(exact, {})
        if not here.is_finite() and not here.is_nan():
            return Truth(Kind.UNKNOWN, text="the value is beyond every size that is followed")
        if here.is_nan() and _undefined(values, exact):
            return Truth(Kind.OUTSIDE, singular=True)
        sides = [_side(values, exact, wrt, names, signs, size, deadline) for signs in product((-1, 1), repeat=len(names))]
        known = [s for s in sides if s is not None]
        if not here.is_finite() and (not known or any(s is None for s in sides)):
            return Truth(Kind.OUTSIDE, singular=True)
        if any(s is UNSETTLED for s in known):
            return Truth(Kind.UNKNOWN, singular=True, text="the difference quotients don't settle")
        if not here.is_finite() and not _meet(values, exact, names):
            return Truth(Kind.OUTSIDE, singular=True)
        jump = here.is_finite() and _jumps(values, exact, names, here)
        left, right = sides[0], sides[-1]
        finite = all(s is not None and s.is_finite() for s in sides)
        if finite and not jump and all(_same(s, left) for s in sides) and _lower_exist(values, point, wrt, deadline):
            ball = left
            for side in sides[1:]:
                ball = ball.union(side)
            return Truth(Kind.REGULAR, ball, singular=True, text=None if here.is_finite() else UNDEFINED)
        return Truth(Kind.NONDIFFERENTIABLE, left=left, right=right, singular=True, jump=jump)


UNDEFINED = "the formula has no value at the point itself; this is the limit from both sides"


def _lower_exist(values: Values, point: Mapping[str, float], wrt: Wrt, deadline: float) -> bool:
    return len(wrt) == 1 or _limits(values, point, wrt[:-1], deadline).kind is Kind.REGULAR


def _side(
    values: Values, exact: Mapping[str, Ball], wrt: Wrt, names: Sequence[str], signs: Sequence[int], size: int,
    deadline: float,
) -> Side:
    """The limit of the quotient in the quadrant given by `signs`."""
    quotients = []
    for exponent in EXPONENTS:
        if time.monotonic() > deadline:
            raise _Late
        steps = _steps(names, signs, exponent)
        quotient, height = _quotient(values, exact, wrt, names, steps)
        if not quotient.is_finite():
            return None
        quotients.append(quotient)
    first, second, third = quotients
    before, after = abs(second - first).abs_upper(), abs(third - second).abs_upper()
    floor = height * arb(2) ** -(1000 + len(wrt) * size) + abs(third).abs_upper() * arb(2) ** -150
    if after <= before * arb(2) ** -100 or after <= floor:
        return third + arb(0, after)
    if abs(first) < abs(second) < abs(third) and (first > 0) == (second > 0) == (third > 0) and after > before / 2:
        return arb.pos_inf() if third > 0 else arb.neg_inf()
    return UNSETTLED


def _quotient(
    values: Values, exact: Mapping[str, Ball], wrt: Wrt, names: Sequence[str], steps: Mapping[str, Ball]
) -> tuple[Ball, Ball]:
    """The forward difference quotient on the nodes x + h, x + 2h, ..., and the size of the values in it."""
    orders = [wrt.count(name) for name in names]
    total, size = arb(0), arb(0)
    for counts in product(*(range(n + 1) for n in orders)):
        offsets = {name: steps[name] * (1 + c) for name, c in zip(names, counts, strict=True)}
        weight = math.prod((-1) ** (n - c) * math.comb(n, c) for n, c in zip(orders, counts, strict=True))
        value = values(exact, offsets)
        total += weight * value
        size = size.max(abs(value))
    for name in wrt:
        total /= steps[name]
    return total, size.abs_upper() if size.is_finite() else arb(0)


def _undefined(values: Values, exact: Mapping[str, Ball]) -> bool:
    """True where some operation certainly has no value (1/0, log(-1)); False where the balls only can't decide, as in
    acos of a ball around 1."""
    everything = values.every(exact, {})
    stage = next(s for s in values.chain.stages if not everything[s.name].is_finite())
    results: dict[Node, Any] = {}
    tree = expand(stage.tree, PLAIN)
    for item in walk(tree):
        match item:
            case Constant(value=value):
                results[item] = PLAIN.constant(value)
            case Variable(name=name):
                results[item] = everything[name]
            case Call():
                results[item] = _apply(item, [results[a] for a in item.arguments])
    while isinstance(tree, Call):  # down to the operation whose arguments all have values
        arguments = tree.arguments
        if tree.function == "where":
            condition = results[arguments[0]]
            arguments = () if condition is None else (arguments[1 if condition else 2],)
            if not arguments:
                return False
        lost = next((a for a in arguments if not _known(results[a])), None)
        if lost is None:
            corners = [[b] if isinstance(b, bool) or b.is_exact() else [b.lower(), b.mid(), b.upper()] for b in map(results.__getitem__, tree.arguments)]
            return not any(_known(_apply(tree, corner)) for corner in product(*corners))
        tree = lost
    return False


def _apply(call: Call, arguments: Sequence[Any]) -> Any:
    kinds = (p.kind for p in TABLE[call.function].parameters)
    terms = [int(a.unique_fmpz()) if kind == "integer" else a for kind, a in zip(kinds, arguments, strict=True)]
    return evaluate(call.function)(*terms)


def _known(value: Any) -> bool:
    return isinstance(value, bool) or (value is not None and bool(value.is_finite()))


def _steps(names: Sequence[str], signs: Sequence[int], exponent: int) -> dict[str, Ball]:
    """The offsets of one quadrant, 2**-exponent long."""
    return {name: sign * arb(2) ** -exponent for name, sign in zip(names, signs, strict=True)}


def _meet(values: Values, exact: Mapping[str, Ball], names: Sequence[str]) -> bool:
    """True where the function has one limit from all sides of a point at which its formula has no value."""
    around = []
    for signs in product((-1, 1), repeat=len(names)):
        around.append(values(exact, _steps(names, signs, EXPONENTS[-1])))
    return all(abs(a - around[0]) < (abs(a) + 1) * arb(2) ** -300 for a in around)


def _jumps(values: Values, exact: Mapping[str, Ball], names: Sequence[str], here: Ball) -> bool:
    """True where the function's limit on some side is not its value."""
    for signs in product((-1, 1), repeat=len(names)):
        gaps = []
        for exponent in (EXPONENTS[0], EXPONENTS[-1]):
            gaps.append(abs(values(exact, _steps(names, signs, exponent)) - here))
        noise = arb(2) ** -600 * (abs(here) + arb(2) ** -300)
        stays = gaps[1].abs_lower() > gaps[0].abs_upper() * 0.9 and gaps[1] > noise
        if all(g.is_finite() for g in gaps) and stays:
            return True
    return False


def _same(x: Ball, y: Ball) -> bool:
    return bool(x.overlaps(y)) or bool(abs(x - y) < abs(x) * arb(2) ** -100)
