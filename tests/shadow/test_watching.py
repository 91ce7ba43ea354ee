"""Dispatch modes under torch's own tracers, with operators of higher order, and with classes of tensors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mpmath
import pytest
import torch
from torch import Tensor
from torch._higher_order_ops.scan import scan
from torch._higher_order_ops.while_loop import while_loop
from torch.autograd import Function
from torch.func import functionalize, linearize
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

from gradcheck_cli import check_function
from gradcheck_cli.shadow.watching import Watching

X = torch.tensor([0.3, -0.7, 1.1], dtype=torch.float64)


class Wrapped(torch.Tensor):
    """A tensor beside another one, which does the work."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> Wrapped:
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)  # type: ignore[attr-defined, no-any-return]

    def __init__(self, inner: Tensor) -> None:
        self.inner = inner

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        args, kwargs = pytree.tree_map_only(Wrapped, lambda w: w.inner, (args, kwargs or {}))
        return pytree.tree_map_only(Tensor, Wrapped, func(*args, **kwargs))


class Wrap(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Any:
        return Wrapped(x)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g.inner


def unwrapping(factor: float) -> type[Function]:
    class Unwrap(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x.inner

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return Wrapped(g * factor)

    return Unwrap


def through(factor: float) -> Callable[[Tensor], Tensor]:
    return lambda x: unwrapping(factor).apply(Wrap.apply(x).sin() * 2)  # type: ignore[no-any-return]


def twice(x: Tensor) -> Tensor:
    return x.sin() * 2


def pushed(x: Tensor) -> Tensor:
    """The derivative along x of a function whose point is fixed: 2*cos(1/2)*x."""
    found: Tensor = linearize(twice, torch.full_like(x, 0.5))[1](x)
    return found


FUNCTIONS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Any], Any]]] = {
    "linearize": (lambda x: linearize(twice, x)[0], lambda x: 2 * mpmath.sin(x)),
    "its push": (pushed, lambda x: 2 * mpmath.cos(0.5) * x),
    "make_fx": (lambda x: make_fx(twice)(torch.ones_like(x))(x), lambda x: 2 * mpmath.sin(x)),
    "functionalize": (lambda x: functionalize(lambda t: t.clone().sin_().mul_(2))(x), lambda x: 2 * mpmath.sin(x)),
    "cond": (lambda x: torch.cond(x.sum() > 9, torch.cos, twice, (x,)), lambda x: 2 * mpmath.sin(x)),
    "while": (
        lambda x: while_loop(lambda i, t: i < 2, lambda i, t: (i + 1, t.sin() * 2), (torch.tensor(0), x))[1],
        lambda x: 2 * mpmath.sin(2 * mpmath.sin(x)),
    ),
    "scan": (
        lambda x: scan(lambda c, t: (c + 1, t.sin() * c), torch.ones((), dtype=x.dtype), x.expand(1, 3))[1][0],
        mpmath.sin,
    ),
    "a class": (through(1.0), lambda x: 2 * mpmath.sin(x)),
    "nested": (
        lambda x: (torch.nested.as_nested_tensor([x, x * 2], layout=torch.jagged).sin() * 2).values()[:3],
        lambda x: 2 * mpmath.sin(x),
    ),
}  # fmt: skip


NEWER = ("linearize", "its push", "cond", "while", "scan", "nested")
OLD = tuple(map(int, torch.__version__.split(".")[:2])) < (2, 9)


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if not (OLD and name in NEWER)])
def test_what_runs_within_is_followed(name: str) -> None:
    """The exact derivative is mpmath's, and autograd's value matches it: nothing was opaque."""
    function, plain = FUNCTIONS[name]
    report = check_function(function, at={"x": X})
    assert report.verdict == "match", str(report)
    assert not any("could not be followed" in note for note in report.notes)
    weights = next(v for n, v in report.checks[0].point.items() if n.startswith("v"))
    with mpmath.workdps(30):
        truth = [float(w * mpmath.diff(plain, x)) for w, x in zip(weights, X.tolist(), strict=True)]
    assert [float(c.exact) for c in report.checks] == pytest.approx(truth, rel=1e-14)


def test_a_wrong_backward_of_a_class_of_tensors() -> None:
    """One that scales is refuted, and the factor named."""
    report = check_function(through(1.5), at={"x": X})
    assert {c.cause for c in report.checks} == {"formula"}
    assert "autograd is 1.5 times exact" in str(report.checks[0].detail)


@pytest.mark.slow(reason="torch traces each run anew")
def test_what_linearize_takes_for_a_constant() -> None:
    """torch folds what depends on the point: by that there is no gradient, which is said."""
    report = check_function(lambda x: linearize(twice, x)[1](torch.ones_like(x)), at={"x": X})
    assert {(c.verdict, c.cause) for c in report.checks} == {("mismatch", "no_gradient")}


def test_a_tracer_sees_the_operations_alone() -> None:
    """What a mode does beside them is no part of a graph that is traced meanwhile."""

    class Beside(Watching):
        seen = 0

        def watched(self, known: Any, func: Any, args: Any, kwargs: Any) -> Any:
            self.seen += 1
            torch.ones(2).exp()
            return func(*args, **kwargs)

    with Beside() as beside:
        graph = make_fx(twice)(X)
    assert beside.seen
    assert [n.target for n in graph.graph.nodes if n.op == "call_function"] == [
        torch.ops.aten.sin.default,
        torch.ops.aten.mul.Tensor,
    ]


def test_outputs_that_hold_their_numbers_otherwise() -> None:
    """Sparse and nested outputs are judged by their numbers; of another class one line says that they can't be read."""
    nested = check_function(
        lambda x, y: torch.nested.as_nested_tensor([x, y], layout=torch.jagged) * 2, at={"x": X, "y": X[:2].clone()}
    )
    assert nested.verdict == "match", str(nested)
    assert [math.copysign(2.0, 1) * v for v in nested.checks[0].point["v"]] == [float(c.exact) for c in nested.checks]
    assert check_function(lambda x: x.to_sparse() * 2, at={"x": X}).verdict != "mismatch"
    with pytest.raises(Exception, match="a Wrapped keeps its numbers in a way of its own"):
        check_function(lambda x: Wrap.apply(x).sin(), at={"x": X})


@pytest.mark.parametrize("sparse", [True, False])
def test_sparse_gradients(sparse: bool) -> None:
    """An embedding's gradient is the same whether torch keeps it sparse, rows that are used twice added up."""
    indices = torch.tensor([0, 2, 2])

    def chosen(w: Tensor) -> Tensor:
        return torch.nn.functional.embedding(indices, w, sparse=sparse).sin()

    report = check_function(chosen, at={"w": X[:, None]})
    assert report.verdict == "match", str(report)
    assert not report.notes
    a, b, c = report.checks[0].point["v"]
    truth = [a[0] * math.cos(0.3), 0.0, (b[0] + c[0]) * math.cos(1.1)]
    assert [float(c.exact) for c in report.checks] == pytest.approx(truth, rel=1e-15)
