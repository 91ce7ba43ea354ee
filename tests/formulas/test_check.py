"""Whole checks: the cases of public reports, every verdict and cause, and what a report holds."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import pytest
import torch

from gradcheck_cli import InputError, check_chain, check_grad, check_hessian, check_mixed
from gradcheck_cli.verdict.column import Check
from gradcheck_cli.verdict.report import Report
from gradcheck_cli.verdict.verdicts import Cause, Verdict
from tests.mutants import custom

PI = math.pi


def last(report: Report, quantity: str | None = None) -> Check:
    """The check of the highest derivative, or of a quantity."""
    found = [c for c in report.checks if quantity is None or c.quantity == quantity]
    return found[-1]


CHAINS: list[tuple[str, str, str, str, str | None, str | None, int]] = [
    # stage, point, dtype, verdict, cause, operation, exit code; sources: the public reports named in the comments
    ("where(a <= 0, exp(a), 1 + a)", "a=1000", "float64", "mismatch", "nan_trap", "exp", 1),  # pytorch/pytorch#68425
    ("where(a <= 0, exp(a), 1 + a)", "a=100", "float32", "mismatch", "nan_trap", "exp", 1),
    ("x**0", "x=0", "float64", "match", None, None, 0),  # pytorch/pytorch#8940
    ("1/x", "x=0.7", "float32", "match", None, None, 0),  # pytorch/pytorch#13886
    ("sqrt((x-1)**2)", "x=1", "float64", "nondifferentiable", None, None, 0),  # pytorch/pytorch#6394
    ("abs(x)", "x=0", "float64", "nondifferentiable", None, None, 0),
    ("relu(x) - relu(-x)", "x=0", "float64", "mismatch", "kink", None, 1),
    ("sigmoid(x)", "x=40", "float64", "imprecise", None, None, 0),
    ("tanh(x)", "x=20", "float64", "imprecise", None, None, 0),  # pytorch/pytorch#195527
    ("log(1+exp(x))", "x=100", "float32", "mismatch", "range", "exp", 1),
    ("atan2(a, b)", "a=1e-200,b=1e-200", "float64", "mismatch", "range", None, 1),  # pytorch/pytorch#166787
    ("sqrt(x)", "x=0", "float64", "nondifferentiable", None, None, 0),
    ("log(x)", "x=-1", "float64", "outside_domain", None, None, 3),
    ("x*besselj(0, x)", "x=1", "float64", "mismatch", "no_gradient", "besselj", 1),
    ("hardsigmoid(x)", "x=0.5", "float64", "mismatch", "kernel", None, 1),
    ("sqrt(x)**2", "x=0", "float64", "nondifferentiable", None, None, 0),  # tensorflow/tensorflow#5562
    ("atan2(y, x)", "x=0,y=0", "float64", "outside_domain", None, None, 3),  # pytorch/pytorch#98276
    ("acos(sqrt(p)*sqrt(q) + sqrt(1-p)*sqrt(1-q))", "p=0.25,q=0.25", "float64", "nondifferentiable", None, None, 0),
    ("relu(x) - x + log1p(exp(-abs(x)))", "x=0", "float64", "mismatch", "kink", None, 1),
    ("where(x > 0, sqrt(x), x)", "x=-4", "float32", "mismatch", "nan_trap", "sqrt", 1),
    ("where(s > 0, a/c, 1)", "a=0.7,s=-1,c=0", "float64", "mismatch", "nan_trap", "div", 1),
    ("(exp(x)-exp(-x))/(exp(x)+exp(-x))", "x=190", "float32", "mismatch", "range", "exp", 1),
    ("acosh(x)", "x=1e30", "float32", "mismatch", "range", None, 1),
    ("hypot(a, b)", "a=3e-30,b=4e-30", "float32", "match", None, None, 0),  # pytorch/pytorch#193006
    ("erfcx(x)", "x=1e8", "float64", "imprecise", None, None, 0),
    ("acos(x)", "x=0.999999", "float32", "match", None, None, 0),
    ("log_ndtr(x)", "x=-20", "float32", "match", None, None, 0),  # chainer/chainer#6340
    ("elu(x)", "x=-40", "float64", "match", None, None, 0),  # jax-ml/jax#39795
    ("hardtanh(x)", "x=-1", "float64", "nondifferentiable", None, None, 0),
    ("abs(x)*tanh(x)", "x=0", "float64", "match", None, None, 0),
    ("hardshrink(x, 0)", "x=0", "float64", "mismatch", "kink", None, 1),
    ("floor(x)", "x=2", "float64", "nondifferentiable", None, None, 0),
    ("exp(exp(exp(x)))", "x=10", "float64", "undecided", None, None, 3),
]  # fmt: skip


@pytest.mark.slow(reason="whole checks")
@pytest.mark.parametrize(("stage", "at", "dtype", "verdict", "cause", "operation", "code"), CHAINS, ids=lambda v: str(v))
def test_reports(stage: str, at: str, dtype: str, verdict: str, cause: str | None, operation: str | None, code: int) -> None:
    """Each public report gets its verdict, cause, operation and exit code by the general mechanism."""
    report = check_chain(stage, at=at, dtype=dtype)
    check = max(report.checks, key=lambda c: c.verdict.severity)
    assert (report.verdict, check.cause, report.exit_code) == (verdict, cause, code), str(report)
    assert operation is None or check.operation == operation, str(report)


@pytest.mark.parametrize("mode", ["reverse", "grad", "forward", "func"])
def test_hooks(mode: str) -> None:
    """The hooks of 2*x | z**2+2*z+2 give 1, 6, 12 from the back, in every mode."""
    report = check_chain("2*x | z**2+2*z+2", at={"x": 1}, mode=mode)
    totals = [c for c in report.checks if c.kind == "total"]
    assert [(c.quantity, c.exact, c.autograd) for c in totals] == [
        ("dy/dy", "1", 1.0),
        ("dy/dz", "6", 6.0),
        ("dy/dx", "12", 12.0),
    ]
    assert [c.formula for c in totals] == ["1", "2*z + 2", "8*x + 4"]
    assert [c.quantity for c in report.checks if c.kind == "local"] == ["dy/dz", "dz/dx"]
    assert report.ok


@pytest.mark.parametrize("mode", ["reverse", "grad", "forward", "func"])
def test_skip_connections(mode: str) -> None:
    """Inputs and named stages may be used again: totals accumulate over every path."""
    report = check_chain(["z = 2*x", "w = sin(z) + x", "y = w*z"], at="x=1", mode=mode)
    exact = {c.quantity: float(c.exact or "nan") for c in report.checks if c.kind == "total"}
    z, w = 2.0, math.sin(2.0) + 1
    assert exact["dy/dw"] == z
    assert math.isclose(exact["dy/dz"], w + z * math.cos(z), rel_tol=1e-15)
    assert math.isclose(exact["dy/dx"], 2 * (w + z * math.cos(z)) + z, rel_tol=1e-15)
    assert report.ok


@pytest.mark.parametrize("mode", ["reverse", "grad", "forward", "func"])
def test_mixed(mode: str) -> None:
    """d2/dxdy of x**2 + x*y**2 is 2y, in both orders; every prefix is reported."""
    report = check_mixed("x**2+x*y**2", "x,y", at="x=2,y=3", mode=mode)
    assert [(c.quantity, c.exact, c.autograd) for c in report.checks] == [
        ("df/dx", "13", 13.0), ("d2f/dxdy", "6", 6.0), ("d2f/dydx", "6", 6.0),
    ]  # fmt: skip


@pytest.mark.parametrize("mode", ["reverse", "grad", "forward", "func"])
def test_identically_zero(mode: str) -> None:
    """Where torch raises or returns None for a derivative that is identically 0, it is 0."""
    for text, wrt in (("x*y", "x,x"), ("x**2 + y**3", "x,y"), ("3*x", "x,x"), ("x + y", "x,y,x")):
        check = last(check_mixed(text, wrt, at="x=2,y=3" if "y" in text else "x=2", mode=mode, permutations=False))
        assert (check.verdict, check.exact, check.autograd) == ("match", "0", 0.0)


def test_missing_where_not_zero() -> None:
    """The same None is a mismatch where the derivative isn't 0."""
    check = last(check_mixed("besselj(0, x)", "x", at="x=1"))
    assert (check.verdict, check.cause) == ("mismatch", "no_gradient")


