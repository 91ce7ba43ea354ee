"""Functions that have no kernel, as polynomials: one for each stretch of numbers, between a power of two and the next or a part
of that, made when enough numbers lie on it.

On a stretch the function is interpolated at Chebyshev points, at which `algebra.balls` evaluates it. An analytic function whose
modulus is at most M on the ellipse with foci at the ends of a stretch, whose half axes add up to r half lengths of it, is off
from a polynomial of degree n by at most 4*M*r**-n/(r - 1) (Trefethen, Approximation Theory and Approximation Practice, theorem
8.2). What bounds a modulus is in the table below. All else is balls.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from flint import arb, arb_mat, ctx

from gradcheck_cli.algebra.balls import PLAIN
from gradcheck_cli.algebra.columns.column import ball_with, float_words, radius_around
from gradcheck_cli.algebra.columns.rewriting import prepared
from gradcheck_cli.algebra.columns.words import OPEN, UP
from gradcheck_cli.algebra.number import Ball, conditions
from gradcheck_cli.algebra.program import Program
from gradcheck_cli.language.parser import parse

Settings = tuple[int, ...]

Column = tuple[Any, ...]
"""The words of numbers, and their radii."""


class Continued(NamedTuple):
    """What is known of a function of positive numbers as one of complex numbers; texts are in the language of formulas, with
    the row's integer settings filled in.

    modulus  bounds of it, any of which holds, where the real part lies between `low` and `high`, |low| <= high, the imaginary
             part is `off` at most, and the modulus `far`.
    right    whether that is so only in the right half-plane, where it is analytic.
    sign     of the function at -x: that at x times this; 0: another one.
    shifted  the function at a small x, by `f`, its value at x + 1; empty: it is made of stretches there too.
    slope    its derivative, by `f`, its value at x; empty: that of the polynomials.
    """

    modulus: Callable[..., tuple[str, ...]]
    right: bool
    sign: Callable[..., float] = lambda *settings: 0.0
    shifted: Callable[..., str] = lambda *settings: ""
    slope: Callable[..., str] = lambda *settings: ""


CONTINUED: MappingProxyType[str, Continued] = MappingProxyType(
    {
        # |gamma(z)| <= gamma(x), https://dlmf.nist.gov/5.6.E6, which is convex; 5.5.E1
        "gamma": Continued(
            lambda: ("gamma(low) + gamma(high)",), True, lambda: 0.0, lambda: "f/x", lambda: "f*polygamma(0, x)"
        ),
        # its derivative along the imaginary axis is bounded as digamma; on the real axis it is convex, -0.1215 at least
        "lgamma": Continued(
            lambda: ("abs(lgamma(low)) + abs(lgamma(high)) + 1/8"
                     " + off*(abs(polygamma(0, low)) + abs(polygamma(0, high)) + off*polygamma(1, low))",),
            True, lambda: 0.0, lambda: "f - log(abs(x))", lambda: "polygamma(0, x)",
        ),
        # |psi'(z)| <= psi'(x) and so on, term by term: https://dlmf.nist.gov/5.15.E1; psi grows on the real axis; 5.15.E5
        "polygamma": Continued(
            lambda n: (f"abs(polygamma({n}, low)) + abs(polygamma({n}, high)) + off*abs(polygamma({n + 1}, low))",),
            True, lambda n: 0.0, lambda n: f"f - {(-1) ** n * math.factorial(n)}/x**{n + 1}",
            lambda n: f"polygamma({n + 1}, x)",
        ),
        # a power series of positive numbers, https://dlmf.nist.gov/10.25.E2; and of exp(z*cos t), 10.32.E3
        "besseli": Continued(
            lambda n: (f"besseli({n}, far)", "besseli(0, high)"), False, lambda n: (-1.0) ** n
        ),
        "i0e": Continued(lambda: ("exp(-low)*besseli(0, low)",), False, lambda: 1.0),
        "i1e": Continued(
            lambda: ("exp(-low)*besseli(0, low)", "exp(-low)*besseli(1, far)"), False, lambda: -1.0
        ),
    }
)  # fmt: skip
"""By the row's name."""


ORDERS = 6
"""Of Bessel functions whose size is written out."""


def _scaled(n: int) -> str:
    """exp(-abs(x))*besseli(n, abs(x)) of a large x, by https://dlmf.nist.gov/10.29.E1."""
    before, here = "i0e(abs(x))", "i1e(abs(x))"
    for k in range(n):
        before, here = here, f"({before} - {2 * (k + 1)}*{here}/abs(x))"
    return before


