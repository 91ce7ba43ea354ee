"""Reports as plain data: columns, checks on demand, exit codes, and decimals that are right in every digit."""

from __future__ import annotations

import json
import math
import pickle
import random
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from flint import arb, ctx

from gradcheck_cli import check_grad
from gradcheck_cli.errors import VerdictError
from gradcheck_cli.verdict.column import VERDICTS, Column, Detail
from gradcheck_cli.verdict.numbers import DIGITS, decimal, interval
from gradcheck_cli.verdict.plain import jsonable
from gradcheck_cli.verdict.report import Checks, Report, _versions, versions
from gradcheck_cli.verdict.scope import AtPoints
from gradcheck_cli.verdict.verdicts import Cause, Verdict

M, I, N, O, U, X = Verdict  # noqa: E741  in order of severity, as in the table of exit codes below
NAN, INF = math.nan, math.inf


def column(*verdicts: Verdict, quantity: str = "dy/dx", errors: list[float] | None = None) -> Column:
    """A column with these verdicts at x = 0, 1, 2, ..."""
    count = len(verdicts)
    return Column(
        quantity=quantity, kind="total", of="y", wrt=("x",), mode="reverse", dtype="float64", shown="2*x",
        scope=AtPoints({"x": np.arange(count, dtype=np.float64)}), autograd=10.0 + np.arange(count),
        exact=[arb(10 + i) for i in range(count)], error_ulps=np.array([0.0] * count if errors is None else errors),
        verdicts=np.array([VERDICTS.index(v) for v in verdicts], np.uint8),
    )  # fmt: skip


def report(*columns: Column, strict: bool = False) -> Report:
    return Report("chain", {"stages": []}, list(columns), {"gradcheck": "0"}, strict)


# -- columns ----------------------------------------------------------------------------------------------------------


def test_paste_copies_entries() -> None:
    """Numbers, verdicts and details go from the given entries of one column to the given entries of another."""
    source, target = column(M, X, I), column(U, U, U, U)
    source.details[1] = Detail(cause=Cause.FORMULA, stage="old", text="a")
    source.details[2] = Detail(stage="old", text="b")
    target.paste(source, [1, 2], [3, 0], "mine")
    assert [target.verdict(i) for i in range(4)] == [I, U, U, X]
    assert target.autograd.tolist() == [12, 11, 12, 11]
    assert [float(b) for b in target.exact] == [12, 11, 12, 11]
    assert target.details == {3: Detail(cause=Cause.FORMULA, stage="mine", text="a"), 0: Detail(stage="old", text="b")}
    assert source.details[1].stage == "old"
    target.paste(source, [1], [1])
    assert target.details[1].stage == "old"


def test_mark() -> None:
    """Entries that weren't checked get a verdict and the reason; others stay."""
    found = column(M, U, M)
    found.mark([1], O, "because")
    assert [found.verdict(i) for i in range(3)] == [M, O, M]
    assert found.details == {1: Detail(text="because")}
    found.mark([], X, "nobody")
    assert found.counts() == {M: 2, O: 1}


@pytest.mark.parametrize(
    ("verdicts", "errors", "worst"),
    [
        ([M, M, M], [0.1, 0.5, 0.2], 1),
        ([M, I, M], [900.0, 5.0, 0.0], 1),
        ([X, X, U], [3.0, 4.0, INF], 1),
        ([X, X, X], [NAN, 0.5, 0.25], 1),
        ([X, X, X], [1e300, INF, NAN], 1),
        ([U, N, O], [0.0, 9.0, 9.0], 0),
        ([M, M], [NAN, NAN], 0),
    ],
)
def test_worst(verdicts: list[Verdict], errors: list[float], worst: int) -> None:
    """The entry to look at first has the most severe verdict, then the largest error; nan is no error."""
    assert column(*verdicts, errors=errors).worst() == worst


