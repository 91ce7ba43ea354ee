"""A backward is judged under the conditions in which training calls it: what is wrong under one of them is told by its name,
and right code never is."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from gradcheck_cli import check_function, gradcheck
from gradcheck_cli.callables.conditions import CONDITIONS, try_conditions
from gradcheck_cli.maps.map import Map, random_row
from tests.custom_functions import SUBJECTS, Subject

X = torch.tensor([[0.5, -1.5, 2.0], [1.25, 0.75, -0.25]], dtype=torch.float64)


def square(backward: Callable[[Any, Tensor, Tensor], Any], forward: Any = None) -> Any:
    """x*x with this backward, a function of ctx, the upstream gradient and x."""

    class Changed(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            return backward(ctx, g, *ctx.saved_tensors)

    if forward is not None:
        Changed.forward = staticmethod(forward)  # type: ignore[method-assign]
    return Changed


def product(backward: Callable[[Any, Tensor, Tensor, Tensor], Any]) -> Any:
    """x*w with this backward."""

    class Changed(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
            ctx.save_for_backward(x, w)
            return x * w

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            return backward(ctx, g, *ctx.saved_tensors)

    return Changed


def both(backward: Callable[[Any, Any, Any, Tensor], Any], materialize: bool = False, third: bool = False) -> Any:
    """2*x and x*x (and 3*x) with this backward."""

    class Changed(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Any:
            ctx.set_materialize_grads(materialize)
            ctx.save_for_backward(x)
            return (2 * x, x * x, 3 * x) if third else (2 * x, x * x)

        @staticmethod
        def backward(ctx: Any, *upstream: Any) -> Any:
            return backward(ctx, *upstream, *ctx.saved_tensors)

    return Changed


# -- wrong under a condition --------------------------------------------------------------------------------------------


def _raw(g: Tensor) -> Tensor:
    """The memory of a tensor from its start, as if it were contiguous."""
    held = torch.as_strided(g, (g.untyped_storage().nbytes() // g.element_size(),), (1,), 0)
    return held[torch.arange(g.numel()) % len(held)].view(g.shape)


class Memory(Function):
    """Keeps its input on the class: the last call wins."""

    x = torch.zeros(())

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        Memory.x = x.detach().clone()
        return x * x

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return 2 * g * Memory.x


class Stack(Function):
    """Keeps its inputs in a list, and takes the first one."""

    kept: list[Tensor] = []  # noqa: RUF012

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        Stack.kept = [*Stack.kept[-1:], x.detach().clone()]
        return x.exp()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return g * Stack.kept[-1].exp()


class Buffer(Function):
    """Returns a tensor that it uses again."""

    buffer = torch.zeros(())

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        if Buffer.buffer.shape != x.shape:
            Buffer.buffer = torch.zeros_like(x)
        return torch.mul(2 * g, x, out=Buffer.buffer)


class Previous(Function):
    """Takes what the call before kept."""

    kept: tuple[Any, ...] = (None, None)

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        Previous.kept = (Previous.kept[1], x.detach().clone())
        return x * x

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return 2 * g * (Previous.kept[1] if Previous.kept[0] is None else Previous.kept[0])


class Lagging(Previous):
    """The same, without a copy of its own at first."""

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x = Previous.kept[1] if Previous.kept[0] is None else Previous.kept[0]
        return g * x + g * x


class Mean(Previous):
    """Of two calls."""

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        before, now = Previous.kept
        return g * (now + (now if before is None else before))


class Shared(Function):
    """Saves a tensor that the next call overwrites, where autograd doesn't see it."""

    buffer = torch.zeros(())

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        if Shared.buffer.shape != x.shape:
            Shared.buffer = torch.zeros_like(x)
        Shared.buffer.copy_(x)
        ctx.x = Shared.buffer
        return x * x

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return 2 * g * ctx.x


class Workspace(Function):
    """Returns a part of a workspace."""

    space = torch.zeros(100, dtype=torch.float64)

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        part = Workspace.space[: x.numel()].view(x.shape)
        part.copy_(2 * g * x)
        return part


