"""The cause of a wrong number, in the words and lines of the code that is checked: values known from series and limits."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import Function

from gradcheck_cli import check_chain, check_function, check_grad
from gradcheck_cli.verdict.report import Report
from gradcheck_cli.verdict.verdicts import Cause, Verdict

ALLOWED = torch.tensor([[True, True], [False, False]])


def tensor(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def root(x: Tensor) -> Tensor:
    return torch.where(
        x > 0,
        torch.sqrt(x),
        2 * x,
    )


def masked_out(x: Tensor) -> Tensor:
    return x.sqrt().masked_fill(x <= 0, 0.0)


def behind(x: Tensor) -> Tensor:
    return torch.log(x)[1:]


def quotient_at_0(x: Tensor) -> Tensor:
    return torch.where(x == 0, torch.ones_like(x), torch.sin(x) / x)


def safe_branches(x: Tensor) -> Tensor:
    """Both branches are safe; the root isn't."""
    return torch.where(x > 5, 2 * x, 3 * x) * torch.sqrt(x * x)


def rows(x: Tensor) -> Tensor:
    p = torch.softmax(x + torch.zeros(2, 2).masked_fill(~ALLOWED, -math.inf), 1)
    return torch.where(ALLOWED, p * x, torch.zeros_like(x))


def values_alone(x: Tensor) -> Tensor:
    u, s, v = torch.linalg.svd(x)
    return u @ torch.diag(s) @ v


def relu_before(x: Tensor) -> Tensor:
    """The nan is born in the softmax, and goes through the relu, which leaves something else out."""
    return torch.log(torch.softmax(torch.relu(x) @ torch.tensor([[900.0, 0.0], [0.0, 1.0], [1.0, 1.0]], dtype=x.dtype), 0))


class TanhGelu(Function):
    """x/2*(1 + tanh(x + 0.05*x**3)), whose backward lacks the 3 of x**3."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x / 2 * (1 + torch.tanh(x + 0.05 * x**3))

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        t = torch.tanh(x + 0.05 * x**3)
        return g * ((1 + t) / 2 + x / 2 * (1 - t * t) * (1 + 0.05 * x**2))


class Divides(Function):
    """The square: a backward of 2*y/x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x, x * x)
        return x * x

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, y = ctx.saved_tensors
        return 2 * g * y / x


def line(call: Callable[..., Any], text: str) -> str:
    """ "file.py, line 3": the first line of a function with a text in it."""
    lines, first = inspect.getsourcelines(call)
    return f"test_causes.py, line {first + next(i for i, found in enumerate(lines) if text in found)}"


TRAPS: list[tuple[Callable[[Tensor], Tensor], Any, str, str, str | None, tuple[str, ...]]] = [
    # Function, point, operation, the text in its line, the second where if it is advised, what else is said
    (root, [-1.0, 4.0], "sqrt", "torch.sqrt", "a second where", ("where",)),
    (masked_out, [-1.0, 4.0], "sqrt", "x.sqrt", "a second where", ("masked_fill",)),
    (behind, [0.0, 4.0], "log", "torch.log", None, ("select before log",)),
    (quotient_at_0, 0.0, "div", "torch.sin(x) / x", "a second where", ()),
    (safe_branches, [0.0, 1.0], "sqrt", "torch.sqrt", None, ("write the function without sqrt",)),
    (rows, [[0.5, 1.0], [2.0, -1.0]], "softmax", "torch.softmax", None, ("a row of its argument is -inf throughout",)),
    (values_alone, [[1.0, 0.0], [0.0, 1.0]], "svd", "linalg.svd", None, ("singular values", "two of them are equal (1)")),
]


def trapped(call: Callable[[Tensor], Tensor], at: Any) -> Any:
    report = check_function(call, at={"x": tensor(at)})
    return next(c for c in report.checks if c.cause is Cause.NAN_TRAP)


@pytest.mark.parametrize(("call", "at", "operation", "text", "where", "said"), TRAPS, ids=lambda v: str(v)[:20])
def test_a_nan_is_blamed_on_what_the_user_wrote(
    call: Any, at: Any, operation: str, text: str, where: str | None, said: tuple[str, ...]
) -> None:
    """The forward operation and its line, whichever operation of torch's backward made the nan; a second where is advised only
    where a selection leaves the operation out."""
    check = trapped(call, at)
    words = str(check.detail)
    assert check.operation == operation
    assert line(call, text) in words
    assert all(word in words for word in said)
    assert ("a second where" in words) is (where is not None)
    assert "second where" not in Cause.NAN_TRAP.sentence  # that advises nothing by itself