def test_second_order_at_removable_points() -> None:
    """The function is differentiated, not the branch: sinc'' at 0 is -pi**2/3, and (sqrt(x**2+y**2)**2)'' is 2."""
    check = last(check_mixed("sinc(x)", "x,x", at="x=0"))
    assert check.exact is not None and math.isclose(float(check.exact), -PI * PI / 3, rel_tol=1e-15)
    assert (check.verdict, check.cause) == ("mismatch", "nan_trap")
    assert last(check_mixed("sqrt(x**2+y**2)**2", "x,x", at="x=0,y=0")).exact == "2"
    assert last(check_mixed("where(x == 0, 1, sin(pi*x)/(pi*x))", "x,x", at="x=0")).exact == check.exact


def test_two_orders_of_differentiation() -> None:
    """d2/dxdy of x**y at (2, 0) is 0.5; torch gives it in one order and 0 in the other, which is a mismatch."""
    report = check_mixed("x**y", "x,y", at="x=2,y=0", mode="func")
    verdicts = {c.quantity: (c.verdict, c.exact) for c in report.checks if len(c.wrt) == 2}
    assert verdicts == {"d2f/dxdy": ("mismatch", "0.5"), "d2f/dydx": ("match", "0.5")}


def test_permutations() -> None:
    """--permutations checks every order of a third derivative."""
    report = check_mixed("exp(x*y)*z", "x,y,z", at="x=1,y=2,z=3", permutations=True)
    assert sum(len(c.wrt) == 3 for c in report.checks) == 6
    assert report.ok


