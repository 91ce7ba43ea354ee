"""Elementary functions of double words: a table takes the argument to a short interval, where the first terms of the series are
words and the rest, from the cube on, plain floats. So the error is a few u of a cube, and some u**2 of everything else.

In each bound: what the argument's ball moves, the plain terms (CUBE), the words (about 2**-103 of the size), underflow.
"""

from __future__ import annotations

from gradcheck_cli.algebra.columns.double import (
    Double,
    add,
    multiply,
    negative,
    over,
    quotient,
    scale,
    square,
    square_root,
    subtract,
)
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
    two_product,
    unbits,
    where,
    whole,
)
from gradcheck_cli.algebra.columns.tables import (
    ATAN_HIGH,
    ATAN_LOW,
    ATAN_POINT,
    ATAN_STEPS,
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
    SIXTH,
    SIXTH_LOW,
    TURN_A,
    TURN_B,
    TURN_C,
    TURN_RATE,
)
from gradcheck_cli.algebra.columns.turns import NEAR, reduced, turned
from gradcheck_cli.algebra.columns.words import DOWN, OPEN, TINY, UNIT, UNIT2, UP, WIDEST, fast_two_sum, two_sum, widely

REDUCED = 3 * UNIT2
"""Of the argument: its low part, at most u of it, is rounded twice when it is reduced. (The last part of a step times their
number is below 2**-60 of the argument: its roundings are nothing beside this.)"""

# -- exp -----------------------------------------------------------------------------------------------------------------

EXP_FOURTH = 1.5 * UNIT
"""The term r**4/24 and what follows: fourteen roundings of a 24th."""

EXP_WORD = 8 * UNIT2
"""The table's words, u**2/2, and five sums of what is u, 6u**2."""

BELOW = -750.0
"""Below this exp is smaller than an eighth of TINY."""

ALMOST_MINUS_ONE = 100.0
"""Below minus this, expm1 is -1 to 2**-144."""


def _exponential(xh: Array, xl: Array) -> tuple[Array, Array, Array, Array, Array, Whole]:
    """exp(xh + xl) = 2**e*T*(1 + P): T and P as words, then r**4 and e; |xh| < 2**10. Of r + r**2/2 + r**3/6 all is words."""
    k = nearest(xh * EXP_RATE)
    s, t = two_sum(xh - k * EXP_A, -k * EXP_B)  # k*A, k*B and the difference are exact
    r, rl = two_sum(s, t + (xl - k * EXP_C))
    p, pl = two_product(r, r)
    c, cl = two_product(r, p)
    third, tl = two_product(c, SIXTH)
    fourth = r * c
    q = fourth * (1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0 + r * (1.0 / 5040.0 + r * (1.0 / 40320.0)))))
    q = q + (tl + (c * SIXTH_LOW + (cl + r * pl) * SIXTH))
    s, t = fast_two_sum(r, 0.5 * p)
    s, v = fast_two_sum(s, third)
    ph, pl = fast_two_sum(s, q + (v + (t + (rl + (0.5 * pl + (r + 0.5 * p) * rl)))))
    i = whole(k)
    j = i & 255
    return lookup(EXP_HIGH, j), lookup(EXP_LOW, j), ph, pl, fourth, i >> 8


def _power_of_two(e: Whole) -> Array:
    """2**e, -1022 <= e <= 1023."""
    return unbits((e + 1023) << 52)


def _between(least: float, xh: Array, xl: Array, most: float) -> tuple[Array, Array]:
    """A word, or an end of the range without a low part: that of a large number may be large too."""
    h = maximum(minimum(xh, most), least)
    return h, where(absolute(xh - h) > 0.0, 0.0, xl)


def exp(x: Double) -> Double:
    """exp(x): 0 below -746, to TINY; open beyond the largest float, and for a ball of WIDEST or wider that isn't all below."""
    xh, xl, xr = x
    h, low = _between(-746.0, xh, xl, 746.0)
    th, tl, ph, pl, fourth, e = _exponential(h, low)
    m, ml = two_product(th, ph)
    s, t = fast_two_sum(th, m)
    v = t + (tl + (ml + (th * pl + tl * ph)))
    half = e >> 1
    first, second = _power_of_two(half), _power_of_two(e - half)
    y, yl = fast_two_sum((s * first) * second, (v * first) * second)
    moved = divide(xr, maximum(1.0 - xr, 0.0))
    radius = y * (moved + (EXP_FOURTH * fourth + (REDUCED * absolute(h) + EXP_WORD))) * UP + TINY
    wide = (xr >= 1.0) & (xr < WIDEST)
    radius = pending(wide, radius)
    if anywhere(wide):
        radius = where(wide, y * widely(minimum(xr, WIDEST)) + TINY, radius)
    return y, yl, where(xh + xr < BELOW, TINY, radius)


