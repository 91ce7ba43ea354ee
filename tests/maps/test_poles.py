"""Outputs without a finite value: the derivatives of the others are judged, nothing is said of theirs."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from mpmath import mp, mpf
from torch import Tensor

from gradcheck_cli import Report, check_function
from gradcheck_cli.verdict.column import Check

INF = math.inf


def checked(function: Callable[..., Tensor], order: int = 1, **inputs: list[float] | float) -> Report:
    report: Report = check_function(
        function, at={n: torch.tensor(x, dtype=torch.float64) for n, x in inputs.items()}, order=order
    )
    return report


def rows(report: Report) -> list[Check]:
    """Those of the combination of all outputs."""
    return [c for c in report.checks if c.quantity.startswith("d<v,")]


@pytest.mark.parametrize("function", [lambda x: 1 / x, torch.log, torch.reciprocal, lambda x: x**-2, torch.digamma])
def test_a_pole_is_outside_of_the_domain(function: Callable[..., Tensor]) -> None:
    """At 0, where the function has no value, there is no derivative: as in formulas, and nothing is undecided."""
    assert {c.verdict.value for c in checked(function, x=0.0).checks} == {"outside_domain"}


@pytest.mark.parametrize(("function", "slope"), [(lambda x: 1 / x, "-1/4"), (torch.log, "1/2")])
def test_a_pole_leaves_the_other_entries(function: Callable[..., Tensor], slope: str) -> None:
    """Of [0, 2] the second entry has its derivative, the first is outside; the note says which output doesn't count."""
    report = checked(function, x=[0.0, 2.0])
    first, second = rows(report)
    assert [c.verdict.value for c in (first, second)] == ["outside_domain", "match"]
    numerator, denominator = map(int, slope.split("/"))
    assert float(second.exact or "nan") == pytest.approx(float(report.checks[0].point["v"][1]) * numerator / denominator)
    assert any("no finite value here: y[0]" in note for note in report.notes)


def test_what_only_moves_a_pole_is_outside() -> None:
    """log at -1 has no value, whatever autograd's 1/x says."""
    assert [c.verdict.value for c in rows(checked(torch.log, x=[-1.0, 2.0]))] == ["outside_domain", "match"]


def test_a_mask_leaves_the_derivatives_by_the_finite_entries() -> None:
    """-inf before softmax, as an entry or as a mask, and an output that is -inf itself: the finite ones have their derivatives
    (of softmax over two entries: p*(1-p) of the difference)."""
    mask = torch.tensor([0.0, 0.0, -INF], dtype=torch.float64)
    with mp.workdps(30):
        p = 1 / (1 + mp.exp(1))
        expected = float(p * (1 - p))
    for function, x in (
        (lambda x: torch.softmax(x, -1), [1.0, 2.0, -INF]),
        (lambda x: torch.softmax(x + mask, -1), [1.0, 2.0, 3.0]),
        (lambda x: torch.softmax(x.masked_fill(mask < 0, -INF), -1), [1.0, 2.0, 3.0]),
    ):
        report = checked(function, x=x)
        first, second, masked = rows(report)
        v = first.point["v"]
        assert float(first.exact or "nan") == pytest.approx(expected * (v[0] - v[1]), rel=1e-15)
        assert {c.verdict.value for c in (first, second, masked)} == {"match"}
    for function in (lambda x: torch.log_softmax(x + mask, -1), lambda x: x + mask, lambda x: x.masked_fill(mask < 0, -INF)):
        first, second, masked = rows(checked(function, x=[1.0, 2.0, 3.0]))
        assert [c.verdict.value for c in (first, second)] == ["match", "match"]
        assert masked.verdict.value in ("outside_domain", "match")


def test_a_wrong_gradient_beside_a_pole_is_refuted() -> None:
    """A pole excuses no other entry."""

    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)  # type: ignore[attr-defined]
            return x.log()

        @staticmethod
        def backward(ctx: object, g: Tensor) -> Tensor:  # type: ignore[override]
            (x,) = ctx.saved_tensors  # type: ignore[attr-defined]
            return 1.001 * g / x

    assert [c.verdict.value for c in rows(checked(Wrong.apply, x=[0.0, 2.0]))] == ["outside_domain", "mismatch"]


