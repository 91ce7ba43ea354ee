"""Rules: products of matrices, softmax and its kin, moments and norms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gradcheck_cli.shadow.rules.registry import paused, real, root, rule, squared, times

# -- products -------------------------------------------------------------------------------------------------------------


@rule("addmm")
def _addmm(self: Tensor, mat1: Tensor, mat2: Tensor, beta: float, alpha: float) -> Tensor:
    product = times(alpha, mat1.mm(mat2))
    return times(beta, self) + product if beta else product


@rule("addmv")
def _addmv(self: Tensor, mat: Tensor, vec: Tensor, beta: float, alpha: float) -> Tensor:
    product = times(alpha, mat.mv(vec))
    return times(beta, self) + product if beta else product


@rule("baddbmm")
def _baddbmm(self: Tensor, batch1: Tensor, batch2: Tensor, beta: float, alpha: float) -> Tensor:
    product = times(alpha, batch1.bmm(batch2))
    return times(beta, self) + product if beta else product


@rule("addbmm")
def _addbmm(self: Tensor, batch1: Tensor, batch2: Tensor, beta: float, alpha: float) -> Tensor:
    found = times(beta, self) if beta else torch.zeros_like(batch1[0] @ batch2[0])
    for left, right in zip(batch1, batch2, strict=True):
        found = found + times(alpha, left.mm(right))
    return found


@rule("addr")
def _addr(self: Tensor, vec1: Tensor, vec2: Tensor, beta: float, alpha: float) -> Tensor:
    product = times(alpha, vec1.unsqueeze(1) * vec2)
    return times(beta, self) + product if beta else product.clone()


@rule("_trilinear")
def _trilinear(
    i1: Tensor, i2: Tensor, i3: Tensor, expand1: list[int], expand2: list[int], expand3: list[int], sumdim: list[int]
) -> Tensor:
    for i in range(i1.ndim + len(expand1)):
        i1, i2, i3 = (x.unsqueeze(i) if i in e else x for x, e in ((i1, expand1), (i2, expand2), (i3, expand3)))
    return (i1 * i2 * i3).sum(sumdim)


# -- exponentials along an axis ---------------------------------------------------------------------------------------------


_MODERATE = 30
"""Balls take the exponentials of numbers up to this size as they are."""


def _shifted(x: Tensor, dim: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The tensor less its largest float (of complex numbers: of their real parts), and that number; where the exponentials
    don't need it, it comes back, so that nothing but the rounding is left of it."""
    with paused():
        floats = real(x.detach())
        shift = floats.amax(tuple(dim), keepdim=True) if x.numel() else floats.sum(tuple(dim), keepdim=True)
        shift = torch.where(shift.isfinite(), shift, torch.zeros_like(shift))
        moderate = not (floats.abs() > _MODERATE).logical_and(floats.isfinite()).any()
        none = torch.zeros_like(shift)
    return ((x - shift) + shift, none) if moderate else (x - shift, shift)


@rule("_softmax")
def _softmax(self: Tensor, dim: int) -> Tensor:
    powers = _shifted(self, [dim])[0].exp()
    return powers / powers.sum(dim, keepdim=True)


@rule("_safe_softmax")
def _safe_softmax(self: Tensor, dim: int) -> Tensor:
    with paused():
        empty = (self == -math.inf).all(dim, keepdim=True)
    return torch.where(empty, 0.0, _softmax(self, dim))


@rule("_softmax_backward_data")
def _softmax_backward(grad_output: Tensor, output: Tensor, dim: int) -> Tensor:
    product = grad_output * output
    return product - output * product.sum(dim, keepdim=True)


@rule("_log_softmax")
def _log_softmax(self: Tensor, dim: int) -> Tensor:
    shifted, _ = _shifted(self, [dim])
    return shifted - shifted.exp().sum(dim, keepdim=True).log()


@rule("_log_softmax_backward_data")
def _log_softmax_backward(grad_output: Tensor, output: Tensor, dim: int) -> Tensor:
    return grad_output - output.exp() * grad_output.sum(dim, keepdim=True)


