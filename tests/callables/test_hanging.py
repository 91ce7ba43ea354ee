"""Hooks that change a gradient are named, with their line; those that look on aren't."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from gradcheck_cli import check_function, check_model

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


class Scaled(nn.Module):
    """A layer whose backward hook makes its gradient a tenth."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 3), nn.Linear(3, 2)
        self.first.register_full_backward_hook(_a_tenth)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x).relu())  # type: ignore[no-any-return]


def _a_tenth(module: nn.Module, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(g * 0.1 for g in inputs)


class Redrawn(nn.Module):
    """A checkpoint that draws another mask when it runs again."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.dropout = nn.Linear(3, 3), nn.Dropout(0.5)

    def _part(self, x: Tensor) -> Tensor:
        return self.dropout(self.linear(x))  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self._part, x, use_reentrant=False, preserve_rng_state=False)  # type: ignore[no-any-return]


def test_the_hook_of_a_module_is_named() -> None:
    """With the line at which it is written: torch hangs it up where the module is called."""
    torch.manual_seed(1)
    report = check_model(Scaled().double(), input=[2, 3])
    line = _a_tenth.__code__.co_firstlineno
    found = [c for c in report.checks if c.verdict == "mismatch"]
    assert found and {c.cause for c in found} == {"formula"}
    assert f"without the backward hook of a module (test_hanging.py, line {line}) autograd's value is the derivative" in str(
        [c.detail for c in found]
    )


def test_no_kernel_is_blamed_for_a_hook() -> None:
    """What is followed runs without hooks on saved tensors, and is right: that autograd isn't is theirs. It is said twice,
    whatever torch's generator was at."""
    torch.manual_seed(1)
    network = Redrawn().double().train()
    reports = []
    for seed in (2, 3):
        torch.manual_seed(seed)
        reports.append(check_model(network, input=[2, 3], train=True))
    found = [c for c in reports[0].checks if c.verdict == "mismatch"]
    assert found and {c.cause for c in found} == {"formula"}
    assert all("without the hooks on saved tensors" in str(c.detail) for c in found)
    assert [c.autograd for c in reports[0].checks] == [c.autograd for c in reports[1].checks]
