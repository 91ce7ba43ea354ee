"""Limits from both sides, where no formula holds.

The oracle is the closed form that a mathematician gives for each case; sources are named where the case is a known one.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
from flint import arb, ctx
from mpmath import mp

from gradcheck_cli.exact.enclosure import Enclosure
from gradcheck_cli.exact.kinks import BESIDE, JUMPS, LOWER, UNDEFINED, limits
from gradcheck_cli.exact.values import Values
from gradcheck_cli.floats import FORMATS
from gradcheck_cli.language.chain import link
from gradcheck_cli.verdict.truth import Kind, Truth

INF = math.inf
PI = math.pi


def ask(text: str, wrt: str, /, mixed: bool = False, **point: float) -> Truth:
    """The limits of the derivative by the names of `wrt`, which are single letters."""
    return limits(Values(link(text.split("|"))), point, tuple(wrt), mixed=mixed)


def close(ball: Any, expected: float) -> bool:
    """The ball is the number, to a double's accuracy; a ball of the size of the step's error is 0."""
    if expected == 0:
        return bool(abs(ball) < arb(2) ** -300)
    if math.isinf(expected):
        return bool(ball == arb(expected))
    return math.isclose(float(ball), expected, rel_tol=1e-15) and ball.rel_accuracy_bits() > 100


def point_of(text: str) -> dict[str, float]:
    return {name: float(value) for name, value in (pair.split("=") for pair in text.split(","))}


EXISTS: list[tuple[str, str, str, float]] = [
    # the derivative exists at a point where no formula of it holds
    ("x*abs(x)", "x", "x=0", 0),
    ("abs(x)**3", "xx", "x=0", 0),
    ("abs(x)*tanh(x)", "x", "x=0", 0),
    ("hardshrink(x, 0)", "x", "x=0", 1),  # the identity
    ("sinc(x)", "xx", "x=0", -(PI**2) / 3),  # DLMF 4.19.1
    ("where(x == 0, 1, sin(pi*x)/(pi*x))", "xx", "x=0", -(PI**2) / 3),
    ("where(x == 0, 1, sin(pi*x)/(pi*x))", "xxxx", "x=0", PI**4 / 5),
    ("where(x == 0, 1, (exp(x) - 1)/x)", "x", "x=0", 0.5),
    ("where(x == 0, 1, (exp(x) - 1)/x)", "xx", "x=0", 1 / 3),
    ("where(x > 0, x, exp(x) - 1)", "x", "x=0", 1),
    ("where(x <= 1, x**2, 2*x - 1)", "x", "x=1", 2),
    ("where(x == 0, 0, exp(-1/x**2))", "xx", "x=0", 0),
    ("where(x == 0, 0, x**2*sin(1/x))", "x", "x=0", 0),  # Darboux: differentiable, not continuously
    ("softsign(x)", "x", "x=0", 1),
    ("xlogy(x, y)", "x", "x=0,y=2", math.log(2)),
    ("xlogy(x, y)", "xy", "x=0,y=2", 0.5),
    ("atan2(y, x)", "x", "y=0,x=-1", 0),
    ("sqrt(x**2 + y**2)**2", "xx", "x=0,y=0", 2),
    ("hypot(x, y)**2", "xy", "x=0,y=0", 0),
    ("hypot(x, y)**2*y", "xxy", "x=0,y=0", 2),
    ("hypot(x, y)**2*x", "xyy", "x=0,y=0", 2),
    ("x*y*abs(x)", "xy", "x=0,y=1", 0),
    ("abs(x)*x*abs(y)*y", "xy", "x=0,y=0", 0),
    ("floor(x)*sin(pi*x)**2", "x", "x=2", 0),
    ("relu(x) - relu(-x)", "x", "x=0", 1),
    ("maximum(x, y) + minimum(x, y)", "x", "x=1,y=1", 1),
    ("z = abs(x) | w = z*x | w*w/w", "x", "x=0.5", 1),
    ("abs(x - 1e300)*(x - 1e300)", "x", "x=1e300", 0),
    ("abs(x - 5e-324)*(x - 5e-324) + x", "x", "x=5e-324", 1),
    ("cbrt(x)**3", "x", "x=0", 1),
]


@pytest.mark.parametrize(("text", "wrt", "at", "expected"), EXISTS, ids=lambda v: str(v))
def test_the_derivative_exists(text: str, wrt: str, at: str, expected: float) -> None:
    """Where all sides agree the derivative is regular, its ball is sharp, and the point is marked as singular."""
    truth = ask(text, wrt, **point_of(at))
    assert truth.kind is Kind.REGULAR, truth
    assert close(truth.ball, expected), truth.ball.str(20)
    assert truth.singular and truth.left is truth.right is None


SLOPES: list[tuple[str, str, str, float | None, float | None]] = [
    # one-sided derivatives; None: that side is outside of the domain
    ("abs(x)", "x", "x=0", -1, 1),
    ("abs(3*x)/2", "x", "x=0", -1.5, 1.5),
    ("relu(x)", "x", "x=0", 0, 1),
    ("leaky_relu(x, 0.25)", "x", "x=0", 0.25, 1),
    ("maximum(x, y)", "y", "x=1,y=1", 0, 1),
    ("clamp(x, 0, 1)", "x", "x=1", 1, 0),
    ("hardtanh(x)", "x", "x=-1", 0, 1),
    ("abs(x - y)", "y", "x=2,y=2", -1, 1),
    ("sqrt((x - 1)**2)", "x", "x=1", -1, 1),
    ("sqrt(x)", "x", "x=0", None, INF),
    ("sqrt(-x)", "x", "x=0", -INF, None),
    ("sqrt(abs(x))", "x", "x=0", -INF, INF),
    ("cbrt(x)", "x", "x=0", INF, INF),
    ("-cbrt(x)", "x", "x=0", -INF, -INF),
    ("x**0.1", "x", "x=0", None, INF),
    ("x**1.5", "x", "x=0", None, 0),
    ("x**2*sqrt(x) + x", "x", "x=0", None, 1),
    ("xlogy(x, x)", "x", "x=0", None, -INF),
    ("entr(x)", "x", "x=0", None, INF),
    ("x**x", "x", "x=0", None, -INF),
    ("acos(x)", "x", "x=1", -INF, None),
    ("acos(x)", "x", "x=-1", None, -INF),
    ("asin(x)", "x", "x=1", INF, None),
    ("acosh(x)", "x", "x=1", None, INF),
    ("x*abs(x)", "xx", "x=0", -2, 2),
    ("abs(x)**3", "xxx", "x=0", -6, 6),
    ("hypot(x, y)", "x", "x=0,y=0", -1, 1),
    ("acos(sqrt(p)*sqrt(q) + sqrt(1-p)*sqrt(1-q))", "p", "p=0.25,q=0.25", -2 / math.sqrt(3), 2 / math.sqrt(3)),
    ("where(x > 0, x**2 + x, sin(2*x))", "x", "x=0", 2, 1),
    ("exp(abs(x)) | z*3", "x", "x=0", -3, 3),
    ("abs(x) + 1e6*x", "x", "x=0", 1e6 - 1, 1e6 + 1),
    ("where(x == 0, 0, 1e6*x - x*log(abs(x)))", "x", "x=0", INF, INF),
]


@pytest.mark.parametrize(("text", "wrt", "at", "left", "right"), SLOPES, ids=lambda v: str(v))
def test_one_sided(text: str, wrt: str, at: str, left: float | None, right: float | None) -> None:
    """At a kink, an infinite slope or the end of the domain both one-sided derivatives are known."""
    truth = ask(text, wrt, **point_of(at))
    assert truth.kind is Kind.NONDIFFERENTIABLE, truth
    assert truth.singular and not truth.jump and not truth.free and truth.ball is None
    for found, expected in ((truth.left, left), (truth.right, right)):
        assert (found is None) is (expected is None)
        assert expected is None or close(found, expected), found.str(20)


@pytest.mark.parametrize(
    ("text", "wrt", "at"),
    [
        ("floor(x)", "x", "x=2"), ("floor(x)", "x", "x=1e300"), ("sign(x)", "x", "x=0"), ("heaviside(x)", "x", "x=0"),
        ("round(x)", "x", "x=0.5"), ("x % 1", "x", "x=1"), ("atan2(y, x)", "y", "y=0,x=-1"),
        ("where(x == 0, 1, 0)", "x", "x=0"),
        ("where(x == 0, 1, x)", "x", "x=0"), ("floor(x) + x**2", "x", "x=3"), ("where(x > 0, x, x - 1e-300)", "x", "x=0"),
    ],
)  # fmt: skip
def test_jumps(text: str, wrt: str, at: str) -> None:
    """A discontinuity is a jump, whatever the slopes beside it are (equal ones too)."""
    truth = ask(text, wrt, **point_of(at))
    assert truth.kind is Kind.NONDIFFERENTIABLE and truth.jump


@pytest.mark.parametrize(
    ("text", "wrt", "at"),
    [
        ("abs(x)", "xx", "x=0"), ("sqrt(x)", "xx", "x=0"), ("x**1.5", "xx", "x=0"), ("floor(x)", "xx", "x=2"),
        ("abs(x)*y", "xy", "x=0,y=1"), ("hypot(x, y)", "xy", "x=0,y=0"), ("x*abs(x)", "xxx", "x=0"),
    ],
)  # fmt: skip
def test_no_higher_derivative_without_the_lower_one(text: str, wrt: str, at: str) -> None:
    """The quotient of order 2 of |x| settles at 0 from both sides: it is no derivative, and no convention is held to it."""
    truth = ask(text, wrt, **point_of(at))
    assert (truth.kind, truth.free, truth.text) == (Kind.NONDIFFERENTIABLE, True, LOWER)


def test_the_order_of_names_counts() -> None:
    """|x|*y**2 at (0, 0): by y first it is 0 everywhere, and then by x too; by x first there is no derivative off y = 0."""
    assert ask("abs(x)*y**2", "yx", x=0.0, y=0.0).kind is Kind.REGULAR
    assert ask("abs(x)*y", "x", x=0.0, y=1.0).kind is Kind.NONDIFFERENTIABLE
    assert ask("abs(x)*y", "x", x=0.0, y=0.0).kind is Kind.REGULAR


@pytest.mark.parametrize(
    ("text", "xy", "yx"),
    [
        ("x*y*(x**2 - y**2)/(x**2 + y**2)", -1, 1),  # Peano's: Rudin, Principles, exercise 9.27
        ("x**3*y/(x**2 + y**2)", 0, 1),  # df/dx(0, y) = 0, df/dy(x, 0) = x
        ("x*y**11/(x**2 + y**10)", 1, 0),  # df/dx(0, y) = y; at |y|**5 << |x| it looks like 0
        ("where(x >= 0, x*y, y*x)", 1, 1),  # a border that isn't one
        ("where(y == 0, 0, x)", None, None),  # df/dx(0, y) = 1 but at y = 0; df/dy(x, 0) doesn't exist
        ("x*y + where(x == 0, y**2, 0)", None, 1),  # df/dx(0, y) doesn't exist; df/dy(x, 0) = x
    ],
)
@pytest.mark.parametrize("wrt", ["xy", "yx"])
def test_a_mixed_derivative_that_depends_on_the_order(text: str, xy: float | None, yx: float | None, wrt: str) -> None:
    """One differentiation after the other, by hand: not what a quotient by both steps at once gives (0 for equal ones), and no
    derivative where the lower one is missing beside the point, or jumps."""
    chain = link([f"where(x == 0 and y == 0, 0, {text})"])
    ((truth,),), _ = Enclosure(chain, [tuple(wrt)], FORMATS["float64"]).at({"x": [0.0], "y": [0.0]})
    expected = xy if wrt == "xy" else yx
    if expected is None:
        assert (truth.kind, truth.free) == (Kind.NONDIFFERENTIABLE, True) and truth.text in (BESIDE, JUMPS)
    else:
        assert truth.kind is Kind.REGULAR and close(truth.ball, expected)


def test_a_mixed_derivative_of_order_3() -> None:
    """Peano's function is odd in x: its second derivative by x is 0 along x = 0, and no quotient by both steps is bounded."""
    chain = link(["where(x == 0 and y == 0, 0, x*y*(x**2 - y**2)/(x**2 + y**2))"])
    ((truth,),), _ = Enclosure(chain, [("x", "x", "y")], FORMATS["float64"]).at({"x": [0.0], "y": [0.0]})
    assert truth.kind is Kind.REGULAR and close(truth.ball, 0)


