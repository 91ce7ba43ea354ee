"""Steps of rules that go entry by entry through matrices, on cells at once: what `matrices` does in torch's operations, each
of which costs as much as some hundred cells. The same functions of a layer in the same order, so that it rounds alike.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence

from gradcheck_cli.algebra.layers import Cell, Layer
from gradcheck_cli.language import syntax
from gradcheck_cli.language.functions import TABLE

Flat = Sequence[Cell]
Make = Callable[..., list[Cell]]
"""Cells, from a layer and the cells of tensors, flat."""

_DIV, _MUL, _SUB = TABLE[syntax.DIV], TABLE[syntax.MUL], TABLE[syntax.SUB]


def _arithmetic(layer: Layer) -> tuple[Callable[..., Cell], Callable[..., Cell], Callable[..., Cell], Cell]:
    """Quotients, products, differences, and 1."""
    return (
        layer.function(_DIV) or operator.truediv,
        layer.function(_MUL) or operator.mul,
        layer.function(_SUB) or operator.sub,
        layer.scalar(1),
    )


def _matrices(cells: Flat, rows: int, columns: int) -> list[list[list[Cell]]]:
    """The rows of each matrix."""
    lines = [list(cells[i : i + columns]) for i in range(0, len(cells), columns)] if columns else []
    return [lines[i : i + rows] for i in range(0, len(lines), rows)]


def substituting(rows: int, columns: int, *, upper: bool, unit: bool) -> Make:
    """The solutions of triangular systems."""

    def found(layer: Layer, a: Flat, b: Flat) -> list[Cell]:
        over, times, minus, one = _arithmetic(layer)
        made: list[Cell] = []
        for matrix, right in zip(_matrices(a, rows, rows), _matrices(b, rows, columns), strict=True):
            done: list[int] = []
            for i in reversed(range(rows)) if upper else range(rows):
                if done:
                    left = [matrix[i][j] for j in done]
                    known = ([right[j][c] for j in done] for c in range(columns))
                    right[i] = [minus(x, layer.dot(left, column)) for x, column in zip(right[i], known, strict=True)]
                if not unit:
                    inverse = over(one, matrix[i][i])
                    right[i] = [times(x, inverse) for x in right[i]]
                done.append(i)
            made += (x for row in right for x in row)
        return made

    return found


def eliminating(orders: Sequence[Sequence[int]], rows: int, columns: int) -> Make:
    """L below the diagonal, U on and above it, of matrices whose rows stand in some order."""

    def found(layer: Layer, a: Flat) -> list[Cell]:
        over, times, minus, one = _arithmetic(layer)
        made: list[Cell] = []
        for order, matrix in zip(orders, _matrices(a, rows, columns), strict=True):
            left = [matrix[i] for i in order]
            for k in range(min(rows, columns)):
                top = left[k]
                inverse = over(one, top[k])
                for row in left[k + 1 :]:
                    factor = row[k] = times(row[k], inverse)
                    row[k + 1 :] = [minus(x, times(factor, t)) for x, t in zip(row[k + 1 :], top[k + 1 :], strict=True)]
            made += (x for row in left for x in row)
        return made

    return found


def crossing(layer: Layer, xs: Flat, ys: Flat) -> list[Cell]:
    """Cross products of threes."""
    _, times, minus, _ = _arithmetic(layer)
    return [
        minus(times(xs[n + (i + 1) % 3], ys[n + (i + 2) % 3]), times(xs[n + (i + 2) % 3], ys[n + (i + 1) % 3]))
        for n in range(0, len(xs), 3)
        for i in range(3)
    ]