def expm1(x: Double) -> Double:
    """exp(x) - 1, accurate beside 0; open from 690 on, where a product of words overflows, and for a ball of 1 or wider."""
    xh, xl, xr = x
    h, low = _between(-ALMOST_MINUS_ONE, xh, xl, 710.0)
    th, tl, ph, pl, fourth, e = _exponential(h, low)
    power = _power_of_two(e)
    th, tl = th * power, tl * power
    m, ml = two_product(th, ph)
    ml = ml + (th * pl + tl * ph)
    a, al = two_sum(th, -1.0)
    s, t = two_sum(a, m)
    y, yl = two_sum(s, t + (al + (tl + ml)))
    moved = divide(xr, maximum(1.0 - xr, 0.0))
    size = EXP_WORD * (minimum(1.0 + th, 512.0 * absolute(a)) + th * absolute(ph))  # a is 0, or at least 2**-9
    return y, yl, (th * 1.01 * (moved + (EXP_FOURTH * fourth + REDUCED * absolute(h))) + size) * UP + TINY


# -- what is made of it: where a formula overflows, the same with another sign ----------------------------------------------

ONE: Double = (1.0, 0.0, 0.0)
TWO: Double = (2.0, 0.0, 0.0)

FAR = 340.0
"""Beyond this exp(2|x|) is near the end of the range, and exp(-2|x|) is below 2**-981."""

LEAST, NARROW = 2.0**-979, 2.0**-10
"""1 - tanh(FAR), twice, and the width of a ball up to which that holds."""


def power(x: Double, y: Double) -> Double:
    """x**y for x certainly positive: exp(y*log(x)). Whole powers are products: see `rewriting`."""
    return exp(multiply(y, log(x)))


def outwards(x: Double) -> tuple[Double, Array]:
    """x or -x, so that the centre is positive, and 1 or -1."""
    xh, xl, xr = x
    sign = where(xh < 0.0, -1.0, 1.0)
    return (absolute(xh), sign * xl, xr), sign


def sinh(x: Double) -> Double:
    """(E + E/(1 + E))/2 with E = expm1(|x|)."""
    away, sign = outwards(x)
    e = expm1(away)
    return scale(add(e, over(e, add(ONE, e))), 0.5 * sign)


def cosh(x: Double) -> Double:
    """(E + 1/E)/2 with E = exp(x)."""
    e = exp(x)
    return scale(add(e, over(ONE, e)), 0.5)


def tanh(x: Double) -> Double:
    """-E/(2 + E) with E = expm1(-2|x|), which moves as little as tanh does; 1 or -1 beyond FAR."""
    _, _, xr = x
    away, sign = outwards(x)
    e = expm1(scale(away, -2.0))
    y, yl, radius = scale(over(negative(e), add(TWO, e)), sign)
    far = away[0] > FAR
    radius = pending(far, radius)
    if anywhere(far):
        y, yl = where(far, sign, y), where(far, 0.0, yl)
        radius = where(far, where(xr < NARROW, LEAST, OPEN), radius)
    return y, yl, radius


def sech(x: Double) -> Double:
    """2E/(1 + E**2) with E = exp(x); 2*exp(-|x|) beyond FAR."""
    xh, _, _ = x
    e = exp(x)
    y, yl, radius = over(scale(e, 2.0), add(ONE, square(e)))
    far = absolute(xh) > FAR
    radius = pending(far, radius)
    if anywhere(far):
        away, _ = outwards(x)
        h, low, r = scale(exp(negative(away)), 2.0)
        y, yl, radius = where(far, h, y), where(far, low, yl), where(far, (r + LEAST * h) * UP, radius)
    return y, yl, radius


