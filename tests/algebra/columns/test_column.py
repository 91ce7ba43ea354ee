"""Words as balls: several at once, and their sum, against exact rational arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from flint import arb

from gradcheck_cli.algebra.columns.column import ball_of, balls_of, entries, sum_of
from gradcheck_cli.algebra.columns.words import OPEN
from gradcheck_cli.algebra.number import Ball, working


def holds(ball: Ball, number: Fraction) -> bool:
    """Whether a ball holds a rational number, whose denominator is a power of two."""
    with working(4096):
        return bool(ball.contains(arb(number.numerator) / number.denominator))


@pytest.mark.parametrize("spread", [0, 40, 300])
def test_a_sum_holds_every_sum_of_its_numbers(spread: int) -> None:
    """At both rims, wherever the terms cancel; and is hardly wider than the radii: by 2**-28 of them and 2**-96 of itself."""
    draw = np.random.default_rng(spread)
    high = np.ldexp(draw.normal(size=500), draw.integers(-spread, spread + 1, 500))
    high[::7] = -high[1::7][: len(high[::7])]
    low, radii = high * 2.0**-54 * draw.uniform(-1, 1, 500), np.abs(high) * 2.0**-90
    exact = sum(map(Fraction, [*high.tolist(), *low.tolist()]), Fraction(0))
    slack = sum(map(Fraction, radii.tolist()), Fraction(0))
    found = sum_of([high, low], radii)
    assert all(holds(found, exact + sign * slack) for sign in (-1, 0, 1))
    assert float(found.rad()) <= float(slack) * (1 + 2.0**-28) + abs(float(exact)) * 2.0**-96


def test_what_is_open_has_no_sum() -> None:
    """Nor has what isn't finite, or overflows on the way."""
    one, none = np.ones(2), np.zeros(2)
    for high, radii in ((one, np.array([0.0, OPEN])), (np.array([np.inf, -np.inf]), none), (one * 1.7e308, none)):
        assert not sum_of([high, none], radii).is_finite()


def test_several_balls_are_those_of_each() -> None:
    """A part may have one number for all."""
    high, radii = np.array([1.0, 2.0, 3.0]), np.array([[0.5, OPEN, 0.25], [1.0, 1.0, 1.0]])
    words, low, rims = (entries(part, [0, 2, 1]) for part in (high, np.float64(2.0**-60), radii[0]))
    found = balls_of([words, low], rims)
    wanted = [ball_of(1.0, 2.0**-60, 0.5), ball_of(3.0, 2.0**-60, 0.25)]
    assert [(b.mid(), b.rad()) for b in found[:2]] == [(b.mid(), b.rad()) for b in wanted] and not found[2].is_finite()


def test_entries_of_any_order_in_memory() -> None:
    """Those at places of the logical order, of what is transposed or broadcast, in a list or in steps."""
    numbers = np.arange(12.0).reshape(3, 4)
    for array in (numbers, numbers.T, numbers[:, ::2], np.broadcast_to(numbers[:, :1], (3, 4))):
        plain = [float(v) for row in array.tolist() for v in row]
        assert entries(array, [1, 5, 2]) == [plain[1], plain[5], plain[2]]
        assert entries(array, range(1, 6, 2)) == plain[1:6:2]
    assert entries(np.ones((1, 1)), [0, 0, 0]) == [1.0] * 3
