"""Certified Taylor series: the second witness, which owes nothing to SymPy.

A number here is a power series in one variable t with balls for coefficients (`flint.arb_series`), cut off after
`flint.ctx.cap` terms. With `x = variable(x0)` a tree evaluates to its Taylor series at x0: coefficient k contains the
derivative of order k, divided by k!. Where the function is not certified to be analytic, all coefficients are nan
(the strictness of `balls.SMOOTH`: a comparison of two equal numbers isn't decided).

Every function is written by one of two rules: by the differential equation it satisfies, f(g)' = slope*g', where the
column `slope` of the table is a formula in g and f(g), with its value from `balls`; or by its Taylor coefficients, composed,
here, under the name in the column `series`. Set the number of terms with `terms(n)` and the precision with
`flint.ctx.workprec`; a program over SERIES needs both in its `key`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from flint import arb, arb_mat, arb_series, ctx

from gradcheck_cli.algebra import balls
from gradcheck_cli.algebra.balls import HALF, TWO, Truth
from gradcheck_cli.algebra.number import NAN, ONE, ZERO, Ball
from gradcheck_cli.algebra.polynomials import HIGHEST, NAMES, coefficients
from gradcheck_cli.algebra.program import Program, inline
from gradcheck_cli.language import syntax
from gradcheck_cli.language.functions import TABLE, Function
from gradcheck_cli.language.parser import definition, parse
from gradcheck_cli.language.tree import Constant, Node

Series = Any
"""A `flint.arb_series`; python-flint carries no types."""

LONG = 1 << 30
"""The length of a constant: never what limits a result (`ctx.cap` does)."""

_smooth = balls.SMOOTH.evaluate


@contextmanager
def terms(count: int) -> Iterator[None]:
    """Series have `count` terms inside the block."""
    before, ctx.cap = ctx.cap, count
    try:
        yield
    finally:
        ctx.cap = before


def variable(x: Ball) -> Series:
    """x + t, with `ctx.cap` terms."""
    return arb_series([x, 1], ctx.cap)


def coefficient(f: Series, k: int) -> Ball:
    """Coefficient k: nan where the series is cut off before it (flint would answer 0)."""
    return f[k] if k < min(f.prec, ctx.cap) else NAN


def compose(coefficients: Sequence[Ball], g: Series) -> Series:
    """sum a_k*(g - g0)**k: f(g), where the a_k are the Taylor coefficients of f at g0."""
    if g.prec == 2 == len(coefficients):
        return _checked(arb_series([coefficients[0], coefficients[1] * g[1]], 2), 2)
    rest = arb_series([0, *g.coeffs()[1:]], g.prec)
    result = arb_series([0], LONG)
    for a in reversed(coefficients):
        result = result * rest + arb_series([a], LONG)
    return _checked(result, _length(g))


def constant(x: Ball) -> Series:
    """x, with as many terms as one asks for."""
    return arb_series([x], LONG)


def _unknown() -> Series:
    """What is not certified: nan in every coefficient."""
    return arb_series([NAN] * ctx.cap, ctx.cap)


def _length(*series: Series) -> int:
    """How many terms a function of these has."""
    length = ctx.cap
    for s in series:
        length = min(length, s.prec)
    return int(length)


def _checked(f: Series, length: int) -> Series:
    """f, unless it has an unknown coefficient or fewer terms than it should have."""
    return f if f.prec >= length and _known(f) else _unknown()


def _known(f: Series) -> bool:
    """True where no coefficient is unknown."""
    if f.length() <= 2:  # the list of a few takes as long as all the rest
        return bool(f[0].is_finite() and f[1].is_finite())
    return all(c.is_finite() for c in f.coeffs())


def _never(f: Series) -> bool:
    """True where f is 0 wherever t is."""
    return bool(not f.length() and f.prec >= LONG)


def _fixed(g: Series) -> bool:
    """True where g doesn't depend on t."""
    return bool(g.length() <= 1)


# -- operators and conditions -----------------------------------------------------------------------------------------


def mul(f: Series, g: Series) -> Series:
    """The product; nan times 0 is nan (flint says 0). What is 0 wherever t is, stays so."""
    if not (f[0].is_finite() and g[0].is_finite()):
        return _unknown()
    product = f * g
    if product.length():
        return _checked(product, _length(f, g))
    return constant(ZERO) if (_never(f) or _never(g)) and _known(f) and _known(g) else product


