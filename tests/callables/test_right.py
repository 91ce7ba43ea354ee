"""Right code that must not be called wrong, and the wrong backward in the same place: checkpoints, compilers, outputs that
nobody differentiates, formats and forward mode within a function."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import Function, forward_ad
from torch.autograd.graph import register_multi_grad_hook, save_on_cpu, saved_tensors_hooks
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

from gradcheck_cli import GradcheckError, check_function, gradcheck
from tests.custom_functions.elementwise import tripled_sine

X = torch.tensor([0.3, -0.7, 1.1], dtype=torch.float64)


def sine(x: Tensor) -> Tensor:
    return x.sin()


Around = Callable[[Callable[[Tensor], Tensor]], Callable[[Tensor], Tensor]]


def saving(pack: Callable[[Tensor], Any], unpack: Callable[[Any], Tensor]) -> Around:
    """With these hooks on what is saved."""

    def around(f: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def function(x: Tensor) -> Tensor:
            with saved_tensors_hooks(pack, unpack):
                return f(x)

        return function

    return around


def _within(block: AbstractContextManager[Any], f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    with block:
        return f(x)


def pickled(x: Tensor) -> bytes:
    written = io.BytesIO()
    torch.save(x, written)
    return written.getvalue()


def hooked(f: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """With hooks of every kind that look on."""

    def function(x: Tensor) -> Tensor:
        y = f(x)
        if y.grad_fn is not None:
            register_multi_grad_hook((x, y), lambda gradients: None)
            y.register_hook(lambda gradient: None)
            y.retain_grad()
            y.grad_fn.register_hook(lambda inputs, outputs: None)
            y.grad_fn.register_prehook(lambda outputs: None)
        return y

    return function


_SELECTIVE = partial(create_selective_checkpoint_contexts, [torch.ops.aten.sin.default])

AROUND: dict[str, Around] = {
    "selective": lambda f: lambda x: checkpoint(f, x, use_reentrant=False, context_fn=_SELECTIVE),
    "on_cpu": lambda f: lambda x: _within(save_on_cpu(), f, x),
    "clone": saving(torch.clone, lambda x: x),
    "numpy": saving(lambda x: x.detach().numpy().copy(), torch.from_numpy),
    "pickle": saving(pickled, lambda written: torch.load(io.BytesIO(written))),
    "hooks": hooked,
    "cond": lambda f: lambda x: torch.cond(x.sum() > -9, lambda t: f(t), lambda t: t * 2, (x,)),
    "checkpoint": lambda f: lambda x: checkpoint(f, x, use_reentrant=False),
    "reentrant": lambda f: lambda x: checkpoint(f, x, use_reentrant=True),
    "nested": lambda f: lambda x: checkpoint(lambda t: checkpoint(f, t, use_reentrant=True), x, use_reentrant=True),
    "tuple": lambda f: lambda x: checkpoint(lambda t, *, scale: (f(t) * scale, t), x, scale=1, use_reentrant=False)[0],
    "eager": lambda f: torch.compile(lambda x: f(x), backend="eager", fullgraph=True),
    "inside": lambda f: lambda x: torch.compile(lambda t: f(t), backend="eager")(x),
    "aot_eager": lambda f: torch.compile(lambda x: f(x), backend="aot_eager"),
}


if tuple(map(int, torch.__version__.split(".")[:2])) < (2, 9):
    del AROUND["cond"]  # no mode sees it there


@pytest.mark.parametrize(
    ("kind", "dtype"), [*((kind, "float64") for kind in AROUND), ("checkpoint", "float32"), ("inside", "float32")]
)
def test_what_changes_no_gradient(kind: str, dtype: str) -> None:
    """A checkpoint, or a compiler, leaves the cosine the derivative of the sine, and 3 times the cosine wrong."""
    right = check_function(AROUND[kind](sine), at={"x": X}, dtype=dtype)
    assert right.verdict == "match", str(right)
    v = next(v for n, v in right.checks[0].point.items() if n.startswith("v"))
    truth = [w * math.cos(float(torch.tensor(x, dtype=getattr(torch, dtype)))) for w, x in zip(v, X.tolist(), strict=True)]
    assert [float(c.exact) for c in right.checks] == pytest.approx(truth, rel=1e-15)
    wrong = check_function(AROUND[kind](tripled_sine), at={"x": X}, dtype=dtype)
    assert wrong.verdict == "mismatch", str(wrong)
    assert {c.cause for c in wrong.checks if c.verdict == "mismatch"} == {"formula"}


REFUSED = ("selective", "hooks")
"""What torch's own check refuses: a second backward pass, and an upstream gradient that isn't there."""


@pytest.mark.parametrize("kind", [kind for kind in AROUND if kind not in REFUSED])
def test_the_drop_in_around_them(kind: str) -> None:
    """It takes the one and refuses the other, and leaves torch's own check able to run a compiled function."""
    function = AROUND[kind](sine)
    leaf = X.clone().requires_grad_()
    leaf.grad = torch.ones_like(leaf)
    assert gradcheck(function, leaf)
    assert torch.equal(leaf.grad, torch.ones_like(leaf))
    if "reentrant" not in kind and "nested" not in kind:
        assert torch.autograd.gradcheck(function, leaf)
    with pytest.raises(GradcheckError):
        gradcheck(AROUND[kind](tripled_sine), X.clone().requires_grad_())


