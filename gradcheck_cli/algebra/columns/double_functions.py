"""Elementary functions of double words: a table takes the argument to a short interval, where the first terms of the series are
words and the rest, from the cube on, plain floats. So the error is a few u of a cube, and some u**2 of everything else.

In each bound: what the argument's ball moves, the plain terms (CUBE), the words (about 2**-103 of the size), underflow.
"""

from __future__ import annotations

from gradcheck_cli.algebra.columns.double import Double, add, multiply, negative, over, quotient, scale, square, square_root
from gradcheck_cli.algebra.columns.primitives import (
    Array,
    Whole,
    absolute,
    anywhere,
    bits,
    divide,
    lookup,
    nearest,
    two_product,
    unbits,
    where,
    whole,
)
from gradcheck_cli.algebra.columns.tables import (
    ATAN_HIGH,
    ATAN_LOW,
    EXP_A,
    EXP_B,
    EXP_C,
    EXP_HIGH,
    EXP_LOW,
    EXP_RATE,
    LN2_HIGH,
    LN2_LOW,
    LOG_BASE,
    LOG_HIGH,
    LOG_LOW,
    LOG_RECIPROCAL,
    SIN_HIGH,
    SIN_LOW,
    TURN_A,
    TURN_B,
    TURN_C,
    TURN_RATE,
)
from gradcheck_cli.algebra.columns.words import DOWN, OPEN, TINY, UNIT, UNIT2, UP, fast_two_sum, two_sum

# -- exp -----------------------------------------------------------------------------------------------------------------

EXP_CUBE = 2.0 * UNIT
"""The cubic term r**3/6 and what follows: nine roundings of a sixth."""

EXP_ARGUMENT = 4 * UNIT2
"""The low part of the argument is rounded twice when it is reduced, by u of u of the argument each."""

EXP_WORD = 2.0**-102
"""The table's words and three sums of words."""

ALMOST_MINUS_ONE = 100.0
"""Below minus this, expm1 is -1 to 2**-144."""


def _exponential(xh: Array, xl: Array) -> tuple[Array, Array, Array, Array, Array, Whole]:
    """exp(xh + xl) = 2**e*T*(1 + P): T and P as words, then |r|**3 and e; |xh| < 2**10."""
    k = nearest(xh * EXP_RATE)
    s, t = two_sum(xh - k * EXP_A, -k * EXP_B)  # k*A, k*B and the difference are exact
    r, rl = two_sum(s, t + (xl - k * EXP_C))
    p, pl = two_product(r, r)
    cubed = r * p
    q = cubed * (1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0 + r * (1.0 / 5040.0)))))
    s, t = fast_two_sum(r, 0.5 * p)
    ph, pl = fast_two_sum(s, q + (t + (rl + (0.5 * pl + r * rl))))
    i = whole(k)
    j = i & 255
    return lookup(EXP_HIGH, j), lookup(EXP_LOW, j), ph, pl, absolute(cubed), i >> 8


def _power_of_two(e: Whole) -> Array:
    """2**e, -1022 <= e <= 1023."""
    return unbits((e + 1023) << 52)


def exp(x: Double) -> Double:
    """exp(x), from results of 2**-1074 on to the largest; open beyond, and for a ball wider than 1."""
    xh, xl, xr = x
    inside = (absolute(xh) < 746.0) & (xr <= 1.0)
    h, low = where(inside, xh, 0.0), where(inside, xl, 0.0)
    th, tl, ph, pl, cubed, e = _exponential(h, low)
    m, ml = two_product(th, ph)
    s, t = fast_two_sum(th, m)
    v = t + (tl + (ml + (th * pl + tl * ph)))
    half = e >> 1
    first, second = _power_of_two(half), _power_of_two(e - half)
    y, yl = fast_two_sum((s * first) * second, (v * first) * second)
    moved = xr * (1.0 + xr) + (EXP_CUBE * cubed + (EXP_ARGUMENT * absolute(h) + EXP_WORD))
    radius = where(inside, y * moved * UP + TINY, OPEN)
    below = (xh < -746.0) & (xr <= 0.5)
    if anywhere(below):
        y, yl, radius = where(below, 0.0, y), where(below, 0.0, yl), where(below, TINY, radius)
    return y, yl, radius