def div(f: Series, g: Series) -> Series:
    """The quotient; nan where g may be 0."""
    if not f[0].is_finite() or not g[0].is_finite() or g[0].contains(ZERO):
        return _unknown()
    if _never(f) and _known(g):
        return constant(ZERO)
    length = _length(f, g)
    return _checked(f / g if f.length() else arb_series([], length), length)  # python-flint 0.8 can't divide 0


def where(condition: Truth, f: Series, g: Series) -> Series:
    """The selected branch, whatever the other one is; where nothing tells which, what both are the same in."""
    if condition is None:
        shorter = f if f.prec <= g.prec else g
        return shorter if _agree(f, g) else _unknown()
    return f if condition else g


def _agree(f: Series, g: Series) -> bool:
    """True where two series are known to be equal as far as both go."""
    known = range(_length(f, g))
    return all(f[k].is_exact() and f[k].is_finite() and f[k] == g[k] and g[k].is_exact() for k in known)


def same(f: Series, g: Series) -> bool:
    """True where two series are known to be equal, term by term: a tie of such is no kink."""
    return (
        f.prec == g.prec
        and f.length() == g.length()
        and all(a.is_exact() and a.is_finite() and a == b and b.is_exact() for a, b in zip(f.coeffs(), g.coeffs(), strict=True))
    )


# -- functions of one argument by their differential equation ---------------------------------------------------------


def _sloped(row: Function) -> Callable[[Series], Series]:
    """The row by its column `slope`: its value from SMOOTH, then f = f0 + integral(slope*g'), one term more with each turn."""
    value, slope = balls.SMOOTH.function(row), parse(row.slope)
    assert value is not None
    if slope == Constant(0):
        return lambda g: _checked(constant(value(g[0])), 1)
    names = [row.parameters[0].name, "f"]
    program = cache(lambda: Program([slope], names, _SLOPES, key=lambda: (ctx.prec, ctx.cap)))
    single = cache(lambda: Program([slope], names, balls.SMOOTH, key=lambda: ctx.prec))

    def function(g: Series) -> Series:
        n, start = _length(g), value(g[0])
        if not start.is_finite():
            return _unknown()
        if n == 2 and not _fixed(g):  # a value and a slope are what most are asked for
            return _checked(arb_series([start, single()(g[0], start)[0] * g[1]], n), n)
        f = arb_series([start], n)
        if _fixed(g):
            return f
        run = program().bind()
        for _ in range(1, n):
            f = start + (run(g, f)[0] * g.derivative()).integral()
        return _checked(f, n)

    return function


