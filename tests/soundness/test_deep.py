"""Deep functions: worst cases of rounding, and of what constants may mean, hide no wrong formula in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import Function

from gradcheck_cli import check_function
from gradcheck_cli.verdict.verdicts import Verdict


class Scaled(Function):
    """The identity, whose backward and jvp are off by a factor."""

    @staticmethod
    def forward(x: Tensor, factor: float) -> Tensor:
        return x.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
        ctx.factor = inputs[1]

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return g * ctx.factor, None

    @staticmethod
    def jvp(ctx: Any, t: Tensor, _: None) -> Tensor:
        return t * ctx.factor  # type: ignore[no-any-return]


def deep(depth: int, act: Callable[[Tensor], Tensor], factor: float) -> Callable[[Tensor], Tensor]:
    """Layers without a bias, with a slip in the middle."""
    draw = torch.Generator().manual_seed(1)
    weights = [torch.randn(12, 12, generator=draw, dtype=torch.float64) * (1.4 / 12**0.5) for _ in range(depth)]

    def run(x: Tensor) -> Tensor:
        for number, weight in enumerate(weights):
            x = act(weight @ x)
            if number == depth // 2:
                x = Scaled.apply(x, factor)  # type: ignore[no-untyped-call]
        return x

    return run


@pytest.mark.parametrize("mode", ["reverse", "forward"])
@pytest.mark.parametrize("depth", [10, 20, 45])
@pytest.mark.parametrize("act", [torch.relu, torch.tanh])
@pytest.mark.slow(reason="the shadow is run at several precisions")
def test_a_slip_in_a_deep_function(depth: int, act: Callable[[Tensor], Tensor], mode: str) -> None:
    """Off by 1e-6 it is no match, and not imprecise, at any entry; without the slip it is one."""
    x = torch.randn(12, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    wrong = check_function(deep(depth, act, 1 + 1e-6), at={"x": x}, mode=mode)
    assert {c.verdict for c in wrong.checks if c.exact != "0"} == {Verdict.MISMATCH}
    assert check_function(deep(depth, act, 1.0), at={"x": x}, mode=mode).verdict is Verdict.MATCH