def expm1(x: Double) -> Double:
    """exp(x) - 1, accurate beside 0; open from 690 on, where a product of words overflows, and for a ball wider than 1."""
    xh, xl, xr = x
    inside = (xh < 690.0) & (xr <= 1.0)
    ordinary = inside & (xh > -ALMOST_MINUS_ONE)
    h, low = where(ordinary, xh, -ALMOST_MINUS_ONE), where(ordinary, xl, 0.0)
    th, tl, ph, pl, cubed, e = _exponential(h, low)
    power = _power_of_two(e)
    th, tl = th * power, tl * power
    m, ml = two_product(th, ph)
    ml = ml + (th * pl + tl * ph)
    a, al = two_sum(th, -1.0)
    s, t = two_sum(a, m)
    y, yl = two_sum(s, t + (al + (tl + ml)))
    size = where(a == 0.0, absolute(ph), th + 1.0)
    moved = xr * (1.0 + xr) + (EXP_CUBE * cubed + EXP_ARGUMENT * absolute(h))
    return y, yl, where(inside, (1.01 * th * moved + EXP_WORD * size) * UP + TINY, OPEN)


# -- what is made of it: each formula is an identity for either sign, that of the centre keeps it from overflow ------------


def power(x: Double, y: Double) -> Double:
    """x**y for x certainly positive: exp(y*log(x)). Whole powers are products: see `rewriting`."""
    return exp(multiply(y, log(x)))


def _towards_zero(x: Double) -> tuple[Double, Array]:
    """-|x| by the sign of the centre, and that sign."""
    xh, xl, xr = x
    sign = where(xh < 0.0, -1.0, 1.0)
    return (-sign * xh, -sign * xl, xr), sign


ONE: Double = (1.0, 0.0, 0.0)
TWO: Double = (2.0, 0.0, 0.0)


def sinh(x: Double) -> Double:
    """(E + E/(1 + E))/2 with E = expm1(|x|)."""
    inwards, sign = _towards_zero(x)
    e = expm1(negative(inwards))
    return scale(add(e, over(e, add(ONE, e))), 0.5 * sign)


def cosh(x: Double) -> Double:
    """(E + 1/E)/2 with E = exp(|x|)."""
    inwards, _ = _towards_zero(x)
    e = exp(negative(inwards))
    return scale(add(e, over(ONE, e)), 0.5)


def tanh(x: Double) -> Double:
    """-E/(2 + E) with E = expm1(-2|x|)."""
    inwards, sign = _towards_zero(x)
    e = expm1(scale(inwards, 2.0))
    return scale(over(e, add(TWO, e)), -sign)


def sech(x: Double) -> Double:
    """2E/(1 + E**2) with E = exp(-|x|)."""
    inwards, _ = _towards_zero(x)
    e = exp(inwards)
    return over(scale(e, 2.0), add(ONE, square(e)))


def sigmoid(x: Double) -> Double:
    """1/(1 + E), or E/(1 + E) for a negative x, with E = exp(-|x|)."""
    inwards, sign = _towards_zero(x)
    e = exp(inwards)
    positive = sign > 0.0
    eh, el, er = e
    return over((where(positive, 1.0, eh), where(positive, 0.0, el), where(positive, 0.0, er)), add(ONE, e))


# -- log -----------------------------------------------------------------------------------------------------------------

LOG_CUBE = 6.0 * UNIT
"""The cubic term r**3/3 and what follows: ten roundings of a third."""

LOG_WORD = 2.0**-94
"""Of the result's size: the second word of ln 2, 2**-43 of the first, is rounded in a product and in four sums."""


def _logarithm(xh: Array, xm: Array, xl: Array) -> tuple[Array, Array, Array]:
    """log(xh + xm + xl) and the bound of its error, for a positive normal xh and what is small beside it."""
    i = bits(xh)
    d = i - LOG_BASE
    e = d >> 52
    z = unbits(i - (e << 52))
    shrunk = unbits((1023 - e) << 52)
    j = (d >> 43) & 511
    c = lookup(LOG_RECIPROCAL, j)
    n = e * 1.0
    p, pe = two_product(z, c)
    shrunk = shrunk * c
    r, rl = two_sum(p - 1.0, pe + shrunk * xm)
    r, rl = two_sum(r, rl + shrunk * xl)  # normalized: the cube below is of r alone
    q, ql = two_product(r, r)
    cubed = r * q
    tail = cubed * (1.0 / 3.0 - r * (0.25 - r * (0.2 - r * (1.0 / 6.0 - r * (1.0 / 7.0 - r * (0.125 - r * (1.0 / 9.0)))))))
    s, t = fast_two_sum(r, -0.5 * q)
    a, b = two_sum(n * LN2_HIGH, lookup(LOG_HIGH, j))
    f, g = two_sum(a, s)
    rest = (rl - (0.5 * ql + r * rl)) + tail
    y, yl = two_sum(f, g + (((lookup(LOG_LOW, j) + n * LN2_LOW) + b) + (t + rest)))
    return y, yl, LOG_CUBE * absolute(cubed) + LOG_WORD * absolute(y) + TINY