def test_an_overflow_is_no_pole() -> None:
    """exp(710) is a number, which float64 can't hold: inf is right there, and its derivative is judged."""
    assert "outside_domain" not in {c.verdict.value for c in checked(torch.exp, x=[710.0, 1.0]).checks}


@pytest.mark.parametrize("order", [1, 2])
def test_a_quotient_by_an_overflow_is_followed(order: int) -> None:
    """A sigmoid that is written out gives 0 at -720, since exp(720) overflows: its derivative, of which autograd makes nan, is
    known, and nothing behaves otherwise for being watched."""
    report = checked(lambda x: 1 / (1 + torch.exp(-x)), order, x=-720.0)
    check = next(c for c in report.checks if c.quantity == "dy/dx")
    with mp.workdps(30):
        e = mp.exp(720)
        assert check.exact is not None and abs(mp.mpf(check.exact) / (e / (1 + e) ** 2) - 1) < mp.mpf(10) ** -15
    assert {(c.verdict.value, c.cause) for c in report.checks} == {("mismatch", "range")}


def test_a_row_that_is_all_masked_is_a_trap() -> None:
    """The gradient of the other rows is nan by what both depend on, though their derivative is a number: 0*inf."""
    mask = torch.tensor([[0.0, 0.0], [-INF, -INF]], dtype=torch.float64)
    report = checked(lambda x, w: torch.softmax(x * w + mask, -1), x=[[1.0, 2.0], [3.0, 4.0]], w=0.5)
    found = {c.wrt[0]: (c.verdict.value, c.cause) for c in rows(report)}
    assert found["w"] == ("mismatch", "nan_trap")
    assert found["x[0,0]"] == found["x[0,1]"] == ("match", None)
    assert found["x[1,0]"] == ("outside_domain", None)


CANCELLED: list[tuple[Callable[[Tensor], Tensor], Callable[[mpf], mpf], float]] = [
    (lambda x: -torch.log(1 - torch.sigmoid(x)), lambda x: -mp.log(1 - 1 / (1 + mp.exp(-x))), 1443.0),
    (lambda x: torch.log(1 - torch.tanh(x)), lambda x: mp.log(1 - mp.tanh(x)), 758.0),
    (lambda x: 1e-300 / (1 - torch.erf(x)), lambda x: mpf(1e-300) / (1 - mp.erf(x)), 30.0),
]


@pytest.mark.parametrize(("function", "precisely", "x"), CANCELLED)
def test_what_cancels_to_0_in_floats_alone_is_no_pole(
    function: Callable[[Tensor], Tensor], precisely: Callable[[mpf], mpf], x: float
) -> None:
    """Beside 1, torch has 0 for what is 2**-1300 and less, and balls of few bits can't tell it from 0: the derivative is known
    all the same (that of mpmath at 3,000 bits), and autograd's nan isn't it."""
    report = checked(function, x=x)
    with mp.workprec(3000):
        slope = mp.diff(precisely, mpf(x), h=mpf(2) ** -200)
        assert abs(mpf(report.checks[0].exact or "nan") / slope - 1) < mpf(10) ** -12
    assert {c.verdict.value for c in report.checks} == {"mismatch"}


def test_what_is_not_known_is_not_outside() -> None:
    """1 - sigmoid(1e5) is 2**-144269: no precision that is tried tells it from 0, and nothing is said, be it one output or one
    of two; 1 - x at 1 is 0, which is certain."""
    assert {c.verdict.value for c in checked(lambda x: torch.log(1 - torch.sigmoid(x)), x=1e5).checks} == {"undecided"}
    report = checked(lambda x: torch.log(1 - torch.sigmoid(x)), x=[1e5, 1.0])
    assert [c.verdict.value for c in rows(report)] == ["undecided", "match"]
    assert any("no finite value that is known here: y[0]" in note for note in report.notes)
    assert {c.verdict.value for c in checked(lambda x: torch.log(1 - x), x=1.0).checks} == {"outside_domain"}


def test_a_cancelled_output_forwards() -> None:
    """The same in forward mode: along 1 or -1, or any u, the derivative is u*sigmoid(x)."""
    report = check_function(
        lambda x: -torch.log(1 - torch.sigmoid(x)), at={"x": torch.tensor(1443.0, dtype=torch.float64)}, mode="forward"
    )
    assert {c.verdict.value for c in report.checks} == {"mismatch"}
