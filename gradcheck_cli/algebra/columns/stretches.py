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
from gradcheck_cli.algebra.columns.primitives import Array
from gradcheck_cli.algebra.columns.rewriting import prepared
from gradcheck_cli.algebra.columns.words import OPEN, UP
from gradcheck_cli.algebra.number import Ball, conditions
from gradcheck_cli.algebra.program import Program
from gradcheck_cli.language.parser import parse

Settings = tuple[int, ...]


class Continued(NamedTuple):
    """What is known of a function of positive numbers as one of complex numbers; texts are in the language of formulas, with the
    row's integer settings filled in.

    modulus  bounds of it, any of which holds, where the real part lies between `low` and `high`, |low| <= high, and the
             imaginary part is `off` at most.
    right    whether that is so only in the right half-plane, where it is analytic.
    sign     of the function at -x: that at x times this; 0: another one.
    shifted  the function at a small x, by `f`, its value at x + 1; empty: it is made of stretches there too.
    """

    modulus: Callable[..., tuple[str, ...]]
    right: bool
    sign: Callable[..., float] = lambda *settings: 0.0
    shifted: Callable[..., str] = lambda *settings: ""


_ROUND = "sqrt(high**2 + off**2)"

CONTINUED: MappingProxyType[str, Continued] = MappingProxyType(
    {
        # |gamma(z)| <= gamma(x), https://dlmf.nist.gov/5.6.E6, which is convex; 5.5.E1
        "gamma": Continued(lambda: ("gamma(low) + gamma(high)",), True, shifted=lambda: "f/x"),
        # its derivative along the imaginary axis is bounded as digamma; on the real axis it is convex, -0.1215 at least
        "lgamma": Continued(
            lambda: ("abs(lgamma(low)) + abs(lgamma(high)) + 1/8"
                     " + off*(abs(polygamma(0, low)) + abs(polygamma(0, high)) + off*polygamma(1, low))",),
            True, shifted=lambda: "f - log(abs(x))",
        ),
        # |psi'(z)| <= psi'(x) and so on, term by term: https://dlmf.nist.gov/5.15.E1; psi grows on the real axis; 5.15.E5
        "polygamma": Continued(
            lambda n: (f"abs(polygamma({n}, low)) + abs(polygamma({n}, high)) + off*abs(polygamma({n + 1}, low))",),
            True, shifted=lambda n: f"f - {(-1) ** n * math.factorial(n)}/x**{n + 1}",
        ),
        # a power series of positive numbers, https://dlmf.nist.gov/10.25.E2; and of exp(z*cos t), 10.32.E3
        "besseli": Continued(
            lambda n: (f"besseli({n}, {_ROUND})", "besseli(0, high)"), False, sign=lambda n: (-1.0) ** n
        ),
        "i0e": Continued(lambda: ("exp(-low)*besseli(0, low)",), False, sign=lambda: 1.0),
        "i1e": Continued(
            lambda: ("exp(-low)*besseli(0, low)", f"exp(-low)*besseli(1, {_ROUND})"), False, sign=lambda: -1.0
        ),
    }
)  # fmt: skip
"""By the row's name."""

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

LOWEST, BEYOND = 2.0**-1000, arb(2) ** 1000
"""Below the first, words of numbers are subnormal; a function beyond the second isn't followed."""

NOTHING, SHORTER = "nothing is known", "too long for a polynomial"
"""What there is instead of a stretch: nothing, or its halves."""

KEPT = 1 << 13
"""Stretches of a function that are kept."""


class Stretch(NamedTuple):
    """A polynomial in (x - centre)*rate, which holds where that is at most 1: the words and radii of its coefficients."""

    centre: float
    rate: float
    coefficients: npt.NDArray[np.float64]