def log(x: Double) -> Double:
    """log(x) for x certainly positive and at least 2**-1020; else open."""
    xh, xl, xr = x
    room = xh * DOWN - xr
    inside = (room > 0.0) & (xh > 2.0**-1020) & (xh < 2.0**1020)
    y, yl, off = _logarithm(where(inside, xh, 1.0), where(inside, xl, 0.0), 0.0)
    return y, yl, where(inside, (divide(xr, room) + off) * UP, OPEN)


def log1p(x: Double) -> Double:
    """log(1 + x), accurate beside 0; open where x may be -1 or less."""
    xh, xl, xr = x
    s, t = two_sum(1.0, xh)
    room = s * DOWN - xr
    inside = (room > 0.0) & (s > 2.0**-100) & (xh < 2.0**1020)
    y, yl, off = _logarithm(where(inside, s, 1.0), where(inside, t, 0.0), where(inside, xl, 0.0))
    return y, yl, where(inside, (divide(xr, room) + off) * UP, OPEN)


# -- sin and cos ---------------------------------------------------------------------------------------------------------

SIN_CUBE = 4.0 * UNIT
"""The cubic term r**3/6 and what follows, and as much of the other series."""

SIN_WORD = 2.0**-102

TURN_ERROR = 2.0**-120
"""Of each step of the circle: its third part, below 2**-68, is rounded when it is multiplied and when it is added."""

NEAR = 2.0**14
"""Arguments up to this are reduced by the three parts of a step, larger ones by the table of turns."""


def sine_cosine(x: Double) -> tuple[Array, Array, Array, Array, Array, Array]:
    """sin(x) and cos(x); open beyond NEAR."""
    xh, xl, xr = x
    inside = absolute(xh) < NEAR
    h, low = where(inside, xh, 0.0), where(inside, xl, 0.0)
    k = nearest(h * TURN_RATE)
    s, t = two_sum(h - k * TURN_A, -k * TURN_B)  # k*A, k*B and the difference are exact
    r, rl = two_sum(s, t + (low - k * TURN_C))
    lost = TURN_ERROR * absolute(k) + EXP_ARGUMENT * absolute(h)
    j = whole(k) & 511
    i = (j + 128) & 511
    sh, sl, ch, cl = lookup(SIN_HIGH, j), lookup(SIN_LOW, j), lookup(SIN_HIGH, i), lookup(SIN_LOW, i)
    p, pl = two_product(r, r)
    pl = pl + 2.0 * (r * rl)
    cubed = r * p
    u, ul = fast_two_sum(r, cubed * (-1.0 / 6.0 + p * (1.0 / 120.0 - p * (1.0 / 5040.0))))
    ul = ul + rl
    v, vl = fast_two_sum(-0.5 * p, (p * p) * (1.0 / 24.0 - p * (1.0 / 720.0 - p * (1.0 / 40320.0))))
    vl = vl - 0.5 * pl
    off = xr + (SIN_CUBE * absolute(cubed) + lost)
    sine, sine_low = _turned(sh, sl, ch, cl, u, ul, v, vl)
    cosine, cosine_low = _turned(ch, cl, -sh, -sl, u, ul, v, vl)
    size = absolute(r)
    sine_radius = where(inside, (off + SIN_WORD * (absolute(sh) + size)) * UP + TINY, OPEN)
    cosine_radius = where(inside, (off + SIN_WORD * (absolute(ch) + size)) * UP + TINY, OPEN)
    return sine, sine_low, sine_radius, cosine, cosine_low, cosine_radius


def _turned(ah: Array, al: Array, bh: Array, bl: Array, u: Array, ul: Array, v: Array, vl: Array) -> tuple[Array, Array]:
    """A + (B*U + A*V) of words."""
    m, me = two_product(bh, u)
    n, ne = two_product(ah, v)
    me = me + (bh * ul + bl * u)
    ne = ne + (ah * vl + al * v)
    s, t = two_sum(ah, m)
    s, w = two_sum(s, n)
    return two_sum(s, (t + w) + (al + (me + ne)))


