"""What `shadowed` keeps beside many floats, beside one that has no value yet: a whole trace of operations becomes one compiled
loop. So a number is (value, (near, far)) or (high, low, (near, far)), the radii of both columns, which a kernel computes in
turn; LLVM finds what they have in common.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial, reduce
from operator import and_
from typing import Any

import numpy as np

from gradcheck_cli.algebra.columns.algebra import ColumnAlgebra
from gradcheck_cli.algebra.columns.backends import Backend, on_llvm
from gradcheck_cli.algebra.columns.enclosing import LOGICAL, WHOLE
from gradcheck_cli.algebra.columns.layer import Cell
from gradcheck_cli.algebra.columns.shadowed import Shadowed
from gradcheck_cli.algebra.columns.words import OPEN, UP
from gradcheck_cli.algebra.program import Program
from gradcheck_cli.language import syntax
from gradcheck_cli.language.functions import Function

Kernel = Callable[..., Any]


def is_truth(cell: Cell) -> bool:
    """Whether a cell holds truth values."""
    return not isinstance(cell[-1], tuple)


class Fused(Shadowed):
    """Both columns of numbers without a value. Decisions are those of the kernels: what isn't one branch for certain, and what
    isn't finite, is open."""

    @staticmethod
    def _library() -> Backend:
        return on_llvm()

    # -- numbers ----------------------------------------------------------------------------------------------------

    def _parts(self, words: Sequence[float], near: float, far: float) -> Cell:
        high, low = (*words, 0.0)[:2]
        if not math.isfinite(high):
            high, near, far = 0.0, OPEN, OPEN
        if self.kind == "double":
            return high, low, (near, far)
        return high, ((near + abs(low)) * UP, (far + abs(low)) * UP) if low else (near, far)

    def constant(self, value: int | float | bool) -> Cell:
        return (value, not value) if isinstance(value, bool) else super().constant(value)

    def given(self, value: Any) -> Cell:
        """A float that stands for itself."""
        library = self.backend.primitives
        finite = library.isfinite(value)
        centre, radius = library.where(finite, value, 0.0), library.where(finite, 0.0, OPEN)
        return (centre, (radius, radius)) if self.kind == "single" else (centre, 0.0, (radius, radius))

    def truth(self, cell: Cell) -> Cell:
        found: Cell = cell if is_truth(cell) else self._kernel("apart")(self._widest(cell), self._widest(self.constant(0)))
        return found

    def real(self, cell: Cell) -> Cell:
        if not is_truth(cell):
            return cell
        found: Cell = self._both(self._kernel("choose"))(cell, self.constant(1), self.constant(0))
        return found

    def joined(self, cell: Cell, step: Cell) -> Cell:
        if is_truth(cell):
            return cell[0] & step[0], cell[1] & step[1]
        *words, (near, _) = cell
        *others, (_, far) = step
        apart = abs(sum(a - b for a, b in zip(words, others, strict=True)))
        return *words, (near, (far + apart) * (1.0 + 2.0**-44) + abs(words[0]) * 2.0**-105)

    # -- rows ---------------------------------------------------------------------------------------------------------

    def function(self, row: Function) -> Kernel:
        if row.name not in self._functions:
            self._functions[row.name] = self._rounding(row, ColumnAlgebra.function(self, row) or self._defined(row))
        return self._functions[row.name]

    def _defined(self, row: Function) -> Kernel:
        names = [p.name for p in row.parameters]
        if any(p.kind == "integer" for p in row.parameters):
            nothing = self.number([0.0], OPEN)
            return lambda *arguments: nothing
        program = Program([self.body(row)], names, ColumnAlgebra(self.kind, self.backend))
        return lambda *cells: program(*cells)[0]

    def _rounding(self, row: Function, kernel: Kernel) -> Kernel:
        if not row.parameters:
            return super()._rounding(row, kernel)
        if row.name in LOGICAL:
            return kernel
        if row.truth:
            return lambda *cells: kernel(*map(self._widest, cells))
        both = self._both(partial(self._power, kernel) if row.name == syntax.POW else kernel)
        if row.ulps == 0 or row.name == syntax.WHERE:
            return both
        relative, absolute = self._rounded.model(row)
        return lambda *cells: self._widened(both(*cells), relative, absolute, bool(row.absolute))

    def _power(self, kernel: Kernel, base: Cell, exponent: Cell) -> Cell:
        known = isinstance(exponent[0], float) and exponent[-1] == 0.0
        return super()._power(kernel, base, exponent) if known and float(exponent[0]) in WHOLE else kernel(base, exponent)

    def _both(self, kernel: Kernel) -> Kernel:
        """A kernel on both columns. As in `shadowed`, one that goes on from another centre loses what isn't known."""
        library = self.backend.primitives

        def run(*cells: Cell) -> Cell:
            (*words, near), (*others, far) = (
                kernel(*(cell if is_truth(cell) else (*cell[:-1], cell[-1][column]) for cell in cells)) for column in (0, 1)
            )
            known = library.isfinite(near)
            same = reduce(and_, map(library.equal, words, others))
            centre = [library.where(known, word, other) for word, other in zip(words, others, strict=True)]
            return *centre, (near, library.where(known & _negated(same), OPEN, far))

        return run

    def _widest(self, cell: Cell) -> Cell:
        if is_truth(cell):
            return cell
        *words, (near, far) = cell
        return *words, self.backend.primitives.where(near >= far, near, far + (near - near))  # nan where one of them is

    def _widened(self, cell: Cell, relative: float, absolute: float, always: bool) -> Cell:
        library = self.backend.primitives
        *words, (near, far) = cell
        size = sum(map(abs, words))
        wider = (far + ((size + far) * relative + absolute)) * UP
        if not always:
            wider = library.where(library.equal(words[0], 0.0) & library.equal(far, 0.0), 0.0, wider)
        return *words, (near, wider)


def _negated(condition: Any) -> Any:
    return not condition if isinstance(condition, bool | np.bool_) else ~condition
