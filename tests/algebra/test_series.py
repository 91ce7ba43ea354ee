"""Taylor series contain the derivatives, for every row of the table.

The oracle is mpmath's numerical differentiation of mpmath's own functions (those of test_balls).
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import pytest
from flint import arb, arb_series, ctx

import tests.algebra.test_balls as plain
from gradcheck_cli.algebra import series
from gradcheck_cli.algebra.balls import PLAIN, SMOOTH
from gradcheck_cli.algebra.program import Program
from gradcheck_cli.algebra.series import SERIES, coefficient, compose, terms, variable
from gradcheck_cli.language.functions import ROWS, TABLE, Function
from gradcheck_cli.language.parser import parse
from gradcheck_cli.language.tree import Call, Constant, Node, Variable
from tests.every import every
from tests.expressions import HELD

mp = plain.mp

ORDER = 3
ORDINARY = (0.3, 1.7, -0.6, 5.0, 0.875, -2.3, 12.5)


ONE_SIDED = {("pow", 1): 0, ("zeta", 0): 1}
"""(row, parameter) -> the parameter that must not be negative where the first one varies: the base of a power."""

ONE_OF_TWO = {("clamp", 1), ("clamp", 2)}
"""(row, parameter) whose kinks don't all concern the parameter: where x is at one bound, the other bound may move."""

CONSTANT = {("gammainc", 0), ("gammaincc", 0)}
"""(row, parameter) by which nobody differentiates: the series is unknown where it varies."""

ZERO_ALL_ALONG = {
    "xlogy": lambda x, y: x * mp.log(y),
    "xlog1py": lambda x, y: x * mp.log(1 + y),
    "copysign": math.copysign,
}
"""Rows, and their functions, that are 0 whatever one parameter is, where the other one is 0 (or 1 for the logarithm)."""


@pytest.fixture(autouse=True)
def _precision() -> Any:
    with ctx.workprec(256), terms(ORDER + 1):
        yield


@cache
def compiled(row: Function, setting: int | None) -> Program:
    """The row over series, its whole setting filled in."""
    arguments: list[Node] = [
        Constant(setting) if p.kind == "integer" and setting is not None else Variable(p.name) for p in row.parameters
    ]
    tree = Call(row.name, tuple(arguments))
    return Program((tree,), [p.name for p in row.parameters], SERIES, key=lambda: (ctx.prec, ctx.cap))


def along(row: Function, point: plain.Point, moving: int) -> Any:
    """The row's Taylor series in its parameter number `moving`."""
    setting = next((a for p, a in zip(row.parameters, point, strict=True) if p.kind == "integer"), None)
    numbers = [
        a if isinstance(a, bool) else variable(arb(a)) if i == moving else SERIES.constant(a) for i, a in enumerate(point)
    ]
    return compiled(row, setting)(*numbers)[0]


def moving(row: Function) -> list[int]:
    """The parameters with respect to which a row is differentiated."""
    kinds = enumerate(row.parameters)
    return [i for i, p in kinds if p.kind in ("tensor", "scalar")]


def derivative(row: Function, point: plain.Point, place: int, order: int) -> Any:
    """mpmath's numerical derivative, good to 15 digits and more."""

    def function(x: Any) -> Any:
        return plain.run(row, plain.MPMATH, (*point[:place], x, *point[place + 1 :]))

    with mp.workdps(90):
        return mp.diff(function, mp.mpf(point[place]), order, h=mp.mpf(10) ** -20, method="step")


def series_of(name: str) -> Any:
    """The series that the row itself names."""
    found = SERIES.function(TABLE[name])
    assert found is not None
    return found


differentiable = [r for r in ROWS if r.signature and not r.truth and r.name != HELD]
by_row = every(differentiable, lambda row: row.name)


