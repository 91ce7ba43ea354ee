"""Arithmetic of single words: (value, radius), the true number within the radius of the value. Enough for float32 and shorter.

Each bound is twice what rounding can do: it costs nothing here. What divides by a `room` that is 0 is infinite, or nan, and
open; so is a centre that isn't finite, but for limits of exp. Names: of an argument x the parts are xh, xr.
"""

from __future__ import annotations

from gradcheck_cli.algebra.columns.primitives import Array, Mask, absolute, divide, maximum, nearest, root, where
from gradcheck_cli.algebra.columns.truths import Truth, equal, negation
from gradcheck_cli.algebra.columns.words import DOWN, OPEN, SPECK, UNIT, UP

Single = tuple[Array, Array]

ROUNDED = 2.0 * UNIT
"""One rounding, twice."""


def negative(x: Single) -> Single:
    """-x."""
    xh, xr = x
    return -xh, xr


def add(x: Single, y: Single) -> Single:
    """x + y."""
    xh, xr = x
    yh, yr = y
    h = xh + yh
    return h, (xr + yr + ROUNDED * absolute(h)) * UP


def subtract(x: Single, y: Single) -> Single:
    """x - y."""
    xh, xr = x
    yh, yr = y
    h = xh - yh
    return h, (xr + yr + ROUNDED * absolute(h)) * UP


def multiply(x: Single, y: Single) -> Single:
    """x*y."""
    xh, xr = x
    yh, yr = y
    h = xh * yh
    return h, (absolute(xh) * yr + (absolute(yh) + yr) * xr + ROUNDED * absolute(h)) * UP + SPECK


def square(x: Single) -> Single:
    """x*x."""
    xh, xr = x
    h = xh * xh
    return h, ((2.0 * absolute(xh) + xr) * xr + ROUNDED * h) * UP + SPECK


def over(x: Single, y: Single) -> Single:
    """x/y; open where y may be 0."""
    xh, xr = x
    yh, yr = y
    h = divide(xh, yh)
    room = maximum(absolute(yh) * DOWN - yr, 0.0)
    size = absolute(h)
    return h, (divide(xr + size * yr + SPECK, room) + ROUNDED * size) * UP + SPECK


def reciprocal(y: Single) -> Single:
    """1/y; open where y may be 0."""
    return over((1.0, 0.0), y)


def square_root(x: Single) -> Single:
    """The root of a positive x, as in `double`; open where x may be 0."""
    xh, xr = x
    h = root(xh)
    room = maximum(xh * DOWN - xr, 0.0)
    return h, where(room > 0.0, (divide(0.5 * xr + SPECK, 0.5 * xh * DOWN + 0.5 * room) + ROUNDED) * h * UP, OPEN)


def scale(x: Single, factor: Array) -> Single:
    """x*factor for a power of two, or its negative."""
    xh, xr = x
    return xh * factor, xr * absolute(factor) + SPECK


# -- steps ---------------------------------------------------------------------------------------------------------------


def order(x: Single, y: Single) -> Truth:
    """Where x is certainly above y, and where it is certainly below."""
    xh, xr = x
    yh, yr = y
    apart = xh - yh
    reach = (xr + yr) * UP
    return apart * DOWN > reach, -apart * DOWN > reach


def less(x: Single, y: Single) -> Truth:
    """x < y."""
    return order(y, x)


def level(x: Single, y: Single) -> Truth:
    """x == y."""
    return equal(order(x, y))


def apart(x: Single, y: Single) -> Truth:
    """x != y."""
    return negation(equal(order(x, y)))


def choose(condition: Truth, x: Single, y: Single) -> Single:
    """x where the condition certainly holds, y where it certainly doesn't; else open."""
    holds, fails = condition
    xh, xr = x
    yh, yr = y
    return where(holds, xh, yh), where(holds, xr, where(fails, yr, OPEN))


def signed(x: Single) -> tuple[Array, Mask]:
    """1 or -1, the sign of the centre, and where it is certainly that of x."""
    xh, xr = x
    return where(xh < 0.0, -1.0, 1.0), absolute(xh) > xr


def magnitude(x: Single) -> Single:
    """|x| for x certainly not 0; else open."""
    xh, xr = x
    sign, certain = signed(x)
    return xh * sign, where(certain, xr, OPEN)


def sign(x: Single) -> Single:
    """1 or -1, for x certainly not 0; else open."""
    value, certain = signed(x)
    return value, where(certain, 0.0, OPEN)


def floor(x: Single) -> Single:
    """The largest whole number below x, where x is certainly between two; else open."""
    xh, xr = x
    n = nearest(xh)
    beyond = xh - n
    certain = (absolute(beyond) > xr) & (xr < 0.25) & (absolute(xh) < 2.0**40)
    return where(beyond < 0.0, n - 1.0, n), where(certain, 0.0, OPEN)


def rounded(x: Single) -> Single:
    """The whole number next to x, where x is certainly not in the middle between two; else open."""
    xh, xr = x
    n = nearest(xh)
    return n, where(absolute(xh - n) + xr < 0.5 * DOWN, 0.0, OPEN)
