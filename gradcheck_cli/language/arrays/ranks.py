"""Rows that put entries in order, or pick one by its place."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from gradcheck_cli.language import syntax
from gradcheck_cli.language.arrays.cells import (
    INSTEAD,
    MOST_SORTED,
    Array,
    array_of,
    axes_of,
    whole_numbers,
)
from gradcheck_cli.language.arrays.matrices import Matrices
from gradcheck_cli.language.constants import exact_constant
from gradcheck_cli.language.tree import Constant, Node


class Ranks(Matrices):
    """The `array` column of orders."""

    def ranked(self, x: Array, dim: int) -> Array:
        """The entries in ascending order along the last axis, which is `dim`: neighbours change places, again and again."""
        (axis,) = axes_of(x, dim) or (0,)
        moved = np.moveaxis(x, axis, -1).copy() if x.ndim else x.reshape(1).copy()
        if moved.shape[-1] > MOST_SORTED:
            raise ValueError(f"more than {MOST_SORTED} entries to sort; {INSTEAD}")
        for row in moved.reshape(-1, moved.shape[-1]):
            for k in range(len(row)):
                for i in range(k % 2, len(row) - 1, 2):
                    pair = (row[i], row[i + 1])
                    row[i], row[i + 1] = self.node(syntax.MINIMUM, *pair), self.node(syntax.MAXIMUM, *pair)
        return moved

    def sort(self, x: Array, dim: int, descending: bool) -> Array:
        moved = self.ranked(x, dim)[..., :: -1 if descending else 1]
        return np.moveaxis(moved, -1, dim) if x.ndim else moved.reshape(())

    def topk(self, x: Array, k: Array, dim: int, largest: bool) -> Array:
        moved, count = self.sort(x, dim, largest), k.item().value
        (axis,) = axes_of(x, dim) or (0,)
        if x.ndim and count > x.shape[axis]:
            raise ValueError(f"there are no {count} entries")
        return moved.take(range(count), axis) if x.ndim else moved

    def kthvalue(self, x: Array, k: Array, dim: int, keepdim: bool) -> Array:
        moved, number = self.ranked(x, dim), k.item().value
        if not 1 <= number <= moved.shape[-1]:
            raise ValueError(f"there is no entry {number}, counted from 1")
        return self.one_of(x, moved[..., number - 1], dim, keepdim)

    def median(self, x: Array, dim: Any, keepdim: bool) -> Array:
        if not isinstance(dim, int):
            if len(dim) != 0:
                raise ValueError("median takes one dimension, or none")
            moved = self.ranked(x.reshape(-1), 0)
            return array_of([moved[(x.size - 1) // 2]], ())
        moved = self.ranked(x, dim)
        return self.one_of(x, moved[..., (moved.shape[-1] - 1) // 2], dim, keepdim)

    def quantile(self, x: Array, q: Array, dim: Any, keepdim: bool) -> Array:
        """Between two neighbours in order, as far along as q is."""
        part = exact_constant(q.item())
        if not isinstance(part, Fraction) or not 0 <= part <= 1:
            raise ValueError("quantile takes a number from 0 to 1")
        whole = not isinstance(dim, int)
        moved = self.ranked(x.reshape(-1) if whole else x, 0 if whole else dim)
        place = part * (moved.shape[-1] - 1)
        low, rest = moved[..., math.floor(place)], place - math.floor(place)
        if rest:
            high = moved[..., math.floor(place) + 1]
            weight = self.node(syntax.DIV, Constant(rest.numerator), Constant(rest.denominator))
            pairs = zip(np.ravel(low), np.ravel(high), strict=True)
            between = [self.node(syntax.ADD, a, self.node(syntax.MUL, weight, self.node(syntax.SUB, b, a))) for a, b in pairs]
            low = array_of(between, np.shape(low))
        if whole:
            return array_of([low if isinstance(low, Node) else low.item()], (1,) * x.ndim if keepdim else ())
        return self.one_of(x, low, dim, keepdim)

    def one_of(self, x: Array, chosen: Any, dim: int, keepdim: bool) -> Array:
        found = chosen if isinstance(chosen, np.ndarray) else array_of([chosen], ())
        return np.expand_dims(found, dim) if keepdim and x.ndim else found

    def pick(self, x: Array, labels: Array) -> Array:
        if x.ndim not in (1, 2) or labels.shape != x.shape[:-1]:
            raise ValueError("labels take one place for each row of scores")
        try:
            numbers = whole_numbers(labels)
        except ValueError:
            raise ValueError("labels are whole numbers from 0 on") from None
        if max(numbers) >= x.shape[-1]:
            raise ValueError(f"label {max(numbers)} is out of range")
        rows = x.reshape(-1, x.shape[-1])
        return array_of([row[number] for row, number in zip(rows, numbers, strict=True)], labels.shape)
