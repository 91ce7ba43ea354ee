"""What is said of entries that two numbers don't settle."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gradcheck_cli import check_grad


class WrongMaximum(torch.autograd.Function):
    """Its gradient by the larger number is 5 % too large."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, y)
        return torch.maximum(x, y)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        x, y = ctx.saved_tensors
        return 1.05 * grad * (x > y), 1.05 * grad * (x <= y)


wrong_maximum = WrongMaximum.apply


@pytest.mark.parametrize(
    ("text", "found"),
    [("where(x > 0.1, x, 0.1)", 0.0), ("maximum(x, 0.1)", 0.5), ("minimum(x, 0.1)*x", 0.15), ("where(x > 0.1, 2*x, x)", 1.0)],
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_constant_that_is_rounded_onto_the_point_is_no_wrong_formula(text: str, found: float, dtype: str) -> None:
    """The float32 next to 0.1 is larger than the double 0.1, and equal to what torch makes of it: what is decided there is
    rounding. In float64, and where nothing is rounded, the kink is one."""
    (check,) = check_grad(text, at="x=0.1", dtype=dtype).checks
    assert check.verdict == "imprecise" and check.autograd == pytest.approx(found, rel=2e-2)
    assert "a constant of the formula" in (check.detail or "")
    assert check_grad(text, at="x=0.1").verdict == "nondifferentiable"
    assert check_grad(text.replace("0.1", "0.5"), at="x=0.5", dtype=dtype).verdict == "nondifferentiable"


def test_a_wrong_formula_beside_a_rounded_constant_stays_wrong() -> None:
    """A derivative that no rounding of constants gives is a mismatch."""
    for value in ("0.3", "2"):
        report = check_grad("maximum(x, 0.1)*x", at=f"x={value}", dtype="float32", callables={"maximum": wrong_maximum})
        assert report.verdict == "mismatch", value
