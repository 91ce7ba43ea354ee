"""What the dispatcher doesn't see: a wrong gradient behind it is no match, a right one no mismatch."""

from __future__ import annotations

import ctypes
import itertools
import struct
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode

from gradcheck_cli import check_function
from gradcheck_cli.verdict.verdicts import Verdict

AT = {"x": [0.7, -1.3, 2.1], "w": [0.4, 1.9, -0.6]}


def numpy_out(x: Tensor, w: Tensor, out: Tensor) -> Tensor:
    np.multiply(x.numpy(), w.numpy(), out=out.numpy())
    return out


def kernel(x: Tensor, w: Tensor, out: Tensor) -> Tensor:
    product = x * w
    ctypes.memmove(out.data_ptr(), product.data_ptr(), product.numel() * product.element_size())
    return out


def view_of_numpy(x: Tensor, w: Tensor, out: Tensor) -> Tensor:
    torch.from_numpy(out.numpy()).copy_(x * w)
    return out * 1


def dlpack(x: Tensor, w: Tensor, out: Tensor) -> Tensor:
    torch.from_dlpack(out.detach()).copy_(x * w)
    return out


def storage(x: Tensor, w: Tensor, out: Tensor) -> Tensor:
    out.untyped_storage().copy_((x * w).untyped_storage())
    return out


def bits_written(x: Tensor, w: Tensor, out: Tensor) -> Tensor:
    out.view(torch.int64).copy_((x * w).view(torch.int64))
    return out


def bits_moved(x: Tensor, w: Tensor, out: Tensor) -> Tensor:
    return (x * w).view(torch.int64).clone().view(x.dtype)


def bits_changed(x: Tensor, w: Tensor, out: Tensor) -> Tensor:
    return ((x * w).view(torch.int32) ^ 0).view(x.dtype) * 1


def bytes_copied(x: Tensor, w: Tensor, out: Tensor) -> Tensor:
    there = torch.empty(8 * x.numel(), dtype=torch.uint8)
    return there.copy_((x * w).view(torch.uint8)).view(x.dtype)


def thread(x: Tensor, w: Tensor, out: Tensor) -> Tensor:
    worker = threading.Thread(target=lambda: out.copy_(x.detach() * w.detach()))
    worker.start()
    worker.join()
    return out


def one_row(x: Tensor, w: Tensor, out: Tensor) -> Tensor:
    pair = torch.empty(2, *out.shape, dtype=out.dtype)
    pair[0] = 1
    np.multiply(x.numpy(), w.numpy(), out=pair.numpy()[1])
    return pair[0] * pair[1]


def from_numpy(x: Tensor, w: Tensor, out: Tensor) -> Tensor:
    return torch.from_numpy(x.numpy() * w.numpy())


def python_numbers(x: Tensor, w: Tensor, out: Tensor) -> Tensor:
    products = [struct.pack("d", a * b) for a, b in zip(x.tolist(), w.tolist(), strict=True)]
    return torch.stack([torch.full((), struct.unpack("d", p)[0], dtype=x.dtype) for p in products])


def items(x: Tensor, w: Tensor, out: Tensor) -> Tensor:
    return torch.tensor([(a * b).item() for a, b in zip(x, w, strict=True)], dtype=x.dtype)


def only_here(x: Tensor, w: Tensor, out: Tensor) -> Tensor:
    if x.tolist() != AT["x"]:
        raise ValueError("no other place is known")
    return from_numpy(x, w, out)


def otherwise(x: Tensor, w: Tensor, out: Tensor) -> Tensor:
    return x * w if _get_current_dispatch_mode() is None else torch.full_like(x, 0.25)


def not_watched(x: Tensor, w: Tensor, out: Tensor) -> Tensor:
    if _get_current_dispatch_mode() is not None:
        raise RuntimeError("no modes")
    return x * w


WAYS = (
    numpy_out, kernel, view_of_numpy, dlpack, storage, bits_written, bits_moved, bits_changed, bytes_copied, thread, one_row,
    from_numpy, python_numbers, items, only_here, otherwise, not_watched,
)  # fmt: skip


