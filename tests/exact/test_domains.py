"""What columns know besides tight balls: where a formula has no value, where its derivative is beyond every float, or as good
as 0. Balls, which decide point by point, and mpmath are the strangers."""

from __future__ import annotations

import math
from collections.abc import Callable

import mpmath
import numpy as np
import pytest

from gradcheck_cli import check_grad
from gradcheck_cli.algebra.columns.trust import TRUST
from gradcheck_cli.exact.derivative import differentiate
from gradcheck_cli.exact.domains import Outside, outside
from gradcheck_cli.exact.enclosure import Enclosure
from gradcheck_cli.exact.sizes import Sizes, sizes
from gradcheck_cli.floats import FORMATS
from gradcheck_cli.language.chain import link
from gradcheck_cli.language.functions import TABLE
from gradcheck_cli.language.parser import parse

EVERY = 409
"""The so manieth floats are looked at, all exponents and both signs among them."""

FORMULAS = (
    "exp(x)", "exp(-x)", "exp(x)*x", "x - exp(2*x)", "expm1(x)", "sinh(x)", "cosh(x)/x", "2**x", "tanh(x)", "sigmoid(x)",
    "erf(x)", "gelu(x)", "log(x)", "log1p(x)", "sqrt(x)", "asin(x)", "acosh(x)", "atanh(x/2)", "x**1.5", "log(exp(x) - 5)",
    "x**5", "sqrt(x - 1) + log(3 - x)", "where(x > 0, log(x), x**2)", "where(x > 0, x, log(x))",
    "entr(x)", "asec(x)", "rsqrt(x)",
    "where(x > 1000, exp(x), log(x + 2))", "exp(x)*abs(x)", "exp(x) + 1/x", "lgamma(x)",
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "dtype"), [*((f, "bfloat16") for f in FORMULAS), ("tanh(x)", "float16"), ("sigmoid(x)", "float16")]
)
def test_columns_say_what_balls_say(text: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same verdicts, causes and words at floats of every size, and errors that differ by less than 1/100 ulp."""
    form = FORMATS[dtype]
    some = form.floats(range(0, form.finite, EVERY))
    many = np.concatenate([some, [0.0, -0.0, 1.0, -1.0, 2.0, 3.0, 1000.0, -2.0, form.largest]])
    with monkeypatch.context() as context:
        context.setenv("GRADCHECK_COLUMNS", "off")
        balls = check_grad(text, at=[{"x": x} for x in many.tolist()], dtype=dtype).columns[0]
    columns = check_grad(text, at=[{"x": x} for x in many.tolist()], dtype=dtype).columns[0]
    assert not TRUST.notes
    for i in range(len(many)):
        one, other = balls.check(i), columns.check(i)
        assert (one.verdict, one.cause, one.detail, one.exact) == (other.verdict, other.cause, other.detail, other.exact), one
        near = one.error_ulps == other.error_ulps or abs((one.error_ulps or 0.0) - (other.error_ulps or 0.0)) < 0.01
        assert near and (one.error_ulps is None) == (other.error_ulps is None), (one, other)


@pytest.mark.parametrize("text", ["exp(x)", "log1p(x)", "gelu(x)", "sinh(x)", "asin(x)", "tanh(x)"])
def test_hardly_any_point_is_left_to_balls(text: str) -> None:
    """Fewer than one in a hundred, of all sizes, where a ball each would take hours for every float32."""
    form = FORMATS["float32"]
    points = form.floats(range(0, form.finite, 2**22 + 1))
    enclosure = Enclosure(link([text]), [("x",)], form)
    settled: list[int] = []
    settle = enclosure._settle
    enclosure._settle = lambda point: settled.append(1) or settle(point)  # type: ignore[func-returns-value, method-assign]
    enclosure.at({"x": points})
    assert len(points) > 1000 and len(settled) < len(points) / 100


@pytest.mark.parametrize(
    "name", [row.name for row in TABLE.values() if row.domain and len(row.parameters) == 1 and not row.arrays]
)
def test_a_domain_excludes_no_value(name: str) -> None:
    """Excluded is what mpmath has no real value of, and all of that, off the edges; balls contradict none of it."""
    points = np.linspace(-4, 4, 641)
    known = Enclosure(link([f"{name}(x)"]), [("x",)], FORMATS["float64"])._evaluate
    found = Outside(parse(f"{name}(x)"), ["x"]).among([points], np.ones(len(points), dtype=bool), known)
    oracle = {"log": mpmath.log, "sqrt": mpmath.sqrt, "asin": mpmath.asin, "acosh": mpmath.acosh, "log1p": mpmath.log1p,
              "atanh": mpmath.atanh, "asec": mpmath.asec, "acoth": mpmath.acoth, "asech": mpmath.asech}.get(name)  # fmt: skip
    assert not TRUST.notes
    if oracle is not None:
        real = [x != 0 and mpmath.im(oracle(mpmath.mpf(x))) == 0 for x in points.tolist() if abs(x) not in (0.0, 1.0)]
        kept = [not off for x, off in zip(points.tolist(), found.tolist(), strict=True) if abs(x) not in (0.0, 1.0)]
        assert kept == real and not all(real)


def test_the_edge_and_its_neighbours() -> None:
    """The edge of a domain is excluded where it doesn't belong to it, its neighbours are not; a choice looks at one branch."""
    for text, excluded in (
        ("log(x)", [True, True, False]),
        ("sqrt(x)", [True, False, False]),
        ("1/x", [False, True, False]),
        ("where(x > -1, 1, log(x))", [False] * 3),
    ):
        points = np.array([-(2.0**-1074), 0.0, 2.0**-1074])
        chosen = Outside(parse(text), ["x"]).among([points], np.ones(3, dtype=bool), lambda balls: None)
        assert chosen.tolist() == excluded, text
    assert outside(parse("sin(x) + x*x")) is None


@pytest.mark.parametrize(
    "text", ["exp(x)", "exp(2*x) - exp(x)", "x*exp(-x)", "sinh(x)*3", "cosh(3*x)/x**2", "expm1(x)*x", "7**x"]
)
def test_sizes_beyond_every_float(text: str) -> None:
    """What is said to be beyond the largest float32 is, with its sign, by mpmath's derivative; and all of it is said."""
    form = FORMATS["float32"]
    points = np.concatenate([np.linspace(-800, 800, 401) + 0.37, [1e4, -1e4, 3e7, -3e7]])
    tree = parse(text)
    slope = differentiate(tree, ("x",))
    assert slope is not None and sizes([tree, slope]) is not None
    signs = Sizes([tree, slope], ["x"], form).beyond([points], np.ones(len(points), dtype=bool), lambda balls: None)
    assert signs is not None
    functions = {
        "exp(x)": mpmath.exp, "exp(2*x) - exp(x)": lambda x: 2 * mpmath.exp(2 * x) - mpmath.exp(x),
        "x*exp(-x)": lambda x: (1 - x) * mpmath.exp(-x), "sinh(x)*3": lambda x: 3 * mpmath.cosh(x),
        "cosh(3*x)/x**2": lambda x: 3 * mpmath.sinh(3 * x) / x**2 - 2 * mpmath.cosh(3 * x) / x**3,
        "expm1(x)*x": lambda x: mpmath.exp(x) * x + mpmath.expm1(x), "7**x": lambda x: mpmath.mpf(7) ** x * mpmath.log(7),
    }  # fmt: skip
    found = 0
    for x, sign in zip(points.tolist(), signs[0].tolist(), strict=True):
        true = functions[text](mpmath.mpf(x))
        assert not sign or (abs(true) > 2 * form.largest and mpmath.sign(true) == sign)
        found += bool(sign)
        assert sign or abs(true) < 4 * form.largest or abs(x) > 1e6
    assert found > 100


def test_one_wrong_claim_ends_the_trust(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ball that has a value where columns say that there is none, or is small where they say that it is huge."""
    monkeypatch.setattr(TRUST, "notes", [])
    points = np.linspace(-400, -1, 300)
    every = np.ones(len(points), dtype=bool)
    assert not Outside(parse("log(x)"), ["x"]).among([points], every, lambda balls: [balls[0], balls[0]]).any()
    assert TRUST.notes
    monkeypatch.setattr(TRUST, "notes", [])
    form = FORMATS["float32"]
    assert Sizes([parse("exp(x)")] * 2, ["x"], form).beyond([-points], every, lambda balls: [balls[0], balls[0]]) is None
    assert TRUST.notes and math.isfinite(form.largest)


@pytest.mark.parametrize(
    ("text", "poles"),
    [
        ("gamma(x)", lambda x: x <= 0 and x == math.floor(x)),
        ("lgamma(2*x) + x", lambda x: 2 * x <= 0 and 2 * x == math.floor(2 * x)),
        ("digamma(x + 1)*x", lambda x: x <= -1 and x == math.floor(x)),
        ("sqrt(x)*sqrt(1 - x)", lambda x: not 0 <= x <= 1),
    ],
)
def test_poles_are_told_by_themselves(text: str, poles: Callable[[float], bool]) -> None:
    """A point has no value where an argument is a pole for certain, however near its neighbours are: these, and none else."""
    form = FORMATS["bfloat16"]
    points = form.floats(range(0, form.finite, 7))
    points = points[np.abs(points) < 2.0**50]
    enclosure = Enclosure(link([text]), [("x",)], form)
    (truths,), _ = enclosure.at({"x": points})
    expected = [poles(x) for x in points.tolist()]
    assert sum(expected) > 50
    assert truths.excluded.tolist() == expected


def test_a_removed_point_of_a_branch_counts_where_it_is_taken() -> None:
    """`where` looks at one branch: a pole of the other one is none."""
    points = -np.arange(1.0, 400.0)
    enclosure = Enclosure(link(["where(x > -100, x, gamma(x))"]), [("x",)], FORMATS["float64"])
    (truths,), _ = enclosure.at({"x": points})
    assert truths.excluded.tolist() == (points <= -100).tolist()
