"""What torch, or a user's callable, refuses at some points or in some dtypes: a row each, and the rest is judged."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from gradcheck_cli import InputError, Report, check_chain, check_grad, check_jacobian


def by_dtype(report: Report) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for check in report.checks:
        found.setdefault(check.dtype, set()).add(check.verdict.value)
    return found


@pytest.mark.parametrize("text", ["erfcx(x)", "log_ndtr(x)", "2*ndtri(x)", "zeta(2.5, x)"])
def test_a_dtype_without_a_kernel_loses_its_rows(text: str) -> None:
    """`--dtype all` judges what torch has kernels for; the others have no value, in torch's own words."""
    report = check_grad(text, at="x=0.625", dtype="all")
    found = by_dtype(report)
    assert found["float64"] == found["float32"] == {"match"}
    assert found["float16"] == found["bfloat16"] == {"outside_domain"}
    said = [c.detail or "" for c in report.checks if c.dtype == "float16"]
    assert said and all("torch has no value here" in text and "not implemented for 'Half'" in text for text in said)
    assert report.exit_code == 0


@pytest.mark.parametrize("mode", ["reverse", "grad", "func", "forward"])
def test_in_every_mode(mode: str) -> None:
    """Whatever the way to the derivative."""
    found = by_dtype(check_grad("bessel_j0(x)*x", at="x=0.625", dtype="float64,float16", mode=mode))
    assert found["float16"] == {"outside_domain"}
    assert "outside_domain" not in found["float64"]


def test_arrays_and_their_stages() -> None:
    """A chain on arrays, whose stages are judged by themselves too, loses the same rows."""
    found = by_dtype(check_chain("w = erfcx(x) | y = softmax(w)", at="x=[0.5,1,2]", dtype="float64,float16"))
    assert found == {"float64": {"match"}, "float16": {"outside_domain"}}
    found = by_dtype(check_jacobian("erfcx(x)*2", at="x=[0.5,1]", dtype="float64,bfloat16"))
    assert found == {"float64": {"match"}, "bfloat16": {"outside_domain"}}


def test_a_point_that_torch_raises_at_loses_itself() -> None:
    """gaussian_nll_loss takes no negative variance: the points beside it are judged."""
    at = ["x=1,t=2,v=0.5", "x=1,t=2,v=-0.5", "x=1,t=2,v=3"]
    report = check_grad("gaussian_nll_loss(x, t, v)", at=at)
    verdicts = {(c.point["v"], c.verdict.value) for c in report.checks}
    assert verdicts == {(0.5, "match"), (-0.5, "outside_domain"), (3.0, "match")}
    said = {c.detail for c in report.checks if c.point["v"] < 0}
    assert said == {"torch has no value here: gaussian_nll_loss: var has negative entry/entries"}


def test_what_torch_takes_nowhere_is_an_input_error() -> None:
    """A setting that no point has a value with is the user's to mend."""
    with pytest.raises(InputError, match="min_val"):
        check_grad("hardtanh(x, 2, 1)", at=["x=1", "x=2"])


class Picky(torch.autograd.Function):
    """sin; its backward raises above 2."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.sin(x)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        if (x > 2).any():
            raise RuntimeError("x is too large")
        return g * torch.cos(x)


def picky(x: Tensor) -> Tensor:
    assert (x > -2).all(), "x is too small"
    found: Tensor = Picky.apply(x)
    return found


def test_a_callable_that_raises_at_a_point() -> None:
    """What a forward pass refuses has no value, what a backward refuses no gradient; each at its own points."""
    report = check_grad("sin(x)", at="x=linspace(-3,3,7)", callables={"sin": picky})
    found = {c.point["x"]: (c.verdict.value, c.cause) for c in report.checks}
    assert found.pop(-3.0) == found.pop(-2.0) == ("outside_domain", None)
    assert found.pop(3.0) == ("mismatch", "no_gradient")
    assert set(found.values()) == {("match", None)}
    assert any("x is too large" in (c.detail or "") for c in report.checks)
