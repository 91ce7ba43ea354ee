"""Certified real functions: every result is a ball (midpoint and radius, `flint.arb`) that contains the true value.

Two algebras share the functions of this module:

`PLAIN`   encloses the value of the function at every point of the argument balls. Outside of the domain, and where
          the precision doesn't decide whether the argument lies in it, the result is a nan ball.
`SMOOTH`  the same, and finite only where the function is certified to be analytic on the whole argument ball. So a tree
          that is finite in SMOOTH is differentiable, to any order, at the point where it was evaluated.

No function raises for an argument in balls, runs for long, or builds a number of unbounded size. A truth value is True,
False or None (not decided). Precision is flint's: set it with `flint.ctx.workprec`. Intermediate results use more of it
where the size of an argument (not its position) would eat the accuracy: `exp(1e300)` is right to the last bit.

The `ball` column of the function table names the functions here, or methods of `flint.arb`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from flint import acb, arb, arb_mat, arb_poly, arb_series, ctx, fmpq, fmpq_poly

from gradcheck_cli.algebra.factors import factored
from gradcheck_cli.algebra.number import NAN, ONE, ZERO, Ball, two_to
from gradcheck_cli.algebra.polynomials import HIGHEST, NAMES, Coefficients, coefficients
from gradcheck_cli.algebra.program import Program, inline
from gradcheck_cli.language import syntax
from gradcheck_cli.language.functions import ROWS, TABLE, Function
from gradcheck_cli.language.parser import definition, parse
from gradcheck_cli.language.tree import Node

Truth = bool | None
"""True, False, or None where the balls don't decide."""

HALF, TWO = ONE / 2, arb(2)

LIMIT = 2200
"""Arguments of exponential growth are followed up to 2**LIMIT: the square of any double. Beyond, an exponential is a
ball that is infinite or contains 0."""

EASY = 2.0**20
"""Exponents up to this size are handed to arb, which multiplies for integers."""

_SPARE = 64  # bits beyond those of an argument
_GOOD = 24  # bits of relative accuracy that show that the size of the argument did no harm


def constant(value: int | float | bool) -> Any:
    """The number itself, exactly: a truth value stays one, an int or a double becomes a ball of radius 0."""
    return value if isinstance(value, bool) else arb(value)


def hull(x: Ball, y: Ball) -> Ball:
    """The smallest ball that contains both (nan where one is); of truth values the one that both are, else None: undecided."""
    if isinstance(x, arb):
        return x.union(y)
    return x if x is y else None


# -- precision --------------------------------------------------------------------------------------------------------


def _bits(x: Ball) -> int:
    """The binary exponent of the largest number in a finite ball: |x| < 2**bits."""
    mantissa, exponent = x.abs_upper().man_exp()
    return int(exponent) + int(mantissa).bit_length()


def _again(function: Callable[..., Ball], result: Ball, *arguments: Ball) -> Ball:
    """`function(*arguments)` with as many more bits as the largest argument has before its point, or `result`."""
    if not all(a.is_finite() for a in arguments):
        return NAN
    extra = max(_bits(a) for a in arguments)
    if not 8 < extra <= LIMIT:
        return result
    with ctx.workprec(ctx.prec + extra + 64):
        result = function(*arguments)
    return +result


def _sized(function: Callable[[Ball], Ball]) -> Callable[[Ball], Ball]:
    """`function` made accurate for arguments of any size, at the cost of one question where it was accurate already."""

    def sized(x: Ball) -> Ball:
        y = function(x)
        return y if y.rel_accuracy_bits() > _GOOD else _again(function, y, x)

    return sized


def _falling(function: Callable[[Ball], Ball], x: Ball) -> Ball:
    """A function that falls everywhere, of a finite ball: its values at the ends bound it, and only numbers are asked for."""
    return function(x) if x.is_exact() else function(x.lower()).union(function(x.upper()))


# -- operators and conditions -----------------------------------------------------------------------------------------

add, sub, mul, div, neg, pos = operator.add, operator.sub, operator.mul, operator.truediv, operator.neg, operator.pos


def lt(x: Ball, y: Ball) -> Truth:
    """x < y."""
    return True if x < y else False if x >= y else None


def le(x: Ball, y: Ball) -> Truth:
    """x <= y."""
    return True if x <= y else False if x > y else None


def gt(x: Ball, y: Ball) -> Truth:
    """x > y."""
    return lt(y, x)


