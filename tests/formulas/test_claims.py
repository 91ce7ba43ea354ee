"""Claims: a hand-derived formula is decided in balls at every point, over the reals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from gradcheck_cli.api import check_chain, check_jacobian
from gradcheck_cli.formulas.claims import SHARP, check_claim, united
from gradcheck_cli.formulas.problem import Claim
from gradcheck_cli.language.chain import link
from gradcheck_cli.language.parser import parse
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.scope import AtPoints
from gradcheck_cli.verdict.verdicts import Cause, Verdict
from tests.formats import DOUBLE


def judged(text: str, claim: str, wrt: str = "x", /, **points: list[float]) -> tuple[Column, list[str]]:
    """The column of a claim about the derivative by `wrt`, and the notes."""
    chain, arrays = link(text.split("|")), {n: np.array(v, dtype=np.float64) for n, v in points.items()}
    column = Column.blank(AtPoints(arrays), len(next(iter(arrays.values()))), of=chain.output, wrt=tuple(wrt))
    note = check_claim(Claim(claim, chain.output, tuple(wrt), parse(claim)), chain, column, arrays, DOUBLE)
    return column, [*united([] if note is None else [note])]


def verdicts(column: Column) -> list[str]:
    return [column.verdict(i).value for i in range(len(column))]


RIGHT: list[tuple[str, str, str, dict[str, list[float]]]] = [
    ("x**3", "3*x**2", "x", {"x": [2.0, -1.5, 0.0, 1e200]}),
    ("sin(x)**2", "sin(2*x)", "x", {"x": [0.3, -7.0]}),
    ("sin(x)**2", "2*sin(x)*cos(x)", "x", {"x": [0.3]}),
    ("tanh(x)", "1 - tanh(x)**2", "x", {"x": [0.3, 20.0, 40.0]}),
    ("tanh(x)", "1/cosh(x)**2", "x", {"x": [0.3, 20.0, 300.0]}),
    ("x**2*y**3", "6*x*y**2", "xy", {"x": [2.0], "y": [-0.7]}),
    ("2*x | z**2+2*z+2", "2*(2*z + 2)", "x", {"x": [1.0, -3.5]}),
    ("2*x | z**2+2*z+2", "2*z + 2", "z", {"x": [1.0]}),
    ("2*x | z**2+2*z+2", "8*x + 4", "x", {"x": [1.0, -1.0, 0.1]}),
    ("lgamma(x)", "digamma(x)", "x", {"x": [2.5, -0.5]}),
    ("relu(x)", "where(x > 0, 1, 0)", "x", {"x": [1.0, -1.0]}),
    ("x*abs(x)", "2*abs(x)", "x", {"x": [1.0, -1.0]}),
]


@pytest.mark.parametrize(("text", "claim", "wrt", "points"), RIGHT, ids=lambda v: str(v))
def test_right_claims(text: str, claim: str, wrt: str, points: dict[str, list[float]]) -> None:
    """A right formula matches at every point, in whatever form it is written, in inputs and stages."""
    column, notes = judged(text, claim, wrt, **points)
    assert set(verdicts(column)) == {"match"}, verdicts(column)
    assert not any("refuted" in note for note in notes)
    assert not column.details


ROUNDED_CONSTANTS: list[tuple[str, str, str, dict[str, list[float]]]] = [
    ("2**x", "0.6931471805599453*2**x", "x", {"x": [1.5, -30.0]}),
    ("2**x", "0.693147180559945*2**x", "x", {"x": [1.5]}),
    ("0.1*x**3", "0.3*x**2", "x", {"x": [1.5]}),
    ("exp(x)", "2.718281828459045**x", "x", {"x": [1.5]}),
    ("x/3", "0.3333333333333333", "x", {"x": [1.0]}),
]


@pytest.mark.parametrize(("text", "claim", "wrt", "points"), ROUNDED_CONSTANTS, ids=lambda v: str(v))
def test_rounded_constants(text: str, claim: str, wrt: str, points: dict[str, list[float]]) -> None:
    """A formula whose constants are the nearest doubles of what they should be is right, and the note says within what."""
    column, (note,) = judged(text, claim, wrt, **points)
    assert set(verdicts(column)) == {"match"}
    assert "right within the rounding of its constants" in note


WRONG: list[tuple[str, str, str, dict[str, list[float]]]] = [
    ("x**3", "2*x**2", "x", {"x": [2.0, -1.5]}),
    ("2**x", "0.693147*2**x", "x", {"x": [1.5]}),
    ("2**x", "0.693147180559947*2**x", "x", {"x": [1.5]}),
    ("x/2", "0.5000000000000001", "x", {"x": [1.5]}),
    ("x**3", "3*x**2 + 1e-55", "x", {"x": [2.0]}),
    ("x**3", "3.0000000000000004*x**2", "x", {"x": [2.0, 1e-100]}),
    ("sin(x)", "-cos(x)", "x", {"x": [0.3]}),
    ("tanh(x)", "1 - x**2", "x", {"x": [0.3, 5.0]}),
    ("exp(x)", "exp(x)*(1 + exp(-130))", "x", {"x": [0.3]}),
    ("x**2", "2*exp(log(x))", "x", {"x": [-2.0]}),
    ("exp(0.1*x)", "exp(0.1*x)/10", "x", {"x": [1.0]}),  # 0.1 is not a tenth
    ("2*x | z**2+2*z+2", "8*x + 4", "z", {"x": [1.0]}),
]


@pytest.mark.parametrize(("text", "claim", "wrt", "points"), WRONG, ids=lambda v: str(v))
def test_wrong_claims(text: str, claim: str, wrt: str, points: dict[str, list[float]]) -> None:
    """A wrong formula is a mismatch with the cause `claim`, however small the slip, and the notes name a point."""
    column, notes = judged(text, claim, wrt, **points)
    assert set(verdicts(column)) == {"mismatch"}, verdicts(column)
    assert all(detail.cause is Cause.CLAIM for detail in column.details.values())
    assert len(column.details) == len(column)
    assert any(note.startswith("the claim is refuted at x=") for note in notes)


def test_the_sharpness_of_claims() -> None:
    """A slip of 2**-150 of the size is seen; the exact side is certified to SHARP's bits for it."""
    slip = "(1 + 2**-150)"
    assert SHARP.bits >= 200
    assert verdicts(judged("exp(x)", f"exp(x)*{slip}", x=[0.3])[0]) == ["mismatch"]


