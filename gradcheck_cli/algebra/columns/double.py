"""Arithmetic of double words: (high, low, radius), the true number within the radius of high + low.

|low| is at most half a gap of `high`, that is u*|high|. Each docstring says what the centre of the result may be off; the
radius adds how far the function moves within the balls of its arguments: what divides by a `room` that is 0 is infinite, or
nan, and open. So is a centre that isn't finite, whatever the radius; but exp and what is made of it have limits at infinity.
Names: of an argument x the parts are xh, xl, xr.
"""

from __future__ import annotations

from gradcheck_cli.algebra.columns.primitives import Array, Mask, absolute, divide, maximum, nearest, root, two_product, where
from gradcheck_cli.algebra.columns.truths import Truth, equal, negation
from gradcheck_cli.algebra.columns.words import DOWN, OPEN, TINY, UNIT, UNIT2, UP, fast_two_sum, two_sum

Double = tuple[Array, Array, Array]

SUM = 2.0 * UNIT
"""One rounding each of two small parts."""

PRODUCT = 10 * UNIT2
"""DWTimesDW1, algorithm 10: 5u**2 for words of half a gap; here the four roundings of low parts make 8u**2 at most."""

QUOTIENT = 13 * UNIT2
"""DWDivDW1, algorithm 16: 15u**2; here 12u**2: see `quotient`."""

ROOT = 9 * UNIT2
"""Lefevre, Louvet, Muller, Picot and Rideau, ACM TOMS 49 (2023): 25/8 u**2; here 4.2u**2, for the remainder is rounded once
more."""


def negative(x: Double) -> Double:
    """-x."""
    xh, xl, xr = x
    return -xh, -xl, xr


def add(x: Double, y: Double) -> Double:
    """x + y, off by a unit of the sum of the low parts and one of all that is low."""
    xh, xl, xr = x
    yh, yl, yr = y
    s, t = two_sum(xh, yh)
    w = xl + yl
    v = t + w
    h, low = two_sum(s, v)
    return h, low, (xr + yr + SUM * (absolute(w) + absolute(v))) * UP


def subtract(x: Double, y: Double) -> Double:
    """x - y, as `add`."""
    xh, xl, xr = x
    yh, yl, yr = y
    s, t = two_sum(xh, -yh)
    w = xl - yl
    v = t + w
    h, low = two_sum(s, v)
    return h, low, (xr + yr + SUM * (absolute(w) + absolute(v))) * UP


def multiply(x: Double, y: Double) -> Double:
    """x*y, off by PRODUCT of its size."""
    xh, xl, xr = x
    yh, yl, yr = y
    p, e = two_product(xh, yh)
    h, low = fast_two_sum(p, e + (xh * yl + xl * yh))
    return h, low, (absolute(xh) * yr + (absolute(yh) + yr) * xr + PRODUCT * absolute(h)) * UP + TINY


def square(x: Double) -> Double:
    """x*x, as `multiply`."""
    xh, xl, xr = x
    p, e = two_product(xh, xh)
    h, low = fast_two_sum(p, e + 2.0 * (xh * xl))
    return h, low, ((2.0 * absolute(xh) + xr) * xr + PRODUCT * absolute(h)) * UP + TINY


def quotient(xh: Array, xl: Array, yh: Array, yl: Array) -> tuple[Array, Array]:
    """The centre of x/y, off by QUOTIENT of its size: the remainder x - q*y has three roundings, 6u**2 of x, and what it is
    divided by and the division itself are off by 3u of it each."""
    q = divide(xh, yh)
    p, e = two_product(q, yh)
    return fast_two_sum(q, divide(((xh - p) - e) + (xl - q * yl), yh))


def over(x: Double, y: Double) -> Double:
    """x/y; open where y may be 0."""
    xh, xl, xr = x
    yh, yl, yr = y
    h, low = quotient(xh, xl, yh, yl)
    room = maximum(absolute(yh) * DOWN - yr, 0.0)
    size = absolute(h)
    return h, low, (divide(xr + size * yr + TINY, room) + QUOTIENT * size) * UP + TINY


def reciprocal(y: Double) -> Double:
    """1/y; open where y may be 0."""
    return over((1.0, 0.0, 0.0), y)


def square_root(x: Double) -> Double:
    """The root of a positive x; open where x may be 0. Roots of x and y differ by |x - y| over their sum, and that of y <= x is
    at least y/x of that of x."""
    xh, xl, xr = x
    s = root(xh)
    p, e = two_product(s, s)
    h, low = fast_two_sum(s, divide(((xh - p) - e) + xl, 2.0 * s))
    room = maximum(xh * DOWN - xr, 0.0)
    return h, low, where(room > 0.0, (divide(0.5 * xr + TINY, 0.5 * xh * DOWN + 0.5 * room) + ROOT) * s * UP, OPEN)


def scale(x: Double, factor: Array) -> Double:
    """x*factor for a power of two, or its negative."""
    xh, xl, xr = x
    return xh * factor, xl * factor, xr * absolute(factor) + TINY


# -- steps ---------------------------------------------------------------------------------------------------------------


def order(x: Double, y: Double) -> Truth:
    """Where x is certainly above y, and where it is certainly below."""
    xh, xl, xr = x
    yh, yl, yr = y
    low = xl - yl
    apart = (xh - yh) + low
    reach = (xr + yr + SUM * absolute(low)) * UP  # xh - yh is exact, or its error is a part of `apart`
    return apart * DOWN > reach, -apart * DOWN > reach


def less(x: Double, y: Double) -> Truth:
    """x < y."""
    return order(y, x)


def level(x: Double, y: Double) -> Truth:
    """x == y."""
    return equal(order(x, y))


def apart(x: Double, y: Double) -> Truth:
    """x != y."""
    return negation(equal(order(x, y)))


def choose(condition: Truth, x: Double, y: Double) -> Double:
    """x where the condition certainly holds, y where it certainly doesn't; else open."""
    holds, fails = condition
    xh, xl, xr = x
    yh, yl, yr = y
    return where(holds, xh, yh), where(holds, xl, yl), where(holds, xr, where(fails, yr, OPEN))


def signed(x: Double) -> tuple[Array, Mask]:
    """1 or -1, the sign of the centre, and where it is certainly that of x."""
    xh, _, xr = x
    return where(xh < 0.0, -1.0, 1.0), absolute(xh) * DOWN > xr


def magnitude(x: Double) -> Double:
    """|x| for x certainly not 0; else open."""
    xh, xl, xr = x
    sign, certain = signed(x)
    return xh * sign, xl * sign, where(certain, xr, OPEN)


def sign(x: Double) -> Double:
    """1 or -1, for x certainly not 0; else open."""
    value, certain = signed(x)
    return value, 0.0, where(certain, 0.0, OPEN)


def floor(x: Double) -> Double:
    """The largest whole number below x, where x is certainly between two; else open."""
    xh, xl, xr = x
    n = nearest(xh)
    beyond = (xh - n) + xl
    certain = (absolute(beyond) * DOWN > xr) & (xr < 0.25) & (absolute(xh) < 2.0**40)
    return where(beyond < 0.0, n - 1.0, n), 0.0, where(certain, 0.0, OPEN)


def rounded(x: Double) -> Double:
    """The whole number next to x, where x is certainly not in the middle between two; else open."""
    xh, xl, xr = x
    n = nearest(xh)
    return n, 0.0, where(absolute((xh - n) + xl) * UP + xr < 0.5 * DOWN, 0.0, OPEN)
