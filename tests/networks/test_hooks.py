"""Hooks are judged where they hang, and the custom backwards of a network under the conditions of training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import Function

from gradcheck_cli import Report, check_model
from gradcheck_cli.networks.hooks import Subject

Hang = Callable[[nn.Module], Any]


def network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 2), nn.Tanh()).double()


def wrong(report: Report) -> set[tuple[str | None, str | None, str]]:
    """The cause, the layer to blame and the words of every mismatch."""
    return {(c.cause, c.stage, c.detail or "") for c in report.checks if c.verdict == "mismatch"}


# -- hooks --------------------------------------------------------------------------------------------------------------

CHANGING: list[tuple[Hang, str]] = [
    (lambda m: m[0].weight.register_hook(lambda g: 3 * g), "with the hooks on 0.weight autograd returns 3 times as much"),
    (lambda m: m[0].bias.register_hook(lambda g: -g), "with the hooks on 0.bias autograd returns -1 times as much"),
    (lambda m: m[0].weight.register_hook(lambda g: g.clamp(-0.01, 0.01)), "the hooks on 0.weight autograd returns something"),
    (lambda m: m[0].weight.register_hook(torch.zeros_like), "with the hooks on 0.weight autograd returns 0"),
    (lambda m: m[0].weight.register_hook(lambda g: g * (1 / 0)), "autograd fails: ZeroDivisionError"),
    (lambda m: m[0].bias.register_post_accumulate_grad_hook(lambda p: p.grad.mul_(2)), "0.bias autograd returns 2 times"),
]  # fmt: skip


@pytest.mark.parametrize(("hang", "text"), CHANGING, ids=range(len(CHANGING)))
def test_a_hook_that_changes_a_gradient(hang: Hang, text: str) -> None:
    """Functional copies have no hooks: the parameter itself is run, and the ratio told."""
    module = network()
    hang(module)
    found = wrong(check_model(module, input=3))
    assert {cause for cause, _, _ in found} == {"convention"}
    assert all(text in detail for _, _, detail in found) and found


OBSERVING: list[Hang] = [
    lambda m: m[0].weight.register_hook(lambda g: LOG.append(g.norm().item())),
    lambda m: m[0].bias.register_post_accumulate_grad_hook(lambda p: LOG.append(p.grad.norm().item())),
    lambda m: m[1].register_full_backward_hook(lambda module, before, after: LOG.append(after[0].norm().item())),
    lambda m: m[0].register_full_backward_pre_hook(lambda module, after: LOG.append(after[0].norm().item())),
    lambda m: m[0].register_forward_hook(lambda module, inputs, output: LOG.append(output.norm().item())),
    lambda m: m[0].weight.register_hook(lambda g: g.clone()),
]

LOG: list[float] = []


@pytest.mark.parametrize("hang", OBSERVING, ids=range(len(OBSERVING)))
def test_a_hook_that_looks(hang: Hang) -> None:
    """It is never held against a network."""
    module = network()
    hang(module)
    assert check_model(module, input=3).ok


def test_an_optimizer_in_a_hook_does_not_step() -> None:
    """Nothing of the network changes, and nothing is said against it."""
    module = network()
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)

    def step(parameter: Tensor) -> None:
        optimizer.step()
        optimizer.zero_grad()

    for parameter in module.parameters():
        parameter.register_post_accumulate_grad_hook(step)
    before = [p.detach().clone() for p in module.parameters()]
    assert check_model(module, input=3).ok
    assert all(torch.equal(p, q) and p.grad is None for p, q in zip(module.parameters(), before, strict=True))


def test_a_hook_on_an_input() -> None:
    """A tensor that the user gives keeps its hooks, and its `.grad`."""
    x = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64, requires_grad=True)
    x.register_hook(lambda g: g * 2)
    assert {detail for _, _, detail in wrong(check_model(network(), input=x))} == {
        "with the hooks on input autograd returns 2 times as much"
    }
    assert x.grad is None
    y = x.detach().requires_grad_()
    y.register_hook(lambda g: LOG.append(g.norm().item()))
    assert check_model(network(), input=y).ok


def test_hooks_in_every_dtype() -> None:
    """A parameter that is brought to another dtype runs with its hooks too."""
    module = network()
    module[0].weight.register_hook(lambda g: 3 * g)
    found = check_model(module, input=3, dtype=["float64", "float32"])
    assert {c.dtype for c in found.checks if c.verdict == "mismatch"} == {"float64", "float32"}


def test_the_tensors_that_carry_hooks() -> None:
    """Only those are run again."""
    module = network()
    assert Subject(module, {}).hooked() == {}
    module[0].bias.register_hook(lambda g: None)
    assert list(Subject(module, {}).hooked()) == ["0.bias"]


# -- conditions ---------------------------------------------------------------------------------------------------------


class Dense(Function):
    """x*w, wrong for an upstream gradient that isn't contiguous, and where w is frozen."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        return x * w

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, w = ctx.saved_tensors
        g = g if g.is_contiguous() else 2 * g
        return g * w * (1 if ctx.needs_input_grad[1] else 3), g * x


class Scale(nn.Module):
    """A layer with it."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([0.5, -1.0, 2.0]))

    def forward(self, x: Tensor) -> Tensor:
        """x*w."""
        return Dense.apply(x, self.w)  # type: ignore[no-any-return]


class Block(nn.Module):
    """It stands beside the layers."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        """x * f(x)."""
        return Dense.apply(x, self.inner(x))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("module", "stage"),
    [
        (lambda: nn.Sequential(nn.Linear(3, 3), Scale(), nn.Tanh()), "1 Scale"),
        (lambda: nn.Sequential(nn.Tanh(), Block()), "1 Block"),
        (Scale, None),
        (Block, None),
    ],
    ids=["a layer", "around layers", "the network, a layer", "the network, around layers"],
)
def test_a_custom_backward_within(module: Callable[[], nn.Module], stage: str | None) -> None:
    """The innermost module that holds it is named; what lies between it and the output hides nothing."""
    found = wrong(check_model(module().double(), input=3))
    assert {(cause, blamed) for cause, blamed, _ in found} == {("convention", stage)}
    assert any("with an expanded upstream gradient" in detail for _, _, detail in found)
    assert stage != "1 Scale" or any(
        "with w frozen (requires_grad=False) autograd returns 3" in detail for _, _, detail in found
    )


class Saving(Function):
    """Halves what it has saved."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        found = 2 * g * x
        x.data.mul_(0.5)
        return found


class Squares(nn.Module):
    """A layer with it."""

    def forward(self, x: Tensor) -> Tensor:
        """x*x."""
        return Saving.apply(x)  # type: ignore[no-any-return]


def test_what_a_backward_writes_into_is_told_first() -> None:
    """A damaged tensor makes every later run differ: the reason is said, and not its consequences."""
    found = wrong(check_model(nn.Sequential(nn.Linear(3, 3), Squares()).double(), input=3))
    text = "the backward of Saving writes into a tensor that it has saved: a second backward pass goes wrong"
    assert found == {("convention", "1 Squares", text)}


def test_some_outputs_alone() -> None:
    """Where one layer's outputs are asked for, the backwards behind them are tried."""
    module = nn.Sequential(nn.Linear(3, 3), Scale(), nn.Tanh()).double()
    assert check_model(module, input=3, layer="0", wrt="all").ok
    assert {cause for cause, _, _ in wrong(check_model(module, input=3, layer="1", wrt="all"))} == {"convention"}
