"""A sample of what columns made of each operation, once more in balls: an entry that contradicts them is an error of
gradcheck's.

A layer of columns has its `witness`, the layer of balls that means the same, and says what an entry of a cell is there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradcheck_cli.algebra.columns.enclosing import is_truth
from gradcheck_cli.algebra.columns.layer import Cell, ColumnLayer
from gradcheck_cli.algebra.columns.trust import ONE_IN, TRUST, drawn
from gradcheck_cli.algebra.directions import slope, value_of
from gradcheck_cli.algebra.number import working
from gradcheck_cli.algebra.precision import DIRECTIONS
from gradcheck_cli.algebra.series import terms

AT_LEAST, AT_MOST_SPECIAL = 2, 4
"""Entries of an operation that are looked at; a run has dozens of operations."""

MOST, LONGEST = 1 << 10, 1 << 14
"""Numbers that meet in the sums and products that are looked at, in all, at each operation; and in one of them."""

Run = Callable[..., Sequence[Any]]


def agree(layer: Any, name: str, run: Run, inputs: Sequence[Cell], cells: Sequence[Cell], count: int) -> bool:
    """Whether a formula, `run` on balls, doesn't contradict its cells of so many entries."""
    certain = np.ones(count, dtype=bool)
    given = [cell[0] for cell in inputs if not is_truth(cell) and np.shape(cell[0]) == (count,)]
    places = TRUST.sample(given, certain, AT_LEAST, AT_MOST_SPECIAL)
    given_there = [layer.balls(cell, places) for cell in inputs]
    return _agree(layer, name, places, cells, lambda k: run(*(balls[k] for balls in given_there)))


class Audited:
    """A layer whose sums and products are looked at. `sound`: nothing contradicted them."""

    def __init__(self, layer: ColumnLayer) -> None:
        self._layer: Any = layer
        self.sound = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._layer, name)

    def total(self, cell: Cell, kept: int, count: int) -> Cell:
        """As the layer's."""
        found: Cell = self._layer.total(cell, kept, count)
        places = _some(kept, count)
        added = [range(place * count, (place + 1) * count) for place in places]
        self._hold("a sum", found, places, lambda k: self._layer.summed(cell, added[k]))
        return found

    def dot(self, xs: Cell, ys: Cell, batch: int, rows: int, inner: int, columns: int, parts: bool = False) -> Cell:
        """As the layer's."""
        found: Cell = self._layer.dot(xs, ys, batch, rows, inner, columns, parts)

        places = _some(batch * rows * columns, inner)
        step = np.arange(inner)
        across = [place // columns * inner + step for place in places]
        down = [(place // columns // rows * inner + step) * columns + place % columns for place in places]
        left, right = (
            self._layer.balls(cell, np.concatenate(some).tolist() if some else []) for cell, some in ((xs, across), (ys, down))
        )

        def product(k: int) -> Any:
            term = slice(k * inner, (k + 1) * inner)
            return self._layer.witness.dot(left[term], right[term])

        self._hold("a product", found, places, product)
        return found

    def _hold(self, name: str, found: Cell, places: Sequence[int], run: Callable[[int], Any]) -> None:
        self.sound = _agree(self._layer, name, places, [found], lambda k: [run(k)]) and self.sound


def _some(count: int, terms: int) -> list[int]:
    """Entries of a result each of which so many numbers make."""
    most = min(max(AT_LEAST, count // ONE_IN), count, max(MOST // max(terms, 1), int(terms <= LONGEST)))
    return [] if most < 1 else sorted(drawn(count, most))


def _agree(layer: Any, name: str, places: Sequence[int], cells: Sequence[Cell], run: Callable[[int], Sequence[Any]]) -> bool:
    """Whether what is run for each of some places doesn't contradict the cells there."""
    found = [layer.balls(cell, places) for cell in cells]
    with working(max(DIRECTIONS[0], layer.bits)), terms(2):
        for k in range(len(places)):
            for balls, known in zip(found, run(k), strict=True):
                if not _alike(balls[k], known):
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
