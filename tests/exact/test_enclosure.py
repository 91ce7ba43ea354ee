"""Enclosures of derivatives contain the derivative, and are tight in the format.

The oracle is mpmath: a function of its own, or its difference quotient of the chain at hundreds of digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from flint import arb
from mpmath import mp

from gradcheck_cli.algebra.effort import POINT
from gradcheck_cli.exact import enclosure
from gradcheck_cli.exact.enclosure import GUARD_BITS, Enclosure, tight
from gradcheck_cli.floats import FORMATS
from gradcheck_cli.language.chain import link
from gradcheck_cli.verdict.truth import Kind, Truth
from tests.formats import DOUBLE

ZIGZAG = "sin(z) + z/2 + 1/(1+z**2)"


def exact(texts: list[str], point: dict[str, float], *derivatives: tuple[str, ...], form: str = "float64") -> list[Truth | Any]:
    """The entries of the derivatives at one point."""
    found, _ = Enclosure(link(texts), derivatives, FORMATS[form]).at({n: [v] for n, v in point.items()})
    return [entry for (entry,) in found]


def number(x: Any) -> Any:
    """A midpoint or radius as an mpmath number, exactly."""
    mantissa, exponent = x.man_exp()
    return mp.ldexp(mp.mpf(int(mantissa)), int(exponent))


def contains(ball: Any, value: Any) -> bool:
    """The ball contains a value that is known to 60 digits."""
    with mp.workdps(400):
        return bool(abs(number(ball.mid()) - value) <= number(ball.rad()) + abs(value) * mp.mpf(10) ** -60)


def slope(function: Callable[[Any], Any], x: float, order: int = 1) -> Any:
    """mpmath's difference quotient, to more than 60 digits."""
    with mp.workdps(400):
        return mp.diff(function, mp.mpf(x), order, h=mp.mpf(10) ** -100, direction=0)


def zigzag(count: int) -> Callable[[Any], Any]:
    """The chain of `count` equal stages, composed in mpmath."""

    def run(z: Any) -> Any:
        for _ in range(count):
            z = mp.sin(z) + z / 2 + 1 / (1 + z**2)
        return z

    return run


ORDINARY: list[tuple[str, float, Callable[[Any], Any]]] = [
    ("sin(x)*exp(x)", 0.7, lambda x: mp.sin(x) * mp.exp(x)),
    ("x**x", 2.5, lambda x: x**x),
    ("gelu(x)", -3.3, lambda x: x * mp.erfc(-x / mp.sqrt(2)) / 2),
    ("log(1 + exp(x))", -30.0, lambda x: mp.log(1 + mp.exp(x))),
    ("sigmoid(x)", 40.0, lambda x: 1 / (1 + mp.exp(-x))),
    ("tanh(x)", 20.0, mp.tanh),
    ("(1 - cos(x))/x**2", 1e-9, lambda x: (1 - mp.cos(x)) / x**2),
    ("sqrt(x**2 + 1) - x", 1e8, lambda x: mp.sqrt(x**2 + 1) - x),
    ("lgamma(x)", 1e-5, mp.loggamma),
    ("1/x", 1e-3, lambda x: 1 / x),
    ("hardswish(x)", 1.25, lambda x: x * (x + 3) / 6),
    ("sin(1e15*x)", 0.1, lambda x: mp.sin(mp.mpf(10) ** 15 * x)),
    ("zeta(x, 2)", 2.5, lambda x: mp.zeta(x, 2)),
]


@pytest.mark.slow(reason="hard points at thousands of bits")
@pytest.mark.parametrize(("text", "x", "function"), ORDINARY, ids=[text for text, _, _ in ORDINARY])
def test_contains_and_tight(text: str, x: float, function: Callable[[Any], Any]) -> None:
    """At ordinary points and under cancellation: the derivative lies in the ball, which is tight."""
    (ball,) = exact([text], {"x": x}, ("x",))
    assert not isinstance(ball, Truth)
    assert ball.rel_accuracy_bits() >= DOUBLE.bits + GUARD_BITS
    assert contains(ball, slope(function, x))