def test_a_mixed_derivative_without_series() -> None:
    """Peano's function by quotients alone, the inner steps far shorter than the outer ones: -1 and 1 again."""
    for wrt, expected in (("xy", -1), ("yx", 1)):
        for mixed in (False, True):  # which what hangs on the ratio of the steps is no answer to
            truth = ask("where(x**2 + y**2 == 0, 0, x*y*(x**2 - y**2)/(x**2 + y**2))", wrt, mixed, x=0.0, y=0.0)
            assert truth.kind is Kind.REGULAR and close(truth.ball, expected)


@pytest.mark.parametrize(
    "text",
    [
        "where(x == 0, 0, x*sin(1/x))",  # oscillates
        "where(x == 0, 0, x + x/log(abs(x)))",  # converges to 1 more slowly than can be seen; grows on the way
        "where(x == 0, 0, x - x/log(abs(x))**2)",
        "where(x == 0, 0, x/log(abs(x)))",
        "where(x == 0, 0, x*sin(log(abs(x))))",
        "x**1.2",  # converges like h**0.2: see SETTLED
        "where(x == 0, 0, x*sqrt(-log(abs(x))))",  # has an infinite slope, and grows more slowly than a logarithm: see GROWTH
        "where(x == 0, 0, x + 2**-130*x/log(abs(x)))",  # see STILL
        "where(x == 0, 1, 1 + 2**-980*x/log(abs(x)))",  # see NOISE
    ],
)
def test_what_does_not_settle_is_unknown(text: str) -> None:
    """Quotients that neither settle nor grow claim nothing: no derivative, and no infinite slope."""
    truth = ask(text, "x", x=0.0)
    assert truth.kind is Kind.UNKNOWN and truth.text


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("log(x)", "x=0"), ("log(x)", "x=-1"), ("1/x", "x=0"), ("erfinv(x)", "x=1"), ("atan2(y, x)", "x=0,y=0"),
        ("sqrt(x)", "x=-1"), ("gamma(x)", "x=-1"), ("abs(1/x)", "x=0"), ("sin(x)/x", "x=0"), ("exp(-1/x)", "x=0"),
    ],
)  # fmt: skip
def test_outside(text: str, at: str) -> None:
    """Where the function itself has no value there is no derivative to ask for."""
    assert ask(text, "x", **point_of(at)).kind is Kind.OUTSIDE


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("x + abs(x)*2**-98", "a kink"), ("x + abs(x)*2**-104", ""),  # EQUAL
        ("where(x > 0, 1 + 2**-1098, 1)", "a jump"), ("where(x > 0, 1 + 2**-1102, 1)", ""),  # JUMP
        ("where(x > 0, 2**-2198, 0)", "a jump"), ("where(x > 0, 2**-2202, 0)", ""),  # NOTHING
        ("where(x == 0, 0, x + 2**-160*x/log(abs(x)))", ""),  # STILL
        ("where(x == 0, 1, 1 + 2**-1020*x/log(abs(x)))", ""),  # NOISE
        ("where(x == 0, 0, 1/log(abs(x)))", "a kink"), ("where(x == 0, 0, 1/log(-log(abs(x))))", "a jump"),  # STAYS
    ],
)  # fmt: skip
def test_what_the_constants_admit(text: str, seen: str) -> None:
    """How small a kink, a jump or a movement may be before it isn't seen, and how slow an approach is taken for a jump."""
    truth = ask(text, "x", x=0.0)
    assert (truth.kind is Kind.REGULAR) == (not seen)
    assert truth.jump is (seen == "a jump")


