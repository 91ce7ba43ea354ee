"""Products of matrices of balls, against fractions."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import pytest
from flint import arb, arb_series, ctx

from gradcheck_cli.algebra.certainty import Certain
from gradcheck_cli.algebra.directions import Directional, Precise, slope, value_of
from gradcheck_cli.algebra.layers import Rounded
from gradcheck_cli.algebra.products import many
from gradcheck_cli.algebra.series import terms
from gradcheck_cli.algebra.tape import Taped, derivatives
from gradcheck_cli.floats import FORMATS

SIZES = [(6, 7, 5), (1, 40, 40), (9, 20, 1), (2, 1, 3)]
"""The last is multiplied row by row, the others at once."""


def numbers(count: int, seed: int) -> list[float]:
    """Of many sizes, some 0."""
    rng = random.Random(seed)
    return [rng.choice((0.0, 1.0, 1.0, 1.0)) * rng.uniform(-1, 1) * 2.0 ** rng.randint(-60, 60) for _ in range(count)]


def exactly(xs: list[float], ys: list[float], sizes: tuple[int, int, int]) -> list[Fraction]:
    rows, inner, columns = sizes
    return [
        sum((Fraction(xs[r * inner + k]) * Fraction(ys[k * columns + c]) for k in range(inner)), Fraction(0))
        for r in range(rows)
        for c in range(columns)
    ]


def holds(ball: Any, number: Fraction) -> bool:
    """Whether the number lies in the ball, which is no wider than it needs to be."""
    with ctx.workprec(2000):
        return bool(ball.contains(arb(number.numerator) / number.denominator))


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_products_of_balls_hold_the_exact_ones(sizes: tuple[int, int, int]) -> None:
    """In exact layers, and with what rounding may do, as each row with each column; what is 0 is 0."""
    rows, inner, columns = sizes
    xs, ys = numbers(rows * inner, 0), numbers(inner * columns, 1)
    wanted = exactly(xs, ys, sizes)
    for layer in (Precise(), Rounded(FORMATS["float64"]), Rounded(FORMATS["float16"]), Certain()):
        left, right = layer.data(xs, FORMATS["float64"]), layer.data(ys, FORMATS["float64"])
        found = layer.products(left, right, sizes, False)
        each = [layer.dot(left[r * inner : (r + 1) * inner], right[c::columns]) for r in range(rows) for c in range(columns)]
        assert all(map(holds, found, wanted))
        for one, other in zip(found, each, strict=True):
            assert one.overlaps(other) and one.rad() <= 2 * other.rad() + 1e-30 * abs(other)
            assert one.is_zero() == other.is_zero()
    assert many([arb(x) for x in xs], [arb(y) for y in ys], sizes) is (sizes != SIZES[-1])


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_products_of_series_have_the_slopes_of_fractions(sizes: tuple[int, int, int]) -> None:
    """(XY)' = X'Y + XY', where some numbers move; what meets none that does stays a ball."""
    rows, inner, columns = sizes
    xs, ys = numbers(rows * inner, 2), numbers(inner * columns, 3)
    dxs = [0.0 if i < inner else float(i % 3) for i in range(len(xs))]
    dys = [0.0 if i % columns < 2 else float(i % 5) for i in range(len(ys))]
    with terms(2):
        left, right = (
            [arb_series([x, u], 2) if u else arb(x) for x, u in zip(*pair, strict=True)] for pair in ((xs, dxs), (ys, dys))
        )
        found = Directional().products(left, right, sizes)
        slopes = [p + q for p, q in zip(exactly(dxs, ys, sizes), exactly(xs, dys, sizes), strict=True)]
        assert all(map(holds, map(value_of, found), exactly(xs, ys, sizes)))
        assert all(map(holds, map(slope, found), slopes))
    if inner > 1 and rows > 1 and columns > 2:
        assert [type(found[0]), type(found[-1])] == [arb, arb_series]


def test_numbers_that_know_what_they_were_made_of_are_multiplied_one_by_one() -> None:
    """Flint's matrices hold balls alone."""
    with terms(2):
        xs = [Taped(arb(i)) for i in range(36)]
        result = Directional().products(xs, [arb(2)] * 36, (6, 6, 6))
        assert [float(d) for d in derivatives(result[0], xs)] == [2.0] * 6 + [0.0] * 30


def test_what_is_not_finite_spoils_what_it_meets_alone() -> None:
    """A nan, and an infinity times 0, as number by number."""
    xs, ys = [arb(1)] * 36, [arb(2)] * 36
    xs[0], xs[6], ys[0] = arb("nan"), arb("inf"), arb(0)
    found = Precise().products(xs, ys, (6, 6, 6))
    assert [c.is_nan() for c in found[:7]] == [True] * 7
    assert all(c == 2 * 6 - 2 * (i % 6 == 0) for i, c in enumerate(found) if i >= 12)