@pytest.mark.parametrize(("text", "x", "function"), ORDINARY[:3], ids=[text for text, _, _ in ORDINARY[:3]])
@pytest.mark.parametrize("order", [2, 3])
def test_higher_orders(text: str, x: float, function: Callable[[Any], Any], order: int) -> None:
    """Second and third derivatives too."""
    (ball,) = exact([text], {"x": x}, ("x",) * order)
    assert tight(ball, DOUBLE)
    assert contains(ball, slope(function, x, order))


def test_mixed_partials() -> None:
    """d2/dxdy of exp(x*y) is (1 + x*y)*exp(x*y), in both orders."""
    one, other = exact(["exp(x*y)"], {"x": 0.7, "y": -1.3}, ("x", "y"), ("y", "x"))
    with mp.workdps(100):
        product = mp.mpf(0.7) * mp.mpf(-1.3)
        value = (1 + product) * mp.exp(product)
    assert contains(one, value)
    assert contains(other, value)


@pytest.mark.parametrize(("count", "x"), [(1, 0.7), (2, 0.7), (10, 0.7), (40, -2.3), (150, 0.7)])
def test_long_chains(count: int, x: float) -> None:
    """The derivative of a chain of equal stages by its input, far below 1 or far above, is certified."""
    (ball,) = exact([ZIGZAG.replace("z", "x"), *[ZIGZAG] * (count - 1)], {"x": x}, ("x",))
    assert tight(ball, DOUBLE)
    assert contains(ball, slope(zigzag(count), x))


def test_a_chaotic_chain_costs_no_more_than_it_must() -> None:
    """The logistic map doubles every error 60 times; the enclosure still is tight."""
    (ball,) = exact(["4*x*(1 - x)", *["4*z*(1 - z)"] * 59], {"x": 0.3}, ("x",))
    assert tight(ball, DOUBLE)

    def logistic(z: Any) -> Any:
        for _ in range(60):
            z = 4 * z * (1 - z)
        return z

    assert contains(ball, slope(logistic, 0.3))


@pytest.mark.slow(reason="thousands of stages")
def test_a_chain_of_thousands_of_stages() -> None:
    """Each stage is the identity in disguise: naive balls would grow by more than a bit a stage, beyond every precision."""
    (ball,) = exact(["sin(x)", *["z*(1 - z) + z*z"] * 4000, "sin(z)"], {"x": 0.7}, ("x",))
    assert not isinstance(ball, Truth)
    assert tight(ball, DOUBLE)
    with mp.workdps(100):
        assert contains(ball, mp.cos(mp.sin(mp.mpf(0.7))) * mp.cos(mp.mpf(0.7)))


def test_totals_by_stage() -> None:
    """With skip connections, the total by a stage runs over every path from it; by what doesn't matter it is 0."""
    texts = ["z = 2*x", "w = sin(z) + x", "v = u**2", "y = w*z + v"]
    by = ("y", "w", "z", "x", "u", "v")
    point = {"x": 0.3, "u": 1.5}
    found = dict(zip(by, exact(texts, point, *((n,) for n in by)), strict=True))
    with mp.workdps(100):
        x, z = mp.mpf(0.3), 2 * mp.mpf(0.3)
        w = mp.sin(z) + x
        values = {"y": 1, "w": z, "z": w + z * mp.cos(z), "x": 2 * (w + z * mp.cos(z)) + z, "u": 3, "v": 1}
        for name, value in values.items():
            assert contains(found[name], mp.mpf(value)), name


