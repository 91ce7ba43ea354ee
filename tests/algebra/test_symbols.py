"""Symbols: the way to SymPy and back keeps the value, and nothing that SymPy could blow up reaches it.

The oracle is the tree itself in balls (flint); SymPy's own evaluation is never asked.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import sympy
from flint import arb, ctx
from mpmath import mp

from gradcheck_cli.algebra.balls import PLAIN
from gradcheck_cli.algebra.program import Program
from gradcheck_cli.algebra.symbols import derived, renamed, to_symbols, to_tree
from gradcheck_cli.language.functions import ROWS, Function
from gradcheck_cli.language.parser import parse
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, substitute, variables, walk
from tests.counting import count_calls
from tests.every import every

VALUES = (0.3, 1.7, -0.6, 2.5, -2.25)
X = sympy.Symbol("x", real=True)


def balls(tree: Node, point: dict[str, Any], precision: int = 256) -> Any:
    """The value of a tree in balls."""
    with ctx.workprec(precision):
        numbers = [arb(v) if not isinstance(v, bool) else v for v in point.values()]
        return Program([tree], list(point), PLAIN)(*numbers)[0]


def same(one: Any, other: Any) -> bool:
    """Equal truth values, or sharp balls that overlap."""
    if isinstance(one, bool):
        return one is other
    return bool(one.overlaps(other)) and min(one.rel_accuracy_bits(), other.rel_accuracy_bits()) > 150


def calls(row: Function) -> list[Call]:
    """The row on variables, once for each choice of its whole settings."""
    found = []
    for order in (0, 1, 3) if any(p.kind == "integer" for p in row.parameters) else (0,):
        arguments: list[Node] = []
        for p in row.parameters:
            if p.kind == "integer":
                arguments.append(Constant(order))
            elif p.kind == "number":
                arguments.append(Constant(0.75 if p.default is None else p.default))
            elif p.kind == "truth":
                arguments.append(parse("x > 0.25" if p.name in ("x", "condition") else "x < y"))
            else:
                arguments.append(Variable(p.name))
        found.append(Call(row.name, tuple(arguments)))
    return found


@every(ROWS, lambda row: row.name)
def test_round_trip(row: Function) -> None:
    """Every row of the table has the same value in balls after the way to SymPy and back."""
    compared = 0
    for tree in calls(row):
        back = to_tree(to_symbols(tree))
        names = variables(tree)
        assert set(variables(back)) <= set(names)
        for values in itertools.product(VALUES[: 5 if len(names) < 3 else 3], repeat=len(names)):
            point = dict(zip(names, values, strict=True))
            value = balls(tree, point)
            if isinstance(value, bool) or (value is not None and value.is_finite() and not value.is_zero()):
                assert same(value, balls(back, point)), point
                compared += 1
    assert compared or row.name in ("inf", "imag")  # nothing but 0


TEXTS = [
    "0.1*x", "x**0.1", "-0.3*x + 1e-300", "x**2/3", "x**-2", "x**(1/3) + x**-0.5", "1/(x*x) - x/7", "2**x - x**x", "(-2)**3*x",
    "-x - 1", "1 - x", "-(x + 1)/2", "exp(x)*exp(-x/2)", "sqrt(2)*x/pi",
    "where(x > 1, x, where(x < 0 or not x >= -1, 2, x**2))", "where(x > 0 and x < 2, 1, 0)",
    "e**x", "log(2)*x", "12345678901234567890*x", "x/12345.678", "zeta(x + 1.5)", "x % 0.3",
    "gamma(x + 3)/gamma(0.5)", "Max(x, 1, x**2)", "x - 0.5", "x - 2", "1.0*x", "sin(1e10)*x", "polygamma(2, x + 3)",
    "asin(x/3)",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_round_trip_of_formulas(text: str) -> None:
    """Literals are the doubles that Python reads, and no constant changes its value on the way."""
    tree = parse(text)
    back = to_tree(to_symbols(tree))
    for x in (0.3, 1.7, 2.5):
        assert same(balls(tree, {"x": x}), balls(back, {"x": x})), x


def test_long_literals_stay_themselves() -> None:
    """0.1 comes back as the constant 0.1, not as a fraction of twenty digits; short numbers are SymPy's own."""
    for text in ("x + 0.1", "x*1e300", "x + 12345678901"):
        constants = [n for n in walk(to_tree(to_symbols(parse(text)))) if isinstance(n, Constant)]
        assert constants == [n for n in walk(parse(text)) if isinstance(n, Constant)]
    assert to_symbols(parse("x + 0.5")) == X + sympy.Rational(1, 2)
    assert to_symbols(parse("3*x")) == 3 * X


def test_negative_literals_share_their_symbol() -> None:
    """-0.1 is minus the symbol of 0.1, so that they cancel."""
    assert to_symbols(parse("0.1*x + -0.1*x")) == 0
    assert to_symbols(parse("x/(0.1*x/0.1)")) == 1


def test_steps_have_the_derivative_zero() -> None:
    """floor and all that is made of it is differentiated to 0; where branch by branch."""
    assert to_symbols(parse("floor(x)")).diff(X) == 0
    slope = to_tree(to_symbols(parse("where(x > 0, x**2, 3*x)")).diff(X))
    assert same(balls(slope, {"x": 1.5}), arb(3))
    assert same(balls(slope, {"x": -1.5}), arb(3))
    assert same(balls(slope, {"x": 2.5}), arb(5))


