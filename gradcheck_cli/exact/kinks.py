"""Derivatives where no formula holds: limits of one-sided difference quotients at several thousand bits.

At a kink, a removable point, the end of the domain or an infinite slope, the function itself is asked, in balls, at
points so close that the quotient's own error is below 2**-400: x + h, x + 2h, ... with h = 2**-1200, 2**-1600 and 2**-2400.
Three quotients that settle are a limit, three that grow are an infinite slope; anything else stays unknown. The
step lies below the smallest subnormal double (2**-1074), so that no constant of a formula can lie between.
The point itself is never used in a quotient: a formula may be undefined there and its limit exist.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, reduce
from itertools import product
from typing import Any

from flint import arb, ctx

from gradcheck_cli.algebra.number import NAN, Ball
from gradcheck_cli.exact.values import NOWHERE, Line, Wrt
from gradcheck_cli.verdict.truth import Kind, Truth, held

EXPONENTS = (1200, 1600, 2400)
"""Of the steps. From step to step a quotient that grows like log(h) changes by twice as much (2400 - 1600 is twice 1600 -
1200), one that converges like 1/log(h) by as much as before (1/1200 - 1/1600 = 1/1600 - 1/2400): see GROWTH."""

MAX_NAMES = 2
"""Mixed partials at singular points are settled for up to this many different names (4 quadrants)."""


class _Unsettled:
    """The quotients on one side neither settle nor grow."""


UNSETTLED = _Unsettled()
Side = Any  # a ball (an infinity for an infinite slope), None outside the domain, UNSETTLED


# What the constants below decide, and, in brackets, what breaks in tests/exact/test_kinks.py where one is changed alone.
# A factor of ten (3 in an exponent of two) either way changes none of its answers, but for GROWTH and STAYS.

SETTLED = 100
"""Quotients whose differences shrink by 2**-100 have a limit. Where they converge like h**a, differences shrink by h1/h2 =
2**-400 to the a: it takes a >= 1/4, and x**1.2 stays unknown at 0. (200 loses x**1.5; 10 would take a >= 1/40.)"""

STILL = 150
"""So do those that differ by less than 2**-150 of themselves: far below what 53 bits tell, far above the rounding of any
quotient. A limit that is approached like 1/log(h) is missed by that much at most. (20 takes x - x/log(x)**2 for settled.)"""

NOISE = 1000
"""And those that differ by less than 2**-1000 of the function's own size, at a point of size 1: no term of a format is that
small beside another (2**-1074/2**1024 aside). (100 to 3000 give the same; 3800 meets the rounding of the quotients.)"""

SPARE = NOISE + 500
"""Bits that are left when the step has cancelled twice: once in the quotient, once in a formula such as (exp(x) - 1)/x. Fewer
than NOISE, and rounding looks like movement (150: three limits are lost)."""

GROWTH = 1.9
"""Quotients whose differences grow by more than this go to infinity: log(h) gives 2, any power of it above 1 and any power of
h more; 1/log(h), which has a limit, 1; sqrt(log(h)), which has none, 1.7, and stays unknown. (1.01 to 1.99 give the same, 2
loses log.)"""

STRETCHES = (3, 2**200)
"""Ratios of the steps of two names beside 1, short enough that every step stays below 2**-2200: one near, one far, so that
neither what depends on the ratio itself nor what depends on its logarithm agrees at all three. (Without: Peano's function
gets a mixed derivative.)"""

MEETING = 300
"""The function has one limit at a point without value if it differs by less than 2**-300 between the sides at 2**-2400: where
it approaches like h**a, a > 1/8. A jump smaller than that, beside 1, isn't seen."""

STAYS = 0.9
"""A distance to the value that shrinks by less, from 2**-1200 to 2**-2400, is a jump: 1 at a jump, 1/2 where the value is
approached like 1/log(h), less for any power of h. What approaches like 1/log(log(h)) (0.91), or more slowly, is taken for a
jump; its slope is infinite either way. (0.09 to 0.999 give the same; 1 or more sees no jump.)"""