def ge(x: Ball, y: Ball) -> Truth:
    """x >= y."""
    return le(y, x)


def eq(x: Ball, y: Ball) -> Truth:
    """x == y: True for two equal exact balls only."""
    return True if x == y else False if x != y else None


def ne(x: Ball, y: Ball) -> Truth:
    """x != y."""
    return logical_not(eq(x, y))


def logical_and(x: Truth, y: Truth) -> Truth:
    """Kleene's and: False as soon as one is False."""
    return False if x is False or y is False else None if x is None or y is None else True


def logical_or(x: Truth, y: Truth) -> Truth:
    """Kleene's or: True as soon as one is True."""
    return True if x is True or y is True else None if x is None or y is None else False


def logical_not(x: Truth) -> Truth:
    """Kleene's not."""
    return None if x is None else not x


def where(condition: Truth, x: Ball, y: Ball) -> Ball:
    """The selected branch, whatever the other one is; nan where the condition is not decided."""
    return NAN if condition is None else x if condition else y


# -- steps and roots --------------------------------------------------------------------------------------------------


def abs(x: Ball) -> Ball:
    """|x|."""
    return operator.abs(x)


def sign(x: Ball) -> Ball:
    """-1, 0 or 1; the hull of those that are possible."""
    return x.sgn() if x.is_finite() else NAN


def floor(x: Ball) -> Ball:
    """The largest integer <= x; the hull of those that are possible."""
    return x.floor()


def cbrt(x: Ball) -> Ball:
    """The real cube root, odd."""
    if x > ZERO:
        return x.root(3)
    if x < ZERO:
        return -(-x).root(3)
    if not x.is_finite() or x.is_zero():
        return x
    size = x.abs_upper().root(3)
    return hull(-size, size)


def pow(x: Ball, y: Ball) -> Ball:
    """The real power: x > 0, or y an exact integer (then any x, and 0**0 == 1), or x >= 0 and y > 0."""
    if -EASY < float(y) < EASY:
        z = x**y
        return z if z.rel_accuracy_bits() > _GOOD and x.is_finite() else _power(x, y, z)
    return _power(x, y, NAN)


def _power(x: Ball, y: Ball, easy: Ball) -> Ball:
    """The power where arb's own is not accurate, not defined (the base touches 0), or not safe (a huge exponent)."""
    if not (x.is_finite() and y.is_finite()):
        return NAN
    if x > ZERO:
        return _positive_power(x, y, easy)
    if easy.is_finite():
        return easy
    if y.is_integer():
        if x < ZERO:
            z = _positive_power(-x, y)
            return z if (y * HALF).is_integer() else -z
        if y == ZERO:
            return ONE
        if not y > ZERO:
            return NAN
        z = ZERO if x.is_zero() else _positive_power(x.abs_upper(), y)
        return hull(-z, z)
    if x >= ZERO and y > ZERO:
        return ZERO if x.is_zero() else hull(ZERO, _positive_power(x.upper(), y))
    return NAN


def _positive_power(x: Ball, y: Ball, easy: Ball = NAN) -> Ball:
    """exp(y*log(x)), with the precision for the size of the product; `easy` where that is small."""
    t = y * x.log()
    if not t.is_finite():
        return NAN
    extra = _bits(t)
    if extra <= 8 or extra > LIMIT:
        return easy if easy.is_finite() else t.exp()
    with ctx.workprec(ctx.prec + extra + 64):
        z = (y * x.log()).exp()
    return +z


# -- exponentials, hyperbolic and trigonometric functions -------------------------------------------------------------

exp = _sized(arb.exp)
expm1 = _sized(arb.expm1)
sinh = _sized(arb.sinh)
cosh = _sized(arb.cosh)
tan = _sized(arb.tan)
erfc = _sized(arb.erfc)


def sigmoid(x: Ball) -> Ball:
    """1/(1 + exp(-x))."""
    z = exp(-x)
    # where exp(-x) is beyond all bounds, exp(x) is a ball around 0; it contains sigmoid(x), which is less than exp(x)
    return ONE / (ONE + z) if z.is_finite() else exp(x) if x < ZERO else NAN


def logsigmoid(x: Ball) -> Ball:
    """-log(1 + exp(-x))."""
    z = exp(-x)
    return -z.log1p() if z.is_finite() else x - exp(x) if x < ZERO else NAN