def test_undecided_values_are_filled_in() -> None:
    """Where balls can't decide the value at the point, one limit from all sides stands for it, and the text says so."""
    truth = ask("acos(sin(x)**2 + cos(x)**2)", "x", x=0.7)
    assert truth.kind in (Kind.OUTSIDE, Kind.UNKNOWN) or (truth.kind is Kind.REGULAR and close(truth.ball, 0))
    truth = ask("where(sqrt(x)**2 < x, -x, x)", "x", x=0.7)
    assert truth.kind is not Kind.REGULAR or truth.text == UNDEFINED


def test_limits_of_what_is_asked() -> None:
    """More than two names and too much work are unknown, each with its reason; infinity is outside of every domain, where the
    function has a limit (tanh) and where it has none (sin)."""
    for truth, kind, word in (
        (ask("abs(x)*abs(y)*abs(z)", "xyz", x=0.0, y=0.0, z=0.0), Kind.UNKNOWN, "two names"),
        (ask("tanh(x)", "x", x=INF), Kind.OUTSIDE, "infinity"),
        (ask("sin(x)", "x", x=INF), Kind.OUTSIDE, ""),
        (limits(Values(link(["abs(x)"])), {"x": 0.0}, ("x",), 1.0), Kind.UNKNOWN, "more work"),
    ):
        assert truth.kind is kind
        assert word in (truth.text or "")