def test_partly_wrong() -> None:
    """A claim may hold at some points only; the simplest point at which it fails is named."""
    column, notes = judged("abs(x)", "1", x=[0.123456, 2.0, -3.14159, -3.0])
    assert verdicts(column) == ["match", "match", "mismatch", "mismatch"]
    assert notes == ["the claim is refuted at x=-3.0: exact -1, claimed 1.0"]


@pytest.mark.parametrize(
    ("text", "claim", "x", "verdict"),
    [
        ("abs(x)", "1", 0.0, "nondifferentiable"),
        ("log(x)", "1/x", -1.0, "outside_domain"),
        ("exp(exp(exp(x)))", "1", 10.0, "undecided"),
        ("x*abs(x)", "2*abs(x)", 0.0, "match"),
        ("x*abs(x)", "abs(x) + 1", 0.0, "mismatch"),
        ("x**2", "2*x*log(x)/log(x)", -1.0, "mismatch"),
        ("x*abs(x)", "2*x**2/abs(x)", 0.0, "undecided"),
    ],
)
def test_where_no_derivative_is_known(text: str, claim: str, x: float, verdict: str) -> None:
    """At kinks, outside of the domain and where nothing is certified the claim isn't held to anything."""
    assert verdicts(judged(text, claim, x=[x])[0]) == [verdict]


def test_numbers_of_a_claim() -> None:
    """The column holds the claim's own values, the exact balls, and the distance in ulps of the format."""
    column, _ = judged("x**2", "2*x + 1", x=[1.5])
    assert column.mode == "claim" and column.claim == "2*x + 1" and column.formula == "2*x"
    assert column.autograd.tolist() == [4.0]
    assert column.exact[0] == 3
    assert column.error_ulps.tolist() == [1 / 2.0**-51]


def test_symbols_say_so_too() -> None:
    """A note says so where symbols prove a claim; not where it only held at the points."""
    assert judged("x**3", "3*x**2", x=[2.0])[1] == ["the claim is dy/dx: symbols say so too"]
    assert judged("2*x | z**2", "4*z", x=[2.0])[1] == ["the claim is dy/dx: symbols say so too"]
    assert judged("x**3", "12", x=[2.0])[1] == []
    assert judged("abs(x)", "sign(x)", x=[0.0])[1] == []  # there is no derivative
    assert judged("x**3", "3*x**2 + floor(x) - 2", x=[2.0])[1] == []


def run(claim: str, **options: Any) -> Any:
    return check_chain("2*x | z**2+2*z+2", claim=claim, **options)


