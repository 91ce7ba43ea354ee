"""Elementary functions of single words: the tables of the double ones, and shorter polynomials in plain floats.

In each bound: what the argument's ball moves, what is rounded (some u of each term that is added), underflow.
"""

from __future__ import annotations

from gradcheck_cli.algebra.columns.primitives import (
    Array,
    Whole,
    absolute,
    anywhere,
    bits,
    divide,
    lookup,
    nearest,
    unbits,
    where,
    whole,
)
from gradcheck_cli.algebra.columns.single import Single, add, multiply, negative, over, scale, square, square_root
from gradcheck_cli.algebra.columns.tables import (
    ATAN_HIGH,
    EXP_A,
    EXP_B,
    EXP_HIGH,
    EXP_RATE,
    LN2_HIGH,
    LN2_LOW,
    LOG_BASE,
    LOG_HIGH,
    LOG_RECIPROCAL,
    SIN_HIGH,
    TURN_A,
    TURN_B,
    TURN_C,
    TURN_RATE,
)
from gradcheck_cli.algebra.columns.words import DOWN, OPEN, TINY, UNIT, UP, two_sum

# -- exp -----------------------------------------------------------------------------------------------------------------

EXP_ROUNDED = 4.0 * UNIT
"""The table, the last sum, and what is r/2**9 beside them."""

ALMOST_MINUS_ONE = 100.0
"""Below minus this, expm1 is -1 to 2**-144."""


def _exponential(xh: Array) -> tuple[Array, Array, Whole]:
    """exp(xh) = 2**e*T*(1 + p), |xh| < 2**10."""
    k = nearest(xh * EXP_RATE)
    r = (xh - k * EXP_A) - k * EXP_B  # k*A and the first difference are exact; 256/ln 2 times 2**-76 is left
    p = r + (r * r) * (0.5 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0))))
    i = whole(k)
    return lookup(EXP_HIGH, i & 255), p, i >> 8


def _power_of_two(e: Whole) -> Array:
    """2**e, -1022 <= e <= 1023."""
    return unbits((e + 1023) << 52)


def exp(x: Single) -> Single:
    """exp(x), from results of 2**-1074 on to the largest; open beyond, and for a ball wider than 1."""
    xh, xr = x
    inside = (absolute(xh) < 746.0) & (xr <= 1.0)
    t, p, e = _exponential(where(inside, xh, 0.0))
    half = e >> 1
    y = ((t + t * p) * _power_of_two(half)) * _power_of_two(e - half)
    radius = where(inside, y * (xr * (1.0 + xr) + EXP_ROUNDED) * UP + TINY, OPEN)
    below = (xh < -746.0) & (xr <= 0.5)
    if anywhere(below):
        y, radius = where(below, 0.0, y), where(below, TINY, radius)
    return y, radius


def expm1(x: Single) -> Single:
    """exp(x) - 1, accurate beside 0; open from 709 on, and for a ball wider than 1."""
    xh, xr = x
    inside = (xh < 709.0) & (xr <= 1.0)
    t, p, e = _exponential(where(inside & (xh > -ALMOST_MINUS_ONE), xh, -ALMOST_MINUS_ONE))
    t = t * _power_of_two(e)
    a = t - 1.0
    m = t * p
    y = a + m
    rounded = where(a == 0.0, 0.0, 2.0 * t + absolute(a)) + 4.0 * absolute(m) + 2.0 * absolute(y)
    return y, where(inside, (1.01 * t * (xr * (1.0 + xr)) + UNIT * rounded) * UP + TINY, OPEN)


def power(x: Single, y: Single) -> Single:
    """x**y for x certainly positive: exp(y*log(x)). Whole powers are products: see `rewriting`."""
    return exp(multiply(y, log(x)))


def _towards_zero(x: Single) -> tuple[Single, Array]:
    """-|x| by the sign of the centre, and that sign."""
    xh, xr = x
    sign = where(xh < 0.0, -1.0, 1.0)
    return (-sign * xh, xr), sign


ONE: Single = (1.0, 0.0)
TWO: Single = (2.0, 0.0)