def logaddexp(x: Ball, y: Ball) -> Ball:
    """log(exp(x) + exp(y))."""
    if x.mid() < y.mid():
        x, y = y, x
    z = x + exp(y - x).log1p()
    if z.is_finite() or not (x.is_finite() and y.is_finite()):
        return z
    # balls too wide for exp: the value moves by no more than its arguments do
    return x.mid() + exp(y.mid() - x.mid()).log1p() + arb(0, 1) * (x.rad() + y.rad())


def atan2(y: Ball, x: Ball) -> Ball:
    """The angle of the point (x, y) in (-pi, pi]; nan where it may be the origin."""
    if not (y.is_finite() and x.is_finite()) or (y.contains(ZERO) and x.contains(ZERO)):
        return NAN
    return arb.atan2(y, x)


def sinc(x: Ball) -> Ball:
    """sin(pi*x)/(pi*x), 1 at 0."""
    return x.sinc_pi() if x.is_finite() else NAN


# -- the error function and the normal distribution -------------------------------------------------------------------


_LARGE = 2.0**10
"""Arguments from which on asymptotic expansions are as accurate as is asked here."""


def erfcx(x: Ball) -> Ball:
    """exp(x**2)*erfc(x), without overflow. It falls everywhere, since 2*x*erfcx(x) < 2/sqrt(pi) (DLMF 7.8.2)."""
    if x > _LARGE:  # before, arb takes ten times as long for it as for both factors
        return (x * x).hypgeom_u(HALF, HALF) / arb.pi().sqrt()
    return _falling(_erfcx, x) if x.is_finite() else _erfcx(x)


_erfcx = _sized(lambda x: exp(x * x) * x.erfc())


def gelu(x: Ball) -> Ball:
    """x*Phi(x), Phi the normal distribution function."""
    return x * erfc(-x / TWO.sqrt()) / TWO


def erfinv(x: Ball) -> Ball:
    """The inverse of erf, on the open interval from -1 to 1."""
    return x.erfinv() if abs(x) < ONE else NAN


def ndtri(x: Ball) -> Ball:
    """The inverse of the normal distribution function, on the open interval from 0 to 1."""
    return -TWO.sqrt() * (TWO * x).erfcinv() if x > ZERO and x < ONE else NAN


def log_ndtr(x: Ball) -> Ball:
    """The logarithm of the normal distribution function."""
    z = -x / TWO.sqrt()
    if z > ONE:
        return (erfcx(z) / TWO).log() - x * x / TWO
    half = erfc(z) / TWO
    return (-(erfc(-z) / TWO)).log1p() if x > ZERO else half.log()


# -- gamma and zeta ---------------------------------------------------------------------------------------------------


def lgamma(x: Ball) -> Ball:
    """log(|gamma(x)|)."""
    if x > ZERO:
        return x.lgamma()
    return NAN if x.contains_integer() else acb(x).lgamma().real


def polygamma(n: int, x: Ball) -> Ball:
    """The derivative of order n of digamma."""
    if not x.is_finite():
        return NAN
    if n == 0:
        return x.digamma()
    if x > ZERO:
        value = arb(n).fac() * arb(n + 1).zeta(x)
        return value if n % 2 else -value
    if x.contains_integer():
        return NAN
    # reflection: (-1)**n polygamma(n, 1 - x) - polygamma(n, x) is the derivative of pi*cot(pi*x) of order n
    cap, ctx.cap = ctx.cap, n + 1
    try:
        cotangent = arb_series([x, 1], n + 1).cot_pi()[n]
    finally:
        ctx.cap = cap
    mirrored = polygamma(n, ONE - x)
    return (-mirrored if n % 2 else mirrored) - arb.pi() * arb(n).fac() * cotangent


def beta(x: Ball, y: Ball) -> Ball:
    """gamma(x)*gamma(y)/gamma(x + y) for positive x and y."""
    if not (x > ZERO and y > ZERO):
        return NAN
    z = _beta(x, y)
    return z if z.rel_accuracy_bits() > _GOOD else _again(_beta, z, x, y)


def _beta(x: Ball, y: Ball) -> Ball:
    return x.gamma() * y.gamma() * (x + y).rgamma()


def zeta(x: Ball, q: Ball) -> Ball:
    """Hurwitz' sum of (q + k)**-x over k >= 0, for 1 < x < 2**32; for q < 0 only where x is whole, up to 1001."""
    if not (ONE < x < 2**32 and q.is_finite()):
        return NAN
    if q > ZERO:
        return x.zeta(q)
    if not (q < ZERO and x.is_integer() and x < 1002):
        return NAN
    n = int(float(x)) - 1
    z = polygamma(n, q) / arb(n).fac()
    return z if n % 2 else -z