JUMP = NOTHING = 1100
"""A jump is larger than 2**-1100 of the value, or of 2**-1100 beside a value of 0: above all rounding, which leaves SPARE bits,
and below what a format can hold. A smaller one isn't seen. (JUMP = 600 loses that of floor(x) at 1e200, NOTHING = 100 one of
1e-300.) Quotients that are 0 for all that is known, to within as much, are."""

EQUAL = 100
"""Sides that differ by less than 2**-100 of themselves are the same: 53 bits don't tell them apart."""

_FIRST_LOOK = 256
"""Bits at which most points outside of the domain are known already. It decides on the time only (26 to 2560 answer
alike)."""


def precision(order: int, size: int, times: int = 1) -> int:
    """Working bits for an order, at a point below 2**size: every difference cancels the exponents of h and of the point
    once, an argument may move by h**2 only (acos near 1), and SPARE bits stay."""
    return (order + 1) * (EXPONENTS[-1] * times + size) + SPARE


class _Spent(Exception):
    """The limits would take more work than there is."""


COSTLY = "the limits from both sides take more work to certify than is spent on one derivative (no --timeout changes that)"
LOWER = "a lower derivative doesn't exist here already"
BESIDE = "a lower derivative doesn't exist beside this point"
UNDEFINED = "the formula has no value at the point itself; this is the limit from both sides"
INFINITE = "infinity is no number at which there could be a derivative"
NO_VALUE = "whether the function has a value here can't be decided"
UNSTEADY = "the difference quotients don't settle"
JUMPS = "the lower derivative jumps here"
DEPENDS = "the quotients depend on the ratio of the steps, and one differentiation after the other doesn't settle"

NESTED = 3
"""Steps of a lower derivative beside the point have so many times the exponents: the longest of them is 2**-1200 of the
shortest by which the point was moved."""

Smooth = Callable[[Mapping[str, Ball], Wrt], Ball]
"""A derivative where the function is certified to be analytic, else None."""


def limits(
    values: Line,
    point: Mapping[str, float],
    wrt: Wrt,
    most: float = math.inf,
    mixed: bool = False,
    smooth: Smooth | None = None,
) -> Truth:
    """The derivative at `point` from both sides of every name in `wrt`, judged: see `Truth`.

    An order above 1 exists only where the lower ones do. It is UNKNOWN where it takes more work than `most`.
    By different names it is what one differentiation after the other gives, in the order of `wrt`. `mixed`: by any number of
    names; it exists wherever it is the same from all sides, for what is missing along one direction needn't bear on another.
    """
    if not all(math.isfinite(point.get(name, 0.0)) for name in wrt) or any(math.isnan(x) for x in point.values()):
        with ctx.workprec(_FIRST_LOOK):
            if not values({name: arb(x) for name, x in point.items()}, {}).is_finite():
                return Truth(Kind.OUTSIDE, singular=True)
        return Truth(Kind.OUTSIDE, text=INFINITE)
    if len(set(wrt)) > MAX_NAMES and not mixed:
        return Truth(Kind.UNKNOWN, text="a mixed partial of more than two names at a singular point")
    with ctx.workprec(_FIRST_LOOK):
        exact = {name: arb(x) for name, x in point.items()}
        if values(exact, {}).is_nan() and values.undefined(exact):
            return Truth(Kind.OUTSIDE, singular=True)
    try:
        return _Search(values, point, values.work + most, smooth).found(wrt, mixed and 1 < len(set(wrt)) == len(wrt))
    except _Spent:
        return Truth(Kind.UNKNOWN, text=COSTLY)


