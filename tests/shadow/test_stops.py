"""What counts as outside of autograd's graph, followed in every layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from flint import arb, arb_series
from torch import Tensor
from torch.autograd import Function
from torch.utils.checkpoint import checkpoint

from gradcheck_cli.algebra.directions import Directional, moving, slope
from gradcheck_cli.algebra.layers import Exact
from gradcheck_cli.algebra.number import working
from gradcheck_cli.algebra.series import terms
from gradcheck_cli.maps.constants import Constants
from gradcheck_cli.shadow.mode import SHARED, Shadow
from gradcheck_cli.shadow.stops import Spans


class Inside(Function):
    """A forward pass that detaches, and records nothing: its result is in the graph all the same."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        with torch.no_grad():
            return x.detach().clone().mul_(3)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return 3 * g


class Twice(Function):
    """A forward pass that differentiates on its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        with torch.enable_grad():
            y = x.detach().requires_grad_()
            (g,) = torch.autograd.grad((y**3).sum(), y, create_graph=True)
        return g.detach()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        raise AssertionError("not asked for")


def in_place(x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    with torch.no_grad():
        y += x
    y += x * x
    return y


def again(x: Tensor) -> Tensor:
    y = x * x
    z = y.detach()
    return y + z.requires_grad_() * x


SLOPES: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "plain": (lambda x: x * x, 3.0),
    "detach": (lambda x: x * x.detach(), 1.5),
    "data": (lambda x: x.data * x, 1.5),
    "a view of what is detached": (lambda x: x.detach().view(1).expand(1) * x, 1.5),
    "detached twice": (lambda x: (x.detach() * 2).detach() * x, 3.0),
    "made of constants": (lambda x: (x.detach() * x.detach()) * x, 2.25),
    "the result itself": (lambda x: x.detach(), 0.0),
    "in place": (in_place, 3.0),
    "a new leaf": (again, 5.25),
    "a custom Function": (lambda x: Inside.apply(x) * x, 9.0),
    "a Function that differentiates": (lambda x: Twice.apply(x), 9.0),
    "a custom Function, detached": (lambda x: Inside.apply(x).detach() * x, 4.5),
    "checkpoint, reentrant": (lambda x: checkpoint(lambda t: t * t.detach() + t * t, x, use_reentrant=True), 4.5),
    "checkpoint": (lambda x: checkpoint(lambda t: t * t.detach() + t * t, x, use_reentrant=False), 4.5),
    "a gradient within": (lambda x: torch.autograd.grad((x**3).sum(), x, create_graph=True)[0], 9.0),
    "a gradient within, without a graph": (lambda x: torch.autograd.grad((x**3).sum(), x)[0] * x, 6.75),
    "cut off by torch": (lambda x: torch.special.bessel_j0(x * 0) * x, 1.0),
}
"""Functions of one number, and their slope at 1.5 with what is detached constant, by hand."""


@pytest.mark.parametrize("name", SLOPES)
def test_the_slope_of_what_is_in_the_graph(name: str) -> None:
    """Series lose what is detached; balls keep their value."""
    call, expected = SLOPES[name]
    x = torch.tensor([1.5], dtype=torch.float64, requires_grad=True)
    with working(200), terms(2):
        shadow = Shadow([Exact(), Directional()], 0, stops=True)
        shadow.seed(x, [[arb(1.5)], [moving(arb(1.5), arb(1))]])
        with shadow:
            y = call(x)
            (exact,), (series,) = shadow.cells(y, 0), shadow.cells(y, 1)
    assert not shadow.unfollowed
    assert abs(float(slope(series)) - expected) < 1e-12
    assert abs(float(exact) - y.item()) < 1e-12
    assert not isinstance(series, arb_series) or abs(float(series[0]) - y.item()) < 1e-12


def test_without_the_option_nothing_stops() -> None:
    """The same function without it: what is detached moves."""
    x = torch.tensor([1.5], dtype=torch.float64, requires_grad=True)
    with working(200), terms(2):
        shadow = Shadow([Directional()], 0)
        shadow.seed(x, [[moving(arb(1.5), arb(1))]])
        with shadow:
            (series,) = shadow.cells(x * x.detach(), 0)
    assert float(slope(series)) == 3.0


def test_a_write_through_a_detached_alias_is_opaque() -> None:
    """What the graph would make of it can't be told."""
    x = torch.tensor([1.5], dtype=torch.float64, requires_grad=True)
    shadow = Shadow([Exact()], 0, stops=True)
    shadow.seed(x, [[arb(1.5)]])
    with shadow:
        y = x * x
        y.data.mul_(2)
        (cell,) = shadow.cells(y, 0)
    assert shadow.unfollowed == (SHARED,) and cell.is_nan()


@pytest.mark.parametrize("name", [n for n in SLOPES if n != "cut off by torch"])
def test_constants_hold(name: str) -> None:
    """A difference quotient in floats, of runs in which what was detached is what it was in the first one."""
    call, expected = SLOPES[name]
    constants, found = Constants(), []
    for place in (1.5, 1.5 + 1e-6, 1.5 - 1e-6):
        x = torch.tensor([place], dtype=torch.float64, requires_grad=True)
        with constants.run([x]):
            y = constants.result(call(x))
        found.append(y.item())
    assert (found[1] - found[2]) / 2e-6 == pytest.approx(expected, abs=1e-8)
    assert found[0] == float(call(torch.tensor([1.5], dtype=torch.float64, requires_grad=True)).detach())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda x: x[:, :2], lambda x: x[:, 2:]),
        (lambda x: x[::2], lambda x: x[1::2]),
        (lambda x: x[:2], lambda x: x[2:]),
        (lambda x: x[:, :2], lambda x: x.T[1:]),
        (lambda x: x, lambda x: x[1, 1]),
        (lambda x: x[:0], lambda x: x),
        (lambda x: x[:1].expand(3, 4), lambda x: x[0, 3]),
    ],
)
def test_memory_is_of_entries(one: Callable[[Tensor], Tensor], other: Callable[[Tensor], Tensor]) -> None:
    """A tensor is among those that were added where it has an entry with them in common, not where it has their storage."""
    x = torch.arange(12.0).reshape(3, 4)
    common = set(one(x).flatten().tolist()) & set(other(x).flatten().tolist())
    memory = Spans()
    memory.add(one(x), "first")
    assert (other(x) in memory) == bool(common)
    memory.add(x, "all")
    assert other(x) in memory and memory.last(other(x)) == "all"