@by_row
@pytest.mark.slow(reason="every row of the table, with mpmath's derivatives")
def test_coefficients_are_derivatives(row: Function) -> None:
    """At ordinary points coefficient k times k! is the derivative of order k that mpmath measures, for k <= 3."""
    compared = 0
    for point in plain.points(row, ORDINARY if len(moving(row)) == 1 else ORDINARY[:4]):
        if not plain.inside(row, point):
            continue
        for place in moving(row):
            if (row.name, place) in ONE_SIDED and point[ONE_SIDED[row.name, place]] < 0:
                assert not along(row, point, place)[0].is_finite(), point
                continue
            f = along(row, point, place)
            if (row.name, place) in CONSTANT:
                assert not f[0].is_finite(), point
                continue
            smooth = plain.run(row, SMOOTH, point)
            if not smooth.is_finite():
                continue  # a kink; that SMOOTH is finite wherever it can be is test_balls' matter
            assert f.prec > ORDER, point
            assert f[0].overlaps(smooth), point
            for k in range(ORDER + 1):
                found = coefficient(f, k) * math.factorial(k)
                assert found.is_finite(), (point, place, k)
                truth = derivative(row, point, place, k) if k else plain.run(row, plain.MPMATH, point)
                middle, radius = plain.rational(found)
                assert abs(middle - truth) <= radius + mp.mpf(10) ** -14 * max(1, abs(truth)), (
                    point,
                    place,
                    k,
                    str(found),
                )
                assert found.is_zero() or found.rel_accuracy_bits() > 50 or found.abs_upper() < 1e-20, (
                    point,
                    place,
                    k,
                    str(found),
                )
            compared += 1
    assert compared >= 2


@pytest.mark.parametrize(
    "name", ["exp", "log", "sin", "cos", "tan", "asin", "acos", "atan", "sqrt", "gamma", "lgamma", "erf", "erfc"]
)
def test_the_rules_agree_with_flints_own_series(name: str) -> None:
    """Where FLINT has the series itself it overlaps with ours, which is sharp, to order 12."""
    with terms(12):
        g = arb_series([arb(0.3), 1, -2, arb(0.7)], 12)
        own, ours = getattr(g, name)(), series_of(name)(g)
        for k in range(12):
            assert ours[k].overlaps(own[k]), k
            assert coefficient(ours, k).rel_accuracy_bits() > 200, k


def test_sizes_do_not_eat_the_accuracy() -> None:
    """Values and slopes of saturated functions are accurate at once: no cancellation against 1."""
    for name, x in [
        ("exp", 1e300), ("exp", -1e300), ("sigmoid", -1e300), ("sigmoid", 1e8), ("tanh", 1e8), ("logsigmoid", 700.0),
        ("silu", -700.0), ("log_ndtr", -1e3), ("erfc", 1e8), ("gelu", -40.0), ("gamma", 1e8), ("sinh", -1e300),
        ("i0e", 1e8),
        ("log1p", 1e-300), ("expm1", 1e-300), ("atanh", 1e-300), ("ndtri", 1e-300), ("erfinv", 1 - 2.0**-53),
    ]:  # fmt: skip
        f = along(TABLE[name], (x,), 0)
        assert coefficient(f, 0).rel_accuracy_bits() > 60, name
        assert coefficient(f, 1).rel_accuracy_bits() > 60, name


def test_nothing_is_taken_for_zero() -> None:
    """nan times 0, a division by 0 and a coefficient beyond the end are unknown: flint answers 0, or raises."""
    unknown, zero, x = variable(arb.nan()), SERIES.constant(0), variable(arb(0))
    for f in (
        series.mul(unknown, zero),
        series.mul(zero, unknown),
        series.div(x, x),
        series.div(x, zero),
        series.div(zero, unknown),
    ):
        for k in range(ORDER + 1):
            assert coefficient(f, k).is_nan()
    short = arb_series([1, 1], 2)
    assert coefficient(short, 1) == 1
    assert coefficient(short, 2).is_nan()
    assert coefficient(series_of("exp")(short), 2).is_nan()
    assert coefficient(compose([arb(1)], short), 2).is_nan()


def test_a_point_that_is_not_smooth_is_unknown() -> None:
    """At every point where a row's kinks hold, the series with respect to each parameter is nan; or 0, if it is so on all
    sides."""
    found = 0
    for row in differentiable:
        for point in plain.points(row, plain.SPECIAL):
            if not row.kinks or not plain.run(row, PLAIN, point, row.kinks):
                continue
            for place in moving(row):
                series_here = along(row, point, place)
                if row.name in ZERO_ALL_ALONG and series_here[0].is_finite():
                    beside = [p + 0.125 if i == place else p for i, p in enumerate(point)]
                    assert not any(series_here.coeffs()) and ZERO_ALL_ALONG[row.name](*beside) == 0
                elif (row.name, place) not in ONE_OF_TWO:
                    assert not series_here[0].is_finite(), (row.name, point, place)
                    found += 1
    assert found > 500