class _Search:
    """Derivatives at one point, and at points beside it that are `moved`. `times`: of the exponents of the steps."""

    def __init__(
        self, values: Line, point: Mapping[str, float], until: float, smooth: Smooth | None = None, times: int = 1
    ) -> None:
        self.values, self.point, self.until, self.smooth, self.times = values, point, until, smooth, times
        self.size = max([0, *(math.frexp(x)[1] for x in point.values() if math.isfinite(x))])

    def found(self, wrt: Wrt, alone: bool = False) -> Truth:
        """The derivative, by all steps together, and by different names by one after the other where that says more."""
        together, certain = self._together(wrt, alone)
        if len(set(wrt)) == 1 or together.kind is Kind.OUTSIDE or (alone and certain):
            return together
        lower = self.found(wrt[:-1])
        if lower.kind is Kind.NONDIFFERENTIABLE:
            return together if alone and certain else Truth(Kind.NONDIFFERENTIABLE, singular=True, free=True, text=LOWER)
        if lower.kind is not Kind.REGULAR:
            return together
        line = _Lower(self, wrt[:-1], lower.ball)
        after, _ = _Search(line, self.point, self.until)._together(wrt[-1:])
        if after.kind in (Kind.REGULAR, Kind.NONDIFFERENTIABLE):
            return Truth(Kind.NONDIFFERENTIABLE, singular=True, free=True, text=JUMPS) if after.jump else after
        if line.missing and (together.free or together.kind is not Kind.NONDIFFERENTIABLE):
            return Truth(Kind.NONDIFFERENTIABLE, singular=True, free=True, text=BESIDE)
        return Truth(Kind.UNKNOWN, singular=True, text=DEPENDS) if together.free else together

    def _together(self, wrt: Wrt, alone: bool = False) -> tuple[Truth, bool]:
        """By steps along all names at once; and whether that doesn't hang on their ratio."""
        with ctx.workprec(precision(len(wrt), self.size, self.times)):
            point = {name: arb(x) for name, x in self.point.items()}
            near = _Neighbourhood(self.values, point, wrt, self.size, self.until, self.times)
            return self._judged(near, wrt, alone), near.certain

    def _judged(self, near: _Neighbourhood, wrt: Wrt, alone: bool) -> Truth:
        here = near.here
        if not here.is_finite() and not here.is_nan():
            if not all(map(math.isfinite, self.point.values())) or self.values.undefined(near.point):
                return Truth(Kind.OUTSIDE, singular=True)
            return Truth(Kind.UNKNOWN, text="the value is beyond every size that is followed")
        if here.is_nan() and self.values.undefined(near.point):
            return Truth(Kind.OUTSIDE, singular=True)
        sides = [near.side(signs) for signs in near.quadrants]
        known = [s for s in sides if s is not None]
        if here.is_nan() and (len(known) < len(sides) or not near.meets()):
            return Truth(Kind.UNKNOWN, singular=True, text=NO_VALUE)
        if any(s is UNSETTLED for s in known):
            return Truth(Kind.UNKNOWN, singular=True, text=UNSTEADY if near.certain else DEPENDS)
        left, right = sides[0], sides[-1]
        if alone and len(known) == len(sides) and all(s.is_finite() for s in known):
            left, right = reduce(min, known), reduce(max, known)
        jump = here.is_finite() and bool(near.jumps)
        lower = alone or len(wrt) == 1 or self.found(wrt[:-1]).kind is Kind.REGULAR
        same = all(s is not None and s.is_finite() and _same(s, sides[0]) for s in sides)
        if lower and same and (alone or not jump):
            ball = reduce(lambda a, b: a.union(b), sides)
            return Truth(Kind.REGULAR, ball, singular=True, text=UNDEFINED if here.is_nan() else None)
        if not lower or (len(sides) > 2 and not all(s is not None and s.is_finite() for s in sides)):
            text = LOWER if not lower else "the mixed derivative is unbounded here"
            return Truth(Kind.NONDIFFERENTIABLE, singular=True, free=True, text=text)
        return Truth(
            Kind.NONDIFFERENTIABLE, left=left, right=right, singular=True, jump=jump, mixed=len(sides) > 2,
            text=held(near.held, wrt[0]) if jump else None,
        )  # fmt: skip


class _Moved:
    """A line as seen from a point beside the given one."""

    def __init__(self, values: Line, by: Mapping[str, Ball]) -> None:
        self._values, self._by = values, by

    @property
    def work(self) -> float:
        return self._values.work

    def __call__(self, point: Mapping[str, Ball], offsets: Mapping[str, Ball]) -> Ball:
        return self._values(point, self._sum(offsets))

    def each(self, point: Mapping[str, Ball], offsets: Sequence[Mapping[str, Ball]]) -> list[Ball]:
        return self._values.each(point, [self._sum(some) for some in offsets])

    def undefined(self, point: Mapping[str, Ball], offsets: Mapping[str, Ball] = NOWHERE) -> bool:
        return self._values.undefined(point, self._sum(offsets))

    def _sum(self, offsets: Mapping[str, Ball]) -> dict[str, Ball]:
        names = dict.fromkeys((*self._by, *offsets))
        return {name: self._by.get(name, 0) + offsets.get(name, 0) for name in names}


