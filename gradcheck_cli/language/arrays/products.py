"""Rows that multiply arrays."""

from __future__ import annotations

import math
from functools import reduce
from itertools import product
from typing import Any

import numpy as np

from gradcheck_cli.language import syntax
from gradcheck_cli.language.arrays.cells import (
    Array,
    array_of,
    axes_of,
    followed,
)
from gradcheck_cli.language.arrays.moves import Moves
from gradcheck_cli.language.spaces import MAX_ENTRIES


class Products(Moves):
    """The `array` column of products."""

    def matmul(self, x: Array, y: Array) -> Array:
        if not x.ndim or not y.ndim:
            raise ValueError("a matrix product needs dimensions")
        left = x[None, :] if x.ndim == 1 else x
        right = y[:, None] if y.ndim == 1 else y
        if left.shape[-1] != right.shape[-2]:
            raise ValueError("")
        batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
        (n, inner), m = left.shape[-2:], right.shape[-1]
        rows = np.broadcast_to(left, (*batch, n, inner)).reshape(-1, n, inner)
        columns = np.broadcast_to(right, (*batch, inner, m)).swapaxes(-1, -2).reshape(-1, m, inner)
        if len(rows) * n * m > MAX_ENTRIES:
            return np.empty((*batch, n, m), dtype=object)  # refused by its size
        products = [
            self.fold(syntax.ADD, [self.node(syntax.MUL, a, b) for a, b in zip(row, column, strict=True)])
            for block, others in zip(rows, columns, strict=True) for row in block for column in others
        ]  # fmt: skip
        shape = (*batch, *((n,) if x.ndim > 1 else ()), *((m,) if y.ndim > 1 else ()))
        return array_of(products, shape)

    def einsum(self, *arguments: Any) -> Array:
        *tensors, equation = arguments
        given, arrow, wanted = equation.partition("->")
        factors = given.split(",")
        if len(factors) != len(tensors) or any(len(f) != t.ndim for f, t in zip(factors, tensors, strict=True)):
            raise ValueError(f"{equation!r} doesn't fit: a letter for each dimension of each array")
        sizes: dict[str, int] = {}
        for letters, tensor in zip(factors, tensors, strict=True):
            for letter, n in zip(letters, tensor.shape, strict=True):
                if sizes.setdefault(letter, n) != n:
                    raise ValueError(f"{letter!r} stands for {sizes[letter]} and for {n}")
        letters = sorted(x for x in sizes if given.count(x) == 1)
        wanted = wanted if arrow else "".join(letters)
        if len(set(wanted)) < len(wanted) or not set(wanted) <= sizes.keys():
            raise ValueError(f"{equation!r} doesn't say what is left")
        summed = [x for x in sizes if x not in wanted]
        followed((math.prod(sizes.values()),))
        found = []
        for outer in product(*(range(sizes[x]) for x in wanted)):
            terms = []
            for inner in product(*(range(sizes[x]) for x in summed)):
                place = dict(zip((*wanted, *summed), (*outer, *inner), strict=True))
                entries_ = [t[tuple(place[x] for x in f)] for f, t in zip(factors, tensors, strict=True)]
                terms.append(self.fold(syntax.MUL, entries_))
            found.append(self.fold(syntax.ADD, terms))
        return array_of(found, tuple(sizes[x] for x in wanted))

    def cross(self, x: Array, y: Array, dim: int) -> Array:
        left, right = np.broadcast_arrays(x, y)
        if left.shape[axes_of(left, dim)[0]] != 3:
            raise ValueError("a cross product takes 3 numbers")
        a, b = (np.moveaxis(v, dim, -1) for v in (left, right))
        found = [
            self.node(syntax.SUB, self.node(syntax.MUL, u[i - 2], v[i - 1]), self.node(syntax.MUL, u[i - 1], v[i - 2]))
            for u, v in zip(a.reshape(-1, 3), b.reshape(-1, 3), strict=True)
            for i in range(3)
        ]
        return np.moveaxis(array_of(found, a.shape), -1, dim)

    def kron(self, x: Array, y: Array) -> Array:
        rank = max(x.ndim, y.ndim)
        left, right = (a.reshape((1,) * (rank - a.ndim) + a.shape) for a in (x, y))
        pairs = [self.node(syntax.MUL, a, b) for a in left.reshape(-1) for b in right.reshape(-1)]
        order = [axis for pair in zip(range(rank), range(rank, 2 * rank), strict=True) for axis in pair]
        shape = [m * n for m, n in zip(left.shape, right.shape, strict=True)]
        return array_of(pairs, (*left.shape, *right.shape)).transpose(order).reshape(shape)

    def multi_dot(self, *arrays: Array) -> Array:
        return reduce(self.matmul, arrays)