def test_lgamma_is_real() -> None:
    """lgamma's derivative is digamma on the negative side too (SymPy's loggamma is complex there)."""
    slope = to_tree(to_symbols(parse("lgamma(x)")).diff(X))
    with mp.workdps(40):
        expected = mp.digamma(mp.mpf("-2.25"))
        found = balls(slope, {"x": -2.25})
        assert abs(mp.mpf(found.str(35, radius=False)) - expected) < mp.mpf(10) ** -30


BOMBS = [
    "9**9**9*x", "gamma(10**9)*x", "x + 9**9**9**9", "x*factorial(10**8)", "x**(9**9**9)", "(x + 1)**(10**9)", "exp(10**9)*x",
    "x*(1/3)**(10**8)", "x*10**308*10**308*10**308", "sin(10**300)*x", "zeta(1000, 10**9)*x", "polygamma(1000, 10**9) + x",
    "besselj(1000, 10**9)*x", "x*2**0.1", "x*0**-1", "x/0", "x*0.1**0.1**0.1", "2**2**2**2**2**x", "floor(10**300/7)*x",
    "x*sqrt(10**300 + 1)", "x*((10**30 + 57)**2 - 1)**(1/3)", "atan2(10**9, 10**9 + 1)*x", "erfinv(1/3)*x", "x*(1/3)**(1/7)",
]  # fmt: skip


@pytest.mark.parametrize("text", BOMBS)
def test_bombs(text: str) -> None:
    """Numbers that SymPy would compute for hours are symbols to it: none of more than 1,024 bits on the way to SymPy, its
    derivative and back, in fewer than 100,000 calls.
    """

    def there_and_back() -> None:
        for found in ((expression := to_symbols(parse(text))), expression.diff(X)):
            to_tree(found)
            assert all(max(abs(q.p), q.q).bit_length() <= 1024 for q in found.atoms(sympy.Rational))

    to_tree(to_symbols(parse("sin(x)/3 + 2**x")).diff(X))  # what SymPy loads when it is first used isn't counted
    assert count_calls(there_and_back) < 100_000


@pytest.mark.parametrize(
    "text", ["gamma(10**3)*x", "x*2**1000", "x*factorial(200)", "sin(100)*x/exp(100)", "x*(1/3)**300", "x*2**0.1"]
)
def test_opaque_constants_keep_their_value(text: str) -> None:
    """What is a symbol to SymPy is the constant again in balls."""
    tree = parse(text)
    assert same(balls(tree, {"x": 1.7}), balls(to_tree(to_symbols(tree)), {"x": 1.7}))


@pytest.mark.parametrize("text", ["x/0", "0**-1*x", "x + 1/0"])
def test_division_by_zero_stays_undefined(text: str) -> None:
    """A division by the constant 0 is not simplified away, nor turned into SymPy's zoo."""
    expression = to_symbols(parse(text))
    assert not expression.has(sympy.zoo, sympy.nan, sympy.oo)
    assert not balls(to_tree(expression), {"x": 1.7}).is_finite()


@pytest.mark.parametrize(
    "expression",
    [sympy.Derivative(sympy.Function("f")(X), X), sympy.hyper((1,), (2,), X), sympy.DiracDelta(X), sympy.besselj(X, 1)],
)
def test_what_cannot_be_said(expression: Any) -> None:
    """What has no row in the table is a LookupError, not a wrong tree."""
    with pytest.raises(LookupError):
        to_tree(expression)


def test_infinity_and_nan() -> None:
    """SymPy's oo is inf; its nan has no value."""
    assert to_tree(sympy.oo) == Call("inf", ())
    assert balls(to_tree(sympy.nan), {}).is_nan()
    assert math.isinf(float(to_symbols(Constant(math.inf))))


COMPOSED = (
    "x**y*exp(-x)/(1 + x**2)", "(x*y + 1)**3/sqrt(y)", "where(x**2 + 1 > 0, x*y, y)*log(x)", "maximum(x, y**2)*x", "inf*x*y",
    "2**x*y**x", "lgamma(x*y)*floor(x)", "besselj(2, x*y)", "polygamma(2, x)*abs(x*y)", "0.1*x/(x - y)",
)  # fmt: skip


def test_derived_is_what_sympy_derives() -> None:
    """Every row of the table, and formulas composed of several: the very expression that SymPy's own `diff` gives, for a first
    derivative and for the next. What quotients say of it stands in tests/exact/test_derivative.py."""
    compared = 0
    rows = [row for row in ROWS if row.parameters and not row.arrays and not row.truth]
    plain = [row for row in rows if not {"integer", "number", "truth"} & {p.kind for p in row.parameters}]
    for tree in [*(Call(row.name, tuple(Variable(p.name) for p in row.parameters)) for row in plain), *map(parse, COMPOSED)]:
        expression = to_symbols(tree)
        for name, again in itertools.product(variables(tree)[:2], repeat=2):
            found = derived(expression, name)
            assert found == expression.diff(sympy.Symbol(name, real=True)), (tree, name)
            if found.count_ops() < 60:
                assert derived(found, again) == found.diff(sympy.Symbol(again, real=True)), (tree, name, again)
            compared += 1
    assert compared > 100


def test_renamed_is_what_the_names_would_give() -> None:
    """Derived under numbers and then renamed: all that SymPy orders, and leaves undecided, under the names themselves."""
    for tree in map(parse, (*COMPOSED, "b*a - a*c + b**2*sin(c - a)", "where(a**2 + 1 > 0, b - a, c)*c", "(c - b)*(a - c)")):
        names = variables(tree)
        numbers = {name: f"_{i}" for i, name in enumerate(sorted(names, reverse=True))}
        for name in names:
            numbered = to_symbols(substitute(tree, {n: Variable(number) for n, number in numbers.items()}))
            found = renamed(derived(numbered, numbers[name]), numbers)
            assert found == derived(to_symbols(tree), name)