@pytest.mark.parametrize(
    ("claim", "verdict"), [("x=y", "match"), ("x=a", "match"), ("x=y + a - b", "match"), ("x=2*y", "mismatch")]
)
def test_a_claim_that_names_arrays(claim: str, verdict: str) -> None:
    """Of outputs and stages, be it ones that the entry in question doesn't use: the derivative of the sum of exp(x) is
    exp(x)."""
    report = check_chain(["a = exp(x)", "b = a", "y = b", "z = sum(y)"], at={"x": [0.5, 2.0]}, claim=claim)
    assert {check.verdict.value for check in report.checks if check.mode == "claim"} == {verdict}
    row = claim[2:].replace("a", "y").replace("b", "y")
    report = check_chain("exp(x)", at={"x": [0.5, 2.0]}, claim=f"x=stack([{row}, {row}])")
    judged = {check.of + "".join(check.wrt): check for check in report.checks if check.mode == "claim"}
    assert float(judged["y[1]x[0]"].exact or "nan") == 0
    assert {judged[f"y[{i}]x[{i}]"].verdict.value for i in (0, 1)} == {verdict}


def test_in_a_report() -> None:
    """Claims stand behind the checks of torch, once for each format, and decide the exit code."""
    good, bad = run("x=8*x+4", at="x=1", mode="all"), run("x=8*x+5", at="x=1", dtype="float64,float32")
    assert good.ok and [c.mode for c in good.checks if c.claim] == ["claim"]
    assert bad.exit_code == 1 and [c.dtype for c in bad.checks if c.claim] == ["float64", "float32"]
    assert all(c.verdict == "match" for c in bad.checks if not c.claim)
    found = next(c for c in bad.checks if c.claim)
    assert (found.exact, found.autograd, found.autograd_formula) == ("12", 13.0, "8*x + 5")
    assert math.isclose(found.error_ulps or 0, 2.0**49)


SLIPS = [
    ("sin(3*x)", "cos(3*x)", "the inner derivative 3 of sin(3*x) is missing"),
    ("sin(x**2)", "cos(x**2)", "the inner derivative 2*x of sin(x**2) is missing"),
    ("sin(3*x)", "3*cos(x)", "the outer derivative of sin(3*x) is taken at 3*x, not at x"),
    ("exp(3*x)", "exp(3*x)", "the inner derivative 3 of exp(3*x) is missing"),
    ("exp(-2*x)", "exp(-2*x)", "the inner derivative -2 of exp(-2*x) is missing"),
    ("exp(3*x)", "-3*exp(3*x)", "the derivative of exp(x) is exp(x): the sign is wrong"),
    ("cos(x)", "sin(x)", "the derivative of cos(x) is -sin(x): the sign is wrong"),
    ("x**3", "-3*x**2", "the sign is wrong: the claim is -exact"),
    ("log(x)/x**2", "(x - 2*log(x))/x**4", "the power rule for x**2 lacks the factor x: (u**n)' = n*u**(n - 1)*u'"),
    ("x**4 + x", "5", "the power rule for x**4 lacks the factor x**3"),
    ("sin(x)**3", "cos(x)", "the power rule for sin(x)**3 lacks the factor 3*sin(x)**2"),
    ("x**4", "x**3", "the exponent 4 of x**4 is missing as a factor"),
    ("x**3", "3*x**3", "the exponent of x**3 isn't lowered: it becomes 2"),
    ("x**3", "x**4/4", "x**3 is differentiated here, not integrated"),
    ("2**x", "x*2**(x - 1)", "the exponent of 2**x varies: the rule for exponentials holds, not the power rule"),
    ("x**2 + 5", "2*x + 5", "the derivative of the constant 5 is 0, not 5"),
    ("5*x**2", "2*x", "the constant factor 5 of 5*x**2 is missing"),
    ("x - x**2", "1 + 2*x", "the term x**2 has the wrong sign: its derivative 2*x is subtracted"),
    ("x*sin(x)", "cos(x)", "the derivative of a product isn't the product of the derivatives"),
    ("x*sin(x)", "sin(x)", "the second term of the product rule, x*cos(x), is missing"),
    ("x*sin(x)", "sin(x) - x*cos(x)", "the second term of the product rule, x*cos(x), has the wrong sign"),
    ("x/(1 + x**2)", "(1 + 3*x**2)/(1 + x**2)**2", "the sign between the terms of the quotient rule is a minus"),
    ("x/(1 + x**2)", "(1 - x**2)/(1 + x**2)", "the denominator 1 + x**2 isn't squared"),
    ("1/x", "1/x**2", "the minus sign of the reciprocal rule is missing"),
    ("1/(1 + x**2)", "-1/(1 + x**2)**2", "the inner derivative 2*x of the denominator 1 + x**2 is missing"),
    ("sigmoid(x)", "sigmoid(x)", "the derivative of sigmoid(x) is sigmoid(x)*(1 - sigmoid(x)): the factor 1 - sigmoid(x) is"),
    ("tanh(x)", "1 - tanh(x)", "the derivative of tanh(x) is 1 - tanh(x)**2: the square of tanh(x) is missing"),
    ("tanh(x)", "1 - x**2", "the input x is used where the output y belongs"),
    ("asin(x)", "1/(1 - x**2)", "the derivative of asin(x) is 1/sqrt(1 - x**2): the root of 1 - x**2 is missing"),
    ("2*x | z**2 + z", "2*z + 1", "the derivative 2 of the stage z is missing: the chain rule multiplies by it"),
    ("2*x | z**2 + z", "2*(2*x + 1)", "the derivative of z**2 + z by z, 2*z + 1, is taken at x, not at z = 2*x"),
    ("z = 2*x | w = sin(z) + x | y = w*z", "2*cos(z)*z + 2*w", "the derivative 1 of the term x is missing"),
    ("log(1 + x**2)", "log(1 + x**2)", "log(1 + x**2) isn't differentiated"),
    ("where(x > 0, x**2, x**3)", "3*x**2", "the piece x**3 is differentiated, but here x > 0 holds: it is x**2"),
    ("relu(x)*x", "x", "the second term of the product rule, relu(x), is missing"),
    ("gelu(x)", "x", None),
    ("x**3", "3*x**2 + 1", None),
    ("exp(x)*cos(x)", "0*x", "the claim is 0"),
]