class Product(torch.autograd.Function):
    """x*w in one of these ways, with the right backward or with one that returns zeros."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, way: Callable[..., Tensor], make: Callable[..., Tensor], right: bool) -> Tensor:
        ctx.save_for_backward(x, w)
        ctx.right = right
        return way(x, w, make(x))

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, w = ctx.saved_tensors
        return (g * w, g * x, None, None, None) if ctx.right else (torch.zeros_like(g), torch.zeros_like(g), None, None, None)


@pytest.mark.parametrize(("way", "make"), list(itertools.product(WAYS, (torch.empty_like, torch.zeros_like))))
def test_memory_and_numbers_behind_torch_certify_nothing(way: Callable[..., Tensor], make: Callable[..., Tensor]) -> None:
    """However a number came to be without an operation, and whatever the allocator hands out: no match for zeros, no mismatch
    for the derivative, and the report says what couldn't be followed."""

    def wrong(x: Tensor, w: Tensor) -> Tensor:
        return Product.apply(x, w, way, make, False)  # type: ignore[no-any-return]

    def right(x: Tensor, w: Tensor) -> Tensor:
        return Product.apply(x, w, way, make, True)  # type: ignore[no-any-return]

    for _ in range(2):  # memory is handed out again
        refused = check_function(wrong, at=AT)
        assert refused.verdict in (Verdict.UNDECIDED, Verdict.MISMATCH)
        assert any("could not be followed" in note for note in refused.notes)
        assert check_function(right, at=AT).verdict is not Verdict.MISMATCH


def test_memory_written_in_a_backward_is_judged_by_its_numbers() -> None:
    """The forward pass is certified all the same: a wrong gradient is refused, a right one matches."""

    class Sine(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
            ctx.save_for_backward(x)
            ctx.factor = factor
            return x.sin()

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            out = torch.empty_like(g)
            np.multiply(g.numpy(), ctx.factor * np.cos(ctx.saved_tensors[0].detach().numpy()), out=out.numpy())
            return out, None

    assert check_function(lambda x: Sine.apply(x, 1.0), at={"x": AT["x"]}).verdict is Verdict.MATCH
    assert check_function(lambda x: Sine.apply(x, 0.5), at={"x": AT["x"]}).verdict is Verdict.MISMATCH


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.distributions.Categorical(probs=x).entropy(),  # insists on a sum of 1
        lambda x: torch.linalg.det(torch.diag(x).tril()) * 0.3,
        lambda x: torch.baddbmm(torch.empty(1, 1, 1, dtype=x.dtype), x.view(1, 1, 3), x.view(1, 3, 1), beta=0, alpha=0.3).sum(),
        lambda x: torch.empty_like(x).copy_(x) * 0.3,
        lambda x: torch.cat([torch.empty(0, dtype=x.dtype), x]).exp() * 0.3,
    ],
)
def test_what_is_filled_or_checked_by_right_code_is_a_match(function: Callable[[Tensor], Tensor]) -> None:
    """Memory that an operation fills, or ignores, and arguments that are validated, raise no doubt."""
    assert check_function(function, at={"x": [0.25, 0.5, 0.25]}).verdict is Verdict.MATCH


def test_a_value_that_is_no_number_has_no_slope() -> None:
    """x + nan and x + inf: 1 isn't certified as their derivative."""
    for value in (float("nan"), float("inf")):
        report = check_function(lambda x, value=value: x + value, at={"x": [0.7]})
        assert report.verdict in (Verdict.OUTSIDE_DOMAIN, Verdict.UNDECIDED)


@pytest.fixture
def library() -> Any:
    """A library of operations: define(name, body, backward) gives one as a function."""
    made = torch.library.Library("gradcheck_unseen", "DEF")  # type: ignore[no-untyped-call]

    def define(name: str, body: Any, backward: Any, key: str = "CPU") -> Callable[[Tensor], Tensor]:
        made.define(f"{name}(Tensor x) -> Tensor")  # type: ignore[no-untyped-call]
        made.impl(name, body, key)  # type: ignore[no-untyped-call]
        torch.library.register_autograd(
            f"gradcheck_unseen::{name}",
            lambda ctx, g: backward(ctx.saved_tensors[0], g),
            setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs),
            lib=made,
        )

        def function(x: Tensor) -> Tensor:
            return getattr(torch.ops.gradcheck_unseen, name)(x)  # type: ignore[no-any-return]

        return function

    yield define
    made._destroy()  # type: ignore[no-untyped-call]


