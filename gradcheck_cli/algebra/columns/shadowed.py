"""What the shadow keeps beside many floats at once: two columns with one centre, the number itself in exact arithmetic and all
that rounding may make of it. So radii have a leading dimension of two, EXACT and ROUNDED.

Constants are those of the layers of balls (`algebra.layers`), and so is the model of rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from flint import arb, ctx

from gradcheck_cli.algebra.columns import sums
from gradcheck_cli.algebra.columns.backends import Backend, on_numpy
from gradcheck_cli.algebra.columns.column import ball_with, balls_of, entries, float_words, radius_around, sum_of
from gradcheck_cli.algebra.columns.enclosing import EXACT, ROUNDED, Enclosing, decisions, is_truth
from gradcheck_cli.algebra.columns.layer import Cell
from gradcheck_cli.algebra.columns.meeting import Numbers, added, plain, radii, terms_of
from gradcheck_cli.algebra.columns.words import OPEN, UP
from gradcheck_cli.algebra.layers import Exact, Rounded, kept
from gradcheck_cli.algebra.number import Ball
from gradcheck_cli.algebra.program import Program
from gradcheck_cli.floats import FORMATS, Floats, Format
from gradcheck_cli.language.functions import Function
from gradcheck_cli.pool import empty

ENDS = 4
"""A product that is so many times as large as its factors is an end, the gradient of a weight."""

LEAST = 16
"""Rows of such a product that are made at once, at least: what is made on the way stays in a processor's cache."""