@pytest.mark.parametrize(("text", "claim", "slip"), SLIPS)
def test_the_slip_in_a_claim_is_named(text: str, claim: str, slip: str | None) -> None:
    """Wherever the claim is wrong; where none of the usual slips fits at two points, nothing is said."""
    column, _ = judged(text, claim, x=[0.7, 0.4])
    texts = {d.text for d in column.details.values()}
    assert texts == {None} if slip is None else all(str(t).startswith(slip) for t in texts) and texts


SQUARE, SYMMETRIC = "W=[[1,2,4],[3,4,5],[1,5,7]],x=[1,2,-1]", "W=[[1,2],[2,4]],x=[1,2]"


@pytest.mark.parametrize(
    ("text", "claim", "at"),
    [
        ("W@x", "x=W.T", SQUARE),
        ("norm(W@x)", "x=W@(W@x)/norm(W@x)", SQUARE),
        ("sum((W@x)**2)", "x=2*W@(W@x)", SQUARE),
        ("W@x", "x=W", SQUARE),
        ("W@x", "x=W.T", SYMMETRIC),
    ],
)
def test_a_missing_transpose_is_named(text: str, claim: str, at: str) -> None:
    """In every entry that is wrong; none is where the matrix is its own transpose."""
    wrong = [c for c in check_jacobian(text, at=at, claim=claim).checks if c.claim and c.verdict == "mismatch"]
    assert bool(wrong) is (claim != "x=W" and at == SQUARE)
    assert {c.detail for c in wrong} <= {"the input W is used where its transpose belongs"}


HIGHER = [
    ("x**2 + x*y**2", "y", "xy", "the exponent 2 of y**2 is missing as a factor (in the derivative by y of 2*x + y**2)"),
    ("x**2 + x*y**2", "2*x + y**2", "xy", "this is df/dx: it isn't differentiated by y"),
    ("sin(x*y)", "cos(x*y)", "xy", "the second term of the product rule, -y*x*sin(x*y), is missing"),
    ("x**3", "2*x", "xx", "the constant factor 3 of 3*x**2 is missing (in the derivative by x of 3*x**2)"),
    ("x*sin(x)*y", "cos(x)", "xy", "the derivative of a product isn't the product of the derivatives"),
]


@pytest.mark.parametrize(("text", "claim", "wrt", "slip"), HIGHER)
def test_the_slip_in_a_mixed_partial_is_named(text: str, claim: str, wrt: str, slip: str) -> None:
    """With the derivative in whose derivation it is."""
    column, _ = judged(text, claim, wrt, **{name: [0.7, 0.4] for name in dict.fromkeys("xy") if name in text})
    assert all(str(d.text).startswith(slip) for d in column.details.values()) and column.details


