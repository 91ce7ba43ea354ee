"""What an underflow, and a number without a right digit, is beside tolerances and the other entries."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck_cli.algebra.number import exactly
from gradcheck_cli.callables.tolerances import Default, Tolerances, excused, worthless
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.scope import OfTensor, TensorLabels
from gradcheck_cli.verdict.verdicts import Cause, Verdict

DEFAULTS = Tolerances(Default(1e-3), Default(1e-5), Default(0.0))


def column(exact: list[float], autograd: list[float]) -> Column:
    """The derivative of <v,y> by the entries of x."""
    scope = OfTensor({}, TensorLabels("<v,y>", "x", (len(exact),)))
    found = Column.blank(scope, len(exact), of="<v,y>", wrt=("x",))
    found.exact, found.autograd = [exactly(v) for v in exact], np.array(autograd)
    found.verdicts[:] = Verdict.MATCH.severity
    return found


LOST: list[tuple[float, float, float, Cause, float, bool]] = [
    (1e-12, 0.0, 1.0, Cause.RANGE, 1e-5, True),
    (1e-12, 0.0, 1.0, Cause.KERNEL, 1e-5, True),
    (1e-12, 0.0, 1.0, Cause.FORMULA, 1e-5, True),
    (1e-12, 1e-13, 1.0, Cause.FORMULA, 1e-5, False),
    (1e-10, 0.0, 1e6, Cause.FORMULA, 1e-5, False),
    (1e-12, 0.0, 1.0, Cause.KINK, 1e-5, False),
    (1e-12, 1.0, 1.0, Cause.RANGE, 1e-5, False),
    (1e-10, 0.0, 1.0, Cause.RANGE, 1e-5, False),
    (1e-10, 0.0, 1e6, Cause.RANGE, 1e-5, True),
    (1e-10, 0.0, 1e6, Cause.RANGE, 1e-12, False),
    (1e-4, 0.0, 1e30, Cause.RANGE, 1e-5, False),
    (1e-12, np.inf, 1.0, Cause.RANGE, 1e-5, False),
    (1e-300, 0.0, 1.0, Cause.RANGE, 0.0, False),
]


@pytest.mark.parametrize(("exact", "autograd", "beside", "cause", "atol", "passes"), LOST)
def test_underflow(exact: float, autograd: float, beside: float, cause: Cause, atol: float, passes: bool) -> None:
    """It is no failure far below the tolerances, or below eps times the largest entry, where torch's own check can't see it."""
    found = column([exact, beside], [autograd, beside])
    found.mark([0], Verdict.MISMATCH, "lost", cause)
    assert excused([found], Tolerances(Default(1e-3), atol, Default(0.0))) == ["d<v,y>/dx[0]"] * passes
    assert found.verdict(0) is (Verdict.MATCH if passes else Verdict.MISMATCH)


@pytest.mark.parametrize(
    ("exact", "autograd", "beside", "said"),
    [(1.0, 0.0, 1.0, True), (1.0, 0.9, 1.0, False), (1e-17, 0.0, 1.0, False), (1e-17, 0.0, 0.0, True)],
)
def test_no_digit_right(exact: float, autograd: float, beside: float, said: bool) -> None:
    """It is said of what is anything beside the largest entry."""
    found = column([exact, beside], [autograd, beside])
    found.mark([0], Verdict.IMPRECISE)
    assert worthless([found]) == ["d<v,y>/dx[0]"] * said
    assert not excused([found], DEFAULTS)