class Shadowed(Enclosing):
    """Both columns in one run; `stepwise`: formulas as kernels compute them, whose rounding counts. `kind`: of words; unless it
    is given, what suffices for a few operations in the format."""

    operators: Mapping[str, str] = MappingProxyType({})
    strict = True

    def __init__(self, exact: Exact, rounded: Rounded, stepwise: bool = False, kind: str = "", words: int = 0) -> None:
        super().__init__(kind or ("single" if rounded.form.bits <= 24 else "double"), self._library(), words)
        self.form, self.stepwise = rounded.form, stepwise
        alike = exact.programs is kept(type(exact))  # no constants of its own
        self.programs = kept(type(self), type(exact), self.form.name, rounded.limited, stepwise, self.words) if alike else {}
        self._exact, self._rounded = exact, rounded
        self._functions: dict[str, Callable[..., Cell]] = {}
        self._within: dict[str, Self] = {}
        self.steps = self if stepwise else type(self)(exact, rounded, True, self.kind, words)

    @staticmethod
    def _library() -> Backend:
        return on_numpy()

    def within(self, form: Format | None) -> Self:
        """The layer in which an operation is repeated whose result has this format."""
        if form is None or form.bits >= self.form.bits:
            return self
        if form.name not in self._within:
            self._within[form.name] = type(self)(self._exact, Rounded(form), self.stepwise, self.kind, self.words)
        return self._within[form.name]

    @property
    def limited(self) -> bool:
        """Whether rounding is that of a format whose exponents have limits."""
        return self._rounded.limited

    # -- numbers ----------------------------------------------------------------------------------------------------

    def both(self, exact: Ball, rounded: Ball) -> Cell:
        """A number from its two balls."""
        if not (exact.is_finite() and rounded.is_finite()):
            infinite = float(exact.mid()) if exact.is_exact() and not exact.is_nan() and exact == rounded else 0.0
            return self._parts([infinite], *((0.0, 0.0) if infinite else (OPEN, OPEN)))
        with ctx.workprec(self.bits):
            words = float_words(exact, max(self.words, 2))
            near, far = map(partial(radius_around, ball_with(words, 0.0)), (exact, rounded))
        return self._parts(words, near, far)

    def _parts(self, words: Sequence[float], near: float, far: float) -> Cell:
        (*own, near), (*_, far) = self.fitting(words, near), self.fitting(words, far)
        return *map(np.float64, own), np.array([[near], [far]])

    def constant(self, value: int | float | bool) -> Cell:
        if isinstance(value, bool):
            return np.bool_(value), np.bool_(not value)
        return self._of_float(value, self._exact.constant(value), self._rounded.constant(value))

    def literal(self, value: float, form: Format) -> Cell:
        """A single float that no operation has made."""
        return self._of_float(value, self._exact.number(value, form), self._rounded.number(value, form))

    def scalar(self, value: float | bool) -> Cell:
        """A Python number that is an argument of an operation."""
        if isinstance(value, bool):
            return self.constant(value)
        return self._of_float(value, self._exact.scalar(value), self._rounded.scalar(value))

    def _of_float(self, value: float, exact: Ball, rounded: Ball) -> Cell:
        """A constant: the float itself, where its ball has slack for the number that its author may have meant. A formula that
        is right without that slack is right; one that isn't is left to balls."""
        point = arb(value)
        return self.both(point if exact.contains(point) else exact, rounded)

    def data(self, values: Floats) -> Cell:
        """Floats that stand for themselves, infinite ones too: what masks scores is."""
        unknown = np.isnan(values)
        centre, radii = values, np.zeros((2, 1))
        if unknown.any():
            centre, radii = np.where(unknown, 0.0, values), np.where(unknown, OPEN, 0.0)[None, :].repeat(2, axis=0)
        return centre, *[np.float64(0.0)] * (self.words - 1), radii

    def convert(self, cell: Cell, form: Format) -> Cell:
        """The cell of a float that is converted to the shorter format `form`."""
        return self._widened(cell, form.unit_roundoff, form.smallest_subnormal, False)

    def truth(self, cell: Cell) -> Cell:
        """A number as a truth value: whether it isn't 0."""
        return cell if is_truth(cell) else self._compared("ne", cell, self.constant(0))

    def real(self, cell: Cell) -> Cell:
        """A truth value as a number, 1 or 0."""
        return self._chosen(cell, self.constant(1), self.constant(0)) if is_truth(cell) else cell

    def joined(self, cell: Cell, step: Cell) -> Cell:
        """What exact arithmetic makes of a formula, with what rounding makes of the steps that a kernel takes."""
        if is_truth(cell):
            return cell[0] & step[0], cell[1] & step[1]
        *words, radii = cell
        *others, far = step
        apart = np.abs(sum(a - b for a, b in zip(words, others, strict=True)))
        wider = (far[ROUNDED] + apart) * (1.0 + 2.0**-44) + np.abs(words[0]) * 2.0**-105
        return *words, np.stack(np.broadcast_arrays(radii[EXACT], wider))

    # -- balls --------------------------------------------------------------------------------------------------------

    @property
    def witness(self) -> Exact:
        """Balls that mean the same, without rounding."""
        return self._exact

    def balls(self, cell: Cell, places: Sequence[int]) -> list[Any]:
        """Some entries there; nan where they are open, None where a truth value isn't decided."""
        if is_truth(cell):
            return decisions(cell, places)
        return balls_of([entries(word, places) for word in cell[:-1]], entries(cell[-1][EXACT], places))

    def summed(self, cell: Cell, places: Sequence[int]) -> Ball:
        """The sum of some entries there."""
        return sum_of([entries(word, places) for word in cell[:-1]], entries(cell[-1][EXACT], places))

    # -- rows ---------------------------------------------------------------------------------------------------------

    def function(self, row: Function) -> Callable[..., Cell]:
        if row.name not in self._functions:
            self._functions[row.name] = self._rounding(row, super().function(row) or self._defined(row))
        return self._functions[row.name]

    def _defined(self, row: Function) -> Callable[..., Cell]:
        """A row without a kernel, by its body: one function to torch, which rounds as one."""
        names = [p.name for p in row.parameters]
        if any(p.kind == "integer" for p in row.parameters):
            nothing = self._parts([0.0], OPEN, OPEN)
            return lambda *arguments: nothing
        program = Program([self.body(row)], names, self._plain())
        return lambda *cells: program(*cells)[0]

    def _plain(self) -> Enclosing:
        """The same without rounding."""
        return Enclosing(self.kind, self.backend)

    def _rounding(self, row: Function, kernel: Callable[..., Cell]) -> Callable[..., Cell]:
        """The kernel, and what rounding adds to its result."""
        if not row.parameters:
            exact, rounded = self._exact.function(row), self._rounded.function(row)
            assert exact is not None and rounded is not None
            with ctx.workprec(self.bits):
                word = self.both(exact(), rounded())
            return lambda: word
        if row.ulps == 0 or row.truth:
            return kernel
        relative, absolute = self._rounded.model(row)
        return lambda *cells: self._widened(kernel(*cells), relative, absolute, bool(row.absolute))

    # -- entries that meet ----------------------------------------------------------------------------------------------

    def total(self, cell: Cell, kept: int, count: int) -> Cell:
        """Sums of `count` numbers that follow one another, added in any order, as in `Rounded.total`."""
        x = Numbers(cell, (kept, count))
        words, error = self._summed(x)
        near, far, terms = added(x, error, self._adding(False).unit_roundoff)
        return self._stored(words, _open(np.stack([near, far])), terms > 1, False)

    def _summed(self, x: Numbers) -> tuple[list[Floats], Floats]:
        """Sums, and how far they are off."""
        high, low, error = sums.total(x.high, x.low)
        return [high, low], error

    def _multiplied(self, x: Numbers, y: Numbers, end: bool) -> tuple[list[Floats], Floats]:
        """Products of matrices, and how far they are off; `end`: see ENDS."""
        if self.kind == "single":
            high, error = plain(x, y)
            return [high], error
        high, low, error = sums.dot((x.high, x.low), (y.high, y.low), 3 if self.form.bits > 24 else 2)
        return [high, low], error

    def dot(self, xs: Cell, ys: Cell, batch: int, rows: int, inner: int, columns: int, parts: bool = False) -> Cell:
        """Products of matrices, (batch, rows, inner) and (batch, inner, columns), added in any order, as in `Rounded.dot`.
        `parts`: sums of parts of them may be stored in between."""
        x, y = Numbers(xs, (batch, rows, inner)), Numbers(ys, (batch, inner, columns))
        end, count = rows * columns > ENDS * inner * (rows + columns), batch * rows * columns
        if not end or count <= sums.CHUNK:
            return self._product(x, y, parts, end)
        found: Cell = ()
        start = 0
        for some, ones in sums.pieces_of(batch, rows, columns, sums.CHUNK, LEAST):
            piece = self._product(x.rows(some, ones), y.rows(some), parts, end)
            found = found or tuple(empty(*part.shape[:-1], count) if np.ndim(part) else part for part in piece)
            stop = start + piece[-1].shape[-1]
            for into, part in zip(found, piece, strict=True):
                if np.ndim(part):
                    into[..., start:stop] = part
            start = stop
        return found

    def _product(self, x: Numbers, y: Numbers, parts: bool, end: bool) -> Cell:
        """The same of all rows at once."""
        words, error = self._multiplied(x, y, end)
        terms = terms_of(x, y)
        found, near_far = np.empty((2, *error.shape)), radii(x, y, terms, self._adding(parts).unit_roundoff)
        for into, radius in zip(found, near_far, strict=True):
            np.add(error, radius, out=into)
        least = self.form.smallest_subnormal
        if self._rounded.limited and not found[ROUNDED].min(initial=OPEN) > least * 2.0**170:  # else there is room for it
            found[ROUNDED] += terms * least
        found = _open(found)
        known = np.isfinite(found[ROUNDED].max(initial=0.0))
        for radius, count in zip(found, (terms if known else terms_of(x, y, "nothing"), terms), strict=True):
            if np.ndim(count):  # but for 0 times what isn't known
                _cleared(radius, count == 0)
        return self._stored(words, found, terms > 0, parts)

    def _adding(self, parts: bool) -> Format:
        """The format in which sums are kept: kernels add 16-bit numbers in float32."""
        return self.form if parts else max(self.form, FORMATS["float32"], key=lambda form: form.bits)

    def _stored(self, words: Sequence[Floats], radii: Floats, some: Any, parts: bool) -> Cell:
        """A result, flat, which is rounded once more where it was kept in a longer format, and there was `some` operation."""
        some, radii = np.broadcast_to(some, radii.shape[1:]).reshape(-1), radii.reshape(2, -1)
        own = [word.reshape(-1) if np.ndim(word) else word for word in words]
        if len(own) > self.words:
            radii = (radii + sum(map(np.abs, own[self.words :]))) * UP
        cell: Cell = *own[: self.words], radii
        if self._adding(parts) is self.form:
            return cell
        *_, wider = self.convert(cell, self.form)
        return *cell[:-1], np.where(some, wider, radii)

    def _widened(self, cell: Cell, relative: float, absolute: float, always: bool) -> Cell:
        """A result, off by so much of its size and so much besides; what is exactly 0 stays so, unless `always`."""
        *words, radii = cell
        near, far = radii[EXACT], radii[ROUNDED]
        size = sum(map(abs, words))
        wider = (far + ((size + far) * relative + absolute)) * UP
        if not always:
            wider = np.where(((words[0] == 0.0) | np.isinf(words[0])) & (far == 0.0), 0.0, wider)
        return *words, np.stack(np.broadcast_arrays(near, wider))


def _open(radii: Floats) -> Floats:
    """Radii, infinite where they aren't finite."""
    return radii if np.isfinite(radii.max(initial=0.0)) else np.where(np.isfinite(radii), radii, OPEN)


def _cleared(radius: Floats, nothing: npt.NDArray[np.bool_]) -> None:
    """No radii where there is nothing, in each place, row or column, but for what isn't known."""
    if nothing.shape[1] > 1 and nothing.shape[2] == 1:
        _cleared(radius.swapaxes(1, 2), nothing.swapaxes(1, 2))
    elif nothing.shape[1] == 1 and nothing.any():
        for batch, columns in enumerate(np.broadcast_to(nothing[:, 0], (len(nothing), radius.shape[2]))):
            some = radius[batch][:, columns]
            radius[batch][:, columns] = np.where(np.isfinite(some), 0.0, some)
    elif nothing.any():
        radius[nothing & np.isfinite(radius)] = 0.0