def sinh(x: Single) -> Single:
    """(E + E/(1 + E))/2 with E = expm1(|x|)."""
    inwards, sign = _towards_zero(x)
    e = expm1(negative(inwards))
    return scale(add(e, over(e, add(ONE, e))), 0.5 * sign)


def cosh(x: Single) -> Single:
    """(E + 1/E)/2 with E = exp(|x|)."""
    inwards, _ = _towards_zero(x)
    e = exp(negative(inwards))
    return scale(add(e, over(ONE, e)), 0.5)


def tanh(x: Single) -> Single:
    """-E/(2 + E) with E = expm1(-2|x|)."""
    inwards, sign = _towards_zero(x)
    e = expm1(scale(inwards, 2.0))
    return scale(over(e, add(TWO, e)), -sign)


def sech(x: Single) -> Single:
    """2E/(1 + E**2) with E = exp(-|x|)."""
    inwards, _ = _towards_zero(x)
    e = exp(inwards)
    return over(scale(e, 2.0), add(ONE, square(e)))


def sigmoid(x: Single) -> Single:
    """1/(1 + E), or E/(1 + E) for a negative x, with E = exp(-|x|)."""
    inwards, sign = _towards_zero(x)
    e = exp(inwards)
    positive = sign > 0.0
    eh, er = e
    return over((where(positive, 1.0, eh), where(positive, 0.0, er)), add(ONE, e))


# -- log -----------------------------------------------------------------------------------------------------------------


def _logarithm(xh: Array, xl: Array) -> tuple[Array, Array]:
    """log(xh + xl) and the bound of its error, for a positive normal xh and what is small beside it."""
    i = bits(xh)
    d = i - LOG_BASE
    e = d >> 52
    z = unbits(i - (e << 52))
    j = (d >> 43) & 511
    c = lookup(LOG_RECIPROCAL, j)
    n = e * 1.0
    upper = unbits(bits(z) & -4096)  # c has 11 bits: both products are exact
    r = ((upper * c - 1.0) + (z - upper) * c) + (unbits((1023 - e) << 52) * c) * xl
    p = (r * r) * (-0.5 + r * (1.0 / 3.0 - r * (0.25 - r * (0.2 - r * (1.0 / 6.0)))))
    f = n * LN2_HIGH + lookup(LOG_HIGH, j)
    y = f + (r + (p + n * LN2_LOW))
    return y, UNIT * (3.0 * absolute(f) + 8.0 * absolute(r) + 2.0 * absolute(y)) + TINY


def log(x: Single) -> Single:
    """log(x) for x certainly positive and at least 2**-1020; else open."""
    xh, xr = x
    room = xh * DOWN - xr
    inside = (room > 0.0) & (xh > 2.0**-1020) & (xh < 2.0**1020)
    y, off = _logarithm(where(inside, xh, 1.0), 0.0)
    return y, where(inside, (divide(xr, room) + off) * UP, OPEN)


def log1p(x: Single) -> Single:
    """log(1 + x), accurate beside 0; open where x may be -1 or less."""
    xh, xr = x
    s, t = two_sum(1.0, xh)
    room = s * DOWN - xr
    inside = (room > 0.0) & (s > 2.0**-100) & (xh < 2.0**1020)
    y, off = _logarithm(where(inside, s, 1.0), where(inside, t, 0.0))
    return y, where(inside, (divide(xr, room) + off) * UP, OPEN)


# -- sin and cos ---------------------------------------------------------------------------------------------------------

NEAR = 2.0**14
"""Arguments up to this are reduced by the three parts of a step, larger ones by the table of turns."""

TURN_ERROR = 2.0**-104
"""Of each step of the circle: see `sine_cosine`."""


