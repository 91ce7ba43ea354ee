"""Certified Taylor series: the second witness, which owes nothing to SymPy.

A number here is a power series in one variable t with balls for coefficients (`flint.arb_series`), cut off after
`flint.ctx.cap` terms. With `x = variable(x0)` a tree evaluates to its Taylor series at x0: coefficient k contains the
derivative of order k, divided by k!. Where the function is not certified to be analytic, all coefficients are nan
(the strictness of `balls.SMOOTH`: a comparison of two equal numbers isn't decided).

Every function is written by one of two rules: by the differential equation it satisfies, f' = slope(f, g)*g', with
its value from `balls`; or by its Taylor coefficients, composed. Set the number of terms with `terms(n)` and the
precision with `flint.ctx.workprec`; a program over SERIES needs both in its `key`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

from flint import arb, arb_series, ctx

from gradcheck_cli.algebra import balls
from gradcheck_cli.algebra.balls import HALF, NAN, ONE, TWO, ZERO, Ball, Truth
from gradcheck_cli.language.functions import TABLE, Function
from gradcheck_cli.language.parser import definition
from gradcheck_cli.language.tree import Node

Series = Any
"""A `flint.arb_series`; python-flint carries no types."""

_EXACT = 1 << 30
"""The length of a constant: never what limits a result (`ctx.cap` does)."""


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
    rest = arb_series([0, *g.coeffs()[1:]], g.prec)
    result = arb_series([0], _EXACT)
    for a in reversed(coefficients):
        result = result * rest + arb_series([a], _EXACT)
    return _checked(result, _length(g))


def _constant(x: Ball) -> Series:
    return arb_series([x], _EXACT)


def _unknown() -> Series:
    """What is not certified: nan in every coefficient."""
    return arb_series([NAN] * ctx.cap, ctx.cap)


def _length(*series: Series) -> int:
    """How many terms a function of these has."""
    return int(min(ctx.cap, *(s.prec for s in series)))


def _checked(f: Series, length: int) -> Series:
    """f, unless it has an unknown coefficient or fewer terms than it should have."""
    return f if f.prec >= length and all(c.is_finite() for c in f.coeffs()) else _unknown()


def _fixed(g: Series) -> bool:
    """True where g doesn't depend on t."""
    return bool(g.length() <= 1)


# -- operators and conditions -----------------------------------------------------------------------------------------


def mul(f: Series, g: Series) -> Series:
    """The product; nan times 0 is nan (flint says 0)."""
    return _checked(f * g, _length(f, g)) if f[0].is_finite() and g[0].is_finite() else _unknown()


def div(f: Series, g: Series) -> Series:
    """The quotient; nan where g may be 0."""
    if not f[0].is_finite() or not g[0].is_finite() or g[0].contains(ZERO):
        return _unknown()
    return _checked(f / g, _length(f, g))


def _compared(name: str) -> Callable[[Series, Series], Truth]:
    compare = balls.GUARDED[name]
    return lambda f, g: compare(f[0], g[0])


def where(condition: Truth, f: Series, g: Series) -> Series:
    """The selected branch, whatever the other one is; where nothing tells which, either one if they are the same."""
    if condition is None:
        return f if _same(f, g) else _unknown()
    return f if condition else g


def _same(f: Series, g: Series) -> bool:
    """True where two series are known to be equal, term by term: a tie of such is no kink."""
    return (
        f.prec == g.prec
        and f.length() == g.length()
        and all(a.is_exact() and a.is_finite() and a == b and b.is_exact() for a, b in zip(f.coeffs(), g.coeffs(), strict=True))
    )


# -- functions of one argument by their differential equation ---------------------------------------------------------


def _slope(name: str, slope: Callable[[Series, Series], Series]) -> Callable[[Series], Series]:
    """The row `name`: its value from SMOOTH, then f = f0 + integral(slope(f, g)*g'): one term more with each turn."""
    value = balls.SMOOTH.function(TABLE[name])
    assert value is not None

    def function(g: Series) -> Series:
        n, start = _length(g), value(g[0])
        if not start.is_finite():
            return _unknown()
        f = arb_series([start], n)
        if _fixed(g):
            return f
        for _ in range(1, n):
            f = start + (slope(f, g) * g.derivative()).integral()
        return _checked(f, n)

    return function


def _root_of(g: Series) -> Series:
    return div(_constant(ONE), sqrt(g))


def _reciprocal(g: Series) -> Series:
    return div(_constant(ONE), g)


def _over_root_pi(factor: int, f: Series) -> Series:
    return f * (factor / arb.pi().sqrt())