# -- Bessel -----------------------------------------------------------------------------------------------------------


def besselj(n: int, x: Ball) -> Ball:
    """The Bessel function of the first kind of integer order."""
    return _bessel(lambda x: x.bessel_j(arb(n)), x)


def bessely(n: int, x: Ball) -> Ball:
    """The Bessel function of the second kind of integer order, for x > 0."""
    return _bessel(lambda x: x.bessel_y(arb(n)), x) if x > ZERO else NAN


_RECURRENT = 1024
"""Orders up to which a recurrence is followed, which takes a microsecond a step."""


def besselk(n: int, x: Ball) -> Ball:
    """The modified Bessel function of the second kind of integer order, for x > 0, where it falls (DLMF 10.37)."""
    return _falling(_sized(lambda x: _besselk(abs(n), x)), x) if x > ZERO and x.is_finite() else NAN


def _besselk(n: int, x: Ball) -> Ball:
    """Of a number. Of order 1 by the Wronskian, then upwards, where no term is negative (DLMF 10.28.2, 10.29.1): arb integrates
    where the argument is about the precision, for minutes."""
    if n > _RECURRENT:
        return x.bessel_k(arb(n))
    if x > ctx.prec:  # arb has its asymptotic expansion
        before, value = x.bessel_k(ZERO), x.bessel_k(ONE)
    else:
        before = _besselk0(x)
        value = (1 / x - x.bessel_i(ONE) * before) / x.bessel_i(ZERO)
    if n == 0:
        return before
    for order in range(1, n):
        before, value = value, before + 2 * order / x * value
    return value


def _besselk0(x: Ball) -> Ball:
    """Of order 0, for arguments up to the precision: its series has terms like exp(x), and its value is like exp(-x)."""
    with ctx.workprec(ctx.prec + 3 * math.ceil(float(x.abs_upper())) + _SPARE):
        y = x.bessel_k(ZERO)
    return +y


def besseli(n: int, x: Ball) -> Ball:
    """The modified Bessel function of the first kind of integer order."""
    y = _bessel(lambda x: x.bessel_i(arb(n)), x)
    return y if y.is_finite() else _scaled(n, x) * exp(abs(x))


def i0e(x: Ball) -> Ball:
    """exp(-|x|)*besseli(0, x)."""
    return _scaled(0, x)


def i1e(x: Ball) -> Ball:
    """exp(-|x|)*besseli(1, x)."""
    return _scaled(1, x)


def _scaled(n: int, x: Ball) -> Ball:
    """exp(-|x|)*besseli(n, x)."""
    if x < ZERO:
        y = _scaled(n, -x)
        return -y if n % 2 else y
    if x > ONE:
        return _bessel(lambda x: x.bessel_i(arb(n), scaled=True), x)
    return exp(-abs(x)) * x.bessel_i(arb(n))


def _bessel(function: Callable[[Ball], Ball], x: Ball) -> Ball:
    """No more bits than a wide argument is worth: arb takes minutes for them, and its result is as wide."""
    if not x.is_finite():
        return NAN
    if x.is_exact():
        return _sized(function)(x)
    worth = max(x.rel_accuracy_bits(), 0) + max(_bits(x), 0) + _SPARE
    with ctx.workprec(min(ctx.prec, worth)):
        return _sized(function)(x)


# -- Airy's function, the incomplete gamma function, polynomials --------------------------------------------------------

_FAR = 2.0**20


def airy_ai(x: Ball) -> Ball:
    """Airy's function Ai."""
    return _sized(arb.airy_ai)(x) if x.is_finite() else NAN


def gammainc(a: Ball, x: Ball) -> Ball:
    """The regularized lower incomplete gamma function of positive a, for x >= 0."""
    return _incomplete(_lower, a, x, ZERO)


def gammaincc(a: Ball, x: Ball) -> Ball:
    """The regularized upper one."""
    return _incomplete(_upper, a, x, ONE)


def _incomplete(function: Callable[[Ball, Ball], Ball], a: Ball, x: Ball, at_zero: Ball) -> Ball:
    """Of numbers; of balls by two of their corners, for it rises with one argument and falls with the other: a variable with
    the gamma distribution of a larger a is the sum of one of a smaller a and a positive one."""
    if not (ZERO < a < _FAR and x < _FAR):
        return NAN
    if x.is_zero():
        return at_zero
    if not x > ZERO:
        return NAN
    if not (a.is_exact() and x.is_exact()):
        return _incomplete(function, a.lower(), x.upper(), at_zero).union(_incomplete(function, a.upper(), x.lower(), at_zero))
    y = function(a, x)
    return y if y.rel_accuracy_bits() > _GOOD else _again(function, y, a, x)