def test_a_backward_that_divides_0_by_0_is_a_division() -> None:
    """Of the square at 0: the derivative is 0; the line of the backward is named, and no where."""
    check = trapped(Divides.apply, [0.0, 3.0])
    words = str(check.detail)
    assert check.operation == "div" and check.exact == "0"
    assert f"div in the backward of Divides ({line(Divides, '2 * g * y / x')})" in words
    assert "without the division" in words and "second where" not in words


@pytest.mark.parametrize("mode", ["reverse", "grad", "func"])
def test_chains_name_the_forward_operation_too(mode: str) -> None:
    """acos beyond the end of its domain, in a branch that isn't selected: not the rsqrt of its backward."""
    check = next(c for c in check_chain("where(x < 1, acos(x), x)", at="x=2", mode=mode).checks if c.cause)
    assert (check.verdict, check.cause, check.operation) == (Verdict.MISMATCH, Cause.NAN_TRAP, "acos")
    assert "second where" in str(check.detail)


def test_forward_mode_names_what_python_called() -> None:
    """No node tells what a tangent belongs to: the call does."""
    report = check_function(safe_branches, at={"x": tensor([0.0, 1.0])}, mode="forward")
    check = next(c for c in report.checks if c.cause is Cause.NAN_TRAP)
    assert check.operation == "sqrt" and f"the derivative of sqrt ({line(safe_branches, 'sqrt')})" in str(check.detail)


def distance(x: Tensor) -> Tensor:
    """Of two halves."""
    return torch.sqrt(((x[:2] - x[2:]) ** 2).sum())


def test_a_nan_where_no_derivative_exists_leads_to_its_operation() -> None:
    """The distance of equal vectors has a corner: the nan passes, and its reader is told the line, what keeps the root off the
    point, how a nan comes about, and how many there are. Along an axis the slopes are -1 and 1."""
    report = check_function(distance, at={"x": tensor([1.0, 2.0, 1.0, 2.0])})
    assert (report.verdict, report.exit_code) == (Verdict.NONDIFFERENTIABLE, 0)
    for check in report.checks:
        assert (check.verdict, check.operation, check.why) == (Verdict.NONDIFFERENTIABLE, "sqrt", "nan_trap")
        assert f"the backward of sqrt ({line(distance, 'sqrt')})" in str(check.detail) and "sqrt(x + eps)" in str(check.detail)
        assert check.left == f"-{check.right}" or check.right == f"-{check.left}"
        assert "training" in check.sentence
    assert "autograd is nan in 8" in str(report).splitlines()[-1]
    kept = check_function(lambda x: torch.linalg.vector_norm(x[:2] - x[2:]), at={"x": tensor([1.0, 2.0, 1.0, 2.0])})
    assert {(c.verdict, c.operation, c.why) for c in kept.checks} == {(Verdict.NONDIFFERENTIABLE, None, "nondifferentiable")}
    assert "nan" not in str(kept)


# -- branches for a single point ----------------------------------------------------------------------------------------


def pinned(x: Tensor) -> Tensor:
    return torch.where(x == 1, torch.full_like(x, 2.0), 2 * x)


def pinned_by_if(x: Tensor) -> Tensor:
    if x == 0:
        return 1 + 0 * x
    return torch.exp(x)


@pytest.mark.parametrize(("call", "at", "exact"), [(pinned, 1.0, 2), (pinned_by_if, 0.0, 1)])
def test_a_branch_for_a_single_point_is_a_formula(call: Any, at: float, exact: int) -> None:
    """2x written as 2 at 1, exp written as 1 at 0: no kink, and the comparison is named."""
    report = check_function(call, at={"x": tensor(at)})
    assert all((c.cause, float(str(c.exact))) == (Cause.FORMULA, exact) for c in report.checks if c.quantity == "dy/dx")
    check = report.checks[0]
    assert check.verdict is Verdict.MISMATCH and "single point" in str(check.detail)
    assert line(call, "x ==") in str(check.detail)
    assert check.formula is None or float(check.formula) == exact  # not the branch's own


def test_a_kink_stays_one() -> None:
    """relu(x) - relu(-x) is x."""
    report = check_function(lambda x: torch.relu(x) - torch.relu(-x), at={"x": tensor(0.0)})
    assert {c.cause for c in report.checks} == {Cause.KINK}
    chain = check_chain("where(x == 0, 1, exp(x))", at="x=0")
    assert [c.cause for c in chain.checks if c.verdict is Verdict.MISMATCH] == [Cause.FORMULA]


# -- casts, lost digits -------------------------------------------------------------------------------------------------


def shorter(x: Tensor) -> Tensor:
    return x.to(torch.bfloat16).to(x.dtype) ** 2


