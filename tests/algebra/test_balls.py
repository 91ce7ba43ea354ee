"""Balls contain the truth, are tight, and SMOOTH is finite only where a function is analytic: every row of the table.

The oracle is mpmath, which shares no code with FLINT. A new row is tested by being in the table.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable
from functools import cache
from typing import Any

import mpmath
import pytest
from flint import arb, ctx
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcheck_cli.algebra import balls
from gradcheck_cli.algebra.balls import PLAIN, SMOOTH, evaluate, hull
from gradcheck_cli.algebra.program import Program
from gradcheck_cli.language.functions import ROWS, TABLE, Function
from gradcheck_cli.language.parser import definition, parse
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, walk
from tests.every import every

mp = mpmath.mp

PRECISION = 128
DIGITS = 60  # of the oracle's value
DEEP = 700  # working digits of the oracle: 1 + 1e-300 still is more than 1, with 60 digits to spare


@pytest.fixture(autouse=True)
def _precision() -> Any:
    with ctx.workprec(PRECISION):
        yield


# -- the oracle: mpmath's own function for every row that is computed without a definition ----------------------------


def _shallow(function: Callable[..., Any]) -> Callable[..., Any]:
    """A special function that mpmath computes to a relative accuracy by itself: no use in DEEP digits."""

    def shallow(*arguments: Any) -> Any:
        with mp.workdps(DIGITS + 20):
            return function(*arguments)

    return shallow


def _inverse(
    function: Callable[[Any], Any], slope: Callable[[Any], Any], start: Callable[[float], float]
) -> Callable[[Any], Any]:
    """The inverse by Newton's method from a start in double precision."""

    def inverse(y: Any) -> Any:
        x = mp.mpf(start(float(y)))
        for _ in range(60):
            step = (function(x) - y) / slope(x)
            x -= step
            if abs(step) <= abs(x) * mp.mpf(10) ** -(DIGITS + 10):
                break
        return x

    return inverse


def _ndtri_start(p: float) -> float:
    """Good to 0.01 or so, in the far tail too."""
    if p > 0.5:
        return -_ndtri_start(1 - p)
    t = math.sqrt(-2 * math.log(p))
    return -(t - (2.515517 + t * (0.802853 + t * 0.010328)) / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308))))


def _polygamma(n: int, x: Any) -> Any:
    """mpmath's for positive x; by recurrence to the positive side for negative ones."""
    if x > 0:
        return mp.psi(n, x)
    shift = int(-x) + 2
    terms = mp.fsum((x + k) ** (-n - 1) for k in range(shift))
    return mp.psi(n, x + shift) + (-1) ** (n + 1) * mp.factorial(n) * terms


def _zeta(s: Any, q: Any) -> Any:
    """mpmath's, after as many terms as it takes to get q above 0."""
    shift = max(0, int(-q) + 1) if q < 0 else 0
    return mp.fsum((q + k) ** (-int(s)) for k in range(shift)) + mp.zeta(s, q + shift)


def _log_ndtr(x: Any) -> Any:
    return mp.log1p(-mp.erfc(x / mp.sqrt(2)) / 2) if x > 0 else mp.log(mp.erfc(-x / mp.sqrt(2)) / 2)


def _where(condition: bool, x: Any, y: Any) -> Any:
    return x if condition else y


_normal = _inverse(lambda x: mp.erfc(-x / mp.sqrt(2)) / 2, lambda x: mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi), _ndtri_start)


