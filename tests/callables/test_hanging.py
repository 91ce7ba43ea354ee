"""Hooks that change a gradient are named, with their line; those that look on aren't."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from gradcheck_cli import check_function

X = torch.tensor([0.3, -0.7, 1.1], dtype=torch.float64)


def on_saved(x: Tensor) -> Tensor:
    with saved_tensors_hooks(lambda t: t.half(), lambda t: t.double() * 1.25):
        return x * x


def on_a_tensor(x: Tensor) -> Tensor:
    y = x.sin()
    if y.requires_grad:
        y.register_hook(lambda gradient: gradient * 2)
    return x * y


def on_a_node(x: Tensor) -> Tensor:
    y = x.sin()
    if y.grad_fn is not None:
        y.grad_fn.register_prehook(lambda gradients: tuple(g * 2 for g in gradients))
    return x * y


def on_several(x: Tensor) -> Tensor:
    y = x.sin()
    if y.requires_grad:
        torch.autograd.graph.register_multi_grad_hook((y,), lambda gradients: gradients[0].mul_(2) and None)  # type: ignore[func-returns-value, union-attr]
    return x * y


@pytest.mark.parametrize(
    ("function", "what", "line"),
    [
        (on_saved, "the hooks on saved tensors", 1),
        (on_a_tensor, "the hook on a gradient", 3),
        (on_a_node, "the hook on a gradient", 3),
    ],
)
def test_named(function: Callable[[Tensor], Tensor], what: str, line: int) -> None:
    """A hook that scales: with it the derivative is wrong, without it right."""
    report = check_function(function, at={"x": X})
    assert {c.cause for c in report.checks} == {"formula"}
    where = f"(test_hanging.py, line {function.__code__.co_firstlineno + line})"
    for check in report.checks:
        assert f"without {what} {where} autograd's value is the derivative" in str(check.detail)


def test_no_hook_is_to_blame() -> None:
    """Where the gradient is wrong without the hook too, none is named."""

    class Third(torch.autograd.Function):
        @staticmethod
        def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
            return x * 3

        @staticmethod
        def backward(ctx: torch.autograd.function.FunctionCtx, g: Tensor) -> Tensor:  # type: ignore[override]
            return g

    def function(x: Tensor) -> Tensor:
        y = Third.apply(x)
        if y.requires_grad:
            y.register_hook(lambda gradient: gradient * 2)
        return x * y  # type: ignore[no-any-return]

    report = check_function(function, at={"x": X})
    assert {c.cause for c in report.checks} == {"formula"}
    assert not any("without" in str(c.detail) for c in report.checks)
