"""Claim: gradcheck sees errors that torch.autograd.gradcheck can't, and alarms less on correct code.

    python benchmarks/sensitivity.py

Planted: a custom autograd.Function whose backward is scaled by 1 + 10**-k. Shown is the smallest 10**-k found, for this
tool and for torch's gradcheck (slow and fast mode, its defaults), on the same functions and the same 20 points.
False alarms: correct code at the same points in float32, and in float64 at points where differences of floats are hard.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import torch
from _timing import table

from gradcheck_cli import check_grad

FUNCTIONS = ("sin", "exp", "tanh", "sigmoid", "silu", "erf", "log1p", "atan")

HARD = {
    "sin": (1e8, 1e4, 1e12),
    "exp": (30.0, 300.0, -30.0),
    "tanh": (1e-9, 15.0, 18.0),
    "sigmoid": (-30.0, 30.0, -600.0),
    "silu": (-30.0, 1e-8, 1e5),
    "erf": (1e-9, 5.0, 8.0),
    "log1p": (1e-9, -0.9999999, 1e12),
    "atan": (1e5, 1e10, 1e-9),
}
"""Large arguments, saturation, the end of a domain: the code is right at all of them."""


def points(count: int, dtype: torch.dtype) -> torch.Tensor:
    """Points of ordinary size."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, generator=generator, dtype=torch.float64).mul(3.5).sub(0.5).to(dtype)


def planted(name: str, error: float) -> Callable[..., Any]:
    """The function of torch with a backward that is wrong by the relative error."""
    function = _torch(name)

    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            ctx.save_for_backward(x)
            return function(x)

        @staticmethod
        def backward(ctx: Any, upstream: torch.Tensor) -> torch.Tensor:
            (x,) = ctx.saved_tensors
            with torch.enable_grad():
                leaf = x.detach().requires_grad_()
                (slope,) = torch.autograd.grad(function(leaf).sum(), leaf)
            return upstream * slope * (1 + error)

    return Wrong.apply  # type: ignore[no-any-return]


def _torch(name: str) -> Callable[..., Any]:
    return getattr(torch, name, None) or getattr(torch.nn.functional, name)  # type: ignore[no-any-return]


def by_tool(name: str, x: torch.Tensor, function: Callable[..., Any] | None) -> bool:
    """Whether this tool objects."""
    report = check_grad(
        f"{name}(x)",
        at={"x": x.double().numpy()},
        dtype=str(x.dtype).removeprefix("torch."),
        mode="reverse",
        callables={name: function} if function else None,
    )
    return not report.ok


def by_torch(name: str, x: torch.Tensor, function: Callable[..., Any] | None, fast: bool) -> bool:
    """Whether torch's gradcheck objects."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that its defaults are not made for float32
        leaf = x.detach().clone().requires_grad_()
        return not torch.autograd.gradcheck(function or _torch(name), (leaf,), fast_mode=fast, raise_exception=False)


CHECKERS: dict[str, Callable[..., bool]] = {
    "gradcheck": by_tool,
    "torch, slow": lambda *given: by_torch(*given, fast=False),
    "torch, fast": lambda *given: by_torch(*given, fast=True),
}


def smallest(name: str, finds: Callable[..., bool], dtype: torch.dtype) -> str:
    """The smallest planted 10**-k that is found, with every larger one."""
    found = "none"
    for k in range(1, 17):
        if not finds(name, points(20, dtype), planted(name, 10.0**-k)):
            break
        found = f"1e-{k}"
    return found


def main() -> None:
    print("smallest planted relative error that is found (float64, 20 points)")
    table([
        ["function", *CHECKERS],
        *([name, *(smallest(name, finds, torch.float64) for finds in CHECKERS.values())] for name in FUNCTIONS),
    ])  # fmt: skip
    print("\nfalse alarms on correct code")
    rows: list[list[object]] = [["", *CHECKERS]]
    for label, dtype, hard in (
        ("ordinary points, float64", torch.float64, False),
        ("ordinary points, float32", torch.float32, False),
        ("hard points, float64", torch.float64, True),
    ):
        alarms = []
        for finds in CHECKERS.values():
            count = total = 0
            for name in FUNCTIONS:
                for x in [torch.tensor([p], dtype=dtype) for p in HARD[name]] if hard else [points(20, dtype)]:
                    count, total = count + finds(name, x, None), total + 1
            alarms.append(f"{count} of {total}")
        rows.append([label, *alarms])
    table(rows)


if __name__ == "__main__":
    main()
