"""A sample of what columns made in a run, once more in balls: an entry that contradicts them is an error of gradcheck's.

A layer of columns has its `witness`, the layer of balls that means the same, and says what an entry of a cell is there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from flint import arb

from gradcheck_cli.algebra.columns.enclosing import is_truth
from gradcheck_cli.algebra.columns.layer import Cell, ColumnLayer
from gradcheck_cli.algebra.columns.trust import ONE_IN, TRUST, drawn
from gradcheck_cli.algebra.directions import slope, value_of
from gradcheck_cli.algebra.number import working
from gradcheck_cli.algebra.precision import DIRECTIONS
from gradcheck_cli.algebra.series import terms

AT_LEAST, AT_MOST_SPECIAL = 2, 4
"""Entries that are looked at of the first operation of a kind, and special ones among them; a run has dozens of kinds."""

MOST, LONGEST = 1 << 8, 1 << 14
"""Numbers that meet in the sums and products that are looked at, in all, at each operation; and in one of them."""

Run = Callable[..., Sequence[Any]]


class Audit:
    """What is looked at in one run: of each kind of operation some entries of the first one, then one in ONE_IN. `sound`:
    nothing contradicted."""

    def __init__(self) -> None:
        self.sound = True
        self._made, self._seen = Counter[Any](), Counter[Any]()

    def due(self, kind: Any, count: int) -> int:
        """How many of so many new entries are to be looked at."""
        self._made[kind] += count
        due = min(max(self._made[kind] // ONE_IN, AT_LEAST) - self._seen[kind], count)
        self._seen[kind] += max(due, 0)
        return max(due, 0)

    def formula(
        self, layer: Any, name: str, run: Run, inputs: Sequence[Cell], cells: Sequence[Cell], count: int
    ) -> None:  # fmt: skip
        """A formula, `run` on balls, and its cells of so many entries."""
        first, due = name not in self._made, self.due(name, count)
        if not due:
            return
        given = [cell[0] for cell in inputs if first and not is_truth(cell) and np.shape(cell[0]) == (count,)]
        places = TRUST.sample(given, np.ones(count, dtype=bool), due, AT_MOST_SPECIAL)
        given_there = [layer.balls(cell, places) for cell in inputs]
        self.hold(layer, name, places, cells, lambda k: run(*(balls[k] for balls in given_there)))

    def hold(
        self, layer: Any, name: str, places: Sequence[int], cells: Sequence[Cell], run: Callable[[int], Sequence[Any]]
    ) -> None:  # fmt: skip
        """What is run for each of some places, and the cells there."""
        found = [layer.balls(cell, places) for cell in cells]
        with working(max(DIRECTIONS[0], layer.bits)), terms(2):
            for k in range(len(places)):
                for balls, known in zip(found, run(k), strict=True):
                    if not _alike(balls[k], known):
                        TRUST.lose(f"in {name}")
                        self.sound = False
                        return


class Audited:
    """A layer whose sums and products are looked at."""

    def __init__(self, layer: ColumnLayer, audit: Audit) -> None:
        self._layer: Any = layer
        self._audit = audit

    def __getattr__(self, name: str) -> Any:
        return getattr(self._layer, name)

    def total(self, cell: Cell, kept: int, count: int) -> Cell:
        """As the layer's."""
        found: Cell = self._layer.total(cell, kept, count)
        places = self._some("a sum", kept, count)
        added = [range(place * count, (place + 1) * count) for place in places]
        self._audit.hold(self._layer, "a sum", places, [found], lambda k: [self._layer.summed(cell, added[k])])
        return found

    def dot(self, xs: Cell, ys: Cell, batch: int, rows: int, inner: int, columns: int, parts: bool = False) -> Cell:
        """As the layer's."""
        found: Cell = self._layer.dot(xs, ys, batch, rows, inner, columns, parts)

        places = self._some("a product", batch * rows * columns, inner)
        if not places:
            return found
        step = np.arange(inner)
        across = [place // columns * inner + step for place in places]
        down = [(place // columns // rows * inner + step) * columns + place % columns for place in places]
        left, right = (self._layer.balls(cell, np.concatenate(some)) for cell, some in ((xs, across), (ys, down)))

        def product(k: int) -> Any:
            term = slice(k * inner, (k + 1) * inner)
            return [self._layer.witness.dot(left[term], right[term])]

        self._audit.hold(self._layer, "a product", places, [found], product)
        return found

    def _some(self, name: str, count: int, terms: int) -> list[int]:
        """Entries of a result each of which so many numbers make."""
        due = self._audit.due((name, terms > 1), count)
        most = min(due, max(MOST // max(terms, 1), int(terms <= LONGEST)))
        return sorted(drawn(count, most)) if most else []


def _alike(found: Any, known: Any) -> bool:
    """Whether two enclosures, or two truth values, may be of one and the same."""
    if type(found) is arb and type(known) is arb:
        return bool(found.overlaps(known)) or not (found.is_finite() and known.is_finite())
    if found is None or known is None or isinstance(found, bool) or isinstance(known, bool):
        return found is None or known is None or found is known
    return _alike(value_of(found), value_of(known)) and _alike(slope(found), slope(known))