def test_the_operations_of_a_library_are_judged_by_their_bodies(library: Any) -> None:
    """Whatever they are called: the body says what is computed, the registered backward is what is judged."""
    at = {"x": AT["x"]}
    right = [
        library("tanh", lambda x: x * x, lambda x, g: 2 * g * x),
        library("exp", lambda x: x.sin(), lambda x, g: g * x.cos(), "CompositeExplicitAutograd"),
    ]
    wrong = [
        library("silu", lambda x: x * torch.sigmoid(1.702 * x), lambda x, g: torch.ops.aten.silu_backward(g, x)),
        library("relu", lambda x: x * x, lambda x, g: g * (x > 0)),
    ]
    outside = library("sin", lambda x: torch.from_numpy(np.sin(x.detach().numpy())), lambda x, g: g * 0)
    assert [check_function(f, at=at).verdict for f in right] == [Verdict.MATCH] * 2
    assert [check_function(f, at=at).verdict for f in wrong] == [Verdict.MISMATCH] * 2
    report = check_function(outside, at=at)
    assert report.verdict is not Verdict.MATCH
    assert any("gradcheck_unseen::sin" in note for note in report.notes)


def test_custom_operations_of_python() -> None:
    """torch.library.custom_op: results, several results, arguments that are written to, and a backward that is missing."""

    @torch.library.custom_op("gradcheck_custom::add_square", mutates_args=("out",))
    def add_square(x: Tensor, out: Tensor) -> None:
        out.add_(x * x)

    @torch.library.custom_op("gradcheck_custom::two", mutates_args=())
    def two(x: Tensor) -> tuple[Tensor, Tensor]:
        return x.sin(), x * x

    @torch.library.custom_op("gradcheck_custom::bare", mutates_args=())
    def bare(x: Tensor) -> Tensor:
        return x.sin()

    two.register_autograd(
        lambda ctx, a, b: a * ctx.saved_tensors[0].cos() + b * 2 * ctx.saved_tensors[0],
        setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs),
    )

    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
            ctx.save_for_backward(x)
            ctx.factor = factor
            out = torch.zeros_like(x)
            add_square(x, out)
            return out

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            return ctx.factor * g * ctx.saved_tensors[0], None

    at = {"x": AT["x"]}
    assert check_function(lambda x: Square.apply(x, 2.0), at=at).verdict is Verdict.MATCH
    assert check_function(lambda x: Square.apply(x, 1.0), at=at).verdict is Verdict.MISMATCH
    assert check_function(lambda x: sum(two(x)), at=at).verdict is Verdict.MATCH
    assert check_function(lambda x: x + bare(x), at=at).verdict is Verdict.MISMATCH


@pytest.mark.parametrize("place", [0.7, 1e16])
def test_a_custom_operation_that_leaves_torch_is_opaque(place: float) -> None:
    """NumPy within a custom operation: what comes back is no constant, and a right backward isn't held to one."""

    @torch.library.custom_op(f"gradcheck_custom::numpy_{len(str(place))}", mutates_args=())
    def by_numpy(x: Tensor) -> Tensor:
        return torch.from_numpy(np.sin(x.detach().numpy())).to(x.dtype)

    by_numpy.register_autograd(
        lambda ctx, g: g * ctx.saved_tensors[0].cos(),
        setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs),
    )
    report = check_function(lambda x: by_numpy(x) * x, at={"x": torch.tensor([place], dtype=torch.float64)})
    assert "match" not in report.counts and not any("by itself" in (check.detail or "") for check in report.checks)
    assert any("could not be followed: gradcheck_custom::numpy" in note for note in report.notes)