class _Lower:
    """A derivative as a function around the point: `here`, and beside it what is found there. `missing`: somewhere beside it
    there is none."""

    def __init__(self, search: _Search, wrt: Wrt, here: Ball) -> None:
        self._search, self._wrt, self._here = search, wrt, here
        self.missing = False

    @property
    def work(self) -> float:
        return self._search.values.work

    def __call__(self, point: Mapping[str, Ball], offsets: Mapping[str, Ball]) -> Ball:
        if not offsets:
            return self._here
        search = self._search
        if search.smooth is not None and offsets.keys() <= point.keys():
            ball = search.smooth({name: x + offsets.get(name, 0) for name, x in point.items()}, self._wrt)
            if ball is not None and ball.is_finite():
                return ball
        moved = _Search(_Moved(search.values, offsets), search.point, search.until, None, search.times * NESTED)
        truth = moved.found(self._wrt)
        self.missing |= truth.kind is Kind.NONDIFFERENTIABLE
        return truth.ball if truth.kind is Kind.REGULAR else NAN

    def each(self, point: Mapping[str, Ball], offsets: Sequence[Mapping[str, Ball]]) -> list[Ball]:
        return [self(point, some) for some in offsets]

    def undefined(self, point: Mapping[str, Ball], offsets: Mapping[str, Ball] = NOWHERE) -> bool:
        return False


