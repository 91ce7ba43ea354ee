"""What left the range is told from what rounding lost: by what came of it, whatever else is asked, and only where it counts."""

from __future__ import annotations

import math

import pytest
from mpmath import mp

from gradcheck_cli import check_grad, check_mixed
from gradcheck_cli.verdict.column import Check


def entry(text: str, at: str, wrt: str, dtype: str = "float64", mode: str = "grad") -> Check:
    (check,) = (c for c in check_grad(text, at=at, dtype=dtype, mode=mode).checks if c.wrt == (wrt,))
    return check


LOST: list[tuple[str, str, str, str, str]] = [
    ("atan2(y, x)", "y=1e163,x=1e163", "x", "float64", "atan2"),
    ("1e200*x**3", "x=1e-170", "x", "float64", "pow"),
    ("exp(-x)*exp(y)", "x=800,y=700", "x", "float64", "exp"),
    ("exp(-x)*exp(y)", "x=800,y=700", "y", "float64", "exp"),
    ("1e30*x**4", "x=1e-20", "x", "float32", "pow"),
    ("((x*y)*z)*w", "x=1e-200,y=1e-150,z=1e300,w=1", "w", "float64", "mul"),
    ("exp(-x)*1e300", "x=735", "x", "float64", "exp"),
    ("x/sqrt(x**2 + y**2)", "x=3e-170,y=4e-170", "y", "float64", "pow"),
]


@pytest.mark.parametrize(("text", "at", "wrt", "dtype", "operation"), LOST)
@pytest.mark.parametrize("mode", ["grad", "reverse", "forward"])
def test_underflow_of_an_intermediate_is_range(text: str, at: str, wrt: str, dtype: str, operation: str, mode: str) -> None:
    """Digits that were lost below the smallest float are no rounding: the operation that lost them is named."""
    check = entry(text, at, wrt, dtype, mode)
    assert (check.verdict, check.cause) == ("mismatch", "range")
    if mode == "grad":
        assert check.operation == operation


ROUNDED: list[tuple[str, str, str]] = [
    ("u*sqrt(1-(1-x))", "u=0.5,x=1e-17", "u"),
    ("(1 - (1 - x)) + exp(-y)*exp(-y)*0*x", "x=1e-17,y=800", "x"),
    ("1.000000000000001*exp(x) - exp(x) + exp(-y)", "x=1.3,y=800", "x"),
    ("(1 + x) - 1 + exp(-1e4*y)*x", "x=1e-17,y=1", "y"),
    ("x*((1 + y) - 1) + log(1 + exp(z))", "x=1,y=1e-17,z=800", "x"),
]


@pytest.mark.parametrize(("text", "at", "wrt"), ROUNDED)
def test_cancellation_is_no_range(text: str, at: str, wrt: str) -> None:
    """Digits that cancelled are rounding, whatever left the range elsewhere, on the way to another number or with no effect."""
    check = entry(text, at, wrt)
    assert check.cause is None
    assert check.verdict in ("match", "imprecise")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_harmless_underflow(dtype: str) -> None:
    """A derivative below the smallest normal float may be flushed to 0, and what is near there is right."""
    for text, at in (("exp(-x)", "x=740" if dtype == "float64" else "x=100"), ("exp(-x**2)", "x=200"), ("x**9", "x=1e-60")):
        check = entry(text, at, "x", dtype)
        assert (check.verdict, check.cause) == ("match", None), text


def test_below_the_smallest_normal_float_autograd_has_to_be_there() -> None:
    """A derivative of 1e-50 that comes out as 1e-8 is none: what cancels leaves more than what underflows."""
    check = entry("1e-25*y*1e-25 + (1 + sin(y)) - 1 - sin(y)", "y=0.3", "y", "float32")
    assert check.exact is not None
    assert 0 < abs(float(check.exact)) < 1e-49
    assert check.autograd is not None
    if abs(check.autograd) > 1e-20:
        assert check.verdict == "imprecise"