LARGE: MappingProxyType[str, Callable[..., tuple[str, ...]]] = MappingProxyType(
    {
        "gamma": lambda: ("where(x > 0, 1, inf)", "lgamma(x)"),
        "besseli": lambda n: ("sign(x)" if n % 2 else "1", f"log({_scaled(n)})" if n <= ORDERS else "inf", "abs(x)"),
    }
)
"""What grows beyond every float, of a large x: its sign, and its logarithm, or two terms of that, of which the second is what
such functions share. What is infinite isn't known."""

HIGHEST_SETTING = 16
"""Settings that are followed."""

PAYS = 32
"""Numbers on a stretch from which on it is made: what it costs is some fifty balls."""

WIDER = 1.25
"""Times the length of a stretch is what its polynomial holds for: arguments have radii."""

PARTS = 4
"""How often what lies between two powers of two is halved, where one polynomial isn't enough."""

RATIOS = (3.0, 4.0, 6.0, 12.0, 40.0, 4096.0)
"""Sums of half axes of ellipses that are tried."""

GOAL = MappingProxyType({"single": 46, "double": 84})
"""Bits to which a function is known on a stretch, of its size there."""

LEAST = 2
HIGHEST = MappingProxyType({"single": 40, "double": 72})
"""Degrees of the shortest and the longest polynomials."""

SPARE, LOST = 24, 2
"""Bits of a value beside those of the goal, and more for each degree: powers cancel by up to (1 + sqrt(2))**degree."""

LOWEST, BEYOND = 2.0**-1000, arb(2) ** 1000
"""Below the first, words of numbers are subnormal; a function beyond the second isn't followed."""

NOTHING, SHORTER = "nothing is known", "too long for a polynomial"
"""What there is instead of a stretch: nothing, or its halves."""

KEPT = 1 << 13
"""Stretches of a function that are kept."""


class Stretch(NamedTuple):
    """A polynomial in (x - centre)*rate, which holds where that is at most 1: the words and radii of its coefficients; and
    those of its derivative by that."""

    centre: float
    rate: float
    coefficients: npt.NDArray[np.float64]
    slopes: npt.NDArray[np.float64]


@cache
def _interpolating(degree: int) -> Any:
    """From values at the Chebyshev points cos(pi*j/degree) to coefficients of powers: those of Chebyshev polynomials are sums
    of the values, and these have whole coefficients."""
    n = degree
    powers = [[1], [0, 1]]
    for k in range(2, n + 1):
        twice = [0, *(2 * c for c in powers[-1])]
        powers.append([c - d for c, d in zip(twice, powers[-2] + [0] * (k + 1 - len(powers[-2])), strict=True)])
    with ctx.workprec(53 + 4 * n + 128):
        ends = [arb(0.5) if j in (0, n) else arb(1) for j in range(n + 1)]
        sums = [[2 * ends[k] * ends[j] * (arb(j * k) / n).cos_pi() / n for j in range(n + 1)] for k in range(n + 1)]
        chebyshev = [[powers[k][i] if i <= k else 0 for k in range(n + 1)] for i in range(n + 1)]
        return arb_mat(chebyshev) * arb_mat(sums)