def test_counts() -> None:
    """Verdicts are counted; what doesn't occur isn't listed. A report lists the worst first."""
    assert column(M, X, M, I).counts() == {M: 2, X: 1, I: 1}
    found = report(column(M, X, M), column(I, O)).counts
    assert list(found.items()) == [("mismatch", 1), ("outside_domain", 1), ("imprecise", 1), ("match", 2)]


# -- checks -----------------------------------------------------------------------------------------------------------


def test_checks_are_a_sequence() -> None:
    """Column by column, point by point, by any index that a list takes."""
    checks = Checks([column(M, I, quantity="a"), column(quantity="b"), column(X, U, N, quantity="c")])
    order = [("a", 0.0), ("a", 1.0), ("c", 0.0), ("c", 1.0), ("c", 2.0)]
    assert len(checks) == 5
    assert [(c.quantity, c.point["x"]) for c in checks] == order
    assert [(checks[i].quantity, checks[i].point["x"]) for i in range(5)] == order
    assert [(checks[i].quantity, checks[i].point["x"]) for i in range(-5, 0)] == order
    assert [(c.quantity, c.point["x"]) for c in checks[1:4]] == order[1:4]
    assert [(c.quantity, c.point["x"]) for c in checks[::-2]] == order[::-2]
    for index in (5, -6, 100):
        with pytest.raises(IndexError):
            checks[index]
    empty = Checks([])
    assert len(empty) == 0 and list(empty) == [] and empty[:3] == []
    with pytest.raises(IndexError):
        empty[0]


def test_a_check_holds_what_the_column_and_the_detail_hold() -> None:
    """Every field of an entry arrives; nan errors and gradients that are None are None, nan gradients stay nan."""
    whole = column(X, X, X, errors=[7.0, NAN, INF])
    whole.autograd[:] = NAN
    whole.details[0] = Detail(Cause.NO_GRADIENT, "z", "exp", "why", "1", "2", "3", "4*x", 0.5, 0.25, side="left")
    whole.details[1] = Detail(Cause.NAN_TRAP)
    first, second, third = report(whole).checks
    assert first.autograd is None
    assert (first.cause, first.stage, first.operation, first.detail) == (Cause.NO_GRADIENT, "z", "exp", "why")
    assert (first.left, first.right, first.side) == ("1", "2", "left")
    assert (first.shadow, first.autograd_formula) == ("3", "4*x")
    assert (first.formula_error, first.rounding_error, first.error_ulps) == (0.5, 0.25, 7.0)
    assert (first.exact, first.point, first.verdict) == ("10", {"x": 0.0}, X)
    assert second.autograd is not None and math.isnan(second.autograd) and second.error_ulps is None
    assert third.error_ulps == INF and third.cause is None
    assert third.value is third.inputs is third.claim is None


def test_json_has_no_floats_that_json_lacks() -> None:
    """nan and infinities are strings, optional fields are left out, and the whole is strict JSON."""
    whole = column(X, M, errors=[INF, 0.5])
    whole.autograd[0] = -INF
    whole.values = np.array([NAN, 1.0])
    found = report(whole).to_dict()
    text = json.dumps(found, allow_nan=False)
    assert json.loads(text) == found
    first, second = found["checks"]
    assert (first["autograd"], first["error_ulps"], first["value"], first["verdict"]) == ("-inf", "inf", "nan", "mismatch")
    assert second["value"] == 1.0 and "claim" not in second and "inputs" not in second
    assert jsonable({"a": (1, NAN, {"b": INF}), 2: None}) == {"a": [1, "nan", {"b": "inf"}], "2": None}


# -- exit codes -------------------------------------------------------------------------------------------------------

EXITS: list[tuple[list[Verdict], Verdict, int, int]] = [
    # verdicts found; the report's; exit code; exit code under strict
    ([], U, 3, 3),
    ([M], M, 0, 0),
    ([M, I], I, 0, 1),
    ([M, N], N, 0, 0),
    ([I, N], N, 0, 1),
    ([O], O, 3, 3),
    ([M, O], M, 0, 0),
    ([I, O], I, 0, 1),
    ([N, O], N, 0, 0),
    ([U], U, 3, 3),
    ([M, U], U, 3, 3),
    ([I, U], U, 3, 1),
    ([O, U], U, 3, 3),
    ([X], X, 1, 1),
    ([M, I, N, O, U, X], X, 1, 1),
]


