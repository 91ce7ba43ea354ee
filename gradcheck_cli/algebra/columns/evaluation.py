"""Formulas at many points: in chunks that stay in the cache, as arrays of (high, low, radius)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, reduce
from operator import and_, or_
from typing import Protocol

import numpy as np

from gradcheck_cli.algebra.columns.algebra import ColumnAlgebra
from gradcheck_cli.algebra.columns.backends import Backend, on_llvm, on_numpy
from gradcheck_cli.algebra.columns.column import Column
from gradcheck_cli.algebra.columns.primitives import Array, Mask
from gradcheck_cli.algebra.columns.rewriting import prepared
from gradcheck_cli.algebra.columns.words import OPEN
from gradcheck_cli.algebra.program import Program
from gradcheck_cli.language.tree import Node

SINGLE_BITS = 44
"""Bits that single words have after an elementary function or two: what needs more is evaluated in double words at once."""

SPARE_BITS = 12
"""More bits than are needed, which slopes of functions that hardly move don't have in single words."""

PAYS = 300_000
"""Points from which on a formula is compiled, if there is a compiler: that takes 0.1 to 0.4 s, and a point costs 0.3 to 1.5 us
less then."""


class Evaluation:
    """The values of formulas of some inputs; open where they aren't certified analytic (see `balls.SMOOTH`)."""

    def __init__(
        self, trees: Sequence[Node], inputs: Sequence[str], kind: str = "double", backend: Backend | None = None
    ) -> None:
        self.backend = backend or on_numpy()
        self.algebra = ColumnAlgebra(kind, self.backend)
        self.program = Program(prepared(trees, self.algebra), inputs, self.algebra, brief=self.backend.brief)
        self.inputs, self.outputs = len(inputs), len(trees)
        self._words = 3 if kind == "double" else 2
        self._rest = evaluation(tuple(trees), tuple(inputs), kind) if self.backend.rest else None
        with np.errstate(all="ignore"):
            self._run = self.backend.loop(self.program.bind(), self.inputs, self.outputs, self._words)

    def at(self, *inputs: Array) -> list[Column]:
        """A column for each formula, of as many numbers for each input, in one dimension; open where one of them isn't
        finite, and everywhere if this thread doesn't round as the bounds suppose."""
        parts = self._parts([self.backend.floats(values) for values in inputs])
        if not self.backend.trustworthy():
            for column in parts:
                column[-1][:] = OPEN
        if self._words == 2:
            for column in parts:
                column.insert(1, self.backend.empty(len(inputs[0])))
                column[1][:] = 0.0
        return [Column(*column) for column in parts]

    def _parts(self, inputs: Sequence[Array]) -> list[list[Array]]:
        """The words of each formula."""
        points = len(inputs[0])
        parts = [[self.backend.empty(points) for _ in range(self._words)] for _ in range(self.outputs)]
        with np.errstate(all="ignore"):
            for start in range(0, points, self.backend.chunk):
                span = slice(start, start + self.backend.chunk)
                self._run([values[span] for values in inputs], [[part[span] for part in column] for column in parts])
        if self._rest is not None:
            left = self.backend.places(reduce(or_, (column[-1] == OPEN for column in parts)))
            found = self._rest._parts([values[left] for values in inputs])
            for column, others in zip(parts, found, strict=True):
                for part, other in zip(column, others, strict=True):
                    part[left] = other
        return parts


@lru_cache(maxsize=128)
def evaluation(trees: tuple[Node, ...], inputs: tuple[str, ...], kind: str, fast: bool = False) -> Evaluation:
    """Formulas in NumPy, or `fast` in compiled loops, if they can be had; kept, for repeated checks."""
    if fast:
        try:
            return Evaluation(trees, inputs, kind, on_llvm())
        except Exception:  # there is no compiler, or it fails, with whatever it raises: NumPy does the same
            pass
    return Evaluation(trees, inputs, kind)


class Evaluating(Protocol):
    """What gives a column for each formula."""

    def at(self, *inputs: Array) -> Sequence[Column]: ...


class Enclosures:
    """Formulas at many points, each to so many bits: in single words where they are enough, in double words where not, and what
    is open then is told.

    `bits` is what is needed of each formula, 0 where it is enough to have a value; what is certainly smaller than `tiny` needs
    no more. What stays open is for `balls.SMOOTH`. `points`: how many it will be asked about, in all. `before`: what is asked
    first, by its kind of words, where it does better than the formulas.
    """

    def __init__(
        self, trees: Sequence[Node], inputs: Sequence[str], bits: Sequence[int], backend: Backend | None = None,
        points: int = 0, tiny: float = 0.0, before: Callable[[str], Evaluating] | None = None,
    ) -> None:  # fmt: skip
        self.bits, self.tiny = list(bits), tiny
        self._backend = backend or on_numpy()
        kinds = ("single", "double") if max(self.bits) <= SINGLE_BITS else ("double",)
        known = tuple(trees), tuple(inputs)
        self._spare = 0 if before is None or len(kinds) == 1 else SPARE_BITS
        self._stages: list[Evaluating] = [] if before is None else [before(kind) for kind in kinds]
        self._stages += [
            evaluation(*known, kind, points >= PAYS and kind == kinds[0])
            if backend is None
            else Evaluation(*known, kind, backend)
            for kind in kinds
        ]

    def at(self, *inputs: Array) -> tuple[list[Column], Mask]:
        """A column for each formula, and the points at which one of them isn't certified to its bits."""
        first, *others = self._stages
        inputs = tuple(map(self._backend.floats, inputs))
        found = list(first.at(*inputs))
        left = self._left(found, self._spare)
        for stage in others:
            points = self._backend.places(left)
            if len(points):
                better = stage.at(*(values[points] for values in inputs))
                for column, other in zip(found, better, strict=True):
                    for part, new in zip(column, other, strict=True):
                        part[points] = new
                left[points] = self._left(better)
        return found, left

    def _settled(self, column: Column, bits: int) -> Mask:
        return column.accurate(bits) | (abs(column.high) + column.radius < self.tiny)

    def _left(self, columns: Sequence[Column], spare: int = 0) -> Mask:
        settled = [
            self._settled(c, bits + spare) if bits else c.radius < OPEN for c, bits in zip(columns, self.bits, strict=True)
        ]
        return ~reduce(and_, settled)
