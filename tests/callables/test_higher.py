"""Derivatives above the first, judged against the forward pass alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath as mp
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gradcheck_cli import check_function, gradgradcheck


def entry(report: Any, quantity: str) -> Any:
    return next(c for c in report.checks if c.quantity == quantity)


# -- what is right ------------------------------------------------------------------------------------------------------

RIGHT: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "polynomial": (lambda x: x**4 + 2 * x**3 - x, {"x": 1.5}),
    "chain": (lambda x: torch.tanh(F.softplus(torch.exp(x).sin())), {"x": [0.3, -1.0]}),
    "gelu": (F.gelu, {"x": [0.5, 1.25]}),
    "softmax": (lambda x: torch.softmax(x, -1), {"x": [0.3, -1.2, 0.7]}),
    "two outputs": (lambda x, y: (x * y**2, torch.sin(x).sum()), {"x": [1.0, 2.0], "y": [3.0, 4.0]}),
}


@pytest.mark.parametrize("name", ["polynomial", "chain", "gelu", "softmax", "two outputs"])
def test_the_fourth_order_is_right(name: str) -> None:
    """By inputs and upstream gradients, at every order, both ways."""
    function, at = RIGHT[name]
    report = check_function(function, at=at, order=4, mode="all")
    assert report.ok, str(report)
    assert entry(report, "d<w3,g3>/dx" + ("[0]" if name != "polynomial" else "")).exact


def test_values_of_all_orders() -> None:
    """Of exp(sin(x)) at 0.75: mpmath's Taylor coefficients, to 15 digits."""
    report = check_function(lambda x: torch.exp(torch.sin(x)), at="x=0.75", order=4)
    with mp.workdps(50):
        wanted = mp.taylor(lambda x: mp.exp(mp.sin(x)), mp.mpf(0.75), 4)
        for n in (2, 3, 4):
            found = entry(report, f"d{n}y/" + "dx" * n)
            assert found.verdict.value == "match"
            assert abs(mp.mpf(found.exact) / (wanted[n] * mp.factorial(n)) - 1) < 1e-15


# -- what is wrong ------------------------------------------------------------------------------------------------------


def test_torch_s_own_second_derivative() -> None:
    """i1e's is -0.9999998 at 1e-7; torch's backward is constant there, and its derivative 0."""
    report = check_function(torch.special.i1e, at="input=1e-7", dtype="float32", order=2)
    found = entry(report, "d2y/dinputdinput")
    assert (found.verdict.value, found.cause, found.autograd) == ("mismatch", "formula", 0.0)
    assert found.exact.startswith("-0.9999998")


@pytest.mark.slow(reason="two checks of third order")
def test_torch_s_own_third_derivative() -> None:
    """layer_norm's is wrong: by a difference quotient of the formula at 60 digits, 0.354741880518498 is right."""
    x = torch.tensor([0.3, -1.2, 0.7, 2.0], dtype=torch.float64)
    report = check_function(lambda x: F.layer_norm(x, (4,)), at={"x": x}, order=3)
    assert entry(report, "d<w,g>/dx[0]").verdict.value == "match"
    assert entry(report, "d<w2,g2>/dx[0]").verdict.value == "mismatch"
    by_hand = check_function(lambda x: (x - x.mean()) / torch.sqrt(((x - x.mean()) ** 2).mean() + 1e-5), at={"x": x}, order=3)
    assert by_hand.ok
    assert entry(by_hand, "d<w2,g2>/dx[0]").exact[:12] == entry(report, "d<w2,g2>/dx[0]").exact[:12]


def test_a_formula_is_the_truth_at_every_order() -> None:
    """1 is the cosine at 0, its first derivative too; the second one is -1, the third 0, the fourth 1."""
    report = check_function(lambda x: torch.ones_like(x) + 0 * x, at="x=0", formula="cos(x)", order=4)
    found = {n: entry(report, f"d{n}y/" + "dx" * n) for n in (2, 3, 4)}
    assert {n: (c.exact, c.verdict.value) for n, c in found.items()} == {
        2: ("-1", "mismatch"), 3: ("0", "match"), 4: ("1", "mismatch"),
    }  # fmt: skip


class WrongFirst(torch.autograd.Function):
    """A backward that is off by 1 %, and its right derivative."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.exp()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 1.01 * g * x.exp()


class Detached(torch.autograd.Function):
    """A backward that is right, and a constant to the next one."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return g * x.detach().cos()


class Once(Detached):
    """One that refuses."""

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return g * x.cos()


@pytest.mark.parametrize(("function", "cause"), [(WrongFirst, "formula"), (Detached, "no_gradient"), (Once, "no_gradient")])
def test_wrong_second_derivatives(function: Any, cause: str) -> None:
    """The derivative of a wrong backward, however right by itself, isn't the second derivative; the drop-in says so too."""
    report = check_function(function, at="x=[0.4,2]", order=2)
    assert {c.cause for c in report.checks if c.quantity.startswith("d<w,g>/dx")} == {cause}
    x = torch.tensor([0.4, 2.0], dtype=torch.float64, requires_grad=True)
    if function is not Once:
        assert not gradgradcheck(function.apply, x, raise_exception=False)


