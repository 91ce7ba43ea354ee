"""The layer that tells what certainly has no value (a logarithm of what is certainly 0) from what isn't known at this precision
(that of 1 - sigmoid(1000) in balls of a few hundred bits, which contain 0)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product

from flint import arb

from gradcheck_cli.algebra.directions import Moved
from gradcheck_cli.algebra.layers import Cell
from gradcheck_cli.algebra.number import Ball
from gradcheck_cli.algebra.products import Sizes, by_rows
from gradcheck_cli.algebra.program import Program, inline
from gradcheck_cli.floats import Format
from gradcheck_cli.language import syntax
from gradcheck_cli.language.functions import Function


class Certain(Moved):
    """Balls beside the point, or at it, whose run is watched. `undefined`: some operation has no value anywhere in the balls
    that it was given; `open`: another one may have one, or isn't followed. A nan of the data counts as undefined."""

    operators = inline(syntax.NEG)

    def __init__(self) -> None:
        super().__init__()
        self.programs: dict[object, Program] = {}  # bound to this very run
        self.undefined = self.open = False

    @property
    def certain(self) -> bool:
        """Whether what has no value in this run certainly has none."""
        return self.undefined and not self.open

    def number(self, value: float | bool, form: Format) -> Cell:
        self.open |= not isinstance(value, bool) and math.isnan(value)  # so the shadow says that it doesn't know
        return super().number(value, form)

    def scalar(self, value: float | bool) -> Cell:
        if isinstance(value, bool):
            return value
        self.undefined |= math.isnan(value)
        return arb(value)

    constant = scalar

    def data(self, values: Sequence[float | bool], form: Format) -> list[Cell]:
        self.undefined |= any(math.isnan(value) for value in values)
        return super().data(values, form)

    def real(self, cell: Cell) -> Cell:
        self.open |= cell is None
        return super().real(cell)

    def total(self, cells: Sequence[Cell]) -> Cell:
        return self._seen(super().total, (cells,), cells)

    def dot(self, xs: Sequence[Cell], ys: Sequence[Cell], parts: bool = False) -> Cell:
        return self._seen(super().dot, (xs, ys), (*xs, *ys))

    def products(self, xs: Sequence[Cell], ys: Sequence[Cell], sizes: Sizes, parts: bool = False) -> list[Cell]:
        return by_rows(self.dot, xs, ys, sizes)

    def function(self, row: Function) -> Callable[..., Cell]:
        found = super().function(row)
        assert found is not None
        return lambda *cells: self._row(found, cells)

    def _row(self, function: Callable[..., Cell], cells: Sequence[Cell]) -> Cell:
        result = function(*cells)
        if _lost(result) and not any(map(_lost, cells)):
            self._tell(None not in cells and all(map(_lost, (function(*some) for some in product(*map(_corners, cells))))))
        return result

    def _seen(self, fold: Callable[..., Cell], arguments: Sequence[Sequence[Cell]], cells: Sequence[Cell]) -> Cell:
        """A sum, which has a value but for infinities that meet."""
        result = fold(*arguments)
        if _lost(result) and not any(map(_lost, cells)):
            self._tell(all(cell.is_exact() for cell in cells))
        return result

    def _tell(self, certain: bool) -> None:
        self.undefined |= certain
        self.open |= not certain


def _lost(cell: Cell) -> bool:
    return isinstance(cell, arb) and bool(cell.is_nan())


def _corners(cell: Cell) -> list[Ball]:
    """Numbers of a ball, the only one where it is exact."""
    return [cell] if not isinstance(cell, arb) or cell.is_exact() else [cell.lower(), cell.mid(), cell.upper()]