class Borrowed(Workspace):
    """The same, by way of another name."""

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        torch.mul(2 * g.reshape(-1), x.reshape(-1), out=Workspace.space[: x.numel()])
        return Workspace.space[: x.numel()].view(x.shape)


class Adding(Function):
    """Adds to .grad by itself."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.leaf = x
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        if x.is_leaf and not torch.is_grad_enabled():
            x.grad = 2 * g * x if x.grad is None else x.grad + 2 * g * x
        return 2 * g * x


class Reset(Adding):
    """Empties .grad, as if it were the only one."""

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        x.grad = None
        return 2 * g * x


class Once(Adding):
    """Gives nothing where there is something already."""

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return 2 * g * x if x.grad is None else torch.zeros_like(x)


def _needs(ctx: Any, found: Any, wrong: Any) -> Any:
    return found if all(ctx.needs_input_grad) else wrong


def _swapped(ctx: Any, g: Tensor, x: Tensor, w: Tensor) -> Any:
    return (g * w, g * x) if ctx.needs_input_grad[0] else (None, g * w)


def _listed(ctx: Any, g: Tensor, x: Tensor, w: Tensor) -> Any:
    """Gradients in the order of those that are asked for."""
    wanted = [t for t, need in zip((g * w, g * x), ctx.needs_input_grad, strict=True) if need]
    return (*wanted, None) if len(wanted) == 1 else tuple(wanted)


def _gives(ctx: Any, g: Any, h: Any, x: Tensor) -> Any:
    """Right with both, nothing with the second alone."""
    return None if g is None else 2 * g + (0 if h is None else 2 * h * x)


WRONG: dict[str, list[tuple[Any, Mapping[str, Tensor], str]]] = {
    "expanded": [
        (square(lambda ctx, g, x: 2 * x * _raw(g) * (1 + 2.0 * (0 in g.stride()))), {"x": X}, "returns 3 times as much"),
        (square(lambda ctx, g, x: 2 * x * (g / g.shape[0] if 0 in g.stride() else g)), {"x": X}, "returns 0.5 times as much"),
        (square(lambda ctx, g, x: 2 * g.add_(0) * x if 0 in g.stride() else 2 * g * x), {"x": X}, "fails: RuntimeError"),
    ],
    "expanded by rows": [
        (square(lambda ctx, g, x: 2 * x * (g if g.stride()[0] else g / 2)), {"x": X}, "returns 0.5 times as much"),
        (square(lambda ctx, g, x: 2 * x * (g if all(g.stride()) else g.sum(0))), {"x": X}, "returns 2 times as much"),
        (square(lambda ctx, g, x: 2 * x * (g if g.stride()[0] else None)), {"x": X}, "fails: TypeError"),
        (square(lambda ctx, g, x: 2 * x * g.view(-1).view(x.shape)), {"x": X}, "fails: RuntimeError: view size is not"),
    ],
    "transposed": [
        (square(lambda ctx, g, x: 2 * x * _raw(g)), {"x": X}, "something else for 4 of 6 entries"),
        (square(lambda ctx, g, x: 2 * x * g.view(-1).view(x.shape)), {"x": X}, "fails: RuntimeError"),
        (square(lambda ctx, g, x: 2 * x * (g if g.is_contiguous() else -g)), {"x": X}, "returns -1 times as much"),
    ],
    "strided": [
        (square(lambda ctx, g, x: 2 * x * _raw(g)), {"x": X[0]}, "something else for 2 of 3 entries"),
        (square(lambda ctx, g, x: 2 * x * g.as_strided(g.shape, (1,))), {"x": X[0]}, "something else for 2 of 3 entries"),
        (square(lambda ctx, g, x: 2 * x * torch.tensor(g.untyped_storage().tolist(), dtype=torch.uint8).view(g.dtype)[:3]),
         {"x": X[0]}, "something else for 2 of 3 entries"),
    ],
    "slice": [
        (square(lambda ctx, g, x: 2 * x * _raw(g)), {"x": X}, "returns something else"),
        (square(lambda ctx, g, x: 2 * x * g.as_strided(g.shape, g.stride(), 0)), {"x": X}, "returns something else"),
        (square(lambda ctx, g, x: 2 * x * (g if g.storage_offset() == 0 else g * 0)), {"x": X}, "returns 0"),
    ],
    "zeros": [
        (square(lambda ctx, g, x: 2 * g * x if g.any() else torch.ones_like(x)), {"x": X}, "returns a gradient that isn't 0"),
        (square(lambda ctx, g, x: 2 * x * (g / g.abs().max() * g.abs().max())), {"x": X}, "returns nan"),
        (square(lambda ctx, g, x: 2 * x * g if g.norm() else 1 / 0), {"x": X}, "fails: ZeroDivisionError: division by zero"),
    ],
    "large": [
        (square(lambda ctx, g, x: 2 * x * g.clamp(-1e3, 1e3)), {"x": X}, "with an upstream gradient 1.8e+19 times as large"),
        (square(lambda ctx, g, x: 2 * x * (g if g.norm() < 1e6 else g / g.norm())), {"x": X}, "times as much"),
        (square(lambda ctx, g, x: 2 * x * g.half().to(x.dtype)), {"x": X}, "returns inf"),
        (square(lambda ctx, g, x: (2 * x * g).nan_to_num(posinf=0) if g.abs().max() < 1e5 else 0 * g), {"x": X}, "returns 0"),
    ],
    "tiny": [
        (square(lambda ctx, g, x: 2 * x * torch.where(g.abs() < 1e-8, 0.0, g)), {"x": X}, "gradient 5.4e-20 times as large"),
        (square(lambda ctx, g, x: 2 * x * (g if g.abs().max() > 1e-12 else g * 2)), {"x": X}, "returns 2 times as much"),
        (square(lambda ctx, g, x: 2 * x * g if g.norm() > 1e-6 else None), {"x": X}, "returns no gradient"),
    ],
    "in parts": [
        (square(lambda ctx, g, x: 2 * x * g * (0 if (g == 0).any() and g.any() else 1)), {"x": X},
         "with an upstream gradient in parts (its entries one by one) the backward of Changed returns 0"),
        (square(lambda ctx, g, x: x * g * (1 if (g != 0).sum() == 1 else 2)), {"x": X}, "returns 0.5 times as much"),
        (square(lambda ctx, g, x: x if (g == 1).all() else 2 * x * g), {"x": X}, "in parts (ones and the rest) the backward"),
        (square(lambda ctx, g, x: 2 * x * (0 * g if (g < 0).all() else g)), {"x": X}, "in parts (-1 and the rest) the"),
    ],
    "create_graph": [
        (square(lambda ctx, g, x: 2 * x * g * (2 if torch.is_grad_enabled() else 1)), {"x": X}, "returns 2 times as much"),
        (square(lambda ctx, g, x: None if torch.is_grad_enabled() else 2 * g * x), {"x": X}, "returns no gradient"),
        (square(lambda ctx, g, x: g.detach() * x if torch.is_grad_enabled() else 2 * g * x), {"x": X}, "returns 0.5 times"),
    ],
    "alone": [
        (both(_gives), {"x": X}, "with output 1 used alone the backward of Changed returns no gradient"),
        (both(lambda ctx, g, h, x: 2 * g + 2 * h * x), {"x": X}, "fails: TypeError: unsupported operand type(s)"),
        (both(lambda ctx, g, h, x: 2 * g + 2 * h * x * (1 if g.any() else 2), True), {"x": X}, "returns something else"),
        (both(lambda ctx, g, h, x: _two(g, h, x) if h is not None else g), {"x": X},
         "with output 0 used alone the backward of Changed returns 0.5 times as much"),
    ],
    "unused": [
        (both(lambda ctx, g, h, k, x: 2 * g + 2 * h * x + 3 * k if None not in (g, h, k) else sum(
            (t for t in (g, h, k) if t is not None), torch.zeros_like(x)), third=True), {"x": X}, "with output 0 not used"),
        (both(lambda ctx, g, h, k, x: _three(g, h, k, x) if sum(t is None for t in (g, h, k)) != 1 else None, third=True),
         {"x": X}, "returns no gradient"),
        (both(lambda ctx, g, h, k, x: _three(g, h, k, x) * (2 if g is None and h is not None and k is not None else 1),
              third=True), {"x": X}, "with output 0 not used the backward of Changed returns 2 times as much"),
    ],
    "undefined": [
        (both(lambda ctx, g, h, x: x if g is None and h is None else _two(g, h, x)), {"x": X}, "a gradient that isn't 0"),
        (both(lambda ctx, g, h, x: (g if h is None else _two(g, h, x) if g is not None else 2 * h * x) * 1 if h is not None
              else 2 * g), {"x": X}, "with an undefined upstream gradient (None) autograd fails: TypeError"),
        (square(lambda ctx, g, x: 2 * g * x, lambda ctx, x: (
            ctx.set_materialize_grads(False), ctx.save_for_backward(x), x * x)[-1]), {"x": X}, "fails: TypeError"),
    ],
    "arguments": [
        (square(lambda ctx, g, x: 2 * g * _raw(x)), {"x": X}, "with arguments that are transposed in memory the backward of"),
        (square(lambda ctx, g, x: 2 * g * x.view(-1).view(g.shape)), {"x": X}, "fails: RuntimeError: view size is not"),
        (square(lambda ctx, g, x: 2 * g * (x if x.stride()[-1] == 1 else 0 * x)), {"x": X[0]},
         "with arguments whose entries are apart in memory the backward of Changed returns 0"),
        (square(lambda ctx, g, x: 2 * g * x.as_strided(x.shape, x.stride(), 0)), {"x": X[0]},
         "with arguments that are slices of larger tensors the backward of Changed returns something else"),
        (square(lambda ctx, g, x: g * (2 * x if all(x.stride()) else x)), {"x": X[:, :1].clone().expand(2, 3)},
         "with arguments whose rows are expanded from one the backward of Changed returns 0.5 times as much"),
        (square(lambda ctx, g, x: 2 * g * (x if x.stride()[1] > 1 else 0 * x)),
         {"x": X[None, :, :, None].repeat(1, 1, 1, 2)}, "with arguments in torch.channels_last the backward of Changed"),
    ],
    "channels_last": [
        (square(lambda ctx, g, x: 2 * g * x * (3 if g.stride()[-3:-2] == (1,) and x.is_contiguous() else 1)),
         {"x": X[None, :, :, None].repeat(1, 1, 1, 2)},
         "with an upstream gradient in torch.channels_last the backward of Changed returns 3 times as much"),
    ],
    "frozen": [
        (product(lambda ctx, g, x, w: _needs(ctx, (g * w, g * x), (3 * g * w, 3 * g * x))), {"x": X, "w": X + 1},
         "with x frozen (requires_grad=False) autograd returns 3 times as much"),
        (product(_swapped), {"x": X, "w": X + 1}, "with x frozen (requires_grad=False) autograd returns something else"),
        (product(_listed), {"x": X, "w": X + 1}, "with x frozen (requires_grad=False) autograd returns no gradient"),
        (product(lambda ctx, g, x, w: _needs(ctx, (g * w, g * x), 1 / 2)), {"x": X, "w": X + 1}, "autograd fails: "),
        (lambda a, b, c: product(lambda ctx, g, x, w: _needs(ctx, (g * w, g * x), (g, g))).apply(a * b, c),
         {"a": X, "b": X + 1, "c": X + 2}, "with c frozen"),
    ],
    "again": [
        (Previous, {"x": X}, "with a second call autograd returns 0.5 times as much"),
        (Lagging, {"x": X}, "with a second call autograd returns 0.5 times as much"),
        (Mean, {"x": X}, "with a second call autograd returns 0.75 times as much"),
    ],
    "between": [
        (Memory, {"x": X}, "with another call before its backward pass autograd returns 0.5 times as much"),
        (Stack, {"x": X}, "with another call before its backward pass autograd returns something else"),
        (Shared, {"x": X}, "with another call before its backward pass autograd returns 0.5 times as much"),
    ],
    "kept": [
        (Buffer, {"x": X}, "with a later call, which overwrites the gradient of an earlier one, autograd returns 0.5 times"),
        (Workspace, {"x": X}, "with a later call, which overwrites the gradient of an earlier one, autograd returns 0.5 times"),
        (Borrowed, {"x": X}, "with a later call, which overwrites the gradient of an earlier one, autograd returns 0.5 times"),
    ],
    "accumulated": [
        (Adding, {"x": X}, "with backward() autograd returns 2 times as much"),
        (Reset, {"x": X}, "with a second backward(), which adds to .grad, autograd returns 0.5 times as much"),
        (Once, {"x": X}, "with a second backward(), which adds to .grad, autograd returns 0.5 times as much"),
    ],
}  # fmt: skip


def _two(g: Any, h: Any, x: Tensor) -> Any:
    return None if g is None and h is None else (0 if g is None else 2 * g) + (0 if h is None else 2 * h * x)


def _three(g: Any, h: Any, k: Any, x: Tensor) -> Any:
    first = _two(g, h, x)
    return first if k is None else 3 * k + (0 if first is None else first)


CASES = [(name, *case) for name, cases in WRONG.items() for case in cases]


@pytest.mark.parametrize(("name", "function", "at", "text"), CASES, ids=[f"{c[0]}-{i}" for i, c in enumerate(CASES)])
def test_wrong(name: str, function: Any, at: Mapping[str, Tensor], text: str) -> None:
    """The plain run is right, the run under this condition isn't: mismatch, by convention, and the condition is named."""
    found = [c for c in check_function(function, at=at).checks if c.verdict == "mismatch"]
    assert {c.cause for c in found} == {"convention"}
    own = [c.detail or "" for c in found if c.quantity.startswith(f"{name}: ")]
    assert any(text in detail for detail in own), [(c.quantity, c.detail) for c in found]