class Root(torch.autograd.Function):
    """y with y**3 + y = x by bisection: to whoever watches its operations, a constant."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        low, high = torch.full_like(x, -10.0), torch.full_like(x, 10.0)
        for _ in range(60):
            middle = (low + high) / 2
            above = middle**3 + middle > x
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        y = (low + high) / 2
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return g / (3 * y * y + 1)


@pytest.mark.slow(reason="quotients of an iteration")
def test_no_mismatch_against_the_function_itself() -> None:
    """Difference quotients of second order side with autograd where the exact side is of something else."""
    report = check_function(Root, at="x=[0.4]", order=2)
    assert {c.verdict.value for c in report.checks} <= {"undecided", "match"}
    assert "sides with autograd" in entry(report, "d<w,g>/dx[0]").detail


# -- borders ------------------------------------------------------------------------------------------------------------

BORDERS: dict[str, tuple[Callable[..., Any], str, dict[str, set[str]]]] = {
    "relu": (F.relu, "input=[0,1]", {"d<w,g>/dinput[0]": {"match", "nondifferentiable"}, "d<w,g>/dinput[1]": {"match"}}),
    "smooth_l1": (
        lambda x: F.smooth_l1_loss(x, torch.zeros_like(x), reduction="none"), "x=1", {"d2y/dxdx": {"nondifferentiable"}},
    ),
    "where": (lambda x: torch.where(x > 0, x**3, x**2), "x=0", {"d2y/dxdx": {"nondifferentiable"}}),
    "maximum": (lambda x, y: torch.maximum(x, y) ** 2 * y, "x=1,y=1", {"d<w,g>/dx": {"nondifferentiable"}}),
    "removable": (
        lambda x: torch.where(x == 0, torch.ones_like(x), torch.sin(x) / x), "x=[0,1]", {"d<w,g>/dx[1]": {"match"}},
    ),
    "mask": (lambda x: (x * (x > 0.5)) ** 2, "x=[0.5,1]", {"d<w,g>/dx[1]": {"match"}}),
}  # fmt: skip


@pytest.mark.parametrize("name", BORDERS)
def test_borders_of_the_second_order(name: str) -> None:
    """What has no second derivative is no mismatch; what has one beside a border is judged all the same."""
    function, at, wanted = BORDERS[name]
    report = check_function(function, at=at, order=2)
    for quantity, verdicts in wanted.items():
        assert entry(report, quantity).verdict.value in verdicts, quantity


def test_one_sided_second_derivatives() -> None:
    """Those of x**3 and x**2 at 0 are 2 and 0; 5 is neither, nor between."""
    found = entry(check_function(lambda x: torch.where(x > 0, x**3, x**2), at="x=0", order=2), "d2y/dxdx")
    assert (found.left, found.right) == ("2", "0")


def test_the_drop_in_s_second_order_is_right() -> None:
    """Upstream gradients that are constants, one tensor given twice, several outputs."""
    x = torch.tensor([0.5, -1.25], dtype=torch.float64, requires_grad=True)
    assert gradgradcheck(lambda a, b: (a * b.exp(), torch.sin(a)), (x, x))
    assert gradgradcheck(torch.tanh, x, torch.ones_like(x))
    assert gradgradcheck(torch.mul, (x, 2 * x.detach()))


def test_a_mixed_derivative_at_a_border_needs_both_sides() -> None:
    """Where one direction crosses a border alone, the derivative is what both sides agree on: |x|*y has none at x = 0,
    x*|x|*y has."""
    report = check_function(lambda x, y: x.abs() * y, at="x=0,y=1.5", order=2)
    check = entry(report, "d2f/dxdy")
    assert (check.verdict, check.left, check.right) == ("nondifferentiable", "-1", "1")
    smooth = check_function(lambda x, y: x * x.abs() * y, at="x=0,y=1.5", order=2)
    check = entry(smooth, "d2f/dxdy")
    assert (check.verdict, check.exact) == ("match", "0")


class Sinhc(torch.autograd.Function):
    """sinh(x)/x; both of its rules are right."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return torch.sinh(x) / x

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.save_for_backward(*inputs, output)
        ctx.save_for_forward(*inputs, output)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, y = ctx.saved_tensors
        return g * (torch.cosh(x) - y) / x

    @staticmethod
    def jvp(ctx: Any, t: Tensor) -> Any:
        x, y = ctx.saved_tensors
        return t * (torch.cosh(x) - y) / x


def test_a_custom_jvp_is_not_differentiated_again() -> None:
    """A right jvp isn't blamed for it that torch takes its tangent for a constant: what is missing of x*sinh(x)/x is the part
    through it, so that 2*f' is left of the second derivative."""
    report = check_function(lambda x: x * Sinhc.apply(x), at="x=1.5", order=2, mode="forward")
    first, again = report.checks
    assert first.verdict == "match" and (again.verdict, again.cause) == ("mismatch", "no_gradient")
    assert "torch doesn't differentiate a custom jvp again: what the jvp of Sinhc" in again.detail
    left = 2 * mp.diff(lambda x: mp.sinh(x) / x, 1.5) / mp.sinh(1.5)
    assert abs(again.autograd / mp.mpf(again.exact) / left - 1) < 1e-12
    backwards = check_function(lambda x: x * Sinhc.apply(x), at="x=1.5", order=2)
    assert backwards.ok, str(backwards)