def test_a_mixed_partial_at_a_tie_exists() -> None:
    """max(x, y)**2 at 0: df/dx is 0 at (0, y) for each y (2*max is 0 where x is chosen, and else y is), so its derivative by y
    is 0; df/dx at (x, 0) is 2x on the right and 0 on the left, slopes 2 and 0. Autograd halves at the tie: 1/2 for all four."""
    for check in check_hessian("maximum(x,y)**2", at="x=0,y=0").checks:
        assert check.autograd == 0.5
        if len(set(check.wrt)) == 2:
            assert (check.exact, check.verdict, check.cause) == ("0", Verdict.MISMATCH, Cause.KINK)
        else:
            assert ({check.left, check.right}, check.verdict) == ({"0", "2"}, Verdict.NONDIFFERENTIABLE)


def test_hessian() -> None:
    """grad gives all first partials, order 2 the Hessian too."""
    report = check_grad("x**2 + y**3", at="x=2,y=3", order=2)
    exact = {c.quantity: c.exact for c in report.checks}
    assert exact == {"df/dx": "4", "df/dy": "27", "d2f/dxdx": "2", "d2f/dxdy": "0", "d2f/dydy": "18"}


def test_one_sided() -> None:
    """At a kink both one-sided derivatives are reported."""
    check = last(check_chain("abs(x)", at="x=0"))
    assert (check.left, check.right, check.exact, check.autograd) == ("-1", "1", None, 0.0)
    check = last(check_chain("sqrt(x)", at="x=0"))
    assert (check.left, check.right, check.autograd) == (None, "inf", math.inf)