def _upper(a: Ball, x: Ball) -> Ball:
    return x.gamma_upper(a, regularized=1)


def _lower(a: Ball, x: Ball) -> Ball:
    """Of numbers: x**a*exp(-x)/gamma(a + 1) times the sum of x**k/((a + 1)...(a + k)), all of whose terms are positive (DLMF
    8.7.1); from a on, where that has many and the value is no small one, 1 less the upper function. arb's own takes minutes
    about a."""
    if not x < a:
        return ONE - _upper(a, x)
    total, term, k, least = ONE, ONE, 0, two_to(-ctx.prec)
    while True:
        k += 1
        ratio = x / (a + k)
        term *= ratio
        total += term
        rest = term * ratio / (ONE - ratio)  # at most: ratios fall
        if rest < least:
            return (a * x.log() - x - (a + ONE).lgamma()).exp() * (total + rest * arb(HALF, HALF))
        if not term.is_finite():
            return NAN


def polynomial(given: Coefficients, x: Any) -> Any:
    """The value, by Horner's rule, in balls or series of balls."""
    found = arb(0)
    for value in reversed(given):
        found = found * x + arb(value.numerator) / value.denominator
    return found


def _polynomial(family: str, shifted: bool) -> Callable[[Ball, int], Ball]:
    def run(x: Ball, n: int) -> Ball:
        if n > HIGHEST or not x.is_finite():
            return NAN
        given = coefficients(family, n, shifted)
        with ctx.workprec(ctx.prec + 8 * n + _SPARE):  # what cancels between 0 and 1
            y = polynomial(given, x)
        return +y

    return run


globals().update({name: _polynomial(*family) for name, family in NAMES.items()})

# -- matrices ----------------------------------------------------------------------------------------------------------


def alike(x: Ball, y: Ball) -> Ball:
    """0, unless the arguments are certainly different: numbers that are equal as far as is known are meant to be."""
    return NAN if x != y or not (x.is_finite() and y.is_finite()) else ZERO


_ANYTHING = arb(0, math.inf)
"""A value, of which nothing is known."""

LARGEST_EXPONENT = 2.0**16
"""Entries of a matrix whose exponential is followed: of larger ones it has a hundred thousand bits before its point, and arb
takes them all."""


def exponential(*arguments: Any) -> Ball:
    """exp(A)[i, j]; arb has the exponential of a matrix."""
    *given, i, j = arguments
    n = math.isqrt(len(given))
    if not all(x.is_finite() for x in given):
        return NAN
    return arb_mat(n, n, given).exp()[i, j] if all(abs(x) < LARGEST_EXPONENT for x in given) else _ANYTHING


def gauge(*arguments: Any) -> Ball:
    """An entry of a factor of a matrix, as torch has it of the nearest floats."""
    *given, rows, columns, factor, i, k = arguments
    if not all(x.is_finite() for x in given):
        return NAN
    return arb(factored(tuple(map(float, given)), rows, columns, factor)[i][k])


def _roots(given: Sequence[Ball]) -> list[tuple[Ball, int]]:
    """Balls that hold one root of a polynomial each, and how many times it is one; nothing where they can't be told apart. All
    roots are real. Exact coefficients are factored, which tells equal roots from nearly equal ones."""
    if not all(c.is_finite() for c in given) or given[-1].contains(ZERO):
        return []
    if not all(c.is_exact() for c in given):
        return _apart(given)
    _, factors = fmpq_poly([_rational(c) for c in given]).factor()
    found = [(_apart([arb(c) for c in factor.coeffs()]), times) for factor, times in factors]
    return [(x, times) for roots, times in found for x, _ in roots] if all(roots for roots, _ in found) else []


def _apart(given: Sequence[Ball]) -> list[tuple[Ball, int]]:
    """The same of roots that are all different."""
    *rest, leading = given
    if len(rest) == 1:
        return [(-rest[0] / leading, 1)]
    if len(rest) == 2:
        middle, spread = -rest[1] / (2 * leading), ((rest[1] / (2 * leading)) ** 2 - rest[0] / leading).sqrt()
        return [(middle - spread, 1), (middle + spread, 1)] if spread > ZERO else []
    try:
        return [(_narrowed(given, x.real), 1) for x in arb_poly(given).complex_roots(maxprec=2 * ctx.prec)]
    except ValueError:
        return []