def test_powers_take_the_bases_that_the_exponent_allows() -> None:
    """A constant whole exponent takes any base, a varying exponent a positive one."""
    power, x = series_of("pow"), variable(arb(0))
    cube = power(x, SERIES.constant(3))
    assert [float(coefficient(cube, k)) for k in range(4)] == [0, 0, 0, 1]
    assert [float(coefficient(power(x, SERIES.constant(0)), k)) for k in range(4)] == [1, 0, 0, 0]
    assert [float(coefficient(power(variable(arb(-1)), SERIES.constant(-1)), k)) for k in range(4)] == [-1, -1, -1, -1]
    for base, exponent in [(x, 0.5), (x, -1), (x, 3.5), (variable(arb(-2)), 0.5)]:
        assert coefficient(power(base, SERIES.constant(exponent)), 0).is_nan()
    assert coefficient(power(SERIES.constant(-2), variable(arb(2))), 0).is_nan()
    assert power(variable(arb(2)), variable(arb(2)))[1].overlaps(4 * arb(2).log() + 4)


def test_what_is_zero_all_along_stays_so() -> None:
    """A branch that is 0 wherever t is, times or by what moves, isn't on the border of a power; 0 that moves is."""
    with terms(2):
        zero, x = series.constant(arb(0)), variable(arb(3))
        for found in (series.mul(zero, x), series.mul(x, zero), series.div(zero, x)):
            assert found.prec >= series.LONG and not found.length()
        steep = arb_series([3, arb("nan")], 2)
        assert series.mul(zero, steep).prec < series.LONG and series.div(zero, steep).prec < series.LONG
        for unknown in (series.mul(zero, variable(arb("nan"))), series.div(zero, variable(arb(0)))):
            assert not unknown[0].is_finite()
        assert series.mul(variable(arb(0)) * 0, x).prec < series.LONG


def test_sinc_has_its_series_at_zero() -> None:
    """sinc(t) = 1 - (pi*t)**2/6 + ..., where the quotient is 0/0."""
    f = series_of("sinc")(variable(arb(0)))
    assert f[0] == 1
    assert f[1] == 0
    assert f[2].overlaps(-(arb.pi() ** arb(2)) / 6)
    assert f[3] == 0


def test_the_selected_branch_decides() -> None:
    """where takes the selected branch with all its derivatives, whatever the other one is."""
    program = Program((parse("where(x > 0, x**2, sqrt(x))"),), ["x"], SERIES, key=lambda: (ctx.prec, ctx.cap))
    assert program(variable(arb(2)))[0][1] == 4
    assert not program(variable(arb(0)))[0][0].is_finite()
    assert not program(variable(arb(-1)))[0][0].is_finite()


def test_any_number_of_terms() -> None:
    """From 1 to 30 terms, geometric series and exponential come out right, and a program follows the change."""
    program = Program((parse("exp(pi*x)/(1 - x)"),), ["x"], SERIES, key=lambda: (ctx.prec, ctx.cap))
    for count in (1, 2, 30, 5):
        with terms(count):
            (f,) = program(variable(arb(0)))
            assert f.prec == count
            total = sum((arb.pi() ** arb(j) / math.factorial(j) for j in range(count)), arb(0))
            assert coefficient(f, count - 1).overlaps(total)
            assert coefficient(f, count - 1).rel_accuracy_bits() > 200


def test_a_primitive_without_a_series_is_unknown() -> None:
    """A row with neither slope nor series nor definition answers nan; tests/test_structure.py allows none in the table."""
    unheard = SERIES.function(Function("unheard", "x"))
    assert unheard is not None
    assert coefficient(unheard(variable(arb(1))), 0).is_nan()


@by_row
def test_hostile_arguments_are_answered(row: Function) -> None:
    """Whatever the argument, there is a series, and no exception; how soon is benchmarks/at_once.py's."""
    for point, place in hostile(row):
        assert isinstance(along(row, point, place), arb_series), point


def hostile(row: Function) -> list[tuple[plain.Point, int]]:
    """Points and the parameter that varies: it is huge, tiny, wide, infinite or nan."""
    with ctx.workprec(1500):
        huge = arb(1e300).exp()
    found = []
    for x in (1e300, -1e300, 5e-324, math.nan, math.inf, -1e15 - 0.5, huge, -huge, 1 / huge, arb(0, 1e300)):
        for place in moving(row):
            point = list(plain.points(row, (1.5,))[-1])
            point[place] = x
            found.append((tuple(point), place))
    return found
