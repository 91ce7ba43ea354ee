"""What the shadow keeps beside many floats at once: two columns with one centre, the number itself in exact arithmetic and all
that rounding may make of it. So radii have a leading dimension of two, EXACT and ROUNDED.

Constants are those of the layers of balls (`algebra.layers`), and so is the model of rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
from flint import arb

from gradcheck_cli.algebra.columns.algebra import ColumnAlgebra
from gradcheck_cli.algebra.columns.backends import on_numpy
from gradcheck_cli.algebra.columns.words import OPEN, UP
from gradcheck_cli.algebra.layers import Exact, Rounded
from gradcheck_cli.algebra.number import Ball
from gradcheck_cli.algebra.program import LARGEST_PRODUCT, Program
from gradcheck_cli.floats import Floats, Format
from gradcheck_cli.language import syntax
from gradcheck_cli.language.functions import Function

Cell = tuple[Any, ...]
"""(value, radii) or (high, low, radii) of numbers; a pair of masks of truth values, where it holds and where it doesn't."""

EXACT, ROUNDED = 0, 1

_WHOLE = frozenset(map(float, range(-LARGEST_PRODUCT, LARGEST_PRODUCT + 1)))
"""Exponents of products."""

_CHOICES = frozenset({syntax.WHERE, syntax.AND, syntax.OR, syntax.NOT})
"""Rows that take truth values."""