def test_domain_edge_above_the_point() -> None:
    """A derivative at the end of the domain is one-sided; the frozen mask's value is not claimed."""
    check = last(check_chain("where(sqrt(1-t) > 0, sqrt(1-t), 0) + where(sqrt(2-t) > 0, sqrt(2-t), 0)", at="t=1"))
    assert (check.verdict, check.left, check.right) == ("nondifferentiable", "-inf", None)


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        ("x=8*x+4", "match"),
        ("z=2*z+2", "match"),
        ("x=2*(2*z+2)", "match"),
        ("x=8*x+5", "mismatch"),
        ("x=8.000001*x+4", "mismatch"),
    ],
)
def test_claims(claim: str, verdict: str) -> None:
    """A hand-derived formula, in inputs and stages, is decided in balls at every point."""
    report = check_chain("2*x | z**2+2*z+2", at=[{"x": 1}, {"x": -3.5}], claim=claim)
    claims = [c for c in report.checks if c.claim]
    assert len(claims) == 2 and max(claims, key=lambda c: c.verdict.severity).verdict == verdict
    assert report.exit_code == (verdict == "mismatch")
    assert any("refuted at x=1" in n for n in report.notes) == (verdict == "mismatch")


def test_claim_over_the_reals() -> None:
    """2*exp(log(x)) is not the derivative of x**2 at -2: it is evaluated over the reals."""
    report = check_chain("x**2", at="x=-2", claim="x=2*exp(log(x))")
    assert [c.cause for c in report.checks if c.claim] == ["claim"]


def test_claim_with_samples() -> None:
    """Without a point, a claim is tried at the samples, special points first."""
    assert not check_mixed("x**2+x*y**2", "x,y", claim="2*y + 1").ok
    assert check_mixed("x**2+x*y**2", "x,y", claim="2*y").ok


def test_tanh_slip() -> None:
    """The slip of 1 - pre**2 for 1 - tanh(pre)**2 gives -40.2 instead of 8.19."""
    slip = "w=40*(1 - (w*tanh(w/2))**2)*(tanh(w/2) + w*(1 - (w/2)**2)/2)"
    check = next(c for c in check_chain("40*tanh(w*tanh(w/2))", at="w=2", claim=slip).checks if c.claim)
    assert check.cause == "claim" and check.autograd is not None and check.exact is not None
    assert round(check.autograd, 1) == -40.2 and round(float(check.exact), 2) == 8.19


@pytest.mark.parametrize(
    ("limits", "verdict"),
    [
        ({}, "imprecise"),
        ({"ulps": 1e17}, "match"),
        ({"ulps": 10}, "mismatch"),
        ({"atol": 1e-12}, "match"),
        ({"rtol": 1e-3}, "mismatch"),
    ],
)
def test_limits(limits: dict[str, float], verdict: str) -> None:
    """The user's limits replace the judgement."""
    assert check_chain("sigmoid(x)", at="x=40", **limits).verdict == verdict  # type: ignore[arg-type]


def test_strict() -> None:
    """Under strict an imprecise derivative fails."""
    assert check_chain("tanh(x)", at="x=20").exit_code == 0
    assert check_chain("tanh(x)", at="x=20", strict=True).exit_code == 1


@pytest.mark.slow(reason="65,280 points")
def test_every_bfloat16() -> None:
    """`all` is a proof for a 16-bit dtype: 65,280 finite floats of bfloat16."""
    report = check_chain("sin(x)", at="x=all", dtype="bfloat16")
    assert report.counts == {"match": 2 * 65280}


@pytest.mark.slow(reason="200,000 points are begun")
def test_timeout() -> None:
    """What isn't finished in time is undecided, most of 600,000 points here, and the report says so."""
    report = check_grad("tanh(x)*gelu(x)*erf(x)", at="x=linspace(-3,3,600000)", timeout=0.3)
    assert report.exit_code == 3 and report.counts["undecided"] > 100_000
    assert "timeout" in report.notes[-1]


def test_stalling_kernels() -> None:
    """A point at which a kernel of torch would run for hours is undecided, at once; the others are judged."""
    report = check_chain("polygamma(2, x)", at=[{"x": -1e300}, {"x": 1.5}])
    assert [c.verdict for c in report.checks if c.quantity == "dy/dx"] == ["undecided", "match"]