@pytest.mark.parametrize("value", [1e-9, -1e-9, 3e-38])
def test_beside_an_exact_zero_what_was_added_up_counts(value: float) -> None:
    """What is left of terms that cancel altogether is as right as their digits; see `tests/verdict/test_judge.py`."""
    check = entry("exp(x)*exp(-x) + log(2*x)**2 - log(2*x)**2", f"x={0.3 + value}", "x")
    assert check.exact == "0"
    assert (check.verdict, check.cause) == ("match", None)


def test_a_derivative_beyond_the_format_is_a_matter_of_range() -> None:
    """Two infinities that meet where the derivative itself, exp(800), is beyond the largest float: what overflows is blamed."""
    check = entry("3*exp(x) - 2*exp(x)", "x=800", "x")
    assert (check.verdict, check.cause) == ("mismatch", "range")
    assert check.detail is not None
    assert "too large for float64, and infinities of both signs met" in check.detail
    check = entry("exp(x)/exp(x)*x", "x=800", "x")
    assert (check.verdict, check.cause) == ("mismatch", "range")


@pytest.mark.parametrize(
    ("text", "at"),
    [("atanh(sin(x)**2 + cos(x)**2 - 1e-17*y)", "x=0.33,y=1"), ("acos(1 + x - x/3*3*(1 - 1e-16*y))", "x=0.7,y=1")],
)
def test_what_rounding_took_out_of_the_domain_left_no_range(text: str, at: str) -> None:
    """A number that was rounded past the end of the domain is a nan, or a slope from the other side, and no overflow."""
    for check in check_grad(text, at=at).checks:
        assert check.cause != "range"


APART: list[tuple[str, str, str]] = [
    ("u*sqrt(1-(1-x))", "u=0.5,x=1e-17", "u"),
    ("zeta(s,z)", "s=2.5,z=1.3", "z"),
    ("zeta(s,z)*z", "s=2.5,z=1.3", "z"),
    ("x*exp(y) + besselj(0, y)", "x=1,y=800", "x"),
    ("x*((1 + y) - 1) + log(1 + exp(z))", "x=1,y=1e-17,z=800", "x"),
    ("exp(x)*y", "x=710,y=1e-10", "x"),
]


@pytest.mark.parametrize(("text", "at", "wrt"), APART)
@pytest.mark.parametrize("mode", ["grad", "reverse", "func"])
def test_a_verdict_is_that_of_the_derivative_alone(text: str, at: str, wrt: str, mode: str) -> None:
    """Which other derivatives are asked for changes nothing: a refusal, an overflow on the way to another one."""
    together = entry(text, at, wrt, mode=mode)
    (alone,) = check_mixed(text, wrt, at=at, mode=mode).checks
    assert (together.verdict, together.cause) == (alone.verdict, alone.cause)
    assert together.autograd == alone.autograd or math.isnan(together.autograd or 0)


def test_what_is_not_zero_is_not_shown_as_zero() -> None:
    """A derivative far below every float is shown as what it is, and an exact 0 as 0."""
    for text, at, slope in (
        ("coth(2*x)", "x=524.7", lambda x: -2 * mp.csch(2 * x) ** 2),
        ("1 - tanh(x)", "x=1000", lambda x: -(mp.sech(x) ** 2)),
        ("exp(-exp(x))", "x=25", lambda x: -mp.exp(x) * mp.exp(-mp.exp(x))),
    ):
        check = entry(text, at, "x")
        with mp.workdps(60):
            exact = slope(mp.mpf(check.point["x"]))
            assert check.exact is not None
            assert abs(mp.mpf(check.exact) - exact) <= abs(exact) * mp.mpf(10) ** -16
    assert entry("log(exp(x)) - x", "x=0.7", "x").exact == "0"


def test_errors_in_ulps_are_exact() -> None:
    """The error is that of the float against the derivative itself, not against the nearest double."""
    for x in (0.3, 1.7, 2.9):
        check = entry("exp(sin(x))", f"x={x}", "x")
        with mp.workdps(60):
            exact = mp.cos(mp.mpf(x)) * mp.exp(mp.sin(mp.mpf(x)))
            error = abs(mp.mpf(check.autograd) - exact) / mp.mpf(math.ulp(float(exact)))
        assert check.error_ulps == pytest.approx(float(error), rel=1e-12, abs=1e-12)
        assert check.error_ulps != round(check.error_ulps or 0)