@cache
def _interpolating(degree: int) -> Any:
    """From values at the Chebyshev points cos(pi*j/degree) to coefficients of powers: those of Chebyshev polynomials are sums of
    the values, and these have whole coefficients."""
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
        self._value = Program([parse(f"{row}({names})")], ["x"], PLAIN, conditions)
        self._moduli = [Program([parse(text)], ["low", "high", "off"], PLAIN, conditions) for text in self._known.modulus(*settings)]
        self._sign = self._known.sign(*settings)
        shifted = self._known.shifted(*settings)
        self._shifted = Program(prepared([parse(shifted)], algebra), ["x", "f"], algebra) if shifted else None
        self._made: dict[int, Stretch | str] = {}
        self._asked: Counter[int] = Counter()

    # -- values -------------------------------------------------------------------------------------------------------

    def __call__(self, x: Sequence[Array]) -> tuple[Array, ...]:
        """The function of a column."""
        if self._sign:
            side = np.where(x[0] < 0.0, -1.0, 1.0)
            *words, radius = self._right((*(word * side for word in x[:-1]), x[-1]))
            return *(word * np.where(side < 0.0, self._sign, 1.0) for word in words), radius
        if self._shifted is None:
            return self._right(x)
        small = np.abs(x[0]) < 1.0
        if not np.any(small):
            return self._right(x)
        beyond = self._kernel("add")(x, self._algebra.number([1.0], 0.0))
        found = self._right(_chosen(small, beyond, x))
        return _chosen(small, self._shifted(x, found)[0], found)

    def _right(self, x: Sequence[Array]) -> tuple[Array, ...]:
        """The function of what is positive."""
        add, multiply = self._kernel("add"), self._kernel("multiply")
        number = self._algebra.number
        which, pieces = self._stretches(np.asarray(x[0]))
        if not pieces:
            return *(np.zeros(np.shape(x[0])) for _ in x[:-1]), np.full(np.shape(x[-1]), OPEN)
        centre, rate = (np.array([getattr(piece, name) for piece in pieces])[which] for name in ("centre", "rate"))
        rest = number([0.0], 0.0)[1:]
        *words, radius = multiply(self._kernel("subtract")(x, (centre, *rest)), (rate, *rest))
        degree = max(len(piece.coefficients) for piece in pieces)
        table = np.zeros((degree, self._words + 1, len(pieces)))
        for i, piece in enumerate(pieces):
            table[: len(piece.coefficients), :, i] = piece.coefficients
        t = (*words, radius)
        found = tuple(table[-1][:, which])
        for coefficients in table[-2::-1]:
            found = add(multiply(found, t), tuple(coefficients[:, which]))
        inside = (np.abs(words[0]) * UP + radius <= 1.0) & (which >= 0)
        return *found[:-1], np.where(inside, found[-1], OPEN)

    def _kernel(self, name: str) -> Callable[..., Any]:
        found: Callable[..., Any] = self._algebra._kernel(name)
        return found

    # -- stretches ----------------------------------------------------------------------------------------------------

    def _stretches(self, x: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.int64], list[Stretch]]:
        """The stretches of numbers, and on which of these each lies, -1: on none."""
        which = np.full(x.shape, -1)
        pieces: list[Stretch] = []
        bits = np.ascontiguousarray(x).view(np.int64).reshape(x.shape)
        left = (x > 0.0) & np.isfinite(x)
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
        return which, pieces

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
        with ctx.workprec(goal + 2 * highest + 32):
            half, middle = 1 / arb(rate), arb(centre)
            sizes = [abs(self._at(middle + half * t)).abs_upper() for t in (-1, 0, 1)]
            size = max(sizes)
            if not all(size.is_finite() for size in sizes) or not 0 < size or min(sizes) > BEYOND:
                return NOTHING
            degree, rest = self._remainder(middle, half, size * arb(2) ** -goal)
            if degree > highest:
                return SHORTER
            points = [middle + half * (arb(j) / degree).cos_pi() for j in range(degree + 1)]
            values = arb_mat(degree + 1, 1, [self._at(point) for point in points])
            found = _interpolating(degree) * values
            balls = [found[k, 0] for k in range(degree + 1)]
            balls[0] += arb(0, 1) * rest
            if not all(abs(ball) < BEYOND for ball in balls):
                return SHORTER
            return Stretch(centre, rate, np.array([self._word(ball) for ball in balls]))

    def _word(self, ball: Ball) -> tuple[float, ...]:
        words = float_words(ball, self._words)
        return *words, radius_around(ball_with(words, 0.0), ball)

    def _at(self, x: Ball) -> Ball:
        return self._value(x)[0]

    def _remainder(self, middle: Ball, half: Ball, goal: Ball) -> tuple[int, Ball]:
        """The least degree with which a polynomial is as near as that, of what the ellipses tell, and how near it is; a degree
        beyond all where none is."""
        best, rest = max(HIGHEST.values()) + 1, goal
        for ratio in map(arb, RATIOS):
            across, off = half * (ratio + 1 / ratio) / 2, half * (ratio - 1 / ratio) / 2
            low, high = middle - across, middle + across
            if self._known.right and not low > 0:
                continue
            bounds = [program(low, high, off)[0] for program in self._moduli]
            bounds = [bound.abs_upper() for bound in bounds if bound.is_finite()]
            if not bounds:
                continue
            whole = 4 * min(bounds) / (ratio - 1)
            needed = float((whole / goal).log() / ratio.log())
            degree = max(LEAST, math.ceil(needed)) if needed < best else best
            if degree < best:
                best, rest = degree, (whole * ratio**-degree).abs_upper()
        return best, rest


def _chosen(condition: npt.NDArray[np.bool_], x: Sequence[Array], y: Sequence[Array]) -> tuple[Array, ...]:
    return tuple(np.where(condition, a, b) for a, b in zip(x, y, strict=True))
