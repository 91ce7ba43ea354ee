"""Columns whose decisions are those of the shadow's balls (`layers.HULL`): numbers that are equal for certain are, and a choice
that isn't decided encloses both branches. Elsewhere (`truths`) it is open, since nearby arguments have to give the same answer.

Radii may have a leading axis: then there are several balls with one centre, and masks have that axis too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial, reduce
from operator import and_, eq, or_
from types import MappingProxyType
from typing import Any

import numpy as np

from gradcheck_cli.algebra.columns.algebra import ColumnAlgebra
from gradcheck_cli.algebra.columns.column import entries
from gradcheck_cli.algebra.columns.layer import Cell
from gradcheck_cli.algebra.columns.words import OPEN, UP
from gradcheck_cli.algebra.program import LARGEST_PRODUCT
from gradcheck_cli.language import syntax
from gradcheck_cli.language.functions import Function

EXACT, ROUNDED = 0, 1
"""The two radii of a cell: in exact arithmetic, and with all that rounding may do."""

LOGICAL = frozenset({syntax.AND, syntax.OR, syntax.NOT})
"""Rows that take truth values only."""

_PRODUCTS = frozenset({syntax.MUL, syntax.DIV, syntax.SQUARE})
"""Rows whose kernels allow for underflow, where there is none: 0 times a number is 0."""

WHOLE = frozenset(map(float, range(-LARGEST_PRODUCT, LARGEST_PRODUCT + 1)))
"""Exponents of products."""


class Enclosing(ColumnAlgebra):
    """Columns of one kind in NumPy."""

    def function(self, row: Function) -> Callable[..., Cell] | None:
        if row.truth and row.name not in LOGICAL:
            return partial(self._compared, row.name)
        if row.name in _OWN:
            return partial(_OWN[row.name], self)
        found = super().function(row)
        if found is None or not row.parameters or row.name in LOGICAL:
            return found
        kernel: Callable[..., Cell] = found
        if row.name == syntax.POW:
            return lambda base, exponent: _nothing(_together(self._power(kernel, base, exponent)), (base,))
        if row.name in _PRODUCTS:
            return lambda *cells: _nothing(_together(kernel(*cells)), cells)
        limit = _LIMITS.get(row.name)
        if limit is not None:
            return lambda *cells: _limited(_together(kernel(*cells)), limit, cells)
        return lambda *cells: _together(kernel(*cells))

    def _compared(self, name: str, x: Cell, y: Cell) -> Cell:
        """A comparison, decided in each ball: also where both are the same number for certain."""
        above, below = self._kernel("order")(x, y)
        same = reduce(and_, map(eq, x[:-1], y[:-1]))
        found: Cell = ANSWERS[name](above, below, same & (x[-1] == 0.0) & (y[-1] == 0.0))
        return found

    def _power(self, kernel: Callable[..., Cell], base: Cell, exponent: Cell) -> Cell:
        """Whole powers as products, whatever the sign of the base; others by the kernel."""
        value = float(exponent[0]) if np.ndim(exponent[0]) == 0 and not np.any(exponent[-1]) else 0.5
        if value not in WHOLE:
            return kernel(base, exponent)
        found, multiply = self.number([1.0], 0.0), self._kernel("multiply")
        for bit in f"{abs(int(value)):b}":
            found = multiply(found, found)
            found = multiply(found, base) if bit == "1" else found
        divided: Cell = self._kernel("over")(self.number([1.0], 0.0), found) if value < 0 else found
        return divided

    def _chosen(self, condition: Cell, x: Cell, y: Cell) -> Cell:
        """A choice; where it isn't decided no further from the centre than either number."""
        holds, fails = condition
        if is_truth(x):
            return (holds & x[0]) | (fails & y[0]) | (x[0] & y[0]), (holds & x[1]) | (fails & y[1]) | (x[1] & y[1])
        first = holds[EXACT] if np.ndim(holds) > 1 else holds
        words = [np.where(first, a, b) for a, b in zip(x[:-1], y[:-1], strict=True)]
        radii: Any = np.where(first, x[-1], y[-1])
        decided: Any = np.where(first, holds, fails)
        if not decided.all():
            apart = self._apart(x, y, words)
            other = np.where(first, y[-1], x[-1])
            radii = np.where(decided, radii, np.maximum(radii, (apart + other) * UP))
        return *words, radii

    def _apart(self, x: Cell, y: Cell, words: Sequence[Any]) -> Any:
        """How far two centres, one of which has these words, are apart at most."""
        apart = np.abs(sum(a - b for a, b in zip(x[:-1], y[:-1], strict=True))) * UP
        return apart + sum(np.abs(word) for word in words) * 2.0**-100

    def _larger(self, x: Cell, y: Cell) -> Cell:
        """The larger number: no further from the larger centre than the numbers are from theirs."""
        order = self._kernel("order")(x, y)
        first = x[0] >= y[0] if len(x) == 2 else (x[0] > y[0]) | ((x[0] == y[0]) & (x[1] >= y[1]))
        words = [np.where(first, a, b) for a, b in zip(x[:-1], y[:-1], strict=True)]
        own = np.where(first, x[-1], y[-1])
        return *words, np.where(order[0] | order[1], own, np.maximum(x[-1], y[-1]))

    def _smaller(self, x: Cell, y: Cell) -> Cell:
        return _negative(self._larger(_negative(x), _negative(y)))

    def _magnitude(self, x: Cell) -> Cell:
        """|x|, as far from its centre as x is."""
        sign = np.where(x[0] < 0.0, -1.0, 1.0)
        return *(word * sign for word in x[:-1]), x[-1]

    def _sign(self, x: Cell) -> Cell:
        """The sign, which of a certain 0 is 0."""
        zero = _certainly_zero(x)
        *words, radii = _together(self._kernel("sign")(x))
        return *(np.where(zero, 0.0, word) for word in words), np.where(zero, 0.0, radii)


