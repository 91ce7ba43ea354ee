"""Rows that fold entries: sums, products, extremes, all at once or one after the other."""

from __future__ import annotations

import math
from itertools import accumulate
from typing import Any

import numpy as np

from gradcheck_cli.language import syntax
from gradcheck_cli.language.arrays.cells import (
    Array,
    Building,
    array_of,
    axes_of,
)


class Sums(Building):
    """The `array` column of rows that fold."""

    def reduced(self, function: str, x: Array, dim: Any, keepdim: bool) -> Array:
        over = axes_of(x, dim)
        kept = [a for a in range(x.ndim) if a not in over]
        rows = x.transpose([*kept, *over]).reshape(math.prod(x.shape[a] for a in kept), -1)
        shape = tuple(1 if a in over else n for a, n in enumerate(x.shape) if keepdim or a not in over)
        return array_of([self.fold(function, row.tolist()) for row in rows], shape)

    def total(self, x: Array, dim: Any, keepdim: bool) -> Array:
        return self.reduced(syntax.ADD, x, dim, keepdim)

    def product(self, x: Array, dim: Any, keepdim: bool) -> Array:
        return self.reduced(syntax.MUL, x, dim, keepdim)

    def greatest(self, x: Array, dim: Any, keepdim: bool) -> Array:
        return self.reduced(syntax.MAXIMUM, x, dim, keepdim)

    def least(self, x: Array, dim: Any, keepdim: bool) -> Array:
        return self.reduced(syntax.MINIMUM, x, dim, keepdim)

    def running(self, function: str, x: Array, dim: int) -> Array:
        over = axes_of(x, dim)
        if not over:
            return x
        (axis,) = over
        moved = np.moveaxis(x, axis, -1)
        rows = [n for row in moved.reshape(-1, x.shape[axis]) for n in accumulate(row, lambda a, b: self.node(function, a, b))]
        return np.moveaxis(array_of(rows, moved.shape), -1, axis)

    def cumsum(self, x: Array, dim: int) -> Array:
        return self.running(syntax.ADD, x, dim)

    def cumprod(self, x: Array, dim: int) -> Array:
        return self.running(syntax.MUL, x, dim)

    def cummax(self, x: Array, dim: int) -> Array:
        return self.running(syntax.MAXIMUM, x, dim)

    def cummin(self, x: Array, dim: int) -> Array:
        return self.running(syntax.MINIMUM, x, dim)