class Shadowed(ColumnAlgebra):
    """Both columns in one run; `stepwise`: formulas as kernels compute them, whose rounding counts. `words`: the kind of
    columns (None: what suits the format)."""

    operators: Mapping[str, str] = MappingProxyType({})
    strict = True

    def __init__(self, exact: Exact, rounded: Rounded, stepwise: bool = False, words: str | None = None) -> None:
        super().__init__(words or ("single" if rounded.form.bits <= 24 else "double"), on_numpy())
        self.form, self.stepwise = rounded.form, stepwise
        self.programs: dict[Any, Program] = {}
        self._exact, self._rounded = exact, rounded
        self._functions: dict[str, Callable[..., Cell]] = {}
        self._within: dict[str, Shadowed] = {}
        self.steps = self if stepwise else Shadowed(exact, rounded, True, words)

    def within(self, form: Format | None) -> Shadowed:
        """The layer in which an operation is repeated whose result has this format."""
        if form is None or form.bits >= self.form.bits:
            return self
        if form.name not in self._within:
            self._within[form.name] = Shadowed(self._exact, Rounded(form), words=self.kind)
        return self._within[form.name]

    # -- numbers ----------------------------------------------------------------------------------------------------

    def both(self, exact: Ball, rounded: Ball) -> Cell:
        """A number from its two balls."""
        if not (exact.is_finite() and rounded.is_finite()):
            return self._parts(0.0, 0.0, OPEN, OPEN)
        high = float(exact.mid())
        low = float((exact.mid() - high).mid())
        word = arb(high) + low
        near, far = (float(abs(ball - word).abs_upper()) * UP for ball in (exact, rounded))
        return self._parts(high, low, near, far)

    def _parts(self, high: float, low: float, near: float, far: float) -> Cell:
        extra = abs(low) if self.kind == "single" else 0.0
        radii = np.array([[near + extra], [far + extra]]) * (UP if extra else 1.0)
        return (np.float64(high), radii) if self.kind == "single" else (np.float64(high), np.float64(low), radii)

    def constant(self, value: int | float | bool) -> Cell:
        if isinstance(value, bool):
            return np.bool_(value), np.bool_(not value)
        return self.both(self._exact.constant(value), self._rounded.constant(value))

    def literal(self, value: float, form: Format) -> Cell:
        """A single float that no operation has made."""
        return self.both(self._exact.number(value, form), self._rounded.number(value, form))

    def scalar(self, value: float | bool) -> Cell:
        """A Python number that is an argument of an operation."""
        if isinstance(value, bool):
            return self.constant(value)
        return self.both(self._exact.scalar(value), self._rounded.scalar(value))

    def data(self, values: Floats) -> Cell:
        """Floats that stand for themselves."""
        radii = np.where(np.isfinite(values), 0.0, OPEN)[None, :].repeat(2, axis=0)
        centre = np.where(np.isfinite(values), values, 0.0)
        return (centre, radii) if self.kind == "single" else (centre, np.zeros_like(centre), radii)

    def convert(self, cell: Cell, form: Format) -> Cell:
        """The cell of a float that is converted to the shorter format `form`."""
        return self._widened(cell, form.unit_roundoff, form.smallest_subnormal, False)

    def truth(self, cell: Cell) -> Cell:
        """A number as a truth value: whether it isn't 0."""
        if is_truth(cell):
            return cell
        found: Cell = self._kernel("apart")(_widest(cell), _widest(self.constant(0)))
        return found

    def real(self, cell: Cell) -> Cell:
        """A truth value as a number, 1 or 0."""
        if not is_truth(cell):
            return cell
        found: Cell = self._kernel("choose")(cell, self.constant(1), self.constant(0))
        return found

    # -- rows ---------------------------------------------------------------------------------------------------------

    def function(self, row: Function) -> Callable[..., Cell]:
        if row.name not in self._functions:
            self._functions[row.name] = self._rounding(row, super().function(row) or self._defined(row))
        return self._functions[row.name]

    def _defined(self, row: Function) -> Callable[..., Cell]:
        """A row without a kernel, by its body: one function to torch, which rounds as one."""
        names = [p.name for p in row.parameters]
        if any(p.kind == "integer" for p in row.parameters):
            nothing = self._parts(0.0, 0.0, OPEN, OPEN)
            return lambda *arguments: nothing
        program = Program([self.body(row)], names, ColumnAlgebra(self.kind, self.backend))
        return lambda *cells: program(*cells)[0]

    def _rounding(self, row: Function, kernel: Callable[..., Cell]) -> Callable[..., Cell]:
        """The kernel, and what rounding adds to its result."""
        if not row.parameters:
            exact, rounded = self._exact.function(row), self._rounded.function(row)
            assert exact is not None and rounded is not None
            word = self.both(exact(), rounded())
            return lambda: word
        if row.name in _CHOICES:
            return kernel
        if row.name == syntax.POW:
            kernel = partial(self._power, kernel)
        if row.truth:
            return lambda *cells: kernel(*map(_widest, cells))
        if row.ulps == 0:
            return lambda *cells: _together(kernel(*cells))
        relative, absolute = self._rounded.model(row)

        def run(*cells: Cell) -> Cell:
            return self._widened(_together(kernel(*cells)), relative, absolute, bool(row.absolute))

        return run

    def _power(self, kernel: Callable[..., Cell], base: Cell, exponent: Cell) -> Cell:
        """Whole powers as products, whatever the sign of the base; others by the kernel."""
        value = float(exponent[0]) if np.ndim(exponent[0]) == 0 and not np.any(exponent[-1]) else 0.5
        if value not in _WHOLE:
            return kernel(base, exponent)
        found, multiply = self.constant(1), self._kernel("multiply")
        for bit in f"{abs(int(value)):b}":
            found = multiply(found, found)
            found = multiply(found, base) if bit == "1" else found
        divided: Cell = self._kernel("over")(self.constant(1), found) if value < 0 else found
        return divided

    def _widened(self, cell: Cell, relative: float, absolute: float, always: bool) -> Cell:
        """A result, off by so much of its size and so much besides; what is exactly 0 stays so, unless `always`."""
        *words, radii = cell
        near, far = radii[EXACT], radii[ROUNDED]
        size = abs(words[0]) + (abs(words[1]) if len(words) > 1 else 0.0)
        wider = (far + ((size + far) * relative + absolute)) * UP
        if not always:
            wider = np.where((words[0] == 0.0) & (far == 0.0), 0.0, wider)
        return *words, np.stack(np.broadcast_arrays(near, wider))


def is_truth(cell: Cell) -> bool:
    """Whether a cell holds truth values."""
    return bool(np.asarray(cell[0]).dtype == np.bool_)


def _widest(cell: Cell) -> Cell:
    """A number with the wider of its radii: what is certain of that is certain of both."""
    return cell if is_truth(cell) else (*cell[:-1], np.max(cell[-1], axis=0))


def _together(cell: Cell) -> Cell:
    """A result with one centre. A kernel that left one of the two balls out of its range may have gone on from another centre
    there: that of the ball that is known counts."""
    *words, radii = cell
    if all(np.ndim(word) < 2 for word in words):
        return *words, radii if np.ndim(radii) == 2 else np.broadcast_to(radii, (2, np.size(radii)))
    pairs = [np.broadcast_arrays(word, radii)[0] for word in words]
    known = np.isfinite(radii[EXACT])
    same = np.logical_and.reduce([pair[EXACT] == pair[ROUNDED] for pair in pairs])
    centre = [np.where(known, pair[EXACT], pair[ROUNDED]) for pair in pairs]
    return *centre, np.stack([radii[EXACT], np.where(known & ~same, OPEN, radii[ROUNDED])])