def sigmoid(x: Double) -> Double:
    """1/(1 + exp(-x)); exp(x) below -2*FAR."""
    xh, _, _ = x
    y, yl, radius = over(ONE, add(ONE, exp(negative(x))))
    far = xh < -2.0 * FAR
    radius = pending(far, radius)
    if anywhere(far):
        h, low, r = exp(x)
        y, yl, radius = where(far, h, y), where(far, low, yl), where(far, (r + LEAST * h) * UP, radius)
    return y, yl, radius


# -- log -----------------------------------------------------------------------------------------------------------------

LOG_CUBE = 7.0 * UNIT
"""The cubic term r**3/3 and what follows: ten roundings of a third, twice."""

LOG_WORD = 2.0**-94
"""Of the result's size: the second word of ln 2, 2**-43 of the first, is rounded in a product and in four sums."""


def _logarithm(xh: Array, xm: Array, xl: Array, shift: float) -> tuple[Array, Array, Array]:
    """log(2**-shift*(xh + xm + xl)) and the bound of its error, for a positive normal xh and what is small beside it."""
    i = bits(xh)
    d = i - LOG_BASE
    e = d >> 52
    j = (d >> 43) & 511
    c = lookup(LOG_RECIPROCAL, j)
    n = floating(e) - shift
    p, pe = two_product(unbits(i - (e << 52)), c)
    r, rl = two_sum(p - 1.0, pe + p * divide(xm, xh))
    r, rl = two_sum(r, rl + p * divide(xl, xh))  # normalized: the cube below is of r alone
    q, ql = two_product(r, r)
    cubed = r * q
    tail = cubed * (1.0 / 3.0 - r * (0.25 - r * (0.2 - r * (1.0 / 6.0 - r * (1.0 / 7.0 - r * (0.125 - r * (1.0 / 9.0)))))))
    s, t = fast_two_sum(r, -0.5 * q)
    a, b = two_sum(n * LN2_HIGH, lookup(LOG_HIGH, j))
    f, g = two_sum(a, s)
    rest = (rl - (0.5 * ql + r * rl)) + tail
    y, yl = two_sum(f, g + (((lookup(LOG_LOW, j) + n * LN2_LOW) + b) + (t + rest)))
    return y, yl, LOG_CUBE * absolute(cubed) + LOG_WORD * absolute(y) + TINY


SMALL = 2.0**-1021
"""Below this the bits of a float don't tell its exponent; it is multiplied by 2**108 first."""


def log(x: Double) -> Double:
    """log(x); open where x may be 0 or less."""
    xh, xl, xr = x
    room = maximum(xh * DOWN - xr, 0.0)
    y, yl, off = _logarithm(xh, xl, 0.0, 0.0)
    small = xh < SMALL
    off = pending(small, off)
    if anywhere(small):
        h, low, o = _logarithm(xh * 2.0**108, xl * 2.0**108, 0.0, 108.0)
        y, yl, off = where(small, h, y), where(small, low, yl), where(small, o, off)
    return y, yl, (divide(xr, room) + off) * UP + (xh - xh)  # nan at infinity


def log1p(x: Double) -> Double:
    """log(1 + x), accurate beside 0; open where x may be -1 or less."""
    xh, xl, xr = x
    s, t = two_sum(1.0, xh)
    s, low = two_sum(s, xl)  # of -1 and something small xl is no longer what is small
    room = maximum(s * DOWN - xr, 0.0)
    y, yl, off = _logarithm(s, t, low, 0.0)
    return y, yl, (divide(xr, room) + off) * UP + (xh - xh)


# -- sin and cos ---------------------------------------------------------------------------------------------------------

SIN_CUBE = 4.0 * UNIT
"""The cubic term r**3/6 and what follows, and as much of the other series."""

SIN_WORD = 4 * UNIT2
"""The table's words, and what is u of it, three times."""


