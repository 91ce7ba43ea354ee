"""The error function of single words: Taylor's polynomials from a table."""

from __future__ import annotations

from gradcheck_cli.algebra.columns.primitives import (
    Array,
    absolute,
    divide,
    floating,
    lookup,
    maximum,
    minimum,
    nearest,
    where,
    whole,
)
from gradcheck_cli.algebra.columns.single import Single, add, multiply, negative, square, subtract
from gradcheck_cli.algebra.columns.single_functions import ONE, exp, outwards
from gradcheck_cli.algebra.columns.tables_normal import END, PLAIN_HIGH, SCALED_HIGH, STEPS
from gradcheck_cli.algebra.columns.words import OPEN, SPECK, UNIT, UP

SCALED_ROUNDED = 5.0 * UNIT
"""The table, the last sum, and what is t = 2**-6 beside them."""

PLAIN_ROUNDED = 6.0 * UNIT

SLOPE = 1.1284
"""2/sqrt(pi), rounded up."""


def _centre(h: Array) -> Single:
    """erfcx of a number between 0 and END."""
    bounded = minimum(h, END - 2.0**-10)
    j = whole(bounded * STEPS) & 1023
    t = bounded - (floating(j) + 0.5) * (1.0 / STEPS)
    q = lookup(SCALED_HIGH[7], j) + t * lookup(SCALED_HIGH[8], j)
    q = lookup(SCALED_HIGH[5], j) + t * (lookup(SCALED_HIGH[6], j) + t * q)
    q = lookup(SCALED_HIGH[3], j) + t * (lookup(SCALED_HIGH[4], j) + t * q)
    q = lookup(SCALED_HIGH[1], j) + t * (lookup(SCALED_HIGH[2], j) + t * q)
    y = lookup(SCALED_HIGH[0], j) + t * q
    return y, SCALED_ROUNDED * y


def _fall(x: Array) -> Array:
    """How steep erfcx is at most beyond x: -erfcx' = 2/sqrt(pi) - 2x*erfcx, and erfcx > x/(sqrt(pi)*(x**2 + 1/2)), the second
    convergent of its continued fraction."""
    return divide(SLOPE, 1.0 + 2.0 * x * x)


def erfcx(x: Single) -> Single:
    """exp(x**2)*erfc(x), between 0 and END; else open."""
    xh, xr = x
    y, radius = _centre(xh)
    return y, where((xh >= xr) & (xh < END - 2.0**-10), (_fall(xh - xr) * xr + radius) * UP, OPEN)


def _tail(away: Single) -> Single:
    """erfc(x) = exp(-x**2)*erfcx(x) for the centre of a positive x, and how far it moves in the ball; 0 beyond END."""
    h, xr = away
    power = exp(negative(square((h, 0.0))))
    y, radius = multiply(power, _centre(h))
    most = divide(SLOPE * (power[0] + power[1]) * xr, maximum(1.0 - 2.0 * h * xr, 0.0))
    return y, where(h - xr > END, SPECK, (radius + most) * UP + SPECK) + (h - h)  # nan at infinity


def erfc(x: Single) -> Single:
    """erfc(x), its own size kept at the end where it is small; below SPECK beyond END."""
    away, sign = outwards(x)
    y, radius = _tail(away)
    return add((1.0 - sign, 0.0), (sign * y, radius))


def erf(x: Single) -> Single:
    """1 - erfc(|x|), and Taylor's polynomial up to 1/2."""
    away, sign = outwards(x)
    y, radius = subtract(ONE, _tail(away))
    h, xr = away
    n = nearest(minimum(h, 0.5) * STEPS)
    j = whole(n) & 31
    t = h - n * (1.0 / STEPS)
    q = lookup(PLAIN_HIGH[7], j) + t * lookup(PLAIN_HIGH[8], j)
    q = lookup(PLAIN_HIGH[5], j) + t * (lookup(PLAIN_HIGH[6], j) + t * q)
    q = lookup(PLAIN_HIGH[3], j) + t * (lookup(PLAIN_HIGH[4], j) + t * q)
    z = lookup(PLAIN_HIGH[0], j) + t * (lookup(PLAIN_HIGH[1], j) + t * (lookup(PLAIN_HIGH[2], j) + t * q))
    small = h < 0.5
    off = (SLOPE * xr + PLAIN_ROUNDED * absolute(z)) * UP + SPECK
    return sign * where(small, z, y), where(small, off, radius)