class _Neighbourhood:
    """A function around a point, asked on tiny steps in each quadrant of the names that are differentiated by. `certain`:
    no side was seen to depend on the ratio of the steps."""

    def __init__(self, values: Line, point: Mapping[str, Ball], wrt: Wrt, size: int, until: float, times: int) -> None:
        self.point, self.quadrants = point, list(product((-1, 1), repeat=len(set(wrt))))
        self.certain = True
        self._values, self._size, self._until = values, size, until
        self._exponents = [times * e for e in EXPONENTS]
        self._nothing = NOTHING * times**2  # beside the point, all that vanishes there is small
        self._names = tuple(dict.fromkeys(wrt))
        self._orders = [wrt.count(name) for name in self._names]
        self._nodes = [
            (
                tuple(1 + c for c in counts),
                math.prod((-1) ** (n - c) * math.comb(n, c) for n, c in zip(self._orders, counts, strict=True)),
            )
            for counts in product(*(range(n + 1) for n in self._orders))
        ]
        self._known: dict[tuple[tuple[int, ...], int], Ball] = {}
        self.here = values(point, {})

    def _at(self, multiples: tuple[int, ...], exponent: int) -> Ball:
        """The value at the point moved by `multiples` of 2**-exponent."""
        return self._all([multiples], exponent)[0]

    def _all(self, places: Sequence[tuple[int, ...]], exponent: int) -> list[Ball]:
        """The values at several such places, asked together."""
        missing = [place for place in places if (place, exponent) not in self._known]
        if missing:
            if self._values.work > self._until:
                raise _Spent
            step = arb(2) ** -exponent
            offsets = [{n: m * step for n, m in zip(self._names, place, strict=True)} for place in missing]
            for place, value in zip(missing, self._values.each(self.point, offsets), strict=True):
                self._known[place, exponent] = value
        return [self._known[place, exponent] for place in places]

    def side(self, signs: Sequence[int]) -> Side:
        """The limit of the difference quotient in one quadrant."""
        quotients: list[Ball] = []
        for exponent in self._exponents:
            quotient, height = self._quotient(signs, exponent)
            if not quotient.is_finite():
                return None if self._ends(signs, exponent) else UNSETTLED
            if len(self._names) == 1 and quotients and quotient.is_exact() and quotient == quotients[0]:
                return quotient  # the function is a polynomial of this order between the steps: nothing more can show
            quotients.append(quotient)
        first, second, third = quotients
        before, after = abs(second - first).abs_upper(), abs(third - second).abs_upper()
        noise = height * arb(2) ** -(NOISE + sum(self._orders) * self._size) + abs(third).abs_upper() * arb(2) ** -STILL
        if after <= before * arb(2) ** -SETTLED or after <= noise:
            # A mixed derivative must not depend on the ratio of the steps (Peano's x*y*(x**2 - y**2)/(x**2 + y**2) does).
            stretched = [self._quotient(signs, self._exponents[-1], s)[0] for s in STRETCHES] if len(self._names) > 1 else []
            if all(abs(s - third) <= before + noise for s in stretched):
                return third + arb(0, after)
            self.certain = False
            return UNSETTLED
        # Growth like log(h) doubles the difference, any faster one more; 1/log(h), which converges, repeats it.
        if abs(first) < abs(second) < abs(third) and (first > 0) == (second > 0) == (third > 0) and after > before * GROWTH:
            return arb.pos_inf() if third > 0 else arb.neg_inf()
        # The function is 0 but for the rounding of a constant: cos(pi/2), along the cut of a complex root.
        largest = max(abs(quotient).abs_upper() for quotient in quotients)
        if all(quotient.contains(0) for quotient in quotients) and largest < arb(2) ** -self._nothing:
            return arb(0, largest)
        return UNSETTLED

    def _ends(self, signs: Sequence[int], exponent: int) -> bool:
        """Whether a node of the quotient certainly lies outside of the domain; what isn't decided there is no end of it."""
        step = arb(2) ** -exponent
        for counts, _ in self._nodes:
            place = tuple(s * c for s, c in zip(signs, counts, strict=True))
            offsets = {n: m * step for n, m in zip(self._names, place, strict=True)}
            if not self._at(place, exponent).is_finite() and self._values.undefined(self.point, offsets):
                return True
        return False

    def _quotient(self, signs: Sequence[int], exponent: int, stretch: int = 1) -> tuple[Ball, Ball]:
        """The difference quotient on the nodes x + h, x + 2h, ..., and the size of the values in it. The steps of all names
        but the first are `stretch` times as long."""
        total, height = arb(0), arb(0)
        factors = [signs[0], *(s * stretch for s in signs[1:])]
        places = [tuple(f * c for f, c in zip(factors, counts, strict=True)) for counts, _ in self._nodes]
        for (_, weight), value in zip(self._nodes, self._all(places, exponent), strict=True):
            if not value.is_finite():
                return value, height
            total += weight * value
            height = height.max(abs(value))
        sign = math.prod(s**n for s, n in zip(signs, self._orders, strict=True))
        scale = arb(2) ** (exponent * sum(self._orders)) / stretch ** sum(self._orders[1:])
        return sign * total * scale, height.abs_upper()

    def meets(self) -> bool:
        """True where the function has one limit from all sides of a point at which its formula has no value."""
        around = [self._at(signs, self._exponents[-1]) for signs in self.quadrants]
        return all(abs(a - around[0]) < (abs(a) + 1) * arb(2) ** -MEETING for a in around)

    @cached_property
    def jumps(self) -> list[bool | None]:
        """Of each quadrant, whether the function's limit there is not its value; None where it has none. Empty where it is
        nowhere."""
        noise = arb(2) ** -JUMP * (abs(self.here) + arb(2) ** -self._nothing)
        found: list[bool | None] = []
        for signs in self.quadrants:
            far, near = (abs(self._at(signs, exponent) - self.here) for exponent in (self._exponents[0], self._exponents[-1]))
            known = far.is_finite() and near.is_finite()
            found.append(bool(near > noise and near.abs_lower() > far.abs_upper() * STAYS) if known else None)
        return found if any(found) else []

    @property
    def held(self) -> int:
        """On which side the value lies: -1, 1; 0 where on none, or where there are several names."""
        return (self.jumps.index(False) * 2 - 1) if len(self.quadrants) == 2 and False in self.jumps else 0


def _same(x: Ball, y: Ball) -> bool:
    return bool(x.overlaps(y)) or bool(abs(x - y) < abs(x) * arb(2) ** -EQUAL)
