"""A sample of what columns made of each operation, once more in balls: an entry that contradicts them is an error of
gradcheck's.

A layer of columns has its `witness`, the layer of balls that means the same, and says what an entry of a cell is there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradcheck_cli.algebra.columns.layer import Cell
from gradcheck_cli.algebra.columns.trust import TRUST
from gradcheck_cli.algebra.directions import slope, value_of
from gradcheck_cli.algebra.number import working
from gradcheck_cli.algebra.precision import DIRECTIONS
from gradcheck_cli.algebra.series import terms

AT_LEAST, AT_MOST_SPECIAL = 2, 4
"""Entries of an operation that are looked at; a run has dozens of operations."""

MOST = 1 << 14
"""Numbers that meet in the sums and products that are looked at, in all, at each operation."""

Run = Callable[..., Sequence[Any]]


def agree(layer: Any, name: str, run: Run, inputs: Sequence[Cell], cells: Sequence[Cell], count: int) -> bool:
    """Whether a formula, `run` on balls, doesn't contradict its cells of so many entries."""
    certain = np.ones(count, dtype=bool)
    given = [np.broadcast_to(cell[0], count) for cell in inputs if np.shape(cell[0])[-1:] == (count,)]
    places = TRUST.sample(given, certain, AT_LEAST, AT_MOST_SPECIAL)
    return _agree(layer, name, places, cells, lambda i: run(*(layer.ball(cell, i) for cell in inputs)))


def sums_agree(layer: Any, cell: Cell, found: Cell, kept: int, count: int) -> bool:
    """Whether sums of `count` numbers that follow one another don't contradict balls."""
    places = _some(kept, count)
    each = lambda i: [layer.witness.total([layer.ball(cell, i * count + k) for k in range(count)])]  # noqa: E731
    return _agree(layer, "a sum", places, [found], each)


def products_agree(layer: Any, xs: Cell, ys: Cell, found: Cell, batch: int, rows: int, inner: int, columns: int) -> bool:
    """Whether products of matrices don't contradict balls."""

    def each(place: int) -> list[Any]:
        matrix, row, column = place // (rows * columns), place // columns, place % columns
        left = [layer.ball(xs, row * inner + k) for k in range(inner)]
        right = [layer.ball(ys, (matrix * inner + k) * columns + column) for k in range(inner)]
        return [layer.witness.dot(left, right)]

    return _agree(layer, "a product", _some(batch * rows * columns, inner), [found], each)


def _some(count: int, terms: int) -> list[int]:
    """Entries of a result each of which so many numbers make."""
    most = min(max(AT_LEAST, count // 1000), count, MOST // max(terms, 1))
    return [] if most < 1 else sorted(np.random.default_rng(count).choice(count, most, replace=False).tolist())


def _agree(layer: Any, name: str, places: Sequence[int], cells: Sequence[Cell], run: Callable[[int], Sequence[Any]]) -> bool:
    with working(DIRECTIONS[0]), terms(2):
        for i in places:
            for cell, known in zip(cells, run(i), strict=True):
                if not _alike(layer.ball(cell, i), known):
                    TRUST.lose(f"in {name}")
                    return False
    return True


def _alike(found: Any, known: Any) -> bool:
    """Whether two enclosures, or two truth values, may be of one and the same."""
    if found is None or known is None or isinstance(found, bool) or isinstance(known, bool):
        return found is None or known is None or found is known
    return all(
        not (a.is_finite() and b.is_finite()) or a.overlaps(b) for a, b in zip(_parts(found), _parts(known), strict=True)
    )


def _parts(cell: Any) -> tuple[Any, Any]:
    return value_of(cell), slope(cell)