def test_several_formats_and_modes() -> None:
    """One report holds every format and mode; the point is rounded to each format first."""
    report = check_chain("x*x", at="x=0.1", dtype="float64,float32", mode="all")
    assert {(c.dtype, c.mode) for c in report.checks} == {
        (d, m) for d in ("float64", "float32") for m in ("reverse", "grad", "forward", "func")
    }
    assert {c.point["x"] for c in report.checks if c.dtype == "float32"} == {0.10000000149011612}


def test_json_twin() -> None:
    """to_dict has the keys of the schema, and only JSON values."""
    import json

    found = check_chain("1/x", at="x=0").to_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert set(found) >= {"schema", "command", "verdict", "exit_code", "problem", "checks", "counts", "versions"}
    assert set(found["checks"][0]) >= {
        "point", "quantity", "kind", "of", "wrt", "mode", "dtype", "formula", "exact", "left", "right", "autograd", "shadow",
        "autograd_formula", "error_ulps", "formula_error", "rounding_error", "verdict", "cause", "stage", "operation", "detail",
    }  # fmt: skip


def test_verbose_formula() -> None:
    """Under verbose autograd's own formula is decompiled, whatever the verdict."""
    check = last(check_chain("sigmoid(x)", at="x=0.5", verbose=True))
    assert check.verdict == "match" and check.autograd_formula == "(1 - 1/(1 + exp(-x)))/(1 + exp(-x))"


def test_wrong_forward() -> None:
    """A callable whose forward value is wrong is refuted with the cause `value`."""
    report = check_chain("sin(x)", at="x=0.5", callables={"sin": lambda x: torch.sin(x) + 1e-3})
    assert {c.cause for c in report.checks if c.verdict == "mismatch"} == {"value"}


@pytest.mark.parametrize("bad", [{"device": "nonsense"}, {"mode": "sideways"}, {"dtype": "float8"}, {"timeout": -1.0}])
def test_bad_options(bad: dict[str, Any]) -> None:
    """A bad option is an InputError."""
    with pytest.raises(InputError):
        check_chain("x", at="x=1", **bad)


def test_no_such_kernel() -> None:
    """A Bessel function of an order that torch lacks, or settings that it refuses, are input errors."""
    with pytest.raises(InputError, match="n = 2"):
        check_chain("besselj(2, x)", at="x=1")
    with pytest.raises(InputError, match="hardtanh"):
        check_chain("hardtanh(x, 3, 1)", at="x=1")


def test_long_chain_of_equal_stages() -> None:
    """Two hundred stages are judged, with the derivative by the input certified although it is tiny."""
    report = check_chain(["sin(z) + z/2 + 1/(1+z**2)"] * 200, at="z=0.7")
    assert len(report.checks) == 401 and report.ok


def test_raise_for_verdict() -> None:
    """raise_for_verdict raises only where the report isn't ok, with the report as its message."""
    check_chain("x", at="x=1").raise_for_verdict()
    with pytest.raises(AssertionError, match="nan_trap"):
        check_chain("where(a <= 0, exp(a), 1 + a)", at="a=1000").raise_for_verdict()


def test_a_wrong_stage_of_a_long_chain() -> None:
    """In a chain that is too long for the shadow, a wrong stage is found and blamed, and the totals through it are refuted."""
    wrong = custom(torch.sin, lambda g, x, y: g * x.cos() * 1.001)
    stages = ["cos(z)"] * 60 + ["sin(z)"] + ["cos(z)"] * 60
    report = check_chain(stages, at="z=0.7", callables={"sin": wrong})
    refuted = [c for c in report.checks if c.verdict == "mismatch"]
    assert {c.stage for c in refuted} == {"s61"} and {c.cause for c in refuted} == {"formula"}
    assert last(report, "dy/dz").verdict == "mismatch"
    assert check_chain(stages, at="z=0.7").ok