def sine_cosine(x: Single) -> tuple[Array, Array, Array, Array]:
    """sin(x) and cos(x); open beyond NEAR."""
    xh, xr = x
    inside = absolute(xh) < NEAR
    h = where(inside, xh, 0.0)
    k = nearest(h * TURN_RATE)
    r = ((h - k * TURN_A) - k * TURN_B) - k * TURN_C  # the first difference is exact
    j = whole(k) & 511
    sh, ch = lookup(SIN_HIGH, j), lookup(SIN_HIGH, (j + 128) & 511)
    p = r * r
    u = r + (r * p) * (-1.0 / 6.0 + p * (1.0 / 120.0 - p * (1.0 / 5040.0)))
    v = p * (-0.5 + p * (1.0 / 24.0 - p * (1.0 / 720.0)))
    off = xr + TURN_ERROR * absolute(k)
    size = 10.0 * absolute(r)
    sine, cosine = sh + (ch * u + sh * v), ch + (ch * v - sh * u)
    sine_radius = where(inside, (off + UNIT * (4.0 * absolute(sh) + size)) * UP + TINY, OPEN)
    cosine_radius = where(inside, (off + UNIT * (4.0 * absolute(ch) + size)) * UP + TINY, OPEN)
    return sine, sine_radius, cosine, cosine_radius


def sin(x: Single) -> Single:
    """sin(x); see `sine_cosine`."""
    h, radius, _, _ = sine_cosine(x)
    return h, radius


def cos(x: Single) -> Single:
    """cos(x); see `sine_cosine`."""
    _, _, h, radius = sine_cosine(x)
    return h, radius


def tan(x: Single) -> Single:
    """sin(x)/cos(x); open at the poles."""
    sh, sr, ch, cr = sine_cosine(x)
    return over((sh, sr), (ch, cr))


# -- atan ----------------------------------------------------------------------------------------------------------------


def atan(x: Single) -> Single:
    """atan(x) = atan(c) + atan((x - c)/(1 + c*x)), or pi/2 - atan(c) - atan((1 - c*x)/(x + c)) from 1 on."""
    xh, xr = x
    inside = absolute(xh) < 2.0**500
    sign = where(xh < 0.0, -1.0, 1.0)
    h = where(inside, xh * sign, 0.0)
    large = h > 1.0
    v = where(large, divide(1.0, where(large, h, 1.0)), h)
    steps = nearest(128.0 * v)
    c = steps * (1.0 / 128.0)
    t = divide(v - c, 1.0 + c * v)
    q = t * t
    p = t + (t * q) * (-1.0 / 3.0 + q * (0.2 - q * (1.0 / 7.0)))
    angle = lookup(ATAN_HIGH, whole(steps + where(large, 129.0, 0.0)))
    y = sign * (angle + where(large, -p, p))
    rounded = 4.0 * angle + 10.0 * absolute(t) + where(large, 2.0 * v, 0.0)
    return y, where(inside, (xr + UNIT * rounded) * UP + TINY, OPEN)


# -- the other inverses --------------------------------------------------------------------------------------------------


def _complement(x: Single) -> Single:
    """1 - x**2 = (1 - x)*(1 + x), accurate beside 1."""
    return multiply(add(ONE, negative(x)), add(ONE, x))


def asin(x: Single) -> Single:
    """atan(x/sqrt(1 - x**2)), |x| < 1."""
    return atan(over(x, square_root(_complement(x))))


def acos(x: Single) -> Single:
    """2*atan(sqrt((1 - x)/(1 + x))), |x| < 1."""
    return scale(atan(square_root(over(add(ONE, negative(x)), add(ONE, x)))), 2.0)


def atanh(x: Single) -> Single:
    """log1p(2x/(1 - x))/2, of |x|."""
    inwards, sign = _towards_zero(x)
    outwards = negative(inwards)
    return scale(log1p(over(scale(outwards, 2.0), add(ONE, inwards))), 0.5 * sign)


def asinh(x: Single) -> Single:
    """log1p(|x| + x**2/(1 + sqrt(1 + x**2)))."""
    inwards, sign = _towards_zero(x)
    squared = square(x)
    return scale(log1p(add(negative(inwards), over(squared, add(ONE, square_root(add(ONE, squared)))))), sign)


def acosh(x: Single) -> Single:
    """log1p(t + sqrt(t*(2 + t))) with t = x - 1, x > 1."""
    beyond = add(x, (-1.0, 0.0))
    return log1p(add(beyond, square_root(multiply(beyond, add(TWO, beyond)))))
