"""Rules: what chooses between numbers, in terms of what the folds of `shadow.order` and `where` choose."""

from __future__ import annotations

import torch
from torch import Tensor

from gradcheck_cli.shadow.rules.registry import number, paused, rule


@rule("aminmax")
def _aminmax(self: Tensor, dim: int | None, keepdim: bool) -> tuple[Tensor, Tensor]:
    axes = [] if dim is None else [dim]
    return self.amin(axes, keepdim), self.amax(axes, keepdim)


@rule("nan_to_num")
def _nan_to_num(self: Tensor, nan: float | None, posinf: float | None, neginf: float | None) -> Tensor:
    limits = torch.finfo(self.dtype)
    found = torch.where(torch.isnan(self), nan or 0.0, self)
    found = torch.where(torch.isposinf(self), limits.max if posinf is None else posinf, found)
    return torch.where(torch.isneginf(self), limits.min if neginf is None else neginf, found)


@rule("nextafter")
def _nextafter(self: Tensor, other: Tensor, result: Tensor) -> Tensor:
    """The step to the next float is a number of the format, whatever moves."""
    with paused():
        step = number(result) - number(self)
        there = step == 0
    return torch.where(there, other, self + step)
