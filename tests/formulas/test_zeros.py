"""Zeros that have a sign, and quotients by what is 0 everywhere."""

from __future__ import annotations

import pytest

from gradcheck_cli import check_grad
from gradcheck_cli.verdict.verdicts import Verdict


@pytest.mark.parametrize("text", ["x*sin(atan2(y, x)/2)", "atan2(y, x)*y - x*cos(atan2(y, x)) + atan2(y, x)"])
def test_a_zero_with_a_sign_chooses_the_side_of_a_jump(text: str) -> None:
    """atan2 of -0.0 and a negative number is -pi (IEEE 754-2019, section 9.2.1), and pi is what the function has at 0: nothing
    is refuted there, and what lies on no jump is judged as ever."""
    for y in ("-0.0", "0"):
        report = check_grad(text, at=f"x=-1.5,y={y}")
        assert {c.verdict for c in report.checks} <= {Verdict.NONDIFFERENTIABLE, Verdict.MATCH, Verdict.IMPRECISE}, str(report)
    along = {c.wrt: c.verdict for c in check_grad("x*y + atan2(y, x)", at="x=-1.5,y=-0.0").checks}
    assert along == {("x",): Verdict.MATCH, ("y",): Verdict.NONDIFFERENTIABLE}
    assert check_grad("(x - 3)**2*y", at="x=-0.0,y=2").verdict is Verdict.MATCH


def test_the_cut_from_below() -> None:
    """The lower side of a root's cut, which torch takes for -4-0.0j."""
    report = check_grad("sin(3 + arg(z) + log1p(sqrt(z)))", at={"z": complex(-0.489, -0.0)}, dtype="complex128")
    assert Verdict.MISMATCH not in {c.verdict for c in report.checks}, str(report)


@pytest.mark.parametrize("text", ["(sqrt(log2(z - z)))**-1", "tan(z)/(z - z)/log(z*z)*log1p(exp((1+2j)**2))"])
def test_quotients_by_zero_have_no_value(text: str) -> None:
    """SymPy refuses to compare what comes of them, and what it makes of a quotient by 0 keeps its variables."""
    assert check_grad(text, at="z=2.5+0.2i", dtype="complex128").verdict is Verdict.OUTSIDE_DOMAIN
