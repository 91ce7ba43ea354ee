"""Arguments of sin and cos of any size, reduced to a step of the circle.

x = m*2**(e - 52) with a whole m of 53 bits; a table has 2**(e - 52)*512/(2*pi) modulo 512 in pieces of 24 bits, whose products
with either half of m are exact (Payne and Hanek, SIGNUM 18 (1983)).
"""

from __future__ import annotations

from gradcheck_cli.algebra.columns.primitives import (
    Array,
    absolute,
    anywhere,
    bits,
    lookup,
    minimum,
    nearest,
    two_product,
    unbits,
    where,
)
from gradcheck_cli.algebra.columns.tables import (
    TURN_0,
    TURN_1,
    TURN_2,
    TURN_3,
    TURN_4,
    TURN_5,
    TURN_6,
    TURN_A,
    TURN_B,
    TURN_C,
    TURN_RATE,
    TURN_STEP,
    TURN_STEP_LOW,
)
from gradcheck_cli.algebra.columns.words import two_sum

NEAR = 2.0**14
"""Arguments up to this are reduced by the three parts of a step, larger ones by the table."""

TURNED_ERROR = 2.0**-91
"""What is small is added in plain floats, from 2**-33 of a step on: three roundings; a step is below 2**-6."""

STEEP = 2.0**-40
"""More than the words of a table and a rounding take from a slope."""

LOW, TABLE = 2.0**-9, 2.0**10
"""The low part of an argument up to the first is added to the rest; a number up to the second is reduced by the three parts of
a step, off by less than 2**-100."""

LOW_ERROR = 4.0 * TURNED_ERROR
"""Both parts of the argument, and a few roundings of what is small."""


def _within(a: Array) -> Array:
    """a modulo the circle, exactly: from -256 to 256 steps."""
    return a - 512.0 * nearest(a * (1.0 / 512.0))


def reduced(xh: Array, xl: Array) -> tuple[Array, Array, Array, Array]:
    """Whole steps, at most 4000, the rest as a word, for a finite |xh| > 2**10; and the bound of its error. A low part larger
    than LOW is reduced by itself."""
    k, r, rl = _steps(xh)
    large = absolute(xl) > LOW
    r, t = two_sum(r, where(large, 0.0, xl))
    r, rl = two_sum(r, t + rl)
    if not anywhere(large):
        return k, r, rl, 0.0 * k + TURNED_ERROR
    n = nearest(where(absolute(xl) > TABLE, 0.0, xl) * TURN_RATE)
    s, t = two_sum(xl - n * TURN_A, -n * TURN_B)  # n*A, n*B and the difference are exact
    s, t = two_sum(s, t - n * TURN_C)
    far = absolute(xl) > TABLE
    steps, rest, rest_low = _steps(where(far, xl, 2.0 * TABLE))
    n, s, t = where(far, steps, n), where(far, rest, s), where(far, rest_low, t)
    s, e = two_sum(r, s)
    m = nearest(s * TURN_RATE)
    s, f = two_sum(s, -m * TURN_STEP)
    s, e = two_sum(s, f + (e + (rl + t) - m * TURN_STEP_LOW))
    n = k + n + m
    return where(large, n, k), where(large, s, r), where(large, e, rl), where(large, LOW_ERROR, TURNED_ERROR)


def _steps(x: Array) -> tuple[Array, Array, Array]:
    """Whole steps of a finite number beyond TABLE, and the rest as a word, off by TURNED_ERROR at most."""
    i = bits(absolute(x))
    e = i >> 52
    m = unbits((i & 0xFFFFFFFFFFFFF) + (1075 << 52))
    upper = unbits(bits(m) & -0x4000000)
    lower = m - upper
    sign = where(x < 0.0, -1.0, 1.0)
    c0, c1, c2, c3 = lookup(TURN_0, e), lookup(TURN_1, e), lookup(TURN_2, e), lookup(TURN_3, e)
    c4, c5, c6 = lookup(TURN_4, e), lookup(TURN_5, e), lookup(TURN_6, e)
    s = _within(upper * c0) + _within(lower * c0) + _within(upper * c1) + _within(lower * c1) + _within(upper * c2)
    k = nearest(s)
    a, b = two_sum(s - k, lower * c2)
    a, g = two_sum(a, upper * c3)
    n = nearest(a)
    a = a - n
    b = (b + g) + ((lower * c3 + upper * c4) + ((lower * c4 + upper * c5) + (lower * c5 + upper * c6)))
    p, pe = two_product(a, TURN_STEP)
    r, rl = two_sum(p, pe + (a * TURN_STEP_LOW + b * TURN_STEP))
    return sign * (k + n), sign * r, sign * rl


def turned(xr: Array, slope: Array) -> Array:
    """How far a sine moves within a ball, at whose centre its slope is at most so large, but for STEEP: its second derivative
    is at most 1."""
    return minimum(xr, (slope + STEEP) * xr + 0.5 * (xr * xr))
