"""Formulas at many points: in chunks that stay in the cache, as arrays of (high, low, radius)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import NamedTuple

import numpy as np

from gradcheck_cli.algebra.columns.algebra import ColumnAlgebra
from gradcheck_cli.algebra.columns.backends import Backend, on_numpy
from gradcheck_cli.algebra.columns.primitives import Array, Mask
from gradcheck_cli.algebra.columns.rewriting import prepared
from gradcheck_cli.algebra.columns.words import OPEN
from gradcheck_cli.algebra.program import Program
from gradcheck_cli.language.tree import Node


class Column(NamedTuple):
    """One number at each point: the true one lies within `radius` of high + low. What is open has an infinite radius."""

    high: Array
    low: Array
    radius: Array

    @property
    def open(self) -> Mask:
        """Where nothing is certified."""
        return self.radius == OPEN


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
        self._rest = Evaluation(trees, inputs, kind, self.backend.rest) if self.backend.rest else None
        with np.errstate(all="ignore"):
            self._run = self.backend.loop(self.program.bind(), self.inputs, self.outputs, self._words)

    def at(self, *inputs: Array) -> list[Column]:
        """A column for each formula, of an array of float64 for each input; open where one of them isn't finite, and
        everywhere if this thread doesn't round as the bounds suppose."""
        parts = self._parts(inputs)
        if not self.backend.trustworthy():
            for column in parts:
                column[-1][:] = OPEN
        nothing = self.backend.empty(0 if self._words == 3 else len(inputs[0]))
        nothing[:] = 0.0
        return [Column(part[0], part[1] if self._words == 3 else nothing, part[-1]) for part in parts]

    def _parts(self, inputs: Sequence[Array]) -> list[list[Array]]:
        """The words of each formula."""
        points = len(inputs[0])
        parts = [[self.backend.empty(points) for _ in range(self._words)] for _ in range(self.outputs)]
        with np.errstate(all="ignore"):
            for start in range(0, points, self.backend.chunk):
                span = slice(start, start + self.backend.chunk)
                self._run([values[span] for values in inputs], [[part[span] for part in column] for column in parts])
        if self._rest is not None:
            left = np.flatnonzero(reduce(or_, (column[-1] == OPEN for column in parts)))
            found = self._rest._parts([values[left] for values in inputs])
            for column, others in zip(parts, found, strict=True):
                for part, other in zip(column, others, strict=True):
                    part[left] = other
        return parts