def test_many_points_in_one_call() -> None:
    """Points are columns; easy ones, hard ones and those off the domain keep their places, values come along."""
    xs = [0.5, 0.0, -1.0, 40.0, 2.0]
    ((first, second), values) = Enclosure(link(["sqrt(x)*x"]), [("x",), ("x", "x")], DOUBLE).at({"x": xs})
    assert contains(first[0], slope(lambda x: x**1.5, 0.5))
    assert contains(first[3], slope(lambda x: x**1.5, 40.0))
    assert isinstance(first[2], Truth) and first[2].kind is Kind.OUTSIDE
    assert isinstance(first[1], Truth) and first[1].kind is Kind.NONDIFFERENTIABLE
    assert contains(second[4], slope(lambda x: x**1.5, 2.0, 2))
    assert values[2] is None
    with mp.workdps(100):
        assert contains(values[4], mp.sqrt(8))


RANGE = [
    # derivative certified below every double, or above, or just inside the range
    ("tanh(x)", 400.0, "tiny"),
    ("exp(-x)", 1e6, "tiny"),
    ("exp(-x**2)", 1e10, "tiny"),
    ("exp(x)", 1e6, "huge"),
    ("x**-3", 1e-300, "huge"),
    ("exp(x)", 709.0, "normal"),
    ("exp(-x)", 744.0, "normal"),
    ("sigmoid(x)", 700.0, "normal"),
    ("x**2", 5e-324, "normal"),
]


@pytest.mark.parametrize(("text", "x", "size"), RANGE)
def test_underflow_and_overflow_are_certified(text: str, x: float, size: str) -> None:
    """Beyond the range of doubles a ball needs no accuracy: it lies below or above every float, and says so."""
    (ball,) = exact([text], {"x": x}, ("x",))
    assert tight(ball, DOUBLE)
    if size == "tiny":
        assert ball.abs_upper() < 5e-324
    elif size == "huge":
        assert ball.abs_lower() > arb(2) ** 1024
    else:
        assert ball.rel_accuracy_bits() >= DOUBLE.bits
        assert ball.abs_lower() > 0


def test_tight() -> None:
    """Accurate to the format's bits and 8 more; or settled below or above every double; never where it isn't finite."""
    for form in FORMATS.values():
        assert tight(arb(1, 2.0 ** -(form.bits + GUARD_BITS + 3)), form)
        assert not tight(arb(1, 2.0 ** -(form.bits + GUARD_BITS - 3)), form)
        assert not tight(arb(0, 1e-300), form)
        assert tight(arb(0), form)
        assert tight(arb(0, 1) * arb(2) ** -1078, form)
        assert not tight(arb(0, 1) * arb(2) ** -1076, form)
        assert tight(arb(3, 0.5) * arb(2) ** 1025, form)
        assert not tight(arb(3, 0.5) * arb(2) ** 1000, form)
        for bad in (arb.nan(), arb(0, arb.pos_inf()), arb.nan() * 0):
            assert not tight(bad, form)


@pytest.mark.parametrize("form", FORMATS)
def test_every_format(form: str) -> None:
    """The exact side is the same number for every format, at least as accurate as the format needs."""
    (ball,) = exact([ZIGZAG.replace("z", "x"), ZIGZAG], {"x": 0.625}, ("x",), form=form)
    assert ball.rel_accuracy_bits() >= FORMATS[form].bits + GUARD_BITS
    assert contains(ball, slope(zigzag(2), 0.625))


def test_series_take_the_place_of_formulas() -> None:
    """Where SymPy has no derivative the enclosure says that it used series, which the witness must know."""
    assert Enclosure(link(["zeta(x, 2)*x"]), [("x",)], DOUBLE).by_series(("x",))
    assert Enclosure(link(["zeta(x, 2)", "z*2"]), [("x",)], DOUBLE).by_series(("x",))
    assert not Enclosure(link(["zeta(2, x)*x"]), [("x",)], DOUBLE).by_series(("x",))
    assert not Enclosure(link(["2*x", "sin(z)"]), [("x",)], DOUBLE).by_series(("x",))
    both = Enclosure(link(["zeta(x, y)*x"]), [("x",), ("y",)], DOUBLE)
    assert (both.by_series(("x",)), both.by_series(("y",))) == (True, False)


