"""Memory that is read before anything was written to it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from gradcheck_cli import check_function
from gradcheck_cli.verdict.verdicts import Cause, Verdict

AT = {"x": torch.tensor([0.4, -1.3, 2.1], dtype=torch.float64)}


def first_only(x: Tensor) -> Tensor:
    y = torch.empty_like(x)
    y[0] = x[0]
    return y * x


def filled(x: Tensor) -> Tensor:
    y = torch.empty_like(x)
    y.copy_(x * x)
    return y * x


class Backward(Function):
    """2x, whose backward fills one entry."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        found = g.new_empty(3)
        found[0] = 2 * g[0]
        return found


def test_unfilled_memory_is_named() -> None:
    """A mismatch, with the line that asked for it: of the forward pass, and of a backward, whatever happened to be there."""
    for call, name in (
        (first_only, f"torch.empty_like (test_unfilled.py, line {first_only.__code__.co_firstlineno + 1})"),
        (Backward.apply, "torch.new_empty ("),
    ):
        wrong = [c for c in check_function(call, at=AT).checks if c.verdict is Verdict.MISMATCH]
        told = [c for c in wrong if c.cause is Cause.CONVENTION]
        assert told and all(str(c.detail).startswith(name) and "read before" in str(c.detail) for c in told)


def test_memory_that_is_filled_is_no_finding() -> None:
    """x**3, through an empty tensor."""
    assert check_function(filled, at=AT).verdict is Verdict.MATCH