def test_at_an_ordinary_point() -> None:
    """At points where a formula holds the limit is its value: sin' = cos, to a hundred digits."""
    for x in (0.3, -7.25, 1e10, 1e-300):
        ball = ask("sin(x)", "x", x=x).ball
        with mp.workdps(400), ctx.workprec(1500):
            assert mp.mpf(ball.mid().str(130, radius=False)) - mp.cos(mp.mpf(x)) < mp.mpf(10) ** -100


def test_moving_a_stage() -> None:
    """Derivatives by a stage are limits too: relu of a stage that is 0."""
    values = Values(link(["z = x - 1", "y = relu(z) + 3*z"]))
    truth = limits(values, {"x": 1.0}, ("z",))
    assert close(truth.left, 3)
    assert close(truth.right, 4)


def test_beside_an_infinite_coordinate() -> None:
    """What is infinite and isn't differentiated by is a constant: softmax with a masked entry, exp(x)/(exp(x) + exp(-inf)) is 1
    whatever x; by the infinite one itself there is none, and where the value is infinite there is no derivative."""
    for text, slope in (("exp(x)/(exp(x) + exp(y))", 0.0), ("x*x + exp(y)", 3.0), ("abs(x - 1.5) + exp(y)", None)):
        truth = ask(text, "x", x=1.5, y=-INF)
        assert truth.kind is (Kind.NONDIFFERENTIABLE if slope is None else Kind.REGULAR), text
        assert slope is None or close(truth.ball, slope)
    assert ask("x*x + exp(y)", "y", x=1.5, y=-INF).kind is Kind.OUTSIDE
    assert ask("x + y", "x", x=1.5, y=-INF).kind is Kind.OUTSIDE
    assert ask("x + y", "y", x=1.5, y=-INF).kind is Kind.OUTSIDE