def _cosine(name: str, sign: int) -> Callable[[Series], Series]:
    """cos (sign -1) and cosh (sign 1), which satisfy f'' = sign*f."""
    value, slope = _smooth(name), _smooth("sin" if sign < 0 else "sinh")

    def function(g: Series) -> Series:
        pair = (value(g[0]), sign * slope(g[0]))
        signs = (sign ** (k // 2) for k in range(_length(g)))
        return compose([s * pair[k % 2] / math.factorial(k) for k, s in enumerate(signs)], g)

    return function


cos = _cosine("cos", -1)
cosh = _cosine("cosh", 1)


def gelu(g: Series) -> Series:
    """g*Phi(g), Phi the normal distribution function."""
    return g * _row("erfc")(-g / TWO.sqrt()) * HALF


# -- functions of a constant term alone -------------------------------------------------------------------------------


def absolute(g: Series) -> Series:
    """g or -g: both, where g is 0 as far as it goes (x - x)."""
    return g if g[0] > ZERO else -g if g[0] < ZERO else where(None, g, -g)


# -- functions by their Taylor coefficients ---------------------------------------------------------------------------


def pow(f: Series, g: Series) -> Series:
    """The real power; a constant exponent makes it the binomial series, which takes what `balls.pow` takes."""
    if not _fixed(g):
        return _row("exp")(mul(g, _row("log")(f)))
    power, y, choose, coefficients = _smooth("pow"), g[0], ONE, []
    for k in range(_length(f)):
        coefficients.append(ZERO if choose.is_zero() else choose * power(f[0], y - k))
        choose = choose * (y - k) / (k + 1)
    return compose(coefficients, f) if y.is_finite() else _unknown()


def logaddexp(f: Series, g: Series) -> Series:
    """log(exp(f) + exp(g))."""
    if f[0].mid() < g[0].mid():
        f, g = g, f
    return f + _row("log1p")(_row("exp")(g - f))


def atan2(y: Series, x: Series) -> Series:
    """The angle of the point (x, y), off the cut."""
    start, n = _smooth("atan2")(y[0], x[0]), _length(y, x)
    if not start.is_finite():
        return _unknown()
    slope = div(x * y.derivative() - y * x.derivative(), x * x + y * y) if n > 1 else constant(ZERO)
    return _checked(arb_series([start], n) + slope.integral(), n)


def sinc(g: Series) -> Series:
    """sin(pi*g)/(pi*g), and its Taylor series at 0."""
    if not g[0].is_zero():
        scaled = g * arb.pi()
        return div(_row("sin")(scaled), scaled)
    signs = (1, 0, -1, 0)
    return compose([signs[k % 4] * balls.pow(arb.pi(), arb(k)) / math.factorial(k + 1) for k in range(_length(g))], g)


def polygamma(n: int, g: Series) -> Series:
    """The derivative of order n of digamma."""
    return compose([balls.polygamma(n + k, g[0]) / math.factorial(k) for k in range(_length(g))], g)


def beta(f: Series, g: Series) -> Series:
    """gamma(f)*gamma(g)/gamma(f + g) for positive f and g."""
    if not (f[0] > ZERO and g[0] > ZERO):
        return _unknown()
    lgamma = _row("lgamma")
    return _row("exp")(lgamma(f) + lgamma(g) - lgamma(f + g))


_ZETA_LIMIT = 2.0**20


def zeta(s: Series, q: Series) -> Series:
    """sum (-1)**k*s*(s+1)*...*(s+k-1)/k!*zeta(s + k, q0)*(q - q0)**k: both arguments may vary."""
    n, q0 = _length(s, q), q[0]
    if not (s[0] > ONE and q0.is_finite() and (_fixed(s) or q0 > ZERO)):
        return _unknown()
    if not (_fixed(s) or (s[0] < _ZETA_LIMIT and q0 < _ZETA_LIMIT)):
        return _unknown()  # flint's sum would run for hours
    rest = arb_series([0, *q.coeffs()[1:]], q.prec)
    total, factor = constant(ZERO), constant(ONE)
    for k in range(1 if _fixed(q) else n):
        value = constant(balls.zeta(s[0] + k, q0)) if _fixed(s) else (s + k).zeta(q0)
        total = total + factor * value
        factor = div(factor * rest * (s + k), constant(arb(-(k + 1))))
    return _checked(total, n)


def _bessel(name: str, sign: int, step: int) -> Callable[[int, Series], Series]:
    """An integer-order function with f_n' = step*(f_{n-1} + sign*f_{n+1})/2 and f_{-n} = sign**n*f_n."""
    value = _smooth(name)

    def order(n: int, x: Ball) -> Ball:
        return (sign if n < 0 and n % 2 else 1) * value(-n if n < 0 else n, x)

    def derivative(n: int, k: int, x: Ball) -> Ball:
        shifted = (math.comb(k, j) * sign**j * order(n - k + 2 * j, x) for j in range(k + 1))
        return sum(shifted, ZERO) * arb(step) ** arb(k) / 2**k

    return lambda n, g: compose([derivative(n, k, g[0]) / math.factorial(k) for k in range(_length(g))], g)


def _scaled(n: int) -> Callable[[Series], Series]:
    """exp(-|g|)*besseli(n, g)."""
    return lambda g: mul(_row("exp")(-absolute(g)), besseli(n, g))


besselj, bessely = _bessel("besselj", -1, 1), _bessel("bessely", -1, 1)
besseli, besselk = _bessel("besseli", 1, 1), _bessel("besselk", 1, -1)
i0e, i1e = _scaled(0), _scaled(1)


def airy_ai(g: Series) -> Series:
    """Airy's function: its Taylor coefficients follow from f'' = x*f."""
    x = g[0]
    found = [balls.airy_ai(x), x.airy_ai(derivative=1) if x.is_finite() else NAN]
    for k in range(_length(g) - 2):
        found.append((x * found[k] + (found[k - 1] if k else ZERO)) / ((k + 1) * (k + 2)))
    return compose(found[: _length(g)], g)


def _incomplete(name: str, sign: int) -> Callable[[Series, Series], Series]:
    """The incomplete gamma function where its first argument is constant: x**(a - 1)*exp(-x)/gamma(a), or less that, is its
    slope."""
    value = _smooth(name)

    def function(a: Series, x: Series) -> Series:
        n, start = _length(a, x), value(a[0], x[0])
        if not (_fixed(a) and x[0] > ZERO):
            return _unknown()
        powers = mul(constant(a[0] - 1), _row("log")(x)) - x - constant(a[0].lgamma())
        slope = _row("exp")(powers) * x.derivative() * sign
        return _checked(arb_series([start], n) + slope.integral(), n)

    return function


gammainc, gammaincc = _incomplete("gammainc", 1), _incomplete("gammaincc", -1)


# -- matrices ----------------------------------------------------------------------------------------------------------


def alike(f: Series, g: Series) -> Series:
    """0 all along: it is asked of what doesn't move."""
    return constant(balls.alike(f[0], g[0]))


def gauge(*arguments: Any) -> Series:
    """A constant."""
    *given, rows, columns, factor, i, k = arguments
    return constant(balls.gauge(*(f[0] for f in given), rows, columns, factor, i, k))


def root(*arguments: Any) -> Series:
    """A simple root by Newton's method, from its value on: each step doubles the terms that are right."""
    *given, k = arguments
    n, start = _length(*given), _smooth("root")(*(c[0] for c in given), k)
    if not start.is_finite():
        return _unknown()
    f = arb_series([start], n)
    for _ in range(n.bit_length()):
        value = slope = arb_series([], n)
        for power, c in reversed(list(enumerate(given))):
            value = value * f + c
            slope = slope * f + c * power if power else slope
        f = f - div(value, slope)
        f = arb_series([start, *f.coeffs()[1:]], n)
    return _checked(f, n)


def exponential(*arguments: Any) -> Series:
    """The blocks of the exponential of the block matrix that has the k-th terms of A on its k-th diagonal are the terms of
    exp(A)."""
    *given, i, j = arguments
    length, n = _length(*given), math.isqrt(len(given))
    whole = arb_mat(n * length, n * length)
    for place, f in enumerate(given):
        row, column = divmod(place, n)
        for start in range(length):
            for k in range(length - start):
                whole[start * n + row, (start + k) * n + column] = f[k]
    if not all(_known(f) and all(abs(c) < balls.LARGEST_EXPONENT for c in f.coeffs()) for f in given):
        return _unknown()
    found = whole.exp()
    return _checked(arb_series([found[i, k * n + j] for k in range(length)], length), length)


def _polynomial(family: str, shifted: bool) -> Callable[[Series, int], Series]:
    def run(x: Series, n: int) -> Series:
        if n > HIGHEST or not x[0].is_finite():
            return _unknown()
        return _checked(balls.polynomial(coefficients(family, n, shifted), x) + constant(ZERO), _length(x))

    return run


globals().update({name: _polynomial(*family) for name, family in NAMES.items()})


class SeriesAlgebra:
    """An `algebra.program.Algebra` on Taylor series: the columns `slope` and `series`, the latter found in this module."""

    operators = inline(syntax.ADD, syntax.SUB, syntax.NEG)

    def constant(self, value: int | float | bool) -> Any:
        """The number of a literal, exactly."""
        return value if isinstance(value, bool) else constant(arb(value))

    def function(self, row: Function) -> Callable[..., Any] | None:
        """What computes the row; None where its definition does; a primitive without a series is unknown."""
        found = _cell(row)
        if found is None and not row.definition and row.name not in self.operators:
            return lambda *arguments: _unknown()
        return found

    def body(self, row: Function) -> Node:
        """The definition."""
        return definition(row.name)


class _SlopeAlgebra(SeriesAlgebra):
    """The same for slopes, whose products need no check of their own: what they make is checked as a whole."""

    operators = inline(syntax.ADD, syntax.SUB, syntax.MUL, syntax.NEG)


SERIES, _SLOPES = SeriesAlgebra(), _SlopeAlgebra()


@cache
def _cell(row: Function) -> Callable[..., Any] | None:
    """The row's own series, or None."""
    if row.slope:
        return _sloped(row)
    if row.series:
        found: Callable[..., Any] = globals()[row.series]
        return found
    if row.truth:
        truth = _smooth(row.name)
        return truth if row.parameters[0].kind == "truth" else lambda f, g: truth(f[0], g[0])
    return (lambda: constant(_smooth(row.name)())) if not row.parameters else None


def _row(name: str) -> Callable[..., Series]:
    """A row as a function of series."""
    found = SERIES.function(TABLE[name])
    assert found is not None
    return found