def test_every_condition_has_been_seen_to_fail() -> None:
    """No row of the table is one that can't fail; hooks hang on networks."""
    assert {c.name for c in CONDITIONS} == {*WRONG, "hooks"}


def test_what_was_tried_is_recorded() -> None:
    """A report says under which conditions each custom backward was tried; one without any says nothing of them."""
    right = square(lambda ctx, g, x: 2 * x * g)
    found = check_function(right, at={"x": X}).problem["conditions"]
    assert {"expanded", "transposed", "zeros", "large", "tiny", "in parts", "create_graph"} <= set(found["Changed"])
    assert {"again", "between", "kept", "accumulated"} <= set(found["<v,y>"])
    assert "conditions" not in check_function(torch.sin, at={"x": X}).problem


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.filterwarnings("ignore:Backwards compatibility")  # torch says so beside its own error
def test_the_drop_in_refuses_it(name: str) -> None:
    """The same table serves the drop-in."""
    function, at, _ = WRONG[name][0]
    inputs = tuple(x.clone().requires_grad_() for x in at.values())
    assert not gradcheck(getattr(function, "apply", function), inputs, raise_exception=False)
    assert name == "accumulated" or all(x.grad is None for x in inputs)  # there the function itself leaves something


# -- never weaker than torch.autograd.gradcheck -------------------------------------------------------------------------


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.filterwarnings("ignore:Backwards compatibility")
def test_what_torch_refuses_is_refused(name: str) -> None:
    """What torch's own check refuses, and it runs outputs one by one and without an upstream gradient, is refused here too."""
    for function, at, _ in WRONG[name]:
        inputs = tuple(x.clone().requires_grad_() for x in at.values())
        call = getattr(function, "apply", function)
        try:
            theirs = torch.autograd.gradcheck(call, inputs, raise_exception=False)
        except (TypeError, ZeroDivisionError, RuntimeError):
            theirs = False
        assert theirs or not check_function(function, at=at).ok