def _narrowed(given: Sequence[Ball], x: Ball) -> Ball:
    """A ball around one root, made as small as Newton's method makes it (Moore, Interval Analysis, 1966)."""
    value, slope = arb_poly(given), arb_poly(given).derivative()
    while True:
        middle = arb(x.mid())
        closer = middle - value(middle) / slope(x)
        if not closer.rad() * 2 < x.rad():
            return x
        x = closer


def _rational(x: Ball) -> fmpq:
    """An exact number."""
    mantissa, exponent = x.man_exp()
    return fmpq(mantissa) * fmpq(2) ** int(exponent)


def root(*arguments: Any) -> Ball:
    """The k-th of the roots: between the k-th of the lower ends and the k-th of the upper ones."""
    *given, k = arguments
    found = [x for x, times in _roots(given) for _ in range(times)]
    if not all(c.is_finite() for c in given):
        return NAN
    return sorted(x.lower() for x in found)[k].union(sorted(x.upper() for x in found)[k]) if found else _ANYTHING


def simple_root(*arguments: Any) -> Ball:
    """The same where no other root may be equal to it."""
    *given, k = arguments
    found = sorted((pair for pair in _roots(given) for _ in range(pair[1])), key=lambda pair: pair[0].mid())
    alone = found and found[k][1] == 1 and not any(found[k][0].overlaps(x) for i, (x, _) in enumerate(found) if i != k)
    return found[k][0] if alone else NAN


# -- the same, finite only where the function is analytic -------------------------------------------------------------


def _certified(row: Function, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, which computes the row; nothing unless the row's condition `analytic` is certain of the arguments. So a
    comparison is decided only where the two balls are disjoint: nearby arguments give the same answer."""
    holds = Program([parse(row.analytic)], [p.name for p in row.parameters], _CERTAIN).bind()
    nothing = None if row.truth else NAN

    def certified(*arguments: Any) -> Any:
        return function(*arguments) if holds(*arguments)[0] else nothing

    return certified


class BallAlgebra:
    """An `algebra.program.Algebra` on balls: the `ball` column, found in `overrides`, this module or `flint.arb`.

    `smooth`: nothing, unless the column `analytic` certainly holds.
    """

    operators = inline(syntax.ADD, syntax.SUB, syntax.MUL, syntax.DIV, syntax.NEG)

    def __init__(self, overrides: Mapping[str, Callable[..., Any]] = MappingProxyType({}), smooth: bool = False) -> None:
        self._overrides, self._smooth = overrides, smooth
        self._found: dict[str, Callable[..., Any] | None] = {}
        self._evaluated: dict[str, Callable[..., Any]] = {}

    def constant(self, value: int | float | bool) -> Any:
        """The number of a literal, exactly."""
        return constant(value)

    def function(self, row: Function) -> Callable[..., Any] | None:
        """What computes the row, or None where its definition does."""
        try:
            return self._found[row.name]
        except KeyError:
            name = row.ball
            found = (self._overrides.get(name) or globals().get(name) or getattr(arb, name)) if name else None
            if found is not None and self._smooth and row.analytic:
                found = _certified(row, found)
            self._found[row.name] = found
            return found

    def body(self, row: Function) -> Node:
        """The definition."""
        return definition(row.name)

    def evaluate(self, name: str) -> Callable[..., Any]:
        """The row `name` as a function of balls (`integer` settings as ints), by its ball cell or its definition."""
        if name not in self._evaluated:
            self._evaluated[name] = self.function(TABLE[name]) or self._defined(TABLE[name])
        return self._evaluated[name]

    def _defined(self, row: Function) -> Callable[..., Any]:
        program = Program((self.body(row),), [p.name for p in row.parameters], self, key=lambda: ctx.prec)
        return lambda *arguments: program(*arguments)[0]


class _Certain(BallAlgebra):
    """Conditions that are True where they certainly hold, as arb's own comparisons are."""

    operators = inline(*(row.name for row in ROWS if row.operator and (row.truth or row.name in BallAlgebra.operators)))


_CERTAIN = _Certain()
PLAIN = BallAlgebra()
SMOOTH = BallAlgebra({"root": simple_root}, smooth=True)

evaluate = PLAIN.evaluate