def test_a_stage_that_returns_its_input() -> None:
    """An identity stage has a gradient of its own, apart from its input's."""
    report = check_chain("y = x | z = y*x | z + y", at="x=10")
    assert report.ok and [c.exact for c in report.checks if c.kind == "total"] == ["1", "1", "11", "21"]


def test_large_whole_numbers() -> None:
    """10**300 is rounded in torch: the formula isn't to blame for it."""
    assert all(c.cause != "formula" for c in check_chain("sin(10**300*x)", at="x=10").checks)


@pytest.mark.parametrize(
    "text",
    ["*".join(["(1 + x)"] * 400), "+".join(["x"] * 2000), "sin(" * 140 + "x" + ")" * 140, "where(" + "x<" * 2000 + "x, x, 0)"],
    ids=["product", "sum", "nest", "comparisons"],
)
@pytest.mark.slow(reason="formulas as large as they may be")
def test_huge_formulas(text: str) -> None:
    """A formula of thousands of operations gets an answer or an input error."""
    with contextlib.suppress(InputError):
        assert check_chain(text, at="x=0.5", timeout=60).exit_code in (0, 3)


@pytest.mark.parametrize(
    ("text", "at"), [("where(x > 1, x**2, 2*x)", 1), ("sign(x)", 0), ("floor(x)", 1), ("x % 2", 2), ("where(x == 0, 5, x)", 0)]
)
def test_a_jump_has_no_one_sided_derivatives(text: str, at: int) -> None:
    """Slopes beside a jump, equal or not, aren't shown as one-sided derivatives, nor as exact."""
    (*_, found) = check_chain(text, at={"x": at}).checks
    assert (found.verdict, found.exact, found.left, found.right) == ("nondifferentiable", None, None, None)
    assert found.detail is not None and found.detail.startswith("the function jumps here")


@pytest.mark.parametrize(
    ("text", "at", "side"),
    [
        ("floor(x)", "x=2", "its value is the limit from the right"),
        ("ceil(x)", "x=2", "its value is the limit from the left"),
        ("where(x > 1, x**2, 3*x)", "x=1", "its value is the limit from the left"),
        ("round(x)", "x=2.5", "its value is the limit from the left"),
        ("sign(x)", "x=0", None),
        ("where(x == 0, 1, x)", "x=0", None),
        ("atan2(y, -1)", "y=0", "its value is the limit from the right"),
        ("atan2(y, -1)", "y=-0.0", "torch's value is the limit from the left"),
        ("imag(log(z))", "z=-4", "its value is the limit from above"),
    ],
)
def test_the_side_of_a_jump_is_told(text: str, at: str, side: str | None) -> None:
    """On which side of a jump, or of a branch cut, the value lies: floor goes on from the right, 2.5 rounds to even, arg is pi
    on the cut."""
    report = check_grad(text, at=at, dtype="complex128" if "z" in at else "float64")
    found = [c.detail for c in report.checks if c.verdict is Verdict.NONDIFFERENTIABLE]
    assert found == ["the function jumps here" if side is None else f"the function jumps here, and {side}"]


def test_the_sides_of_many_jumps_are_told() -> None:
    """The same at many points at once."""
    checks = check_grad("floor(x)", at="x=linspace(-50,50,101)").checks
    assert {c.detail for c in checks} == {"the function jumps here, and its value is the limit from the right"}


@pytest.mark.parametrize(("text", "low", "high"), [("asin(x)", -1, 1), ("acosh(x)", 1, math.inf), ("log(x)", 0, math.inf)])
def test_points_are_chosen_where_there_is_a_function(text: str, low: float, high: float) -> None:
    """Without --at most points lie in the domain, those of ordinary size all of them, and are few digits long first."""
    found = [c.point["x"] for c in check_chain(text).checks if c.quantity == "dy/dx"]
    assert len(found) == 20 and all(low <= x <= high for x in found[3:16])
    assert all(len(repr(x)) <= 5 for x in found[:7])