@rule("logsumexp")
def _logsumexp(self: Tensor, dim: Sequence[int], keepdim: bool) -> Tensor:
    axes = tuple(dim) or tuple(range(self.ndim))
    shifted, shift = _shifted(self, axes)
    found = shifted.exp().sum(axes, keepdim=True).log() + shift
    return found if keepdim else found.squeeze(axes)


@rule("logcumsumexp")
def _logcumsumexp(self: Tensor, dim: int) -> Tensor:
    """Of complex numbers, one by one from the one with the larger real part: imaginary parts add up, beyond pi too."""
    if not self.ndim or not self.numel():
        return self.clone()
    rows = list(self.unbind(dim))
    for k in range(1, len(rows)):
        x, y = rows[k - 1 : k + 1]
        with paused():
            larger = real(x.detach()) >= real(y.detach())
        top = torch.where(larger, x, y)
        rows[k] = (torch.where(larger, y, x) - top).exp().log1p() + top
    return torch.stack(rows, dim)


# -- statistics and norms -----------------------------------------------------------------------------------------------------


def _moments(x: Tensor, dim: Sequence[int] | None, correction: float | None, keepdim: bool) -> tuple[Tensor, Tensor]:
    """The variance and the mean."""
    axes = tuple(range(x.ndim)) if not dim else tuple(dim)
    count = math.prod(x.shape[a] for a in axes)
    mean = x.mean(axes, keepdim=True) if x.ndim else x
    square = squared(x - mean)
    total = square.sum(axes, keepdim=True) if x.ndim else square
    divisor = max(count - (1 if correction is None else correction), 0)
    variance = total / divisor if divisor else total * math.nan
    return (variance, mean) if keepdim or not x.ndim else (variance.squeeze(axes), mean.squeeze(axes))


@rule("var")
def _var(self: Tensor, dim: Any, correction: float | None, keepdim: bool) -> Tensor:
    return _moments(self, dim, correction, keepdim)[0]


@rule("std")
def _std(self: Tensor, dim: Any, correction: float | None, keepdim: bool) -> Tensor:
    return _moments(self, dim, correction, keepdim)[0].sqrt()


@rule("var_mean")
def _var_mean(self: Tensor, dim: Any, correction: float | None, keepdim: bool) -> tuple[Tensor, Tensor]:
    return _moments(self, dim, correction, keepdim)


@rule("std_mean")
def _std_mean(self: Tensor, dim: Any, correction: float | None, keepdim: bool) -> tuple[Tensor, Tensor]:
    variance, mean = _moments(self, dim, correction, keepdim)
    return variance.sqrt(), mean


@rule("linalg_vector_norm")
def _vector_norm(self: Tensor, ord: float, dim: Any, keepdim: bool, dtype: torch.dtype | None) -> Tensor:
    x = self if dtype is None else self.to(dtype)
    axes = list(range(x.ndim)) if dim is None or (dim == [] and x.ndim) else list(dim)
    if ord == 2:
        return (squared(x) if x.is_complex() else x * x).sum(axes, keepdim).sqrt()
    size = x.abs()
    if math.isinf(ord):
        return size.amax(axes, keepdim) if ord > 0 else size.amin(axes, keepdim)
    if ord == 0:
        return (size != 0).to(size.dtype).sum(axes, keepdim)
    return size.sum(axes, keepdim) if ord == 1 else root(size.pow(ord).sum(axes, keepdim), ord)


@rule("norm")
def _norm(
    self: Tensor, p: float | None = 2, dim: Any = None, keepdim: bool = False, dtype: torch.dtype | None = None
) -> Tensor:
    return _vector_norm(self, 2 if p is None else p, dim, keepdim, dtype)


@rule("dist")
def _dist(self: Tensor, other: Tensor, p: float) -> Tensor:
    return _vector_norm(self - other, p, None, False, None)
