"""Rules: sorting and what picks entries by their order.

torch's indices select; entries that may be equal are compared, so that a layer which decides about ties sees them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gradcheck_cli.shadow.rules.registry import paused, rule


def _sorted(x: Tensor, dim: int, descending: bool = False) -> tuple[Tensor, Tensor]:
    """The entries in the order of the floats, each compared with its neighbours, so that a tie is seen; and that order."""
    with paused():
        order = torch.zeros((), dtype=torch.int64, device=x.device)
        if x.ndim:
            order = x.detach().argsort(dim=dim, descending=descending, stable=True)
    y = x.gather(dim, order)
    if not x.ndim or x.shape[dim] < 2:
        return y, order
    count = x.shape[dim]
    first, second = (torch.maximum, torch.minimum) if descending else (torch.minimum, torch.maximum)
    left, right = y.narrow(dim, 0, count - 1), y.narrow(dim, 1, count - 1)
    with paused():
        apart = left.detach().isnan() | right.detach().isnan()  # nan is no neighbour
    ahead = torch.cat([torch.where(apart, left, first(left, right)), y.narrow(dim, count - 1, 1)], dim)
    behind = torch.where(apart, ahead.narrow(dim, 1, count - 1), second(ahead.narrow(dim, 1, count - 1), left))
    return torch.cat([ahead.narrow(dim, 0, 1), behind], dim), order


def _ranked(x: Tensor, indices: Tensor, dim: int, descending: bool = False) -> Tensor:
    """The entries at `indices`, each compared with its neighbours in order."""
    values, order = _sorted(x, dim, descending)
    if not x.ndim:
        return values
    with paused():
        places = order.argsort(dim).gather(dim, indices)
    return values.gather(dim, places)


@rule("sort")
def _sort(self: Tensor, dim: int, descending: bool, result: Any) -> tuple[Tensor, Tensor]:
    return _sorted(self, dim, descending)[0], result[1]


@rule("topk")
def _topk(self: Tensor, dim: int, largest: bool, result: Any) -> tuple[Tensor, Tensor]:
    return _ranked(self, result[1], dim, largest), result[1]


@rule("kthvalue", "median", "nanmedian")
def _selected(self: Tensor, result: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    if dim is None:
        with paused():
            flat = self.detach().reshape(-1)
            index = (flat.isnan() if result.isnan() else flat == result).nonzero()[0]
        return _ranked(self.reshape(-1), index, 0).reshape(())
    indices = result[1] if keepdim or not self.ndim else result[1].unsqueeze(dim)
    values = _ranked(self, indices, dim)
    return values if keepdim or not self.ndim else values.squeeze(dim), result[1]


@rule("mode")
def _mode(self: Tensor, dim: int, keepdim: bool, result: Any) -> Any:
    if not self.ndim:
        return self.clone(), result[1]
    indices = result[1] if keepdim else result[1].unsqueeze(dim)
    found = self.gather(dim, indices)
    with paused():
        count = torch.arange(self.shape[dim], device=self.device)
        places = count.reshape([-1 if a == dim % self.ndim else 1 for a in range(self.ndim)])
        tied = (self == result[0].reshape(indices.shape)) & (places != indices)
    for k in range(self.shape[dim]):
        found = torch.where(tied.narrow(dim, k, 1), torch.maximum(found, self.narrow(dim, k, 1)), found)
    return found if keepdim else found.squeeze(dim), result[1]


@rule("aminmax")
def _aminmax(self: Tensor, dim: int | None, keepdim: bool) -> tuple[Tensor, Tensor]:
    axes = [] if dim is None else [dim]
    return self.amin(axes, keepdim), self.amax(axes, keepdim)