def sin(x: Double) -> Double:
    """sin(x); see `sine_cosine`."""
    h, low, radius, _, _, _ = sine_cosine(x)
    return h, low, radius


def cos(x: Double) -> Double:
    """cos(x); see `sine_cosine`."""
    _, _, _, h, low, radius = sine_cosine(x)
    return h, low, radius


def tan(x: Double) -> Double:
    """sin(x)/cos(x); open at the poles."""
    sh, sl, sr, ch, cl, cr = sine_cosine(x)
    return over((sh, sl, sr), (ch, cl, cr))


# -- atan ----------------------------------------------------------------------------------------------------------------

ATAN_CUBE = 4.0 * UNIT
"""The cubic term t**3/3 and what follows: seven roundings of a third."""

ATAN_WORD = 2.0**-101
"""Of the angle in the table and of what is added: the quotient, and three sums of words."""


def atan(x: Double) -> Double:
    """atan(x) = atan(c) + atan((x - c)/(1 + c*x)), or pi/2 - atan(c) - atan((1 - c*x)/(x + c)) from 1 on."""
    xh, xl, xr = x
    inside = absolute(xh) < 2.0**500
    sign = where(xh < 0.0, -1.0, 1.0)
    h, low = where(inside, xh * sign, 0.0), where(inside, xl * sign, 0.0)
    large = h > 1.0
    steps = nearest(128.0 * where(large, divide(1.0, where(large, h, 1.0)), h))
    c = steps * (1.0 / 128.0)
    p, pl = two_product(h, c)
    pl = pl + low * c
    # numerator x - c or 1 - c*x, denominator 1 + c*x or x + c
    a, al = two_sum(where(large, 1.0, h), -where(large, p, c))
    al = al + where(large, -pl, low)
    a, al = fast_two_sum(a, al)
    b, bl = two_sum(where(large, h, 1.0), where(large, c, p))
    b, bl = fast_two_sum(b, bl + where(large, low, pl))
    t, tl = quotient(a, al, b, bl)
    q = t * t
    cubed = t * q
    tail = cubed * (-1.0 / 3.0 + q * (0.2 - q * (1.0 / 7.0 - q * (1.0 / 9.0))))
    turn = where(large, -sign, sign)
    j = whole(steps + where(large, 129.0, 0.0))
    angle = lookup(ATAN_HIGH, j)
    s, w = two_sum(sign * angle, turn * t)
    y, yl = two_sum(s, w + (sign * lookup(ATAN_LOW, j) + turn * (tl + tail)))
    off = ATAN_CUBE * absolute(cubed) + ATAN_WORD * (angle + absolute(t))
    return y, yl, where(inside, (xr + off) * UP + TINY, OPEN)


# -- the other inverses --------------------------------------------------------------------------------------------------


def _complement(x: Double) -> Double:
    """1 - x**2 = (1 - x)*(1 + x), accurate beside 1."""
    return multiply(add(ONE, negative(x)), add(ONE, x))


def asin(x: Double) -> Double:
    """atan(x/sqrt(1 - x**2)), |x| < 1."""
    return atan(over(x, square_root(_complement(x))))


def acos(x: Double) -> Double:
    """2*atan(sqrt((1 - x)/(1 + x))), |x| < 1."""
    return scale(atan(square_root(over(add(ONE, negative(x)), add(ONE, x)))), 2.0)


def atanh(x: Double) -> Double:
    """log1p(2x/(1 - x))/2, of |x|."""
    inwards, sign = _towards_zero(x)
    outwards = negative(inwards)
    return scale(log1p(over(scale(outwards, 2.0), add(ONE, inwards))), 0.5 * sign)


def asinh(x: Double) -> Double:
    """log1p(|x| + x**2/(1 + sqrt(1 + x**2)))."""
    inwards, sign = _towards_zero(x)
    squared = square(x)
    return scale(log1p(add(negative(inwards), over(squared, add(ONE, square_root(add(ONE, squared)))))), sign)


def acosh(x: Double) -> Double:
    """log1p(t + sqrt(t*(2 + t))) with t = x - 1, x > 1."""
    beyond = add(x, (-1.0, 0.0, 0.0))
    return log1p(add(beyond, square_root(multiply(beyond, add(TWO, beyond)))))