def on_circle(xh: Array, xl: Array) -> tuple[Array, ...]:
    """sin(x) and cos(x) at a number of two words; how far both are off, but for the roundings of a result; and what these are a
    part of: the words of a table, and the rest."""
    k = nearest(xh * TURN_RATE)
    s, t = two_sum(xh - k * TURN_A, -k * TURN_B)  # k*A, k*B and the difference are exact
    r, rl = two_sum(s, t + (xl - k * TURN_C))
    lost = REDUCED * absolute(xh)
    far = absolute(xh) > NEAR
    lost = pending(far, lost)
    if anywhere(far):
        turns, rest, rest_low, off = reduced(xh, xl)
        k, r, rl, lost = where(far, turns, k), where(far, rest, r), where(far, rest_low, rl), where(far, off, lost)
    lost = lost + (xh - xh)  # nan at infinity
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
    off = SIN_CUBE * absolute(cubed) + lost
    sine, sine_low = _turned(sh, sl, ch, cl, u, ul, v, vl)
    cosine, cosine_low = _turned(ch, cl, -sh, -sl, u, ul, v, vl)
    return sine, sine_low, cosine, cosine_low, off, absolute(sh), absolute(ch), absolute(r)


def sine_cosine(x: Double) -> tuple[Array, Array, Array, Array, Array, Array]:
    """sin(x) and cos(x)."""
    xh, xl, xr = x
    sine, sine_low, cosine, cosine_low, off, sine_word, cosine_word, size = on_circle(xh, xl)
    sine_radius = (turned(xr, absolute(cosine) + off) + (off + SIN_WORD * (sine_word + size))) * UP + TINY
    cosine_radius = (turned(xr, absolute(sine) + off) + (off + SIN_WORD * (cosine_word + size))) * UP + TINY
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

ATAN_CUBE = 6.0 * UNIT
"""The cubic term t**3/3 and what follows: seven roundings of a third."""

ATAN_WORD = 4 * UNIT2
"""Of the angle in the table and of what is added: the quotient, and three sums of words."""


def atan(x: Double) -> Double:
    """atan(x) = atan(c) + atan((x - c)/(1 + c*x)), c the entry of a table beside |x|."""
    xh, xl, xr = x
    h = absolute(xh)
    j = whole(nearest(ATAN_STEPS * divide(h, 1.0 + h))) & 511
    sign = where(xh < 0.0, -1.0, 1.0)
    low = sign * xl
    c = lookup(ATAN_POINT, j)
    a, al = two_sum(h, -c)
    a, al = fast_two_sum(a, al + low)
    p, pl = two_product(h, c)
    b, bl = two_sum(1.0, p)
    t, tl = quotient(a, al, b, bl + (pl + low * c))
    q = t * t
    cubed = t * q
    tail = cubed * (-1.0 / 3.0 + q * (0.2 - q * (1.0 / 7.0 - q * (1.0 / 9.0))))
    angle = lookup(ATAN_HIGH, j)
    s, w = two_sum(angle, t)
    y, yl = two_sum(s, w + (lookup(ATAN_LOW, j) + (tl + tail)))
    off = ATAN_CUBE * absolute(cubed) + ATAN_WORD * (angle + absolute(t))
    nearest_zero = minimum(maximum(h * DOWN - xr, 0.0), 2.0**500)
    return sign * y, sign * yl, (divide(xr, 1.0 + nearest_zero * nearest_zero) + off) * UP + TINY


# -- the other inverses --------------------------------------------------------------------------------------------------


def asin(x: Double) -> Double:
    """atan(x/sqrt((1 - x)*(1 + x))), |x| < 1."""
    return atan(over(x, square_root(multiply(subtract(ONE, x), add(ONE, x)))))


def acos(x: Double) -> Double:
    """2*atan(sqrt((1 - x)/(1 + x))), |x| < 1."""
    return scale(atan(square_root(over(subtract(ONE, x), add(ONE, x)))), 2.0)


def atanh(x: Double) -> Double:
    """log1p(2x/(1 - x))/2, of |x|."""
    away, sign = outwards(x)
    return scale(log1p(over(scale(away, 2.0), subtract(ONE, away))), 0.5 * sign)


def asinh(x: Double) -> Double:
    """log1p(|x| + x**2/(1 + sqrt(1 + x**2)))."""
    away, sign = outwards(x)
    squared = square(x)
    return scale(log1p(add(away, over(squared, add(ONE, square_root(add(ONE, squared)))))), sign)


def acosh(x: Double) -> Double:
    """log1p(t + sqrt(t*(2 + t))) with t = x - 1, x > 1."""
    beyond = subtract(x, ONE)
    return log1p(add(beyond, square_root(multiply(beyond, add(TWO, beyond)))))
