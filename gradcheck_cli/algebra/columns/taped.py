"""The layer that knows what numbers were made of, on columns: beside each number a place, 0 where it hangs on no input. So
words are those of the value, then the place; of the radii, which have a leading dimension of two, only the first counts.

Places move with the numbers: what only moves entries, chooses or repeats them makes none. All else keeps the places of what it
was made of and its derivative by each, certified, by the rules of `moving`; no rule of torch's backward passes takes part. The
chain rule, applied from the results back, gives the derivatives by all inputs for a few times what the results took (Griewank
and Walther, Evaluating Derivatives, 2nd ed., section 3.2), as `algebra.tape` has them of balls.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from gradcheck_cli.algebra.columns.column import Column, balls_of, entries, shortened
from gradcheck_cli.algebra.columns.enclosing import decisions, is_truth
from gradcheck_cli.algebra.columns.layer import Cell
from gradcheck_cli.algebra.columns.meeting import shaped
from gradcheck_cli.algebra.columns.moving import VALUE, Half, Moving
from gradcheck_cli.algebra.columns.words import OPEN
from gradcheck_cli.algebra.directions import Precise
from gradcheck_cli.floats import Floats

Places = npt.NDArray[np.float64]
"""Of numbers in the order in which they were made, from 1 on: whole numbers as floats, which lie among the other parts of a
cell."""

Add = Callable[[Places, Half], None]
"""Adds to the derivatives by numbers at some places."""


@dataclass(slots=True)
class _Made:
    """Numbers that stand at places one after another from `first` on, and what the derivatives by them, not all 0, do for those
    of what they were made of."""

    first: int
    count: int
    back: Callable[[Half, Add], None]


class Taped(Moving):
    """Numbers that know what they were made of, from one `begin` to the next."""

    def begin(self) -> None:
        """Nothing is made yet; nothing is kept of what was."""
        self.tied, self._next = False, 1
        self._made: list[_Made] = []

    # -- numbers ----------------------------------------------------------------------------------------------------

    def number(self, words: Sequence[float], radius: float) -> Cell:
        """A constant."""
        *own, radius = self.fitting(words, radius)
        return *map(np.float64, own), np.float64(0.0), np.array([[radius], [0.0]])

    def data(self, values: Floats, slopes: Floats | None = None) -> Cell:
        """Floats that stand for themselves; inputs where slopes are given, of which those of slope 0 stand still."""
        known, others = np.isfinite(values), self._none[: self.words - 1]
        places: Any = np.float64(0.0) if slopes is None else self._new(np.shape(values))
        if slopes is not None and not slopes.all():
            places = np.where(slopes != 0.0, places, 0.0)
        if known.all():
            return values, *others, places, np.zeros((2, 1))
        radii = np.where(known, 0.0, OPEN)[None].repeat(2, axis=0)
        return np.where(known, values, 0.0), *others, places, radii

    def _new(self, shape: tuple[int, ...]) -> Places:
        """Places that nothing stands at."""
        count = math.prod(shape)
        self._next += count
        return np.arange(self._next - count, self._next, dtype=np.float64).reshape(shape)

    # -- balls --------------------------------------------------------------------------------------------------------

    @cached_property
    def witness(self) -> Any:
        """Balls that mean the same."""
        return Precise()

    def balls(self, cell: Cell, places: Sequence[int]) -> list[Any]:
        """Some entries as balls; None where a truth value isn't decided."""
        if is_truth(cell):
            return decisions(cell, places)
        return balls_of([entries(word, places) for word in cell[:-2]], entries(cell[-1][VALUE], places))

    def summed(self, cell: Cell, places: Sequence[int]) -> Any:
        """The sum of some entries there."""
        return self._added_up([entries(word, places) for word in cell[:-2]], entries(cell[-1][VALUE], places))

    # -- rows ---------------------------------------------------------------------------------------------------------

    def _value(self, cell: Cell) -> Half:
        return *cell[:-2], cell[-1][VALUE]

    def _lifted(self, value: Half, made: Sequence[tuple[Cell, Callable[[], Half] | None]]) -> Cell:
        behind = [(cell[-2], by) for cell, by in made if np.any(cell[-2])]
        if not behind:
            return _cell(value, np.float64(0.0))
        slopes = [(places, None if by is None else by()) for places, by in behind]
        shape = np.broadcast_shapes(*map(np.shape, value), *(np.shape(places) for places, _ in slopes))

        def back(found: Half, add: Add) -> None:
            some = _counting(found)
            there = tuple(part[some] for part in found)
            for places, slope in slopes:
                own = np.broadcast_to(places, shape).reshape(-1)[some]
                if slope is None:
                    add(own, there)
                else:
                    by = tuple(part if np.ndim(part) == 0 else np.broadcast_to(part, shape).reshape(-1)[some] for part in slope)
                    add(own, self._multiply(there, by))

        return _cell(value, self._keep(reduce(np.maximum, (places for places, _ in slopes)), shape, back))

    def _keep(self, behind: Places, shape: tuple[int, ...], back: Callable[[Half, Add], None]) -> Places:
        """The places of new numbers; 0 where nothing that hangs on inputs is `behind` them."""
        self._made.append(_Made(self._next, math.prod(shape), back))
        places = self._new(shape)
        return places if behind.all() else np.where(behind != 0.0, places, 0.0)

    def _negative(self, x: Cell) -> Cell:
        value = *(-word for word in x[:-2]), x[-1][VALUE]
        return self._lifted(value, [(x, lambda: self._value(self.constant(-1)))])

    def _quotient(self, x: Cell, y: Cell) -> Cell:
        """By x 1/y, by y -(x/y)/y."""
        a, b = self._value(x), self._value(y)
        *words, radius = found = self._over(a, b)
        less = *(-word for word in words), radius
        return self._lifted(
            found, [(x, lambda: self._over(self._value(self.constant(1)), b)), (y, lambda: self._over(less, b))]
        )

    def _choose(self, condition: Cell, x: Cell, y: Cell) -> Cell:
        if is_truth(x):
            return super()._choose(condition, x, y)
        value = self._kernel("choose")(condition, self._value(x), self._value(y))
        return _cell(value, np.where(condition[0], x[-2], y[-2]))

    # -- folds --------------------------------------------------------------------------------------------------------

    def total(self, cell: Cell, kept: int, count: int) -> Cell:
        """Sums of so many numbers each, which stand together."""
        value = self._summed(self._value(cell), kept, count)
        if not np.any(cell[-2]):
            return _cell(value, np.float64(0.0))
        places = np.broadcast_to(cell[-2], kept * count).reshape(kept, count)

        def back(found: Half, add: Add) -> None:
            some = _counting(found)
            own = places[some]
            add(own.reshape(-1), tuple(np.repeat(part[some], count) for part in found))

        return _cell(value, self._keep(places.max(-1, initial=0.0), (kept,), back))

    def dot(self, xs: Cell, ys: Cell, batch: int, rows: int, inner: int, columns: int, parts: bool = False) -> Cell:
        """Products of so many matrices."""
        shapes = (batch, rows, inner), (batch, inner, columns)
        x, y = (tuple(shaped(part, shape) for part in self._value(c)) for c, shape in zip((xs, ys), shapes, strict=True))
        value = tuple(part.reshape(-1) for part in self._multiplied(x, y))
        if not (np.any(xs[-2]) or np.any(ys[-2])):
            return _cell(value, np.float64(0.0))
        left, right = (shaped(c[-2], shape) for c, shape in zip((xs, ys), shapes, strict=True))

        def back(found: Half, add: Add) -> None:
            weights = tuple(part.reshape(batch, rows, columns) for part in found)
            if left.any():
                add(left.reshape(-1), _flat(self._multiplied(weights, _turned(y))))
            if right.any():
                add(right.reshape(-1), _flat(self._multiplied(_turned(x), weights)))

        behind = np.maximum(left.max(2, initial=0.0, keepdims=True), right.max(1, initial=0.0, keepdims=True))
        places = self._keep(np.broadcast_to(behind, (batch, rows, columns)), (batch, rows, columns), back)
        return _cell(value, places.reshape(-1))

    # -- back ---------------------------------------------------------------------------------------------------------

    def derivatives(self, results: Iterable[tuple[Cell, Floats]], count: int) -> Column | None:
        """Those of a sum of results, each times a float, by the `count` numbers that were made first; None where a result that
        counts is open."""
        found = np.zeros((self.words + 1, self._next))

        def add(places: Places, half: Half) -> None:
            self._gather(found, places, half)

        for cell, weights in results:
            value, counts = np.broadcast_to(cell[-1][VALUE], len(weights)), weights != 0.0
            if not np.isfinite(value[counts]).all():
                return None
            zeros = np.zeros(len(weights))
            add(np.broadcast_to(cell[-2], len(weights)), (weights, *[zeros] * self.words))
        for made in reversed(self._made):
            here = found[:, made.first : made.first + made.count]
            if here.any():
                made.back(tuple(here), add)
        *words, radius = found[:, 1 : count + 1]
        return shortened(words, np.where(np.isnan(radius), OPEN, radius))

    def _gather(self, found: Floats, places: Places, half: Half) -> None:
        """Adds to what is found at some places, of which many may be the same."""
        terms = np.array([np.broadcast_to(part, len(places)) for part in half])
        if not _one_after_another(places):
            some = np.flatnonzero(places)
            order = some[np.argsort(places[some], kind="stable")]
            places, terms = places[order], terms[:, order]
            while len(places) and (same := places[1:] == places[:-1]).any():
                places, terms = self._paired(places, terms, same)
        if not len(places):
            return
        where: Any = places.astype(np.intp)
        if _one_after_another(places):
            where = slice(int(places[0]), int(places[-1]) + 1)
        before = found[:, where]
        found[:, where] = self._together(before, terms) if before.any() else terms

    def _together(self, one: Floats, other: Floats) -> Floats:
        """Numbers added, a row for each word and for the radius."""
        return np.stack(np.broadcast_arrays(*self._add(tuple(one), tuple(other))))

    def _paired(self, places: Places, terms: Floats, same: npt.NDArray[np.bool_]) -> tuple[Places, Floats]:
        """Of terms for each place, which follow one another, the first and the second added, the third and the fourth, and so
        on. `same`: the place is that of the next."""
        steps = np.arange(len(places))
        begun = np.maximum.accumulate(np.where(np.concatenate([[True], ~same]), steps, 0))
        kept = (steps - begun) % 2 == 0
        pairs = np.flatnonzero(kept[:-1] & same)
        terms[:, pairs] = self._together(terms[:, pairs], terms[:, pairs + 1])
        return places[kept], terms[:, kept]


def _cell(value: Half, places: Any) -> Cell:
    radii = np.stack([np.asarray(value[-1])] * 2)
    return *value[:-1], places, radii if radii.ndim > 1 else radii[:, None]


def _counting(half: Half) -> Any:
    """Which derivatives aren't exactly 0: what they are by numbers that aren't known counts only there."""
    some = np.any([np.asarray(part) != 0.0 for part in half], axis=0)
    return slice(None) if some.all() else some


def _turned(half: Half) -> Half:
    return tuple(part.swapaxes(1, 2) for part in half)


def _flat(half: Half) -> Half:
    return tuple(part.reshape(-1) for part in half)


def _one_after_another(places: Places) -> bool:
    """Whether places follow one another without a gap."""
    count = len(places)
    return bool(count and places[0] and places[-1] - places[0] == count - 1 and (np.diff(places) == 1.0).all())
