"""Rules: discrete Fourier transforms, by their definition: a product with the matrix of roots of unity, axis by axis.

torch's algorithms take fewer steps and err by less than that product may (Higham, Accuracy and Stability of Numerical
Algorithms, 2nd ed., section 24.1): what rounding explains is no less than it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gradcheck_cli.shadow.complexes import joined, real_and_imag
from gradcheck_cli.shadow.rules.registry import paused, rule

Pair = tuple[Tensor, Tensor]

LONGEST = 1024
"""Entries of an axis up to which the matrix is made: its size is the square."""


def _roots(n: int, rows: int, like: Tensor) -> Pair:
    """cos and sin of 2*pi*j*k/n, j below `rows`, k below n, as they are: pi is no float here."""
    if n > LONGEST:
        raise NotImplementedError("a long transform")
    steps = torch.arange(n, dtype=like.dtype, device=like.device)
    angle = steps * (2 * torch.acos(-like.new_ones(()))) / n
    with paused():
        numbers = torch.arange(n, device=like.device)
        places = numbers[:rows, None] * numbers % n
    return angle.cos()[places], angle.sin()[places]


def _along(x: Pair, axis: int, forward: bool, imag: bool = True) -> Pair:
    """One axis of a complex transform; of real numbers, if not `imag`."""
    real, other = (part.movedim(axis, -1) for part in x)
    c, s = _roots(real.shape[-1], real.shape[-1], real)
    s = s if forward else -s
    found = (real @ c, -(real @ s)) if not imag else (real @ c + other @ s, other @ c - real @ s)
    return found[0].movedim(-1, axis), found[1].movedim(-1, axis)


def _scaled(x: Sequence[Tensor], normalization: int, count: int) -> Sequence[Tensor]:
    """ATen's norms: 0 none, 1 by the root of the number of entries, 2 by that number."""
    if not normalization:
        return x
    return [part / (part.new_full((), count).sqrt() if normalization == 1 else count) for part in x]


def _count(shape: Sequence[int], dim: Sequence[int]) -> int:
    return math.prod(shape[d] for d in dim)


@rule("_fft_c2c")
def _complex(self: Tensor, dim: list[int], normalization: int, forward: bool) -> Tensor:
    x = real_and_imag(self)
    for axis in dim:
        x = _along(x, axis, forward)
    found: Tensor = joined(*_scaled(x, normalization, _count(self.shape, dim)))
    return found


@rule("_fft_r2c")
def _of_real(self: Tensor, dim: list[int], normalization: int, onesided: bool) -> Tensor:
    x = _along((self, self), dim[-1], True, imag=False)
    if onesided:
        x = (x[0].narrow(dim[-1], 0, self.shape[dim[-1]] // 2 + 1), x[1].narrow(dim[-1], 0, self.shape[dim[-1]] // 2 + 1))
    for axis in dim[:-1]:
        x = _along(x, axis, True)
    found: Tensor = joined(*_scaled(x, normalization, _count(self.shape, dim)))
    return found


@rule("_fft_c2r")
def _to_real(self: Tensor, dim: list[int], normalization: int, last_dim_size: int) -> Tensor:
    """Of the half of a Hermitian signal: the imaginary parts of its ends don't count."""
    x = real_and_imag(self)
    for axis in dim[:-1]:
        x = _along(x, axis, False)
    n, axis = last_dim_size, dim[-1]
    half = n // 2 + 1
    real, imag = (part.movedim(axis, -1)[..., :half] for part in x)
    c, s = _roots(n, half, real)
    inner = slice(1, (n + 1) // 2)
    with paused():
        once = torch.ones(half, dtype=real.dtype, device=real.device)
        once[inner] = 2
    found = (real * once) @ c - (imag[..., inner] * 2) @ s[inner]
    (found,) = _scaled([found.movedim(-1, axis)], normalization, _count(found.movedim(-1, axis).shape, dim))
    return found
