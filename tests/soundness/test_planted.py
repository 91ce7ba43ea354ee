"""One slip in a backward pass, planted behind softmax, layer norm and attention, is refuted at every size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from gradcheck_cli.maps.check import Found, check_map
from gradcheck_cli.maps.map import Map, random_row
from gradcheck_cli.maps.probe import Options
from gradcheck_cli.verdict.verdicts import Cause, Verdict

WIDTH = 8
"""Of a row that softmax, layer norm or attention mixes."""


def planted(slip: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The square, whose gradient goes through `slip` on its way back."""

    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
            (x,) = ctx.saved_tensors
            return slip(2 * x * g)

    function: Callable[[Tensor], Tensor] = Square.apply
    return function


def one_entry(g: Tensor) -> Tensor:
    """1 part in 10**9, in one entry."""
    g = g.clone()
    g.view(-1)[g.numel() // 3] *= 1 + 1e-9
    return g


SLIPS: dict[str, Callable[[Tensor], Tensor]] = {
    "a factor": lambda g: g * 1.25,
    "a constant": lambda g: g * 1.1,
    "one entry": one_entry,
    "one row": lambda g: torch.cat([g[:-1], 2 * g[-1:]]),
}

BETWEEN: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda x: torch.softmax(x, -1),
    "layer norm": lambda x: torch.nn.functional.layer_norm(x, x.shape[-1:], eps=1e-5),
    "attention": lambda x: (
        torch.softmax(x.unflatten(0, (-1, 2)) @ x.unflatten(0, (-1, 2)).mT / 3, -1) @ x.unflatten(0, (-1, 2))
    ),
}

CASES = [
    *((between, size) for between in BETWEEN for size in (64, 1_000)),
    pytest.param("attention", 5_000, marks=pytest.mark.slow(reason="5,000 entries")),
    pytest.param("softmax", 5_000, marks=pytest.mark.slow(reason="5,000 entries")),
]
"""`benchmarks/planted.py` has all pairs, up to 100,000 entries, in two minutes."""


def found(function: Callable[[Tensor], Tensor], size: int) -> Found:
    """The gradient by an input of about `size` entries."""
    rows = -(-size // WIDTH // 2) * 2
    x = torch.randn(rows, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    map = Map({"x": x}, lambda leaves: {"y": function(leaves["x"])})
    return check_map(map, [random_row(map(map.leaves()), 0)], Options())


def refuted(found: Found) -> bool:
    """Whether there is a mismatch, and each is a formula's."""
    wrong = [c.cause(i) for c in found.columns for i in range(len(c)) if c.verdict(i) is Verdict.MISMATCH]
    return bool(wrong) and set(wrong) == {Cause.FORMULA}


@pytest.mark.parametrize(("between", "size"), CASES)
def test_a_planted_slip_is_refuted(between: str, size: int, whole: bool) -> None:
    """Before and behind what mixes rows, the slips in turn; of a large input one. Every third slip, other ones with each mix,
    where the sweep isn't whole."""
    mix = BETWEEN[between]
    some = [slip for turn, slip in enumerate(SLIPS) if whole or turn % 3 == list(BETWEEN).index(between) % 3]
    for number, slip in enumerate(some[:1] if size > 1_000 else some):
        square = planted(SLIPS[slip])
        function = (lambda x, f=square: mix(f(x))) if number % 2 else (lambda x, f=square: f(mix(x)))
        assert refuted(found(function, size)), slip


@pytest.mark.parametrize("between", BETWEEN)
def test_without_a_slip_nothing_is(between: str) -> None:
    """The same functions, right."""
    mix = BETWEEN[between]
    verdicts = [c.verdict(i) for c in found(lambda x: mix(planted(lambda g: g)(x)), 1_000).columns for i in range(len(c))]
    assert set(verdicts) == {Verdict.MATCH}