class Statistics(Function):
    """The squares, and their mean, which isn't differentiable; without a mark nobody says so, and it is 0."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        mean = x.mean()
        ctx.mark_non_differentiable(mean)
        ctx.save_for_backward(x)
        return x * x, mean

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Any) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return 2 * x * gradient


@pytest.mark.parametrize(
    "function",
    [
        lambda x: Statistics.apply(x),
        lambda x: (x.sin(), x.mean().detach()),
        lambda x: torch._native_batch_norm_legit(x.view(1, 1, 3), None, None, True, 0.1, 1e-5),
    ],
)
def test_outputs_without_a_graph(function: Callable[[Tensor], Any]) -> None:
    """What requires no gradient while others do is not judged, and that is said."""
    report = check_function(function, at={"x": X})
    assert report.verdict == "match", str(report)
    assert any("y1 requires no gradient" in note for note in report.notes)


def test_the_only_output_without_a_graph() -> None:
    """One that lost its graph, and is all that there is, stays without a gradient."""
    report = check_function(lambda x: (x.sin().detach(), x.cos().detach()), at={"x": X})
    assert {(c.verdict, c.cause) for c in report.checks} == {("mismatch", "no_gradient")}


def autocast(x: Tensor) -> Tensor:
    weights = torch.tensor([[0.3, -0.7, 0.11], [0.9, 0.2, -0.4]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return torch.nn.functional.linear(x, weights).float().tanh()


def half(x: Tensor) -> Tensor:
    return (x.half() * 1.1).sin().to(x.dtype)


@pytest.mark.parametrize(
    ("function", "words"), [(autocast, "autocast rounds to bfloat16"), (half, "the function rounds to float16")]
)
def test_shorter_formats_within(function: Callable[[Tensor], Tensor], words: str) -> None:
    """Digits that they take are theirs, no cancellation's."""
    report = check_function(function, at={"x": X}, dtype="float32")
    assert report.verdict == "imprecise", str(report)
    assert all(words in (c.detail or "") for c in report.checks if c.verdict == "imprecise")
    assert "cancellation" not in str(report)


def pushed(x: Tensor) -> Tensor:
    with forward_ad.dual_level():
        y = forward_ad.make_dual(x, torch.ones_like(x)).sin()
        tangent: Tensor = forward_ad.unpack_dual(y).tangent
        return tangent


@pytest.mark.parametrize("function", [pushed, lambda x: torch.func.jvp(torch.sin, (x,), (torch.ones_like(x),))[1]])
def test_forward_mode_within(function: Callable[[Tensor], Tensor]) -> None:
    """Its gradient is judged; what torch can't do with it in forward mode says nothing of it."""
    assert check_function(function, at={"x": X}, order=2).verdict == "match"
    assert check_function(function, at={"x": X}, mode="forward").verdict in ("match", "undecided")


def test_parameters_that_only_a_reentrant_backward_meets() -> None:
    """A home-made checkpoint, whose backward runs another backward: what that leaves in `.grad` is the gradient. That there is
    none where its input is frozen is a fault of such a checkpoint."""

    class Again(Function):
        @staticmethod
        def forward(ctx: Any, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
            ctx.function, ctx.x = function, x
            with torch.no_grad():
                return function(x)

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:  # type: ignore[override]
            x = ctx.x.detach().requires_grad_()
            with torch.enable_grad():
                torch.autograd.backward(ctx.function(x), gradient)
            return None, x.grad

    report = check_function(lambda x, w: Again.apply(lambda t: t * w, x), at={"x": X, "w": X + 1})
    assert {c.verdict for c in report.checks if c.quantity.startswith("d<v,y>/d")} == {"match"}, str(report)
    assert {c.detail for c in report.checks if c.cause == "convention"} == {
        "with x frozen (requires_grad=False) autograd returns no gradient"
    }