def _cosine(name: str, sign: int) -> Callable[[Series], Series]:
    """cos (sign -1) and cosh (sign 1), which satisfy f'' = sign*f."""
    value, slope = balls.SMOOTH.function(TABLE[name]), balls.SMOOTH.function(TABLE["sin" if sign < 0 else "sinh"])
    assert value is not None
    assert slope is not None

    def function(g: Series) -> Series:
        pair = (value(g[0]), sign * slope(g[0]))
        signs = (sign ** (k // 2) for k in range(_length(g)))
        return compose([s * pair[k % 2] / math.factorial(k) for k, s in enumerate(signs)], g)

    return function


cos = _cosine("cos", -1)
cosh = _cosine("cosh", 1)
sin = _slope("sin", lambda f, g: cos(g))
sinh = _slope("sinh", lambda f, g: cosh(g))
tan = _slope("tan", lambda f, g: 1 + f * f)
exp = _slope("exp", lambda f, g: f)
log = _slope("log", lambda f, g: _reciprocal(g))
sqrt = _slope("sqrt", lambda f, g: _reciprocal(2 * f))
sigmoid = _slope("sigmoid", lambda f, g: f * f * exp(-g))

SLOPES: Mapping[str, Callable[[Series, Series], Series]] = MappingProxyType(
    {
        "expm1": lambda f, g: exp(g),
        "log1p": lambda f, g: _reciprocal(1 + g),
        "cbrt": lambda f, g: div(f, 3 * g),
        "asin": lambda f, g: _root_of(1 - g * g),
        "acos": lambda f, g: -_root_of(1 - g * g),
        "atan": lambda f, g: _reciprocal(1 + g * g),
        "tanh": lambda f, g: _reciprocal(cosh(g) * cosh(g)),
        "asinh": lambda f, g: _root_of(1 + g * g),
        "acosh": lambda f, g: _root_of(g * g - 1),
        "atanh": lambda f, g: _reciprocal(1 - g * g),
        "logsigmoid": lambda f, g: sigmoid(-g),
        "erf": lambda f, g: _over_root_pi(2, exp(-g * g)),
        "erfc": lambda f, g: _over_root_pi(-2, exp(-g * g)),
        "erfcx": lambda f, g: 2 * g * f - TWO / arb.pi().sqrt(),
        "erfinv": lambda f, g: exp(f * f) * (arb.pi().sqrt() / 2),
        "ndtri": lambda f, g: exp(f * f * HALF) * (2 * arb.pi()).sqrt(),
        "log_ndtr": lambda f, g: exp(-g * g * HALF - f) / (2 * arb.pi()).sqrt(),
        "lgamma": lambda f, g: polygamma(0, g),
        "gamma": lambda f, g: f * polygamma(0, g),
    }
)
"""f' divided by g' for f = row(g), in terms of f and g."""


def _gelu(g: Series) -> Series:
    return g * FUNCTIONS["erfc"](-g / TWO.sqrt()) * HALF


# -- functions of a constant term alone -------------------------------------------------------------------------------


def absolute(g: Series) -> Series:
    """g or -g."""
    return g if g[0] > ZERO else -g if g[0] < ZERO else _unknown()


def _step(name: str) -> Callable[[Series], Series]:
    """A function that is locally constant."""
    step = balls.GUARDED[name]
    return lambda g: _checked(_constant(step(g[0])), 1)


# -- functions by their Taylor coefficients ---------------------------------------------------------------------------


def pow(f: Series, g: Series) -> Series:
    """The real power; a constant exponent makes it the binomial series, which takes what `balls.pow` takes."""
    if not _fixed(g):
        return exp(mul(g, log(f)))
    y, choose, coefficients = g[0], ONE, []
    for k in range(_length(f)):
        coefficients.append(ZERO if choose.is_zero() else choose * balls.GUARDED["pow"](f[0], y - k))
        choose = choose * (y - k) / (k + 1)
    return compose(coefficients, f) if y.is_finite() else _unknown()


def logaddexp(f: Series, g: Series) -> Series:
    """log(exp(f) + exp(g))."""
    if f[0].mid() < g[0].mid():
        f, g = g, f
    return f + FUNCTIONS["log1p"](exp(g - f))


def atan2(y: Series, x: Series) -> Series:
    """The angle of the point (x, y), off the cut."""
    start, n = balls.GUARDED["atan2"](y[0], x[0]), _length(y, x)
    if not start.is_finite():
        return _unknown()
    slope = div(x * y.derivative() - y * x.derivative(), x * x + y * y) if n > 1 else _constant(ZERO)
    return _checked(arb_series([start], n) + slope.integral(), n)


def sinc(g: Series) -> Series:
    """sin(pi*g)/(pi*g), and its Taylor series at 0."""
    if not g[0].is_zero():
        scaled = g * arb.pi()
        return div(sin(scaled), scaled)
    signs = (1, 0, -1, 0)
    return compose([signs[k % 4] * balls.pow(arb.pi(), arb(k)) / math.factorial(k + 1) for k in range(_length(g))], g)


def polygamma(n: int, g: Series) -> Series:
    """The derivative of order n of digamma."""
    return compose([balls.polygamma(n + k, g[0]) / math.factorial(k) for k in range(_length(g))], g)


def beta(f: Series, g: Series) -> Series:
    """gamma(f)*gamma(g)/gamma(f + g) for positive f and g."""
    if not (f[0] > ZERO and g[0] > ZERO):
        return _unknown()
    lgamma = FUNCTIONS["lgamma"]
    return exp(lgamma(f) + lgamma(g) - lgamma(f + g))


_ZETA_LIMIT = 2.0**20


def zeta(s: Series, q: Series) -> Series:
    """sum (-1)**k*s*(s+1)*...*(s+k-1)/k!*zeta(s + k, q0)*(q - q0)**k: both arguments may vary."""
    n, q0 = _length(s, q), q[0]
    if not (s[0] > ONE and q0.is_finite() and (_fixed(s) or q0 > ZERO)):
        return _unknown()
    if not (_fixed(s) or (s[0] < _ZETA_LIMIT and q0 < _ZETA_LIMIT)):
        return _unknown()  # flint's sum would run for hours
    rest = arb_series([0, *q.coeffs()[1:]], q.prec)
    total, factor = _constant(ZERO), _constant(ONE)
    for k in range(1 if _fixed(q) else n):
        value = _constant(balls.zeta(s[0] + k, q0)) if _fixed(s) else (s + k).zeta(q0)
        total = total + factor * value
        factor = factor * rest * (s + k) / (-(k + 1))
    return _checked(total, n)


def _bessel(name: str, sign: int, step: int) -> Callable[[int, Series], Series]:
    """An integer-order function with f_n' = step*(f_{n-1} + sign*f_{n+1})/2 and f_{-n} = sign**n*f_n."""
    value = balls.SMOOTH.function(TABLE[name])
    assert value is not None

    def order(n: int, x: Ball) -> Ball:
        return (sign if n < 0 and n % 2 else 1) * value(-n if n < 0 else n, x)

    def derivative(n: int, k: int, x: Ball) -> Ball:
        shifted = (math.comb(k, j) * sign**j * order(n - k + 2 * j, x) for j in range(k + 1))
        return sum(shifted, ZERO) * arb(step) ** arb(k) / 2**k

    return lambda n, g: compose([derivative(n, k, g[0]) / math.factorial(k) for k in range(_length(g))], g)


def _scaled(n: int) -> Callable[[Series], Series]:
    """exp(-|g|)*besseli(n, g)."""
    return lambda g: mul(exp(-absolute(g)), FUNCTIONS["besseli"](n, g))


FUNCTIONS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "pi": lambda: _constant(arb.pi()), "e": lambda: _constant(arb.const_e()),
        "inf": lambda: _constant(arb.pos_inf()),
        "mul": mul, "div": div, "pow": pow, "where": where,
        **{name: _compared(name) for name in ("lt", "le", "gt", "ge", "eq", "ne")},
        **{name: getattr(balls, name) for name in ("logical_and", "logical_or", "logical_not")},
        "abs": absolute, "sign": _step("sign"), "floor": _step("floor"),
        "exp": exp, "log": log, "sqrt": sqrt, "sin": sin, "cos": cos, "tan": tan, "sinh": sinh, "cosh": cosh,
        "sigmoid": sigmoid, **{name: _slope(name, slope) for name, slope in SLOPES.items()},
        "logaddexp": logaddexp, "atan2": atan2, "sinc": sinc, "gelu": _gelu,
        "polygamma": polygamma, "beta": beta, "zeta": zeta,
        "besselj": _bessel("besselj", -1, 1), "bessely": _bessel("bessely", -1, 1),
        "besseli": _bessel("besseli", 1, 1), "besselk": _bessel("besselk", 1, -1),
        "i0e": _scaled(0), "i1e": _scaled(1),
    }
)  # fmt: skip
"""The rows that are computed without their definition."""


class SeriesAlgebra:
    """An `algebra.program.Algebra` on Taylor series."""

    operators: Mapping[str, str] = MappingProxyType({"add": "{0} + {1}", "sub": "{0} - {1}", "neg": "-{0}"})

    def constant(self, value: int | float | bool) -> Any:
        """The number of a literal, exactly."""
        return value if isinstance(value, bool) else _constant(arb(value))

    def function(self, row: Function) -> Callable[..., Any] | None:
        """What computes the row; None where its definition does; a primitive without a series is unknown."""
        found = FUNCTIONS.get(row.name)
        if found is None and not row.definition and row.name not in self.operators:
            return lambda *arguments: _unknown()
        return found

    def body(self, row: Function) -> Node:
        """The definition."""
        return definition(row.name)


SERIES = SeriesAlgebra()