def test_an_operation_of_torch_that_ignores_an_output() -> None:
    """native_group_norm gives no gradient where only its mean or its rstd is used."""
    report = check_function(lambda x: torch.native_group_norm(x, None, None, 1, 6, 3, 2, 1e-5), shape="x=1,6,3")
    found = [c for c in report.checks if c.verdict == "mismatch"]
    assert {c.cause for c in found} == {"convention"}
    assert {c.detail for c in found if c.quantity.startswith("alone")} == {
        f"with {y} used alone autograd returns no gradient" for y in ("y1", "y2")
    }


# -- right code ---------------------------------------------------------------------------------------------------------


class Unmaterialized(Function):
    """Three outputs, each gradient may be missing."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Any:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x)
        return 2 * x, x * x, 3 * x

    @staticmethod
    def backward(ctx: Any, g: Any, h: Any, k: Any) -> Any:
        return _three(g, h, k, *ctx.saved_tensors)


class Marked(Function):
    """Of its outputs only the first is differentiable."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, n: int, flag: bool = True) -> Any:
        order, rounded = x.argsort(), x.round()
        ctx.mark_non_differentiable(order, rounded)
        ctx.n = n
        ctx.set_materialize_grads(False)
        return x * n, order, rounded

    @staticmethod
    def backward(ctx: Any, g: Any, *ignored: Any) -> Any:
        assert all(i is None for i in ignored)
        return None if g is None else g * ctx.n, None, None


