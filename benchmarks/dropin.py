"""Claim: the drop-in isn't slower than torch.autograd.gradcheck (slow mode) on small inputs, and much faster on larger ones.

    python benchmarks/dropin.py

Both judge the same functions at the same float64 inputs in turn, on one core; medians of nine rounds (each of several calls).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import torch
from _timing import alternating, single_core, table
from torch.autograd import gradcheck as torch_gradcheck

from gradcheck_cli import gradcheck


class Silu(torch.autograd.Function):
    """A backward as users write it."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return gradient * (s + x * s * (1 - s))


def drawn(*shape: int) -> torch.Tensor:
    """Numbers between 0 and 1."""
    return torch.rand(*shape, dtype=torch.float64, requires_grad=True)


CASES: dict[str, tuple[Callable[..., Any], Callable[[], tuple[torch.Tensor, ...]]]] = {
    **{f"sin, {n} inputs": (torch.sin, lambda n=n: (drawn(n),)) for n in (10, 100, 1000)},  # type: ignore[misc]
    **{f"custom silu, {n} inputs": (Silu.apply, lambda n=n: (drawn(n),)) for n in (10, 100, 1000)},  # type: ignore[misc]
    "20x20 matmul": (torch.matmul, lambda: (drawn(20, 20), drawn(20, 20))),
    "softmax, 100 inputs": (lambda x: torch.softmax(x, 0), lambda: (drawn(100),)),
    "softmax, 1000 inputs": (lambda x: torch.softmax(x, 0), lambda: (drawn(1000),)),
}


def main() -> None:
    """Print the table."""
    single_core()
    torch.set_num_threads(1)
    rows: list[tuple[object, ...]] = [("function", "gradcheck", "torch", "ratio")]
    for name, (function, draw) in CASES.items():
        inputs = draw()
        calls = 10 if sum(x.numel() for x in inputs) <= 100 else 1
        tasks = {
            label: lambda check=check: [check(function, inputs) for _ in range(calls)]  # type: ignore[misc] # noqa: B023
            for label, check in (("own", gradcheck), ("torch", torch_gradcheck))
        }
        for task in tasks.values():
            task()
        seconds = alternating(tasks, rounds=9)
        own, theirs = seconds["own"] / calls, seconds["torch"] / calls
        rows.append((name, f"{own * 1e3:.2f} ms", f"{theirs * 1e3:.2f} ms", f"{theirs / own:.1f}"))
    table(rows)


if __name__ == "__main__":
    main()
