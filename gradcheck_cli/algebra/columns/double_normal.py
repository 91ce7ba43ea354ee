"""The error function of double words: Taylor's polynomials from a table, whose first four terms are words."""

from __future__ import annotations

from gradcheck_cli.algebra.columns.double import Double, add, multiply, negative, square, subtract
from gradcheck_cli.algebra.columns.double_functions import ONE, exp, outwards
from gradcheck_cli.algebra.columns.primitives import (
    Array,
    Whole,
    absolute,
    divide,
    floating,
    lookup,
    maximum,
    minimum,
    nearest,
    two_product,
    where,
    whole,
)
from gradcheck_cli.algebra.columns.tables_normal import END, PLAIN_HIGH, PLAIN_LOW, SCALED_HIGH, SCALED_LOW, STEPS
from gradcheck_cli.algebra.columns.words import OPEN, TINY, UNIT, UNIT2, UP, fast_two_sum, two_sum

TAIL = 5.0 * UNIT
"""The term of t**4, at most half, and what follows: eight roundings, and room."""

WORD = 10 * UNIT2
"""Four products and sums of words, and room."""

SLOPE = 1.1284
"""2/sqrt(pi), rounded up."""


def _step(high: Array, low: Array, t: Array, tl: Array, y: Array, yl: Array) -> tuple[Array, Array]:
    """a + t*y of words, for an a that is 0 or larger than the product."""
    p, e = two_product(t, y)
    h, r = fast_two_sum(high, p)
    return h, r + (low + (e + (t * yl + tl * y)))


def _scaled(j: Whole, t: Array, tl: Array) -> tuple[Array, Array]:
    """erfcx at the middle of piece j, and t + tl further."""
    q = lookup(SCALED_HIGH[11], j) + t * lookup(SCALED_HIGH[12], j)
    q = lookup(SCALED_HIGH[9], j) + t * (lookup(SCALED_HIGH[10], j) + t * q)
    q = lookup(SCALED_HIGH[7], j) + t * (lookup(SCALED_HIGH[8], j) + t * q)
    q = lookup(SCALED_HIGH[5], j) + t * (lookup(SCALED_HIGH[6], j) + t * q)
    q = t * (lookup(SCALED_HIGH[4], j) + t * q)
    y, e = fast_two_sum(lookup(SCALED_HIGH[3], j), q)
    y, yl = y, e + lookup(SCALED_LOW[3], j)
    y, yl = _step(lookup(SCALED_HIGH[2], j), lookup(SCALED_LOW[2], j), t, tl, y, yl)
    y, yl = _step(lookup(SCALED_HIGH[1], j), lookup(SCALED_LOW[1], j), t, tl, y, yl)
    y, yl = _step(lookup(SCALED_HIGH[0], j), lookup(SCALED_LOW[0], j), t, tl, y, yl)
    return fast_two_sum(y, yl)


def _plain(j: Whole, t: Array, tl: Array) -> tuple[Array, Array]:
    """erf at j/32, and t + tl further."""
    q = lookup(PLAIN_HIGH[11], j) + t * lookup(PLAIN_HIGH[12], j)
    q = lookup(PLAIN_HIGH[9], j) + t * (lookup(PLAIN_HIGH[10], j) + t * q)
    q = lookup(PLAIN_HIGH[7], j) + t * (lookup(PLAIN_HIGH[8], j) + t * q)
    q = lookup(PLAIN_HIGH[5], j) + t * (lookup(PLAIN_HIGH[6], j) + t * q)
    q = t * (lookup(PLAIN_HIGH[4], j) + t * q)
    y, e = two_sum(lookup(PLAIN_HIGH[3], j), q)
    y, yl = y, e + lookup(PLAIN_LOW[3], j)
    y, yl = _step(lookup(PLAIN_HIGH[2], j), lookup(PLAIN_LOW[2], j), t, tl, y, yl)
    y, yl = _step(lookup(PLAIN_HIGH[1], j), lookup(PLAIN_LOW[1], j), t, tl, y, yl)
    y, yl = _step(lookup(PLAIN_HIGH[0], j), lookup(PLAIN_LOW[0], j), t, tl, y, yl)
    return fast_two_sum(y, yl)


def _centre(h: Array, low: Array) -> Double:
    """erfcx of a word between 0 and END; beyond, that of almost END."""
    bounded = minimum(h, END - 2.0**-10)
    low = where(bounded < h, 0.0, low)  # of a large number it would lead far out of the piece
    j = whole(bounded * STEPS) & 1023
    t, e = two_sum(bounded, (floating(j) + 0.5) * (-1.0 / STEPS))
    t, tl = two_sum(t, e + low)
    y, yl = _scaled(j, t, tl)
    return y, yl, y * (TAIL * ((t * t) * (t * t)) + WORD)


def _fall(x: Array) -> Array:
    """How steep erfcx is at most beyond x: -erfcx' = 2/sqrt(pi) - 2x*erfcx, and erfcx > x/(sqrt(pi)*(x**2 + 1/2)), the second
    convergent of its continued fraction."""
    return divide(SLOPE, 1.0 + 2.0 * x * x)


def erfcx(x: Double) -> Double:
    """exp(x**2)*erfc(x), between 0 and END; else open."""
    xh, xl, xr = x
    y, yl, radius = _centre(xh, xl)
    return y, yl, where((xh >= xr) & (xh < END - 2.0**-10), (_fall(xh - xr) * xr + radius) * UP, OPEN)


def _tail(away: Double) -> Double:
    """erfc(x) = exp(-x**2)*erfcx(x) for the centre of a positive x, and how far it moves in the ball; 0 beyond END."""
    h, low, xr = away
    power = exp(negative(square((h, low, 0.0))))
    y, yl, radius = multiply(power, _centre(h, low))
    most = divide(SLOPE * (power[0] + power[2]) * xr, maximum(1.0 - 2.0 * h * xr, 0.0))
    return y, yl, where(h - xr > END, TINY, (radius + most) * UP + TINY) + (h - h)  # nan at infinity


def erfc(x: Double) -> Double:
    """erfc(x), its own size kept at the end where it is small; below TINY beyond END."""
    away, sign = outwards(x)
    y, yl, radius = _tail(away)
    return add((1.0 - sign, 0.0, 0.0), (sign * y, sign * yl, radius))


def erf(x: Double) -> Double:
    """1 - erfc(|x|), and Taylor's polynomial up to 1/2."""
    away, sign = outwards(x)
    y, yl, radius = subtract(ONE, _tail(away))
    h, low, xr = away
    n = nearest(minimum(h, 0.5) * STEPS)
    t, e = two_sum(h, n * (-1.0 / STEPS))
    t, tl = two_sum(t, e + low)
    z, zl = _plain(whole(n) & 31, t, tl)
    off = (SLOPE * xr + (TAIL * (t * t) * (t * t) + WORD * absolute(z))) * UP + TINY
    small = h < 0.5
    return sign * where(small, z, y), sign * where(small, zl, yl), where(small, off, radius)