@pytest.mark.parametrize("text", ["abs(x)", "sqrt(x**2)", "exp(exp(exp(x + 20)))"])
def test_effort(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a point's work is spent its answer is unknown, with a reason; no exception, no guess."""
    monkeypatch.setattr(enclosure, "POINT", -1.0)
    (found,) = exact([text], {"x": 0.0}, ("x",))
    assert isinstance(found, Truth) and found.kind is Kind.UNKNOWN
    assert found.text


@pytest.mark.parametrize(
    "text",
    [
        "exp(exp(exp(x)))",
        "x**x**x**x",
        "sin(exp(exp(x)))",
        "gamma(gamma(gamma(x)))",
        "polygamma(3, exp(x)**9)",
        "zeta(x, exp(-x)**9)",
    ],
)
def test_hard_points_end(text: str) -> None:
    """Whatever the formula, a point takes no more work than is spent on one, and is answered."""
    found = Enclosure(link([text]), [("x",)], DOUBLE)
    ((answer,),), _ = found.at({"x": [9.75]})
    assert answer is not None
    assert found.values.work <= POINT


@pytest.mark.parametrize("x", [math.inf, -math.inf, math.nan])
def test_points_that_are_not_finite(x: float) -> None:
    """An infinite or nan point is unknown or outside, never a derivative (but the output's by itself, where it has a value)."""
    for text in ("x**2", "tanh(x)", "atan(x)"):
        (found,) = exact([text], {"x": x}, ("x",))
        assert isinstance(found, Truth) and found.kind in (Kind.UNKNOWN, Kind.OUTSIDE)


def test_by_itself() -> None:
    """The derivative of the output by itself is 1 wherever it has a value, kinks included, and outside where not."""
    assert exact(["abs(x)"], {"x": 0.0}, ("y",)) == [1]
    (found,) = exact(["log(x)"], {"x": -1.0}, ("y",))
    assert found.kind is Kind.OUTSIDE


@pytest.mark.parametrize("point", [{"x": 1.0, "y": 0.0}, {"x": 0.25, "y": 1.25}, {"x": -3.0, "y": -2.0}])
def test_a_mixed_derivative_that_hangs_on_the_ratio_of_the_steps(point: dict[str, float]) -> None:
    """Where smooth_l1_loss turns into a line its mixed derivative is -1 on one side and 0 on the other, whatever the ratio of
    the steps: it doesn't exist, and lies between them."""
    (found,) = exact(["smooth_l1_loss(x, y)"], point, ("x", "y"))
    assert isinstance(found, Truth) and found.kind is Kind.NONDIFFERENTIABLE
    assert sorted([float(found.left), float(found.right)]) == [-1, 0]


@pytest.mark.parametrize(("x", "t", "slope"), [(0.0, 0.3, 0.7), (1.0, 0.3, -0.3), (1e-44, 0.3, 0.7), (0.0, 0.0, 1.0)])
def test_the_border_of_a_clamped_logarithm(x: float, t: float, slope: float) -> None:
    """binary_cross_entropy, whose logarithms torch cuts at -100, has values at 0 and 1, and there the slope of what isn't cut:
    (1-t)/(1-x), -t/x."""
    (found,) = exact(["binary_cross_entropy(x, t)"], {"x": x, "t": t}, ("x",))
    ball = found.ball if isinstance(found, Truth) else found
    assert ball is not None and abs(float(ball) - slope) < 1e-16


def test_what_cancels_beyond_every_precision_is_not_0() -> None:
    """The slope of expm1(tanh(y)*x) by y at 1988894, 1.3e19 is about 10**(5.8e18): 1 - tanh(y)**2 is below every precision, and
    what it multiplies isn't."""
    chain = link(["expm1(tanh(y)*x)"])
    columns = {"x": [1.3370512193523548e19], "y": [1988894.125]}
    (found,), _ = Enclosure(chain, [("y",)], FORMATS["float32"]).at(columns)
    assert isinstance(found[0], Truth) and found[0].kind is Kind.UNKNOWN