@pytest.mark.parametrize(
    ("call", "exact"), [(lambda x: (x * x).sum().sqrt(), 0.5**0.5), (lambda x: (x * x).sum().pow(0.25), 0.5**1.75 * 1e100)]
)
def test_what_underflows_to_0_before_a_root_leaves_the_range(call: Any, exact: float) -> None:
    """The length of a vector of 1e-200s, by squares: torch's float is off by all of its size, which an underflow explains."""
    (check, *_) = check_function(call, at={"x": tensor([1e-200, 1e-200])}).checks
    assert (check.verdict, check.cause) == (Verdict.MISMATCH, Cause.RANGE) and "underflows" in str(check.detail)
    assert float(str(check.exact)) == pytest.approx(exact, rel=1e-12)


def test_a_cast_is_named_with_its_line() -> None:
    """Where the digits go."""
    report = check_function(shorter, at={"x": tensor([1.1, 2.3])})
    assert report.verdict is Verdict.IMPRECISE
    assert f"the function rounds to bfloat16 ({line(shorter, 'bfloat16')})" in str(report.checks[0].detail)


def test_no_digit_is_said_first() -> None:
    """sigmoid at 40 in float64: exp(-40) = 4.2e-18, autograd 0. At 20 some digits are left."""
    report = check_grad("sigmoid(x)", at=["x=40", "x=20"])
    lost, kept = report.checks
    assert {lost.verdict, kept.verdict} == {Verdict.IMPRECISE}
    assert str(lost.detail).startswith("no digit is right") and "no digit" not in str(kept.detail)
    shown = str(check_grad("sigmoid(x)", at="x=40")).splitlines()
    assert "  no digit is right: what autograd returns is rounding alone" in shown


# -- the same whatever the command --------------------------------------------------------------------------------------


def bessel(x: Tensor) -> Tensor:
    return torch.special.bessel_j0(x)


def said(report: Report) -> set[tuple[Any, Any, str]]:
    wrong = [c for c in report.checks if c.verdict is Verdict.MISMATCH]
    return {(c.cause, c.operation, str(c.detail).partition(" (")[0].partition(",")[0]) for c in wrong}


def test_one_cause_whatever_the_command() -> None:
    """bessel_j0, of which torch has no derivative: the same operation, and the same words."""
    wanted = {(Cause.NO_GRADIENT, "bessel_j0", "cut from the graph by bessel_j0")}
    assert said(check_chain("bessel_j0(x)", at="x=1.5", mode="all")) == wanted
    assert said(check_grad("bessel_j0(x)*y", at="x=1.5,y=2")) == wanted
    assert said(check_function(bessel, at={"x": tensor(1.5)}, mode="all")) == wanted


def test_one_finding_once() -> None:
    """Four modes and two rows have one finding, which lists them, and so have two inputs."""
    text = str(check_chain("bessel_j0(x)", at="x=1.5", mode="all"))
    assert text.count("mismatch (no_gradient): dy/dx") == 1 and "  the same in reverse, grad, func\n" in text
    text = str(check_function(safe_branches, at={"x": tensor(0.0)}, mode="all"))
    assert text.count("mismatch (nan_trap): ") == 1 and "  the same of d<v,y>/dx, (J u of y), in forward\n" in text
    two = str(check_grad("bessel_j0(x)*bessel_j1(y)", at="x=1.5,y=2"))
    assert two.count("mismatch (no_gradient): ") == 1 and "  the same of df/dy\n" in two


def test_a_constant_factory_is_not_blamed() -> None:
    """ones_like(x) has no gradient, and nothing is cut by that."""
    (check,) = [c for c in check_chain("sum(ones_like(x)*bessel_j0(x))", at="x=[1.5]").checks if c.cause is Cause.NO_GRADIENT]
    assert check.operation == "bessel_j0"


def test_a_selection_on_the_way_is_not_blamed() -> None:
    """What relu leaves out, further down than the nan was born, has nothing to do with it; and a softmax underflows."""
    report = check_function(relu_before, at={"x": tensor([3.0, -1.0, 2.0])})
    wrong = [c for c in report.checks if c.verdict is Verdict.MISMATCH]
    assert {c.operation for c in wrong} == {"softmax"} and not any("leaves this out" in str(c.detail) for c in wrong)
    assert any("underflows" in str(c.detail) for c in wrong) and not any("overflows" in str(c.detail) for c in wrong)


@pytest.mark.parametrize("at", [3.6, [0.3, 4.1, -4.3], [-0.0017, -4.4, -40.0]])
def test_what_is_almost_a_slip_is_not_named(at: Any) -> None:
    """In the tails other slips give nearly the same numbers, and an error that shows little is one: no other is named."""
    report = check_function(TanhGelu, at={"x": torch.tensor(at, dtype=torch.float64)})
    told = [str(c.detail) for c in report.checks if c.cause is Cause.FORMULA]
    assert told and all(text.startswith("the exponent 3 in x") and text.count("missing") == 1 for text in told), told