@pytest.mark.parametrize(("verdicts", "verdict", "code", "strict"), EXITS)
def test_exit_codes(verdicts: list[Verdict], verdict: Verdict, code: int, strict: int) -> None:
    """0 passed, 1 a mismatch (or imprecise under strict), 3 undecided or nothing checked; in one column or in several."""
    for columns in ([column(*verdicts)] if verdicts else [], [column(v) for v in verdicts]):
        found = report(*columns)
        assert (found.verdict, found.exit_code, found.ok) == (verdict, code, code == 0)
        assert report(*columns, strict=True).exit_code == strict
        if code == 0:
            found.raise_for_verdict()
        else:
            with pytest.raises(VerdictError):
                found.raise_for_verdict()


def test_the_report_is_the_message() -> None:
    """What raise_for_verdict raises reads like the report."""
    bad = report(column(X))
    with pytest.raises(VerdictError) as caught:
        bad.raise_for_verdict()
    assert str(caught.value) == str(bad)


# -- decimals ---------------------------------------------------------------------------------------------------------


def value(text: str) -> Fraction:
    return Fraction(text)


def number(x: Any) -> Fraction:
    """An exact ball as a fraction."""
    mantissa, exponent = x.man_exp()
    return Fraction(int(mantissa)) * Fraction(2) ** int(exponent)


def leading(x: Fraction) -> Fraction:
    """The power of ten of the first digit."""
    place = Fraction(1)
    while abs(x) >= 10 * place:
        place *= 10
    while abs(x) < place:
        place /= 10
    return place


def test_decimals_are_correct_in_every_digit() -> None:
    """Random doubles of every size, exact or thirds: the text is the value to within one unit of its twentieth digit."""
    rng = random.Random(11)
    for _ in range(400):
        x = rng.choice([-1, 1]) * rng.random() * 10.0 ** rng.randint(-20, 25) / rng.choice([1, 3, 1e50, 1e-50])
        for digits in (DIGITS, 3, 12):
            with ctx.workprec(256):
                exact = arb(x)
            text = decimal(exact, digits)
            assert text is not None
            error = abs(value(text) - number(exact))
            assert error <= leading(number(exact)) / 10 ** (digits - 1), (x, text)
            assert len(text.partition("e")[0].lstrip("-0.").replace(".", "")) <= digits or "e" not in text


@pytest.mark.parametrize("bits", [10, 24, 40, 61, 100])
def test_no_digit_is_shown_that_the_ball_does_not_hold(bits: int) -> None:
    """A wide ball shows fewer digits: every number in the ball is within one unit of the last digit shown, and a half."""
    rng = random.Random(bits)
    for _ in range(100):
        with ctx.workprec(200):
            middle = arb(rng.random() + 0.5) * arb(10) ** rng.randint(-30, 30)
            ball = middle + arb(0, middle.mid() * arb(2) ** -bits)
        text = decimal(ball)
        assert text is not None
        mantissa, _, exponent = text.partition("e")
        places = len(mantissa.partition(".")[2])
        unit = Fraction(10) ** (int(exponent or 0) - places)
        with ctx.workprec(300):
            edges = (ball.lower(), ball.upper())
        for edge in edges:
            # trailing zeros are not shown, so that the last digit shown may stand for finer ones
            assert abs(number(edge) - value(text)) <= unit * Fraction(3, 2)
        digits = mantissa.replace(".", "").lstrip("-0")
        assert len(digits) <= max(1, math.ceil(bits * math.log10(2)) + 1)