class Stretches:
    """A row of the function table, of one number, with settings: a kernel for columns of one kind in NumPy. `kernels`: those
    that it is made of. What lies on no stretch is open."""

    def __init__(self, row: str, settings: Settings, algebra: Any) -> None:
        self._known, self._kind, self._algebra = CONTINUED[row], algebra.kind, algebra
        self._words = algebra.words
        names = ", ".join([*map(str, settings), "x"])
        self._nothing = (0.0,) * self._words
        self._balls = Program([parse(f"{row}({names})")], ["x"], PLAIN, conditions)
        self._moduli = [
            Program([parse(text)], ["low", "high", "off", "far"], PLAIN, conditions) for text in self._known.modulus(*settings)
        ]
        self._sign = self._known.sign(*settings)
        shifted = self._known.shifted(*settings)
        self._shifted = Program(prepared([parse(shifted)], algebra), ["x", "f"], algebra) if shifted else None
        slope = self._known.slope(*settings)
        self._derived = Program(prepared([parse(slope)], algebra), ["x", "f"], algebra) if slope else None
        self._made: dict[int, Stretch | str] = {}
        self._asked: Counter[int] = Counter()
        self._best = 0

    # -- values -------------------------------------------------------------------------------------------------------

    def __call__(self, x: Column) -> Column:
        """The function of a column."""
        if self._sign:
            return self._mirrored(x, self._sign, self._value)
        small = np.abs(x[0]) < 1.0
        if self._shifted is None or not np.any(small):
            return self._value(x)
        beyond = self._kernel("add")(x, self._algebra.number([1.0], 0.0))
        found = self._value(_chosen(small, beyond, x))
        moved: Column = self._shifted(x, found)[0]
        return _chosen(small, moved, found)

    def slope(self, x: Column, value: Column) -> Column:
        """Its derivative there, where it has this value."""
        return self._derived(x, value)[0] if self._derived is not None else self._mirrored(x, -self._sign, self._steepness)

    def _mirrored(self, x: Column, sign: float, function: Callable[[Column], Column]) -> Column:
        """A function of positive numbers, and of negative ones, of which it is as much times `sign`."""
        side = np.where(x[0] < 0.0, -1.0, 1.0)
        *words, radius = function((*(word * side for word in x[:-1]), x[-1]))
        return *(word * np.where(side < 0.0, sign, 1.0) for word in words), radius

    def _value(self, x: Column) -> Column:
        which, pieces = self._stretches(np.asarray(x[0]))
        return self._polynomials(x, which, pieces, [piece.coefficients for piece in pieces])

    def _steepness(self, x: Column) -> Column:
        which, pieces = self._stretches(np.asarray(x[0]))
        found = self._polynomials(x, which, pieces, [piece.slopes for piece in pieces])
        rate = np.array([piece.rate for piece in pieces] or [0.0])[which]
        slope: Column = self._kernel("multiply")(found, (rate, *self._nothing))
        return slope

    def _polynomials(
        self, x: Column, which: npt.NDArray[np.int64], pieces: Sequence[Stretch], given: Sequence[npt.NDArray[np.float64]]
    ) -> Column:
        """The values of polynomials, whose coefficients are given, `which` of them at each number."""
        add, multiply, subtract = map(self._kernel, ("add", "multiply", "subtract"))
        if not pieces:
            return *(np.zeros(np.shape(x[0])) for _ in x[:-1]), np.full(np.shape(x[-1]), OPEN)
        centre, rate = (np.array([getattr(piece, name) for piece in pieces])[which] for name in ("centre", "rate"))
        t = multiply(subtract(x, (centre, *self._nothing)), (rate, *self._nothing))
        table = np.zeros((max(map(len, given)), self._words + 1, len(pieces)))
        for i, coefficients in enumerate(given):
            table[: len(coefficients), :, i] = coefficients
        found = tuple(table[-1][:, which])
        for some in table[-2::-1]:
            found = add(multiply(found, t), tuple(some[:, which]))
        inside = (np.abs(t[0]) * UP + t[-1] <= 1.0) & (which >= 0)
        return *found[:-1], np.where(inside, found[-1], OPEN)

    def _kernel(self, name: str) -> Callable[..., Any]:
        found: Callable[..., Any] = self._algebra._kernel(name)
        return found

    # -- stretches ----------------------------------------------------------------------------------------------------

    def _stretches(self, x: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.int64], list[Stretch]]:
        """The stretches of numbers, and on which of these each lies, -1: on none."""
        numbers = np.ascontiguousarray(x).reshape(-1)
        which = np.full(numbers.shape, -1)
        pieces: list[Stretch] = []
        bits = numbers.view(np.int64)
        left = (numbers > 0.0) & np.isfinite(numbers)
        for part in range(PARTS + 1):
            if not left.any():
                break
            keys, place, counts = np.unique(bits[left] >> (52 - part), return_inverse=True, return_counts=True)
            number, again = np.full(len(keys), -1), np.zeros(len(keys), dtype=bool)
            for i, (key, count) in enumerate(zip(keys.tolist(), counts.tolist(), strict=True)):
                found = self._stretch((part << 20) + key, count, key, part)
                again[i] = found is SHORTER
                if isinstance(found, Stretch):
                    number[i] = len(pieces)
                    pieces.append(found)
            which[left] = number[place]
            left[left] = again[place]
        return which.reshape(x.shape), pieces

    def _stretch(self, name: int, count: int, key: int, part: int) -> Stretch | str:
        """A stretch, or what is the matter with it."""
        if name not in self._made:
            self._asked[name] += count
            if self._asked[name] < PAYS:
                return NOTHING
            if len(self._made) >= KEPT:
                self._made.clear()
            low, high = (float(np.int64(k << (52 - part)).view(np.float64)) for k in (key, key + 1))
            self._made[name] = self._polynomial(low, high)
        return self._made[name]

    def _polynomial(self, low: float, high: float) -> Stretch | str:
        """That of the numbers between two."""
        goal, highest = GOAL[self._kind], HIGHEST[self._kind]
        centre, rate = low + (high - low) / 2, 2.0 / ((high - low) * WIDER)
        if not (low > LOWEST and math.isfinite(high)):
            return NOTHING
        with ctx.workprec(goal + SPARE):
            half, middle = 1 / arb(rate), arb(centre)
            sizes = [abs(self._at(arb(x))).abs_upper() for x in (low, centre, high)]
            size = max(sizes)
            if not all(size.is_finite() for size in sizes) or not size > 0 or min(sizes) > BEYOND:
                return NOTHING
            degree, rest, steeper = self._remainder(middle, half, size * arb(2) ** -goal)
        if degree > highest:
            return SHORTER
        with ctx.workprec(goal + SPARE + LOST * degree):
            points = [middle + (arb(j) / degree).cos_pi() / arb(rate) for j in range(degree + 1)]
            values = arb_mat(degree + 1, 1, [self._at(point) for point in points])
            found = _interpolating(degree) * values
            balls = [found[k, 0] for k in range(degree + 1)]
            balls[0] += arb(0, 1) * rest
            if not all(abs(ball) < BEYOND for ball in balls):
                return SHORTER
            coefficients = np.array([self._word(ball) for ball in balls])
        numbers = np.arange(1.0, degree + 1)
        *words, radius = self._kernel("multiply")(tuple(coefficients[1:].T), (numbers, *(0.0 * numbers for _ in self._nothing)))
        radius[0] = (radius[0] + float(steeper) * UP) * UP
        return Stretch(centre, rate, coefficients, np.stack([*words, radius], 1))

    def _word(self, ball: Ball) -> tuple[float, ...]:
        words = float_words(ball, self._words)
        return *words, radius_around(ball_with(words, 0.0), ball)

    def _at(self, x: Ball) -> Ball:
        return self._balls(x)[0]

    def _remainder(self, middle: Ball, half: Ball, goal: Ball) -> tuple[int, Ball, Ball]:
        """The least degree with which a polynomial is as near as that, of what the ellipses tell, how near it is, and how near
        its derivative; a degree beyond all where none is.

        Of f = sum of a[k]*T[k], |a[k]| <= 2*M*r**-k, the polynomial of degree n keeps the terms up to n, and has for each
        beyond another T in its place: f' is off by the sum over k > n of 4*M*r**-k*k**2 at most, and k <= (n + 1)*(k - n).
        """
        known: dict[int, tuple[float, Ball]] = {}

        def tried(i: int) -> float:
            if i not in known:
                inside = 0 <= i < len(RATIOS)
                known[i] = self._within(middle, half, goal, arb(RATIOS[i])) if inside else (math.inf, goal)
            return known[i][0]

        best = self._best if math.isfinite(tried(self._best)) else 0  # that of the last stretch, or one beside it
        for step in (1, -1):
            while tried(best + step) < tried(best):
                best += step
        self._best = best
        needed, whole = known[best]
        ratio = arb(RATIOS[best])
        degree = max(LEAST, math.ceil(min(needed, HIGHEST[self._kind] + 1)))
        rest = whole * ratio**-degree
        steeper = rest * (degree + 1) ** 2 * ratio * (ratio + 1) / (ratio - 1) ** 3
        return degree, (rest / (ratio - 1)).abs_upper(), steeper.abs_upper()

    def _within(self, middle: Ball, half: Ball, goal: Ball, ratio: Ball) -> tuple[float, Ball]:
        """The degree that one ellipse asks for, and 4*M."""
        across, off = half * (ratio + 1 / ratio) / 2, half * (ratio - 1 / ratio) / 2
        low, high, off = (middle - across).lower(), (middle + across).upper(), off.upper()
        ends = low, high, off, (high * high + off * off).sqrt().upper()  # exact: a function of wide balls may take minutes
        bounds = [program(*ends)[0] for program in self._moduli] if low > 0 or not self._known.right else []
        bounds = [bound.abs_upper() for bound in bounds if bound.is_finite()]
        if not bounds:
            return math.inf, goal
        whole = 4 * min(bounds)
        needed = float((whole / (ratio - 1) / goal).log() / ratio.log())
        return (needed if math.isfinite(needed) else math.inf), whole


def _chosen(condition: npt.NDArray[np.bool_], x: Column, y: Column) -> Column:
    return tuple(np.where(condition, a, b) for a, b in zip(x, y, strict=True))