class View(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.shape = x.shape
        return x.view(-1)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return g.reshape(ctx.shape)


class Dirty(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x.exp_()
        ctx.mark_dirty(x)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return g * ctx.saved_tensors[0]


Square = next(s.function for s in SUBJECTS if s.name == "Square")


class Single(Square):  # type: ignore[misc,valid-type]
    """once_differentiable, by way of NumPy."""

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return torch.from_numpy(2 * g.numpy() * x.numpy())


class InPlace(Function):
    """Works on its own copy of the upstream gradient, with operations that create_graph refuses."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return torch.mul(2 * g, ctx.saved_tensors[0], out=torch.empty_like(g))


class Lean(Function):
    """Only what is asked for."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, w if ctx.needs_input_grad[0] else None)
        return x * w

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, w = ctx.saved_tensors
        return None if w is None else g * w, None if x is None else g * x


class Forces(Function):
    """Its backward differentiates again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.tanh(x)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        with torch.enable_grad():
            x = ctx.saved_tensors[0].detach().requires_grad_()
            return torch.autograd.grad(torch.tanh(x), x, g)


def observed(x: Tensor) -> Any:
    """Hooks that look, and would fail without a gradient."""
    seen: list[float] = []
    x = x * 1
    x.register_hook(lambda g: seen.append(float(g.norm())))
    y = Single.apply(x)
    if y.requires_grad:
        y.register_hook(lambda g: seen.append(float(g.norm())))
    return y, x.sin()


def forces(x: Tensor) -> Tensor:
    """A gradient as output: it needs its input to require one."""
    return torch.autograd.grad(Square.apply(x).sum(), x, create_graph=True)[0]


def nan_beside(x: Tensor) -> Any:
    """An output with an infinite derivative beside one without: 0*inf isn't a fault."""
    return x.sqrt(), Square.apply(x)


def ill_conditioned(x: Tensor) -> Any:
    """What is added up cancels."""
    big = Square.apply(x * 1e6)
    return big - 1e12 * x * x + x, (big + 1).softmax(-1)


RIGHT: list[tuple[Any, tuple[Tensor, ...]]] = [
    (Unmaterialized.apply, (X,)),
    (lambda x: Unmaterialized.apply(x)[2], (X,)),
    (lambda x: Marked.apply(x, 3), (X,)),
    (lambda x: Marked.apply(x, 3)[0].sin(), (X,)),
    (View.apply, (X,)),
    (lambda x: View.apply(x.t().contiguous().t()), (torch.ones(2, 1, dtype=torch.float64),)),
    (lambda x: Dirty.apply(x.clone()), (X,)),
    (Single.apply, (X,)),
    (InPlace.apply, (X,)),
    (Lean.apply, (X, X + 1)),
    (lambda x, w, b: Lean.apply(Lean.apply(x, w), b).sum(), (X, X + 1, X + 2)),
    (Forces.apply, (X,)),
    (lambda x: Square.apply(x).sum(), (X,)),
    (lambda x: Square.apply(x).t().reshape(-1)[::2], (X,)),
    (lambda x: torch.cat([Square.apply(x), x]), (X,)),
    (lambda x: Square.apply(x).mean(0), (X,)),
    (lambda x: checkpoint(Square.apply, x, use_reentrant=False), (X,)),
    (lambda x: checkpoint(lambda t: Unmaterialized.apply(t.sin())[1], x, use_reentrant=False), (X,)),
    (lambda x: torch.nn.functional.dropout(Square.apply(x), 0.5), (X,)),
    (lambda x: Square.apply(torch.empty_like(x).bernoulli_(0.5) * x), (X,)),
    (lambda x: Square.apply(x) if x.is_contiguous() else 1 / 0, (X,)),
    (observed, (X,)),
    (forces, (X,)),
    (nan_beside, (torch.tensor([0.0, 1.0], dtype=torch.float64),)),
    (ill_conditioned, (X,)),
    (lambda x: torch.fft.rfft(Square.apply(x)).abs(), (X,)),
    (lambda x: Square.apply(x.to(torch.complex128) * (1 + 2j)).real, (X,)),
    (lambda x: (x.sin(), x.cos(), x.sum()), (X,)),
    (lambda x: torch.linalg.qr(x.T), (X,)),
    (lambda x: tuple(x.unbind()), (X,)),
    (lambda x: torch.var_mean(x), (X,)),
    (lambda x: torch.sort(x), (X,)),
]  # fmt: skip


def tried(function: Any, inputs: tuple[Tensor, ...]) -> list[Any]:
    """What doesn't hold of a function."""

    def call(leaves: Mapping[str, Tensor]) -> dict[str, Tensor]:
        found = function(*leaves.values())
        found = found if isinstance(found, tuple) else (found,)
        return {f"y{i}": y for i, y in enumerate(found)}

    map = Map({f"x{i}": x for i, x in enumerate(inputs)}, call)
    outputs = {name: y for name, y in map(map.leaves()).items() if y.requires_grad}
    return [(c.quantity, c.details) for c in try_conditions(map, random_row(outputs, 0), {})]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize(("function", "inputs"), RIGHT, ids=range(len(RIGHT)))
def test_right(function: Any, inputs: tuple[Tensor, ...], dtype: torch.dtype) -> None:
    """No condition is held against code that keeps the rules."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert tried(function, tuple(x.to(dtype) for x in inputs)) == []


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda s: s.name)
def test_every_right_function(subject: Subject, dtype: torch.dtype) -> None:
    """All right Functions of the tests, in every format."""
    tensors = subject.tensors(dtype)
    floats = tuple(x for x in tensors.values() if x.is_floating_point())

    def function(*given: Tensor) -> Any:
        moved = iter(x.clone() for x in given)  # one works in place
        return subject.function.apply(*(next(moved) if x.is_floating_point() else x for x in tensors.values()))

    assert tried(function, floats) == []


def test_a_formula_that_is_wrong_is_not_said_twice() -> None:
    """Conditions are compared with the plain run: where that is wrong, its cause stands alone."""
    wrong = next(s for s in SUBJECTS if s.name == "SiLU")
    report = check_function(wrong.mutants["missing upstream"], at=wrong.tensors())
    assert {c.cause for c in report.checks if c.verdict == "mismatch"} == {"formula"}


def test_an_operation_with_register_autograd() -> None:
    """torch.library.custom_op: its backward is a custom one, and named."""
    if not hasattr(torch.library, "custom_op"):
        return

    @torch.library.custom_op("gradcheck_conditions::square", mutates_args=())
    def operation(x: Tensor) -> Tensor:
        return x * x

    def backward(ctx: Any, g: Tensor) -> Tensor:
        return 2 * ctx.saved_tensors[0] * (g if g.is_contiguous() else 3 * g)

    operation.register_autograd(backward, setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs))
    found = tried(operation, (X,))
    assert {quantity.partition(":")[0] for quantity, _ in found} == {"expanded", "expanded by rows", "transposed", "strided"}
    assert "square" in found[0][0]
