"""What goes wrong around a backward is told, by what it is; and nothing is told of a sound one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from gradcheck_cli import check_function
from tests.custom_functions.elementwise import Square


def backward(change: Any) -> Any:
    """Square with another backward: a function of ctx, the upstream gradient and x."""
    return type("Changed", (Square,), {"backward": staticmethod(lambda ctx, g: change(ctx, g, ctx.saved_tensors[0]))})


class Composable(Square):
    """In the style with setup_context."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x * x

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)


class WrongJvp(Composable):
    generate_vmap_rule = False

    @staticmethod
    def jvp(ctx: Any, t: Tensor) -> Tensor:
        return t * ctx.saved_tensors[0]


class RightJvp(Composable):
    generate_vmap_rule = False

    @staticmethod
    def jvp(ctx: Any, t: Tensor) -> Tensor:
        return 2 * t * ctx.saved_tensors[0]


class WrongVmap(Composable):
    generate_vmap_rule = False

    @staticmethod
    def vmap(info: Any, in_dims: Any, x: Tensor) -> Any:
        return WrongVmap.apply(x) * 2, 0


class Damaging(Square):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x.clone())
        y = x * x
        x.data.zero_()
        return y


class Dirty(Function):
    """Works in place, and says so."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x.exp_()
        ctx.mark_dirty(x)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return g * ctx.saved_tensors[0]


class Once(Square):
    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, g: Tensor) -> Any:
        return 2 * g * ctx.saved_tensors[0]


class Intermediate(Function):
    """Keeps s = sigmoid(x): a constant to the second derivative."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.s = torch.sigmoid(x)
        return ctx.s.clone()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return g * ctx.s * (1 - ctx.s)


class Recomputed(Square):
    """A sum over rows of g*x for the weight: torch sums a gradient that isn't summed."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(x, weight)
        return x * weight

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        return g * weight, g * x


RUNS = [0]


def _restless(ctx: Any, g: Tensor, x: Tensor) -> Tensor:
    RUNS[0] += 1
    return 2 * g * x * (1 + RUNS[0] / 64)


def _on_upstream(ctx: Any, g: Tensor, x: Tensor) -> Tensor:
    return g.mul_(x).mul_(2)


def _on_saved(ctx: Any, g: Tensor, x: Tensor) -> Tensor:
    found = 2 * g * x
    x.data.mul_(0.5)
    return found


BROKEN = [
    # Function, order, cause, a part of the text
    (backward(lambda ctx, g, x: (2 * g * x).sum()), 1, "no_gradient", "invalid gradient at index 0 - got []"),
    (backward(lambda ctx, g, x: None), 1, "no_gradient", "torch returned no gradient (None)"),
    (backward(lambda ctx, g, x: 1 / 0), 1, "no_gradient", "division by zero"),
    (backward(_restless), 1, "convention", "two backward passes of one forward pass differ"),
    (backward(_on_upstream), 1, "convention", "the backward pass writes into the upstream gradient of y"),
    (backward(_on_saved), 1, "convention", "writes into a tensor that it has saved: a second backward pass goes wrong"),
    (Damaging, 1, "convention", "the forward pass writes into x, without ctx.mark_dirty"),
    (WrongVmap, 1, "convention", "the vmap rule of WrongVmap disagrees with one run after another"),
    (WrongJvp, 1, "formula", None),
    (Once, 2, "no_gradient", "the backward of Once is once_differentiable: torch refuses to differentiate it"),
    (Intermediate, 2, "no_gradient", "Intermediate saves an intermediate result (ctx.s), which is a constant"),
]


def check(function: Any, order: int = 1) -> Any:
    return check_function(function, at={"x": torch.tensor([0.5, -1.5], dtype=torch.float64)}, order=order)


@pytest.mark.parametrize(("function", "order", "cause", "text"), BROKEN, ids=lambda v: v if isinstance(v, str) else None)
def test_broken(function: Any, order: int, cause: str, text: str | None) -> None:
    """The rule that is broken is told, with its cause."""
    found = [c for c in check(function, order).checks if c.verdict == "mismatch"]
    assert {c.cause for c in found} == {cause}
    assert text is None or all(text in c.detail for c in found)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("function", [Square, Composable, RightJvp, Dirty], ids=lambda f: f.__name__)
def test_sound(function: Any, order: int) -> None:
    """A Function that keeps the rules passes, in both orders, and nothing is said against it."""
    report = check(function, order)
    assert report.ok, str(report)
    assert [note for note in report.notes if not note.startswith("g:")] == []


@pytest.mark.parametrize("function", [Once, Intermediate])
def test_first_order_is_right(function: Any) -> None:
    """What breaks the second derivative only isn't held against the first."""
    assert check(function).ok


def test_a_gradient_of_another_dtype_is_noted() -> None:
    """torch converts it silently, and half of the digits are gone."""
    report = check(backward(lambda ctx, g, x: (2 * g * x).float()))
    (note,) = report.notes
    assert "of Changed returns, for argument 1, a gradient of dtype float32 for float64: torch converts it silently" in note


def test_a_gradient_of_another_shape_is_noted() -> None:
    """torch sums it silently where the shapes allow it: the number is right."""
    point = {"x": [[0.5, 1.5], [2.0, -1.0]], "weight": [2.0, 3.0]}
    report = check_function(Recomputed, at=point)
    assert report.ok
    (note,) = report.notes
    assert "of Recomputed returns, for argument 2, a gradient of shape (2, 2) for (2,): torch sums it silently" in note


class Powered(Function):
    """Arguments that are no tensors, before and between those that are."""

    @staticmethod
    def forward(ctx: Any, name: str, x: Tensor, power: int, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.power = power
        return x**power * weight

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        return None, g * ctx.power * x ** (ctx.power - 1) * weight, None, (g * x**ctx.power).sum(0)


def test_gradients_are_those_of_the_arguments_that_are_tensors() -> None:
    """A right backward with other arguments in between: nothing is said of shapes."""
    point = {"x": [[0.5, 1.5], [2.0, -1.0]], "weight": [2.0, 3.0]}
    report = check_function(lambda x, weight: Powered.apply("cube", x, 3, weight), at=point)
    assert report.ok and not any("returns, for argument" in note for note in report.notes), str(report)


def test_what_torch_means_otherwise_is_said() -> None:
    """The gradient of `ctc_loss` by log_probs alone is no derivative, and the reader is told what it is; after `log_softmax` it
    is one."""

    def loss(x: Tensor) -> Tensor:
        return torch.nn.functional.ctc_loss(x, torch.tensor([[1, 2]]), torch.tensor([4]), torch.tensor([2]))

    at = {"x": torch.linspace(-2, 1, 12, dtype=torch.float64).sin().reshape(4, 1, 3).log_softmax(-1)}
    alone, after = check_function(loss, at=at), check_function(lambda x: loss(x.log_softmax(-1)), at=at)
    assert alone.verdict == "mismatch" and after.verdict == "match"
    assert [any("after log_softmax only" in note for note in report.notes) for report in (alone, after)] == [True, False]