_OWN: Mapping[str, Callable[..., Cell]] = MappingProxyType(
    {
        syntax.WHERE: Enclosing._chosen,
        **dict.fromkeys(("maximum", "fmax"), lambda self, x, y: self._larger(x, y)),
        **dict.fromkeys(("minimum", "fmin"), lambda self, x, y: self._smaller(x, y)),
        "abs": Enclosing._magnitude,
        "sign": Enclosing._sign,
    }
)
"""Rows that balls know more of than what is smooth."""

ANSWERS: Mapping[str, Callable[[Any, Any, Any], Cell]] = MappingProxyType(
    {
        "lt": lambda above, below, same: (below, above | same),
        "le": lambda above, below, same: (below | same, above),
        "gt": lambda above, below, same: (above, below | same),
        "ge": lambda above, below, same: (above | same, below),
        "eq": lambda above, below, same: (same, above | below),
        "ne": lambda above, below, same: (above | below, same),
    }
)
"""Where a comparison holds and where it doesn't."""


_LIMITS: Mapping[str, Callable[..., Any]] = MappingProxyType({syntax.ADD: np.add, syntax.SUB: np.subtract, "exp": np.exp})
"""Rows that have a value, exactly, where an argument is certainly infinite and the others are finite."""


def _limited(found: Cell, limit: Callable[..., Any], cells: tuple[Cell, ...]) -> Cell:
    if np.isfinite(found[0] if len(cells) > 1 else cells[0][0]).all():
        return found
    value = limit(*(np.where(np.isinf(cell[0]), cell[0], 0.0) for cell in cells))
    there = reduce(or_, (np.isinf(cell[0]) for cell in cells)) & ~np.isnan(value)
    known = reduce(and_, (np.isfinite(cell[-1]) & ((cell[-1] == 0.0) | np.isfinite(cell[0])) for cell in cells))
    high, *lower, radii = found
    words = np.where(there, value, high), *(np.where(there, 0.0, word) for word in lower)
    return *words, np.where(there, np.where(known, 0.0, OPEN), radii)


def decisions(cell: Cell, places: Sequence[int]) -> list[bool | None]:
    """Some truth values in exact arithmetic; None where they aren't decided."""
    masks = (entries(mask[EXACT] if np.ndim(mask) > 1 else mask, places) for mask in cell)
    return [True if holds else False if fails else None for holds, fails in zip(*masks, strict=True)]


def is_truth(cell: Cell) -> bool:
    """Whether a cell holds truth values."""
    return bool(np.asarray(cell[0]).dtype == np.bool_)


def _negative(cell: Cell) -> Cell:
    return *(-word for word in cell[:-1]), cell[-1]


def _zeros(cell: Cell) -> Any:
    """Where a number is 0, in each ball."""
    zero = reduce(and_, (word == 0.0 for word in cell[:-1]))
    return zero & (cell[-1] == 0.0) if np.any(zero) else zero


def _certainly_zero(cell: Cell) -> Any:
    """Where a number is 0 in every ball."""
    zero = _zeros(cell)
    return zero.all(0) if np.ndim(zero) > 1 else zero


def _nothing(found: Cell, factors: tuple[Cell, ...]) -> Cell:
    """A product, which is certainly 0 where a factor (the first, of a quotient) is, in each ball."""
    *words, radii = found
    if not np.any(words[0] == 0.0):
        return found
    zero = reduce(or_, map(_zeros, factors))
    return *words, np.where(zero & np.isfinite(radii), 0.0, radii) if np.any(zero) else radii


def _together(cell: Cell) -> Cell:
    """A result with one centre. A kernel that left one of the balls out of its range may have gone on from another centre
    there: that of the ball that is known counts."""
    *words, radii = cell
    if all(np.ndim(word) < 2 for word in words):
        return *words, radii if np.ndim(radii) == 2 else np.broadcast_to(radii, (2, np.size(radii)))
    pairs = [np.broadcast_arrays(word, radii)[0] for word in words]
    known = np.isfinite(radii[EXACT])
    same = reduce(and_, (pair[EXACT] == pair[ROUNDED] for pair in pairs))
    centre = [np.where(known, pair[EXACT], pair[ROUNDED]) for pair in pairs]
    return *centre, np.stack([radii[EXACT], np.where(known & ~same, OPEN, radii[ROUNDED])])