DECIMALS: list[tuple[Any, str]] = [
    (arb(0), "0"), (arb(1), "1"), (arb(-12), "-12"), (arb(0.5), "0.5"), (arb(1234.5), "1234.5"), (arb(100000), "100000"),
    (arb(1e22), "1e22"), (arb(2) ** -10, "0.0009765625"), (arb(-(2.0**-10)), "-0.0009765625"),
    (arb(2) ** -20, "9.5367431640625e-7"),
    (arb(10) ** 300, "1e300"), (arb("1e-300"), "1e-300"), (arb("-2.5e4000"), "-2.5e4000"), (arb("2.5e-4000"), "2.5e-4000"),
    (arb("1e12345678"), "1e12345678"), (arb("1e-1234567"), "1e-1234567"),
    (arb("1e1234567890123"), "1e1234567890123"), (arb("-1e-1234567890123"), "-1e-1234567890123"),
    (arb.pos_inf(), "inf"), (arb.neg_inf(), "-inf"), (arb(0, 1e-400), "0"), (arb(0, 1e-300), "0"),
]  # fmt: skip


@pytest.mark.parametrize(("ball", "text"), DECIMALS, ids=[text for _, text in DECIMALS])
def test_decimal(ball: Any, text: str) -> None:
    """Plain where it's short, with an exponent where it's long, however large; what holds 0 is 0."""
    assert decimal(ball) == text


def test_no_decimal() -> None:
    """Where there is no ball there is no text."""
    assert decimal(None) is None


@pytest.mark.parametrize("ball", [arb.nan(), arb(0, arb.pos_inf())], ids=str)
def test_a_ball_that_may_be_anything_is_not_zero(ball: Any) -> None:
    """nan, and a ball without bounds, have no decimal."""
    assert decimal(ball) is None


@pytest.mark.parametrize("precision", [10, 53, 1000])
def test_decimal_does_not_depend_on_the_precision(precision: int) -> None:
    """The text is the same whatever flint's precision is at the time."""
    with ctx.workprec(300):
        third = arb(1) / 3
    with ctx.workprec(precision):
        assert decimal(third) == "0.33333333333333333333"


def test_interval() -> None:
    """A ball that holds 0 shows its radius, a sharp one its digits, an infinite one nothing."""
    assert interval(arb(2.5)) == "2.5"
    assert interval(arb(0)) == "0"
    found = interval(arb(0, 1))
    assert found is not None and "+/-" in found
    assert interval(arb.nan()) is None
    assert interval(arb.pos_inf()) is None


@pytest.mark.parametrize("ball", [arb(3, 2), arb(3, 2.99), arb(1e-300, 2e-301), arb(-7, 5)])
def test_a_wide_ball_is_not_zero(ball: Any) -> None:
    """A ball without a certain digit that excludes 0 must not read as 0."""
    shown = interval(ball)
    assert shown is not None and ("+/-" in shown or value(shown) != 0)


def test_versions_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Finding a distribution reads files: a process does it once, and nobody's change of the answer is another's."""
    read: list[str] = []

    def version(name: str) -> str:
        read.append(name)
        return "1.2"

    monkeypatch.setattr("importlib.metadata.version", version)
    _versions.cache_clear()
    try:
        first = versions()
        first["torch"] = "changed"
        assert versions() == versions() == {**first, "torch": "1.2"}
        assert sorted(read) == ["numpy", "python-flint", "sympy", "torch"]
    finally:
        _versions.cache_clear()


def test_reports_that_say_the_same_are_equal() -> None:
    """Also a copy that was pickled; what says something else isn't, nor is anything but a report. None has a hash."""
    report = check_grad("x**2*y", at=["x=1,y=2", "x=inf,y=0"])
    copy = pickle.loads(pickle.dumps(report))
    assert report == copy and report == check_grad("x**2*y", at=["x=1,y=2", "x=inf,y=0"])
    assert report != check_grad("x**2*y", at=["x=1,y=3", "x=inf,y=0"]) and report != report.to_dict()
    copy.notes.append("another")
    assert report != copy
    with pytest.raises(TypeError):
        hash(report)
