"""What entries of matrices are made of: roots and exponentials, as balls and as power series, against mpmath's."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from flint import arb, arb_series, ctx
from mpmath import mp, mpf

from gradcheck_cli.algebra.balls import PLAIN, SMOOTH
from gradcheck_cli.algebra.number import ZERO
from gradcheck_cli.algebra.series import SERIES, coefficient, terms
from gradcheck_cli.language.functions import TABLE

ORDER = 3


def of(algebra: Any, name: str) -> Callable[..., Any]:
    found: Callable[..., Any] = algebra.evaluate(name) if hasattr(algebra, "evaluate") else algebra.function(TABLE[name])
    return found


def contains(ball: Any, value: Any, digits: int = 40) -> bool:
    """Whether the ball holds mpmath's number, which is right to some digits, and is about as narrow."""
    middle, radius = mpf(ball.mid().str(60, radius=False)), mpf(ball.rad().str(10, radius=False))
    near = mpf(10) ** -digits * max(1, abs(value))
    return bool(abs(middle - value) <= radius + near and radius <= near)


def from_roots(roots: Sequence[Any]) -> list[Any]:
    """The coefficients of a polynomial, the constant first."""
    found: list[Any] = [1]
    for r in roots:
        found = [a - r * b for a, b in zip([0, *found], [*found, 0], strict=True)]
    return found


def exact(x: float) -> Any:
    return arb(x)


@pytest.mark.parametrize("seed", range(6))
def test_roots_of_real_ones(seed: int) -> None:
    """Each of them, in ascending order, simple ones in SMOOTH too."""
    rng = random.Random(seed)
    mp.dps = 60
    roots = sorted(rng.sample(range(-4000, 4000), rng.randint(1, 6)))
    with ctx.workprec(300):
        numbers = from_roots([arb(r) / 1024 for r in roots])
        numbers = [arb(c) for c in numbers]
        for k, r in enumerate(roots):
            for algebra in (PLAIN, SMOOTH):
                assert contains(of(algebra, "root")(*numbers, k), mpf(r) / 1024), (roots, k)


def test_roots_that_are_equal() -> None:
    """Have a value, and are not analytic; nearly equal ones are told apart, and what isn't known well enough is nothing."""
    with ctx.workprec(300):
        double = [arb(c) for c in from_roots([1, 1, -2, 3])]
        assert [of(PLAIN, "root")(*double, k) for k in range(4)] == [-2, 1, 1, 3]
        assert [of(SMOOTH, "root")(*double, k).is_finite() for k in range(4)] == [True, False, False, True]
        tiny = arb(2) ** -60
        near = [arb(c) for c in from_roots([arb(1), 1 + tiny, arb(2)])]
        assert of(SMOOTH, "root")(*near, 1).overlaps(1 + tiny)
        assert not of(SMOOTH, "root")(*near, 1).overlaps(arb(1))
        blurred = [c + arb(0, 1e-30) for c in double]
        assert not any(of(PLAIN, "root")(*blurred, k).is_finite() for k in range(4))
        assert not of(PLAIN, "root")(arb("nan"), arb(1), 0).is_finite()


@pytest.mark.parametrize("seed", range(4))
def test_series_of_a_root(seed: int) -> None:
    """Coefficient k times k! is the derivative of order k, where all coefficients of the polynomial move."""
    rng = random.Random(seed)
    mp.dps = 60
    given = [mpf(c) for c in from_roots(sorted(rng.sample(range(-9, 9), 3)))]
    moving = [mpf(rng.randint(-8, 8)) / 8 for _ in given]

    def value(t: Any, k: int) -> Any:
        found = mp.polyroots([c + t * d for c, d in zip(given, moving, strict=True)][::-1], maxsteps=200, extraprec=400)
        return sorted(mp.re(r) for r in found)[k]

    with ctx.workprec(300), terms(ORDER + 1):
        series = [arb_series([exact(float(c)), exact(float(d))], ORDER + 1) for c, d in zip(given, moving, strict=True)]
        for k in range(3):
            found = of(SERIES, "root")(*series, k)
            for n in range(ORDER + 1):
                truth = mp.diff(lambda t, k=k: value(t, k), 0, n, h=mpf(10) ** -10) if n else value(mpf(0), k)
                assert contains(coefficient(found, n) * math.factorial(n), truth, 8), (k, n)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_exponentials(n: int) -> None:
    """Values, and series: of exp(A + t*B)."""
    rng = random.Random(n)
    mp.dps = 60
    a, b = (mp.matrix(n, n) for _ in range(2))
    for i in range(n):
        for j in range(n):
            a[i, j], b[i, j] = mpf(rng.randint(-64, 64)) / 32, mpf(rng.randint(-64, 64)) / 32
    places = [(i, j) for i in range(n) for j in range(n)]
    with ctx.workprec(300), terms(ORDER + 1):
        numbers = [exact(float(a[p])) for p in places]
        series = [arb_series([exact(float(a[p])), exact(float(b[p]))], ORDER + 1) for p in places]
        for i, j in places:
            assert contains(of(SMOOTH, "exponential")(*numbers, i, j), mp.expm(a, method="taylor")[i, j])
            found = of(SERIES, "exponential")(*series, i, j)
            for k in range(ORDER + 1):
                truth = mp.diff(lambda t, i=i, j=j: mp.expm(a + t * b, method="taylor")[i, j], 0, k, h=mpf(10) ** -12)
                assert contains(coefficient(found, k) * math.factorial(k), truth, 10), (i, j, k)


def test_what_is_meant_to_be_the_same() -> None:
    """0, unless it certainly isn't."""
    with ctx.workprec(200):
        for algebra in (PLAIN, SMOOTH):
            alike = of(algebra, "alike")
            assert alike(arb(1), arb(1)) == ZERO
            assert alike(arb(1), arb(1) + arb(0, 1e-20)) == ZERO
            assert alike(arb(1), arb(1) + arb(2) ** -80).is_nan()
