"""The layers of columns (`shadowed`, `moving`) with numbers of as many words as a deep network takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np
from flint import ctx

from gradcheck_cli.algebra.balls import SMOOTH, BallAlgebra
from gradcheck_cli.algebra.columns import long_sums, sums
from gradcheck_cli.algebra.columns.algebra import BODIES, KERNELS, MULTIPLE, ColumnAlgebra
from gradcheck_cli.algebra.columns.column import ball_with, balls_of, entries, float_words, radius_around
from gradcheck_cli.algebra.columns.enclosing import EXACT, Enclosing
from gradcheck_cli.algebra.columns.layer import Cell
from gradcheck_cli.algebra.columns.meeting import Numbers
from gradcheck_cli.algebra.columns.moving import Half, Moving, grown
from gradcheck_cli.algebra.columns.multiple import size, subtract
from gradcheck_cli.algebra.columns.multiple_functions import enclosed
from gradcheck_cli.algebra.columns.shadowed import Shadowed
from gradcheck_cli.algebra.columns.taped import Taped
from gradcheck_cli.algebra.columns.words import UP
from gradcheck_cli.algebra.directions import KEPT_ULPS, Kept, Precise
from gradcheck_cli.algebra.layers import HULL, Exact, Rounded
from gradcheck_cli.algebra.number import ZERO, Ball
from gradcheck_cli.floats import FORMATS, Floats, Format
from gradcheck_cli.language.functions import Function

MOST = 12
"""Words at most: beyond, balls are as fast."""


class _Long(ColumnAlgebra):
    """Rows by their kernels, and number by number in balls where they have none."""

    enclosures: BallAlgebra = SMOOTH
    """Which enclosures those are."""

    def function(self, row: Function) -> Callable[..., Cell] | None:
        plain = row.truth or not (row.ball and row.parameters) or any(p.kind == "integer" for p in row.parameters)
        defined = row.name not in KERNELS and (row.name in BODIES or row.definition)
        if plain or defined or KERNELS.get(row.name) in self.backend.kernels(MULTIPLE):
            return super().function(row)
        return partial(enclosed, self.enclosures.evaluate(row.name))


class _LongEnclosing(Enclosing, _Long):
    """Decisions as `enclosing` has them."""

    enclosures = HULL

    def _apart(self, x: Cell, y: Cell, words: Sequence[Any]) -> Any:
        apart = subtract((*x[:-1], 0.0), (*y[:-1], 0.0))
        return (size(apart) + apart[-1]) * UP

    def _larger(self, x: Cell, y: Cell) -> Cell:
        return self._chosen(self._kernel("order")(x, y), x, y)


class LongShadowed(Shadowed, _LongEnclosing):
    """`Shadowed`, of so many words."""

    def _plain(self) -> Enclosing:
        return _LongEnclosing(self.kind, self.backend, self.words)

    def summed(self, cell: Cell, places: Sequence[int]) -> Ball:
        return _added_up([entries(word, places) for word in cell[:-1]], entries(cell[-1][EXACT], places), self.bits)

    def _summed(self, x: Numbers) -> tuple[list[Floats], Floats]:
        return long_sums.total(x.words, self.words)

    def _multiplied(self, x: Numbers, y: Numbers, end: bool) -> tuple[list[Floats], Floats]:
        if end:  # two words suffice
            for factor in (x, y):
                factor.shorten()
            high, low, error = sums.dot((x.high, x.low), (y.high, y.low))
            return [high, low, *[np.zeros(())] * (self.words - 2)], error
        return long_sums.dot(x.words, y.words, self.words)


class LongMoving(Moving, _Long):
    """`Moving`, of so many words."""

    def _still(self) -> ColumnAlgebra:
        return _Long(self.kind, self.backend, self.words)

    def _added_up(self, words: Sequence[Sequence[float]], radii: Sequence[float]) -> Any:
        return _added_up(words, radii, self.bits)

    def _summed(self, half: Half, kept: int, count: int) -> Half:
        *words, radius = (np.broadcast_to(part, kept * count).reshape(kept, count) for part in half)
        found, error = long_sums.total(_some(words), self.words)
        return *found, (error + radius.sum(-1)) * (1.0 + (count + 2) * 2.0**-52)

    def _multiplied(self, x: Half, y: Half) -> Half:
        words, error = long_sums.dot(_some(x[:-1]), _some(y[:-1]), self.words)
        return grown((*words, error), x, y)


def _some(words: Sequence[Floats]) -> list[Floats]:
    """The first word, and those that aren't 0 everywhere."""
    return [words[0], *(word for word in words[1:] if np.any(word))]


def _added_up(words: Sequence[Sequence[float]], radii: Sequence[float], bits: int) -> Ball:
    """The sum of numbers as a ball."""
    with ctx.workprec(bits):
        return sum(balls_of(words, radii), ZERO)


class _Slack(Shadowed):
    """Constants are all that their author may have meant."""

    def _of_float(self, value: float, exact: Ball, rounded: Ball) -> Cell:
        return self.both(exact, rounded)


class _LongSlack(_Slack, LongShadowed):
    """The same, of so many words."""


def shadowed(words: int, exact: Exact, rounded: Rounded) -> Shadowed:
    """The layer of exact arithmetic and of rounding, of so many words; constants are the floats that they are where `exact` has
    them so."""
    plain = isinstance(exact, Precise)
    if words == 2:
        return (Shadowed if plain else _Slack)(exact, rounded, kind="double")
    return (LongShadowed if plain else _LongSlack)(exact, rounded, kind=MULTIPLE, words=words)


class LongTaped(Taped, LongMoving):
    """`Taped`, of so many words."""


class _Kept(Taped):
    """Constants, and the numbers that the code keeps, are at least all that their author may have meant, as in
    `directions.Kept`; `form`: the shortest format in which they may be stored."""

    form = FORMATS["float64"]
    _meant = Kept()

    def literal(self, value: float, form: Format) -> Cell:
        return self._of_ball(self._meant.number(value, form)) if math.isfinite(value) else super().literal(value, form)

    def scalar(self, value: float | bool) -> Cell:
        plain = isinstance(value, bool) or not math.isfinite(value)
        return super().scalar(value) if plain else self._of_ball(self._meant.scalar(value))

    def data(self, values: Floats, slopes: Floats | None = None) -> Cell:
        *words, radii = super().data(values, slopes)
        if slopes is not None:  # what is differentiated by
            return *words, radii
        size = np.max(np.abs(values), initial=0.0, where=np.isfinite(values))
        return *words, radii + np.array([[self.form.gap(float(size)) * KEPT_ULPS], [0.0]])

    def _of_ball(self, ball: Ball) -> Cell:
        with ctx.workprec(self.bits):
            words = float_words(ball, self.words)
            return self.number(words, radius_around(ball_with(words, 0.0), ball))


class _LongKept(_Kept, LongTaped):
    """The same, of more words."""


@lru_cache(maxsize=64)
def moving(words: int) -> Moving:
    """The layer that differentiates along a direction, one for the process, for what it has compiled."""
    return Moving() if words == 2 else LongMoving(MULTIPLE, words)


@lru_cache(maxsize=64)
def taped(words: int, slack: Format | None = None) -> Taped:
    """The same by all inputs at once; `slack`: with what constants may mean, of which the shortest has this format."""
    if slack is None:
        return Taped() if words == 2 else LongTaped(MULTIPLE, words)
    found = _Kept() if words == 2 else _LongKept(MULTIPLE, words)
    found.form = slack
    return found