def _probabilists(x: Any, n: int) -> Any:
    with mp.extradps(40):
        terms = [mp.mpf(x) ** (n - 2 * m) / (mp.factorial(m) * mp.factorial(n - 2 * m) * (-2) ** m) for m in range(n // 2 + 1)]
        return mp.factorial(n) * mp.fsum(terms)


def _laguerre(x: Any, n: int) -> Any:
    with mp.extradps(40):
        return mp.fsum(mp.binomial(n, k) * (-mp.mpf(x)) ** k / mp.factorial(k) for k in range(n + 1))


ORACLES: dict[str, Callable[..., Any]] = {
    "pi": lambda: +mp.pi, "e": lambda: +mp.e, "inf": lambda: mp.inf,
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv, "neg": operator.neg,
    "pow": lambda x, y: mp.mpf(x) ** (int(y) if y == int(y) and abs(y) < 2**80 else y),
    "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge, "eq": operator.eq, "ne": operator.ne,
    "logical_and": lambda x, y: x and y, "logical_or": lambda x, y: x or y, "logical_not": operator.not_,
    "detach": operator.pos, "where": _where,
    "abs": abs, "sign": mp.sign, "floor": mp.floor, "cbrt": lambda x: mp.sign(x) * mp.cbrt(abs(x)),
    "exp": mp.exp, "expm1": lambda x: mp.exp(x) - 1, "log": mp.log, "log1p": lambda x: mp.log(1 + x), "sqrt": mp.sqrt,
    "logaddexp": lambda x, y: max(x, y) + mp.log(1 + mp.exp(-abs(x - y))),
    "sin": mp.sin, "cos": mp.cos, "tan": mp.tan, "asin": mp.asin, "acos": mp.acos, "atan": mp.atan, "atan2": mp.atan2,
    "sinh": mp.sinh, "cosh": mp.cosh, "tanh": mp.tanh, "asinh": mp.asinh, "acosh": mp.acosh, "atanh": mp.atanh,
    "sinc": lambda x: mp.sinpi(x) / (mp.pi * x) if x else mp.mpf(1),
    "erf": _shallow(mp.erf), "erfc": _shallow(mp.erfc), "erfcx": lambda x: _shallow(mp.erfc)(x) * mp.exp(x * x),
    "erfinv": _shallow(mp.erfinv), "ndtri": _shallow(_normal), "log_ndtr": _log_ndtr,
    "gamma": _shallow(mp.gamma), "lgamma": _shallow(lambda x: mp.log(abs(mp.gamma(x))) if x < 0 else mp.loggamma(x)),
    "polygamma": _shallow(_polygamma), "beta": _shallow(mp.beta), "zeta": _shallow(_zeta),
    "besselj": _shallow(mp.besselj), "bessely": _shallow(mp.bessely), "besseli": _shallow(mp.besseli),
    "besselk": _shallow(mp.besselk), "i0e": lambda x: _shallow(mp.besseli)(0, x) * mp.exp(-abs(x)),
    "i1e": lambda x: _shallow(mp.besseli)(1, x) * mp.exp(-abs(x)),
    "sigmoid": lambda x: 1 / (1 + mp.exp(-x)),
    "logsigmoid": lambda x: -mp.log1p(mp.exp(-x)) if x > -50 else x - mp.log1p(mp.exp(x)),
    "gelu": lambda x: x * _shallow(mp.erfc)(-x / mp.sqrt(2)) / 2,
    "airy_ai": _shallow(mp.airyai),
    "gammainc": _shallow(lambda a, x: mp.gammainc(a, 0, x, regularized=True)),
    "gammaincc": _shallow(lambda a, x: mp.gammainc(a, x, regularized=True)),
    "chebyshev_polynomial_t": lambda x, n: mp.chebyt(n, x), "chebyshev_polynomial_u": lambda x, n: mp.chebyu(n, x),
    "chebyshev_polynomial_v": lambda x, n: mp.chebyu(n, x) - (mp.chebyu(n - 1, x) if n else 0),
    "chebyshev_polynomial_w": lambda x, n: mp.chebyu(n, x) + (mp.chebyu(n - 1, x) if n else 0),
    "shifted_chebyshev_polynomial_t": lambda x, n: mp.chebyt(n, 2 * x - 1),
    "shifted_chebyshev_polynomial_u": lambda x, n: mp.chebyu(n, 2 * x - 1),
    "shifted_chebyshev_polynomial_v": lambda x, n: mp.chebyu(n, 2 * x - 1) - (mp.chebyu(n - 1, 2 * x - 1) if n else 0),
    "shifted_chebyshev_polynomial_w": lambda x, n: mp.chebyu(n, 2 * x - 1) + (mp.chebyu(n - 1, 2 * x - 1) if n else 0),
    "hermite_polynomial_h": lambda x, n: mp.hermite(n, x),
    "hermite_polynomial_he": _probabilists,
    "laguerre_polynomial_l": _laguerre, "legendre_polynomial_p": lambda x, n: mp.legendre(n, x),
}  # fmt: skip

LARGEST = {
    "exp": 1e17, "expm1": 1e17, "sinh": 1e17, "cosh": 1e17, "tanh": 1e17, "erf": 1e8, "erfc": 1e8, "erfcx": 1e6,
    "log_ndtr": 40.0, "gelu": 1e8, "gamma": 1e8, "lgamma": 1e300, "polygamma": 700.0, "beta": 1e5, "zeta": 30.0,
    "logaddexp": 1e17, "pow": 1e300, "sigmoid": 1e17, "logsigmoid": 1e17, "besselj": 700.0, "bessely": 700.0,
    "besseli": 700.0, "besselk": 700.0, "i0e": 700.0, "i1e": 700.0,
    "airy_ai": 100.0, "gammainc": 50.0, "gammaincc": 50.0,
    **dict.fromkeys((row.name for row in ROWS if "_polynomial_" in row.name), 1e6),
    # composed of several of these, one of them at another size than the argument's
    "silu": 1e8, "mish": 1e8, "gelu_tanh": 700.0, "exp2": 1e17, "ldexp": 1e17, "logaddexp2": 1e17,
}  # fmt: skip
"""Arguments beyond these sizes are too much for mpmath (it overflows, loops, or needs as many digits as the argument)."""


class _Mpmath:
    """The algebra of the oracle: its own functions where it has them, the table's definitions elsewhere."""

    operators = PLAIN.operators

    def constant(self, value: Any) -> Any:
        return value if isinstance(value, bool) else mp.mpf(value)

    def function(self, row: Function) -> Callable[..., Any] | None:
        return ORACLES.get(row.name)

    def body(self, row: Function) -> Node:
        return definition(row.name)


# -- every row at many points -----------------------------------------------------------------------------------------

UNARY = (
    0.3,
    0.875,
    1.7,
    -0.6,
    25.0,
    1e-8,
    -1e-8,
    1e-300,
    -1e-300,
    1e8,
    -1e8 - 0.5,
    700.0,
    -700.0,
    1e300,
    -1e300,
    0.0,
    1.0,
    -2.5,
    3.0,
    1 - 2.0**-53,
)
BINARY = (0.3, 1.7, -0.6, 25.0, 1e-8, 1e-300, 1e8, -700.0, 1e300, 0.0, 1.0, 3.0, -2.0)
TERNARY = (0.3, -1.7, 25.0, 1.0)
SPECIAL = (0.0, 1.0, -1.0, 0.5, -0.5, 2.0, 3.0, -3.0, 6.0, -2.0, 20.0, 0.3, -7.3)

Point = tuple[Any, ...]


def points(row: Function, values: tuple[float, ...] | None = None) -> list[Point]:
    """Arguments for the row: truth values for conditions, the defaults (or 1/4) for numbers, small whole numbers."""
    tensors = [p for p in row.parameters if p.kind in ("tensor", "scalar")]
    values = values or {0: (), 1: UNARY, 2: BINARY}.get(len(tensors), TERNARY)
    choices: list[tuple[Any, ...]] = []
    for parameter in row.parameters:
        if parameter.kind == "truth":
            choices.append((True, False))
        elif parameter.kind == "integer":
            choices.append((0, 1, 2, 5))
        elif parameter.kind == "number":
            choices.append((0.25 if parameter.default is None else parameter.default,))
        else:
            choices.append(values)
    return list(itertools.product(*choices))


@cache
def compiled(row: Function, algebra: Any, setting: int | None = None, text: str = "") -> Program:
    """The row (or a condition on its parameters) over an algebra, its whole setting filled in."""
    values: dict[str, Node] = {
        p.name: Constant(setting) if p.kind == "integer" and setting is not None else Variable(p.name) for p in row.parameters
    }
    tree = parse(text) if text else Call(row.name, tuple(values.values()))
    return Program((tree,), [p.name for p in row.parameters], algebra, key=lambda: (ctx.prec, mp.prec))


def run(row: Function, algebra: Any, point: Point, text: str = "") -> Any:
    """The row, or a condition on its parameters, at a point (or in a box: balls stay balls)."""
    setting = next((a for p, a in zip(row.parameters, point, strict=True) if p.kind == "integer"), None)
    numbers = [a if isinstance(a, (bool, arb)) else algebra.constant(a) for a in point]
    return compiled(row, algebra, setting, text)(*numbers)[0]


MPMATH = _Mpmath()


def inside(row: Function, point: Point) -> bool | None:
    """Whether the point lies in the row's domain."""
    return not row.domain or run(row, PLAIN, point, row.domain)


def finite(value: Any) -> bool:
    return value is not None if value is None or isinstance(value, bool) else bool(value.is_finite())


@cache
def reach(row: Function) -> float:
    """The largest argument at which mpmath can say what the row is: that of all rows in its definition."""
    calls = walk(definition(row.name)) if row.definition and row.name not in ORACLES else ()
    inner = [reach(TABLE[n.function]) for n in calls if isinstance(n, Call)]
    return min(LARGEST.get(row.name, math.inf), *inner, math.inf)


def rational(ball: Any) -> tuple[Any, Any]:
    """Midpoint and radius as exact mpmath numbers."""

    def number(x: Any) -> Any:
        mantissa, exponent = x.man_exp()
        return mp.ldexp(mp.mpf(int(mantissa)), int(exponent))

    with mp.workprec(20_000):
        return number(ball.mid()), number(ball.rad())


def contains(ball: Any, value: Any) -> bool:
    """The ball contains the oracle's value, within that value's own error of 1e-55 of its size."""
    middle, radius = rational(ball)
    with mp.workdps(DEEP):
        return bool(abs(middle - value) <= radius + abs(value) * mp.mpf(10) ** -55)


by_row = every(ROWS, lambda row: row.name)


def test_every_ball_cell_resolves_and_has_an_oracle() -> None:
    """A row that is computed without its definition names an existing function and is compared with mpmath's."""
    for row in ROWS:
        if row.ball or row.primitive:
            assert all(callable(a.function(row)) for a in (PLAIN, SMOOTH)), row.name
            assert row.name in ORACLES, f"{row.name} lacks an oracle in ORACLES"
        else:
            assert all(a.function(row) is None for a in (PLAIN, SMOOTH)), row.name


@by_row
@pytest.mark.slow(reason="every row of the table, with mpmath's values")
def test_the_ball_contains_the_value_of_mpmath(row: Function) -> None:
    """At ordinary and extreme points of the domain the ball contains mpmath's value; at ordinary ones to 60 bits."""
    compared = 0
    for point in points(row):
        if not inside(row, point) or max((abs(a) for a in point), default=0) > reach(row):
            continue
        with mp.workdps(DEEP):
            value = run(row, MPMATH, point)
        ball = run(row, PLAIN, point)
        if isinstance(value, bool):
            assert ball is value, (point, ball)
        elif mp.isinf(value):
            assert not finite(ball), (point, ball)
        else:
            assert finite(ball), point
            assert contains(ball, value), (point, str(ball), mp.nstr(value, 45))
            if all(1e-8 <= abs(a) <= 25 for a in point if not isinstance(a, bool) and a != 0) and (row.ball or row.primitive):
                assert ball.rel_accuracy_bits() > 60, (point, str(ball))
        compared += 1
    assert compared >= min(5, len(points(row))), "too few points lie in the domain"


@every([r for r in ROWS if r.domain], lambda row: row.name)
def test_no_value_outside_of_the_domain(row: Function) -> None:
    """Where the domain's condition is False the ball is not finite, in both algebras."""
    outside = [p for p in points(row) + points(row, SPECIAL) if inside(row, p) is False]
    assert outside or "cos(x)" in row.domain  # no double is a zero of the cosine
    for point in outside:
        assert not finite(run(row, PLAIN, point)), point
        assert not finite(run(row, SMOOTH, point)), point


@by_row
def test_smooth_is_not_finite_at_a_kink(row: Function) -> None:
    """Where the row's `kinks` hold SMOOTH gives nothing, nor on a ball around; elsewhere it agrees with PLAIN."""
    for point in points(row, SPECIAL):
        value = run(row, SMOOTH, point)
        if row.kinks and run(row, PLAIN, point, row.kinks):
            assert not finite(value), point
            ball = tuple(a if isinstance(a, (bool, int)) else arb(a, 0.01) for a in point)
            assert not finite(run(row, SMOOTH, ball)), ball
        elif finite(value):
            plain = run(row, PLAIN, point)
            assert value is plain if isinstance(value, bool) else value.overlaps(plain), point


@every([r for r in ROWS if not any(p.kind == "truth" for p in r.parameters)], lambda row: row.name)
def test_nan_goes_through_everything(row: Function) -> None:
    """One nan argument makes the result not finite (not decided), in both algebras, unless the value is the same whatever that
    argument is (a branch that isn't selected); so does an infinite one in SMOOTH."""
    for point in points(row, (1.5, 0.0)):
        for i, parameter in enumerate(row.parameters):
            if parameter.kind in ("integer", "number"):
                continue
            for algebra in (PLAIN, SMOOTH):
                found = run(row, algebra, (*point[:i], arb.nan(), *point[i + 1 :]))
                if finite(found):
                    others = [run(row, algebra, (*point[:i], arb(v), *point[i + 1 :])) for v in (-3.5, 0.25, 2.0)]
                    assert all(found == value for value in others), (algebra is SMOOTH, point, i)
            unknown = (*point[:i], arb(0, arb.pos_inf()), *point[i + 1 :])
            if TABLE[row.name].ball and not row.truth:
                assert not finite(run(row, SMOOTH, unknown)), unknown


@pytest.mark.parametrize("row", [r for r in ROWS if r.ball and not r.truths], ids=lambda r: r.name)
@pytest.mark.slow(reason="every row of the table, with mpmath's values")
def test_a_wide_ball_contains_the_values_at_its_points(row: Function) -> None:
    """Fed a wide ball, every function gives a ball that contains its values at the points inside, or nothing."""
    values = (0.3, 2.0, -0.6, 1.0, 0.0, -2.5, 30.0)
    for point, radius in itertools.product(points(row, values), (1e-12, 0.25, 1.5)):
        box = tuple(a if p.kind == "integer" else arb(a, radius) for p, a in zip(row.parameters, point, strict=True))
        wide = run(row, PLAIN, box)
        if not finite(wide):
            continue
        for share in (-1, -0.5, 0.1, 1):
            sample = tuple(
                a if p.kind == "integer" else arb(a) + arb(radius) * arb(share)
                for p, a in zip(row.parameters, point, strict=True)
            )
            value = run(row, PLAIN, sample)
            assert inside(row, sample) is not False, (box, str(wide))
            assert wide.overlaps(value) or not finite(value), (str(box), share, str(wide), str(value))


@by_row
def test_hostile_arguments_are_answered(row: Function) -> None:
    """Whatever the arguments, there is a ball or a truth value (None: unknown), and no exception, at 128 and at 1024 bits;
    how soon is benchmarks/at_once.py's.
    """
    for precision in (128, 1024):
        with ctx.workprec(precision):
            for point in hostile(row):
                for algebra in (PLAIN, SMOOTH):
                    assert isinstance(run(row, algebra, point), arb | bool | None), point


def hostile(row: Function) -> list[Point]:
    """Points of which each coordinate is about the precision, huge, tiny, wide, infinite or nan."""
    with ctx.workprec(1500):
        huge = arb(1e300).exp()
    values: tuple[Any, ...] = (
        300.25,
        950.5,
        arb(1e10, 9.9e9),
        1e300,
        -1e300,
        5e-324,
        math.nan,
        math.inf,
        -1e15 - 0.5,
        huge,
        -huge,
        1 / huge,
        huge.exp(),
        arb(0, 1e300),
        arb(1e300, 1e290),
    )
    if sum(p.kind in ("tensor", "scalar") for p in row.parameters) > 1:
        values = values[:10] + (arb(0, 1e300),)
    return points(row, values)


# -- single claims ----------------------------------------------------------------------------------------------------


def test_sizes_do_not_eat_the_accuracy() -> None:
    """Functions of exponential growth are accurate for doubles of any size, at 128 bits."""
    for text, x in [
        ("exp", 1e300), ("exp", -1e300), ("sinh", -1e300), ("cosh", 1e300), ("erfc", 1e300),
        ("erfc", 30.0), ("erfc", 1e8),
        ("erfcx", 1e300), ("erfcx", -1e300), ("log_ndtr", -1e300), ("sigmoid", -1e300), ("logsigmoid", 1e300),
        ("exp2", 1e300),
        ("i0e", -1e300), ("i0", 1e300), ("bessel_j0", 1e300), ("bessel_y1", 1e300), ("k0", 1e300), ("sin", 1e300),
        ("gamma", 1e300),
        ("lgamma", -1e15 - 0.5), ("tanh", 1e-300), ("ndtri", 1e-300), ("polygamma(3)", -1e15 - 0.5),
    ]:  # fmt: skip
        name, _, setting = text.partition("(")
        name = balls_name(name)
        arguments = (int(setting[:-1]), arb(x)) if setting else (arb(x),)
        assert evaluate(name)(*arguments).rel_accuracy_bits() > 60, (text, x)


def balls_name(name: str) -> str:
    from gradcheck_cli.language.functions import NAMES

    return NAMES[name]


def test_towers_end_as_infinite_or_touching_zero() -> None:
    """Powers of powers are bounded: beyond every bound the ball is infinite, or contains 0 and is tiny."""
    x = arb(2.5)
    for _ in range(40):
        x = balls.pow(arb(2.5), x)
    assert not x.is_finite()
    x = balls.pow(arb(3.3), arb(30))
    assert not balls.pow(arb(2.5), balls.pow(arb(2.5), balls.exp(balls.exp(x)))).is_finite()
    tiny = balls.exp(-balls.exp(arb(1e300)))
    assert tiny.contains(0)
    assert tiny.is_finite()
    assert tiny.abs_upper() < arb(2) ** -(2**40)
    assert balls.pow(arb(1e300), arb(-1e300)).abs_upper() < arb(2) ** -(2**40)


def test_powers_are_real_powers() -> None:
    """Whole exponents take any base; 0**0 is 1; the rest needs a base that isn't negative."""
    power = balls.pow
    assert power(arb(-2), arb(3)) == -8
    assert power(arb(-2), arb(-3)) == arb(-0.125)
    assert power(arb(0), arb(0)) == 1
    assert power(arb(0, 1), arb(2)).contains(1)
    assert power(arb(0, 1), arb(2)).contains(0)
    assert power(arb(0, 1), arb(2)).is_finite()
    assert power(arb(0), arb(0.5)) == 0
    assert not power(arb(0), arb(-1)).is_finite()
    assert not power(arb(-2), arb(0.5)).is_finite()
    assert not power(arb(-2), arb(3, 1e-30)).is_finite()
    assert power(arb(-3), arb(1e300)) > 0
    assert power(arb(-3), arb(2.0**52 + 1)) < 0
    smooth = SMOOTH.function(TABLE["pow"])
    assert smooth is not None
    assert smooth(arb(-2), arb(-1)) == arb(-0.5)
    assert smooth(arb(0), arb(3)) == 0
    assert smooth(arb(0), arb(0)) == 1
    assert not smooth(arb(0), arb(0.5)).is_finite()
    assert not smooth(arb(0), arb(-1)).is_finite()


def test_comparisons_have_three_answers() -> None:
    """PLAIN decides between exact balls, SMOOTH only between disjoint ones; the connectives are Kleene's."""
    one, near = arb(1), arb(1, 0.5)
    assert balls.eq(one, one) is True
    assert balls.le(one, one) is True
    assert balls.lt(one, one) is False
    assert balls.ne(one, one) is False
    assert balls.lt(near, one) is None
    assert balls.eq(near, one) is None
    assert balls.ge(near, arb(0)) is True
    assert balls.eq(arb.nan(), arb.nan()) is None
    assert balls.lt(arb.nan(), one) is None
    for name in ("lt", "le", "gt", "ge", "eq", "ne"):
        compare = SMOOTH.function(TABLE[name])
        assert compare is not None
        assert compare(one, one) is None
        assert compare(near, one) is None
        assert compare(arb.nan(), one) is None
        assert compare(one, arb(2)) is (name in ("lt", "le", "ne"))
        assert compare(arb(2), one) is (name in ("gt", "ge", "ne"))
    truths = (True, None, False)
    order = {False: 0, None: 1, True: 2}
    for x, y in itertools.product(truths, truths):
        assert balls.logical_and(x, y) is min(x, y, key=order.__getitem__)
        assert balls.logical_or(x, y) is max(x, y, key=order.__getitem__)
    assert [balls.logical_not(t) for t in truths] == [False, None, True]


def test_where_ignores_the_other_branch() -> None:
    """where gives the selected branch alone, and nan where nothing is selected."""
    assert balls.where(True, arb(2), arb.nan()) == 2
    assert balls.where(False, arb.nan(), arb(3)) == 3
    assert balls.where(None, arb(2), arb(2)).is_nan()


def test_constants_are_exact() -> None:
    """A literal is the number that Python reads: no rounding at any precision, truth values stay."""
    with ctx.workprec(10):
        assert balls.constant(2**100 + 1).is_exact()
        assert balls.constant(2**100 + 1) == arb(2**100 + 1)
        assert balls.constant(0.1).is_exact()
        assert float(balls.constant(0.1)) == 0.1
        assert balls.constant(True) is True
    assert balls.constant(5e-324) > 0


def test_evaluate_follows_the_precision() -> None:
    """A row that is compiled from its definition computes its constants anew at every precision."""
    for precision in (128, 512, 128):
        with ctx.workprec(precision):
            assert evaluate("log10")(arb(3)).rel_accuracy_bits() > precision - 10


@settings(max_examples=200)
@given(st.floats(-50, 50), st.floats(-50, 50), st.floats(0, 5))
def test_hull_contains_both(x: float, y: float, radius: float) -> None:
    """The hull of two balls contains each of them."""
    a, b = arb(x, radius), arb(y)
    assert hull(a, b).contains(a)
    assert hull(a, b).contains(b)


def test_logaddexp_of_balls_too_wide_for_exp() -> None:
    """The largest double less a little is a wide ball at low precision; the value is known as well as its arguments."""
    with ctx.workprec(64):
        x = arb(-1.7976931348623157e308) - arb(1) / 3
        assert evaluate("logaddexp")(x, x).overlaps(x)
        assert evaluate("logaddexp")(x, x).rad() < arb(4) * x.rad()


def test_arguments_about_the_precision_are_known_at_once() -> None:
    """Where arb integrates for minutes, with the interpreter's lock: K of arguments about the precision, the incomplete gamma
    function of equal large arguments. mpmath has their values, and no more than 30 bits are lost."""
    with ctx.workprec(1024), mp.workdps(330):
        for n, x in ((0, 500.0), (1, 500.0), (3, 420.5), (1, 1100.0)):
            agree(balls.besselk(n, arb(x)), mp.besselk(n, mp.mpf(x)))
        for a, x in ((952.5, 952.0), (952.5, 952.5), (952.5, 960.0), (200.75, 199.0), (952.5, 476.25)):
            agree(balls.gammainc(arb(a), arb(x)), mp.gammainc(mp.mpf(a), 0, mp.mpf(x), regularized=True))


def agree(ball: arb, value: Any) -> None:
    """The ball holds mpmath's value, and is known to most of the working precision."""
    assert ball.rel_accuracy_bits() > ctx.prec - 30
    assert abs(ball / arb(mp.nstr(value, 320)) - 1) < arb(10) ** -300


def test_bessel_functions_of_wide_balls_take_no_time() -> None:
    """An argument that is known to few bits costs no more bits than these, for arb takes minutes for them; the result still
    holds the function's values."""
    used: list[int] = []

    def recorded(x: arb) -> arb:
        used.append(ctx.prec)
        return x.bessel_j(arb(1))

    with ctx.workprec(4096):
        wide = arb(50, 0.25)
        found = balls._bessel(recorded, wide)
        balls._bessel(recorded, arb(50))
    assert max(used[:-1]) < 200 and used[-1] == 4096
    for x in (49.75, 50.0, 50.25):
        assert found.contains(arb(str(mp.nstr(mp.besselj(1, mp.mpf(x)), 15))))
