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
    floating,
    lookup,
    maximum,
    minimum,
    nearest,
    pending,
    unbits,
    where,
    whole,
)
from gradcheck_cli.algebra.columns.single import Single, add, multiply, negative, over, scale, square, square_root, subtract
from gradcheck_cli.algebra.columns.tables import (
    ATAN_HIGH,
    ATAN_POINT,
    ATAN_STEPS,
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
from gradcheck_cli.algebra.columns.turns import NEAR, reduced, turned
from gradcheck_cli.algebra.columns.words import DOWN, OPEN, SPECK, UNIT, UP, WIDEST, two_sum, widely

# -- exp -----------------------------------------------------------------------------------------------------------------

EXP_ROUNDED = 4.5 * UNIT
"""The table, the last sum, and what is r/2**9 beside them: twice."""

EXPM1_ROUNDED = 2.5 * UNIT
"""The table, its difference from 1, the sum; and twice the rest: with room."""

BELOW, LEAST_EXPONENT = -690.0, -700.0
"""Below the first exp is smaller than 2**-995, and 0 stands for it; the second is as good as everything below it."""

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
    """exp(x): 0 below BELOW, to SPECK; open beyond the largest float, and for a ball of WIDEST or wider, not all below."""
    xh, xr = x
    t, p, e = _exponential(maximum(minimum(xh, 746.0), LEAST_EXPONENT))
    half = e >> 1
    y = ((t + t * p) * _power_of_two(half)) * _power_of_two(e - half)
    radius = y * (divide(xr, maximum(1.0 - xr, 0.0)) + EXP_ROUNDED) * UP + SPECK
    wide = (xr >= 1.0) & (xr < WIDEST)
    radius = pending(wide, radius)
    if anywhere(wide):
        radius = where(wide, y * widely(minimum(xr, WIDEST)) + SPECK, radius)
    gone = xh + xr < BELOW
    return where(gone, 0.0, y), where(gone, SPECK, radius)


def expm1(x: Single) -> Single:
    """exp(x) - 1, accurate beside 0; open from 709 on, and for a ball of 1 or wider."""
    xh, xr = x
    t, p, e = _exponential(maximum(minimum(xh, 710.0), -ALMOST_MINUS_ONE))
    t = t * _power_of_two(e)
    a = t - 1.0
    m = t * p
    y = a + m
    size = minimum(t, 512.0 * absolute(a)) + absolute(a) + absolute(y) + 2.0 * absolute(m)  # a is 0, or at least t/512
    return y, (1.01 * t * divide(xr, maximum(1.0 - xr, 0.0)) + EXPM1_ROUNDED * size) * UP + SPECK


# -- what is made of it: where a formula overflows, the same with another sign ----------------------------------------------

ONE: Single = (1.0, 0.0)
TWO: Single = (2.0, 0.0)

FAR = 340.0
"""Beyond this exp(2|x|) is near the end of the range, and exp(-2|x|) is below 2**-981."""

LEAST, NARROW = 2.0**-979, 2.0**-10
"""1 - tanh(FAR), twice, and the width of a ball up to which that holds."""


def power(x: Single, y: Single) -> Single:
    """x**y for x certainly positive: exp(y*log(x)). Whole powers are products: see `rewriting`."""
    return exp(multiply(y, log(x)))


def outwards(x: Single) -> tuple[Single, Array]:
    """x or -x, so that the centre is positive, and 1 or -1."""
    xh, xr = x
    return (absolute(xh), xr), where(xh < 0.0, -1.0, 1.0)


def sinh(x: Single) -> Single:
    """(E + E/(1 + E))/2 with E = expm1(|x|)."""
    away, sign = outwards(x)
    e = expm1(away)
    return scale(add(e, over(e, add(ONE, e))), 0.5 * sign)


def cosh(x: Single) -> Single:
    """(E + 1/E)/2 with E = exp(x)."""
    e = exp(x)
    return scale(add(e, over(ONE, e)), 0.5)


def tanh(x: Single) -> Single:
    """-E/(2 + E) with E = expm1(-2|x|), which moves as little as tanh does; 1 or -1 beyond FAR."""
    _, xr = x
    away, sign = outwards(x)
    e = expm1(scale(away, -2.0))
    y, radius = scale(over(negative(e), add(TWO, e)), sign)
    far = away[0] > FAR
    return where(far, sign, y), where(far, where(xr < NARROW, LEAST, OPEN), radius)


def sech(x: Single) -> Single:
    """2E/(1 + E**2) with E = exp(-|x|)."""
    away, _ = outwards(x)
    e = exp(negative(away))
    return over(scale(e, 2.0), add(ONE, square(e)))


def sigmoid(x: Single) -> Single:
    """1/(1 + exp(-x)); 0 below BELOW, to SPECK, and exp(x) a little before that."""
    xh, xr = x
    y, radius = over(ONE, add(ONE, exp(negative(x))))
    gone = xh + xr < BELOW
    far = (xh < -2.0 * FAR) & (xh + xr >= BELOW)
    radius = pending(far, radius)
    if anywhere(far):
        h, r = exp(x)
        y, radius = where(far, h, y), where(far, (r + LEAST * h) * UP, radius)
    return where(gone, 0.0, y), where(gone, SPECK, radius)


# -- log -----------------------------------------------------------------------------------------------------------------


LOG_TABLE, LOG_REST = 5.0 * UNIT, 6.0 * UNIT
"""The logarithm in the table and that of the power of 2, their sum and the last one; what is added."""


def _logarithm(xh: Array, xl: Array, shift: float) -> tuple[Array, Array]:
    """log(2**-shift*(xh + xl)) and the bound of its error, for a positive normal xh and what is small beside it."""
    i = bits(xh)
    d = i - LOG_BASE
    e = d >> 52
    z = unbits(i - (e << 52))
    j = (d >> 43) & 511
    c = lookup(LOG_RECIPROCAL, j)
    n = floating(e) - shift
    upper = unbits(bits(z) & -4096)  # c has 11 bits: both products are exact
    r = ((upper * c - 1.0) + (z - upper) * c) + divide(xl, xh)  # of z*c beside 1, an error of 2**-9 of what is small
    p = (r * r) * (-0.5 + r * (1.0 / 3.0 - r * (0.25 - r * (0.2 - r * (1.0 / 6.0)))))
    f = n * LN2_HIGH + lookup(LOG_HIGH, j)
    y = f + (r + (p + n * LN2_LOW))
    return y, LOG_TABLE * absolute(f) + LOG_REST * absolute(r) + SPECK


SMALL = 2.0**-1021
"""Below this the bits of a float don't tell its exponent; it is multiplied by 2**108 first."""


def log(x: Single) -> Single:
    """log(x); open where x may be 0 or less."""
    xh, xr = x
    room = maximum(xh * DOWN - xr, 0.0)
    y, off = _logarithm(xh, 0.0, 0.0)
    small = xh < SMALL
    off = pending(small, off)
    if anywhere(small):
        h, r = _logarithm(xh * 2.0**108, 0.0, 108.0)
        y, off = where(small, h, y), where(small, r, off)
    return y, (divide(xr, room) + off) * UP + (xh - xh)  # nan at infinity


def log1p(x: Single) -> Single:
    """log(1 + x), accurate beside 0; open where x may be -1 or less."""
    xh, xr = x
    s, t = two_sum(1.0, xh)
    room = maximum(s * DOWN - xr, 0.0)
    y, off = _logarithm(s, t, 0.0)
    return y, (divide(xr, room) + off) * UP + (xh - xh)


# -- sin and cos ---------------------------------------------------------------------------------------------------------

SIN_TABLE, SIN_REST = 4.0 * UNIT, 8.0 * UNIT
"""The entry of the table and the last sum; what is added, and the last part of the steps that are taken away."""


def on_circle(xh: Array) -> tuple[Array, ...]:
    """sin(x) and cos(x) at a number of one word; how far both are off, but for the roundings of a result; and what these are a
    part of: the words of a table."""
    k = nearest(xh * TURN_RATE)
    last = k * TURN_C
    r = ((xh - k * TURN_A) - k * TURN_B) - last  # the first difference is exact
    lost = SIN_REST * absolute(last)
    far = absolute(xh) > NEAR
    lost = pending(far, lost)
    if anywhere(far):
        turns, rest, _, off = reduced(xh, 0.0 * xh)
        k, r, lost = where(far, turns, k), where(far, rest, r), where(far, off, lost)
    lost = lost + (xh - xh)  # nan at infinity
    j = whole(k) & 511
    sh, ch = lookup(SIN_HIGH, j), lookup(SIN_HIGH, (j + 128) & 511)
    p = r * r
    u = r + (r * p) * (-1.0 / 6.0 + p * (1.0 / 120.0 - p * (1.0 / 5040.0)))
    v = p * (-0.5 + p * (1.0 / 24.0 - p * (1.0 / 720.0)))
    off = lost + SIN_REST * absolute(r)
    return sh + (ch * u + sh * v), ch + (ch * v - sh * u), off, absolute(sh), absolute(ch)


def sine_cosine(x: Single) -> tuple[Array, Array, Array, Array]:
    """sin(x) and cos(x)."""
    xh, xr = x
    sine, cosine, off, sine_word, cosine_word = on_circle(xh)
    sine_radius = (turned(xr, absolute(cosine) + off) + (off + SIN_TABLE * sine_word)) * UP + SPECK
    cosine_radius = (turned(xr, absolute(sine) + off) + (off + SIN_TABLE * cosine_word)) * UP + SPECK
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


ATAN_TABLE, ATAN_REST = 4.0 * UNIT, 6.0 * UNIT
"""The angle in the table and the last sum; what is added."""


def atan(x: Single) -> Single:
    """atan(x) = atan(c) + atan((x - c)/(1 + c*x)), c the entry of a table beside |x|."""
    xh, xr = x
    h = absolute(xh)
    j = whole(nearest(ATAN_STEPS * divide(h, 1.0 + h))) & 511
    c = lookup(ATAN_POINT, j)
    d = 1.0 + c * h
    t = divide(h - c, d)
    q = t * t
    angle = lookup(ATAN_HIGH, j)
    y = angle + (t + (t * q) * (-1.0 / 3.0 + q * (0.2 - q * (1.0 / 7.0))))
    off = ATAN_TABLE * angle + ATAN_REST * absolute(t) + (d - d)  # nan where c*h overflows
    nearest_zero = minimum(maximum(h * DOWN - xr, 0.0), 2.0**500)
    return where(xh < 0.0, -y, y), (divide(xr, 1.0 + nearest_zero * nearest_zero) + off) * UP + SPECK


# -- the other inverses --------------------------------------------------------------------------------------------------


def asin(x: Single) -> Single:
    """atan(x/sqrt((1 - x)*(1 + x))), |x| < 1."""
    return atan(over(x, square_root(multiply(subtract(ONE, x), add(ONE, x)))))


def acos(x: Single) -> Single:
    """2*atan(sqrt((1 - x)/(1 + x))), |x| < 1."""
    return scale(atan(square_root(over(subtract(ONE, x), add(ONE, x)))), 2.0)


def atanh(x: Single) -> Single:
    """log1p(2x/(1 - x))/2, of |x|."""
    away, sign = outwards(x)
    return scale(log1p(over(scale(away, 2.0), subtract(ONE, away))), 0.5 * sign)


def asinh(x: Single) -> Single:
    """log1p(|x| + x**2/(1 + sqrt(1 + x**2)))."""
    away, sign = outwards(x)
    squared = square(x)
    return scale(log1p(add(away, over(squared, add(ONE, square_root(add(ONE, squared)))))), sign)


def acosh(x: Single) -> Single:
    """log1p(t + sqrt(t*(2 + t))) with t = x - 1, x > 1."""
    beyond = subtract(x, ONE)
    return log1p(add(beyond, square_root(multiply(beyond, add(TWO, beyond)))))
