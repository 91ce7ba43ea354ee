"""What calls of an operation have in common is planned once: the second call is followed as the first one is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from flint import arb

from gradcheck_cli.algebra.directions import Precise
from gradcheck_cli.algebra.layers import Layer, Rounded
from gradcheck_cli.shadow.mode import WRITTEN, Shadow
from gradcheck_cli.shadow.overloads import Overload, overload
from gradcheck_cli.shadow.plans import signature
from tests.formats import DOUBLE

Tensor = torch.Tensor


def followed(run: Callable[[Tensor], Any], values: list[float], cells: list[float], layer: Layer | None = None) -> list[float]:
    """What a function makes of cells that aren't the floats."""
    shadow = Shadow([layer or Precise()], 0)
    x = torch.tensor(values, dtype=torch.float64)
    shadow.seed(x, [list(map(arb, cells))])
    with shadow:
        y = run(x)
    assert not shadow.opaque
    return [c if isinstance(c, bool) else float(c) for c in shadow.cells(y, 0)]


ALIKE: list[tuple[Callable[[Tensor], Any], Callable[[float], Any]]] = [
    (lambda x: x * 2, lambda v: v * 2),
    (lambda x: x * 2.0, lambda v: v * 2),
    (lambda x: x * True, lambda v: v),
    (lambda x: x * 3, lambda v: v * 3),
    (lambda x: x * x, lambda v: v * v),
    (lambda x: x.view(2, 2).T.reshape(4).view(2, 2).T * x.view(2, 2), lambda v: v * v),
    (lambda x: x > 150.5, lambda v: v > 150.5),
    (lambda x: x > 151, lambda v: v > 151),
    (lambda x: torch.add(x, x, alpha=2), lambda v: 3 * v),
    (lambda x: torch.add(x, x, alpha=3), lambda v: 4 * v),
    (lambda x: torch.where(x > 151, x, 1.0), lambda v: v if v > 151 else 1.0),
    (lambda x: x + torch.tensor(1.0, dtype=torch.float64), lambda v: v + 1),
    (lambda x: x.add_(1).mul_(2), lambda v: 2 * (v + 1)),
]
"""Calls that differ in a constant, its kind, a place or a stride, and what they make of a number."""


@pytest.mark.parametrize("twice", ALIKE + ALIKE[::-1])
def test_a_plan_holds_for_its_calls_alone(twice: tuple[Callable[[Tensor], Any], Callable[[float], Any]]) -> None:
    """Other numbers, and other floats, at the same places give what they give; whichever calls were planned before."""
    run, wanted = twice
    for cells in ([150.0, 151.0, 150.0, 151.0], [152.0, 153.0, 154.0, 155.0]):
        assert followed(run, [1.0, 200.0, 3.0, 300.0], cells) == list(map(wanted, cells))


def test_the_second_call_is_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks the table for no row again, in whichever layers it runs, and comes to the same cells."""
    overload(torch.ops.aten.mul.Tensor).plans.clear()
    asked: list[Any] = []
    chosen = Overload.choose
    monkeypatch.setattr(Overload, "choose", lambda *given: asked.append(given) or chosen(*given))
    first = followed(lambda x: x * x, [1.5, 2.5], [3.0, 5.0])
    assert len(asked) == 1
    assert first == followed(lambda x: x * x, [0.5, 9.5], [3.0, 5.0]) == [9.0, 25.0]
    assert followed(lambda x: x * x, [0.5, 9.5], [3.0, 5.0], Rounded(DOUBLE)) == [9.0, 25.0]
    assert len(asked) == 1


def test_memory_is_looked_at_before_each_call() -> None:
    """What is written behind torch between two calls of one kind is seen, and nothing is known of it."""
    shadow = Shadow([Precise()], 0)
    x = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    shadow.seed(x, [list(map(arb, (10, 20, 30)))])
    with shadow:
        before = x.exp()
        x.numpy()[1] = 5.0
        after = x.exp()
    assert all(c.is_finite() for c in shadow.cells(before, 0))
    assert [c.is_finite() for c in shadow.cells(after, 0)] == [True, False, True]
    assert shadow.unfollowed == (WRITTEN,)


def test_what_a_plan_hangs_on() -> None:
    """Shapes, strides, places, dtypes, how torch keeps the numbers, constants and their kinds; not the numbers."""
    x = torch.arange(12.0).reshape(3, 4)
    same = [((x, 2), {}), ((x + 1, 2), {}), ((x.clone().requires_grad_().detach(), 2), {})]
    others: list[Any] = [
        ((x.T, 2), {}), ((x[:2], 2), {}), ((x.double(), 2), {}), ((x, 2.0), {}), ((x, True), {}), ((x, None), {}),
        ((x, 2), {"alpha": 1}), ((torch.arange(24.0)[12:].reshape(3, 4), 2), {}), ((torch._neg_view(x), 2), {}),
    ]  # fmt: skip
    (own,) = {signature(*call) for call in same}
    assert len({signature(*call) for call in others} | {own}) == len(others) + 1
    assert signature(([x], 2), {}) is None
    assert signature((x.to_sparse(), 2), {}) is None