def test_the_slip_in_json() -> None:
    """`detail` carries the step that the claim misses, of chains and of entries of arrays."""
    (found,) = [
        c for c in check_chain("sin(3*x)", at="x=0.7", claim="x=cos(3*x)").to_dict()["checks"] if c["verdict"] == "mismatch"
    ]
    assert found["detail"] == "the inner derivative 3 of sin(3*x) is missing" and found["cause"] == "claim"
    report = check_chain("sum(exp(2*x))", at={"x": [0.5, 2.0]}, claim="x=exp(2*x)")
    assert {c.detail for c in report.checks if c.verdict == "mismatch"} == {
        "the inner derivative 2 of exp(2*x[0]) is missing", "the inner derivative 2 of exp(2*x[1]) is missing",
    }  # fmt: skip
    report = check_chain("sum(x**2)", at={"x": [1.0, 2.0]}, claim="x=x")
    assert {(c.wrt[0], c.detail) for c in report.checks if c.verdict == "mismatch"} == {
        (name, f"the exponent 2 of {name}**2 is missing as a factor") for name in ("x[0]", "x[1]")
    }


@pytest.mark.parametrize("claim", ["x=3*sin(x)**2*cos(x), y=3*sin(x)**2*cos(x)", "y=2"])
def test_a_claim_about_the_output_by_itself(claim: str) -> None:
    """dy/dy is 1: whatever else is claimed of it is refuted, and says which name is meant."""
    *_, found = check_chain("sin(x)**3", at="x=1", claim=claim).checks
    assert (found.verdict, found.cause, found.exact) == ("mismatch", "claim", "1")
    assert found.detail == "y=... claims dy/dy, which is 1: of dy/dx it is x=..."
    assert check_chain("sin(x)**3", at="x=1", claim="y=1").ok


@pytest.mark.parametrize(
    ("text", "at", "inside", "outside"),
    [
        ("abs(x)", 0.0, ("0.5", "1", "-1", "sign(x)", "1/x"), ("7", "-1.0000001", "x + 2")),
        ("relu(x)", 0.0, ("0", "where(x > 0, 1, 0)"), ("-0.1", "2")),
        ("0.1*abs(x)", 0.0, ("0.1", "-0.1"), ("0.11",)),
        ("sqrt(x)", 0.0, ("1/(2*sqrt(x))",), ("7",)),  # its slope is infinite
        ("sign(x)", 0.0, ("5",), ()),  # a jump has no one-sided derivatives
        ("where(x == 0, 5, x)", 0.0, ("5",), ()),
    ],
)
def test_a_claim_without_a_derivative(text: str, at: float, inside: tuple[str, ...], outside: tuple[str, ...]) -> None:
    """At a kink a claim may be any convention between the one-sided derivatives, and nothing else."""
    for claims, verdict in ((inside, "nondifferentiable"), (outside, "mismatch")):
        for claim in claims:
            column, _ = judged(text, claim, x=[at])
            assert verdicts(column) == [verdict], claim


@pytest.mark.parametrize(
    ("formula", "at", "claim", "wrong"),
    [
        ("sin(x)", "x=[1,2,3]", "cos(x)", 0), ("x**3", "x=[[1,2],[3,4]]", "3*x**2", 0), ("2*x", "x=[1,2]", "2", 0),
        ("tanh(x)", "x=[1,2]", "1 - tanh(x)", 2), ("sin(x)", "x=[1,2]", "diag(cos(x))", 0),
        ("x*w", "x=[1,2],w=[3,4]", "x=w", 0),
        ("softmax(x)", "x=[1,2]", "softmax(x)*(1 - softmax(x))", 2), ("cumsum(x, 0)", "x=[1,2]", "1", 1),
        ("x.flip(0)", "x=[1,2]", "1", 2),
    ],
)  # fmt: skip
def test_an_elementwise_derivative_is_that_of_each_entry(formula: str, at: str, claim: str, wrong: int) -> None:
    """Where each entry of the output depends on its own entry of x alone, a formula of their shape claims these derivatives;
    where it depends on others, a claim is about all of them. One note speaks of all that symbols confirm."""
    report = check_chain(formula, at=at, claim=claim)
    claimed = [c for c in report.checks if c.claim is not None]
    assert sum(c.verdict == Verdict.MISMATCH for c in claimed) == wrong
    assert len(claimed) >= 2
    sure = [note for note in report.notes if "symbols say so" in note]
    assert len(sure) <= 1
    if formula == "sin(x)" and claim == "cos(x)":
        assert sure == ["the claim is dy[0]/dx[0], dy[1]/dx[1], dy[2]/dx[2]: symbols say so too"]
