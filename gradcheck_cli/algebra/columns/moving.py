"""The layer that differentiates, on columns: beside each number its derivative along a direction, carried through the forward
pass. So words are those of the value, then those of the slope, and whether the number moves at all, 1 or 0: what has the slope
0 here may have another one beside the point. Radii have a leading dimension of two, VALUE and SLOPE.

As in `algebra.directions`, no rule of torch's backward passes takes part: a row of the function table has its own slope there,
or is followed through its definition. What isn't certainly smooth is open, and decisions are those of the value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial, reduce
from operator import and_, eq
from types import MappingProxyType
from typing import Any

import numpy as np

from gradcheck_cli.algebra.columns import sums
from gradcheck_cli.algebra.columns.algebra import KERNELS, KINDS, ColumnAlgebra, stretches
from gradcheck_cli.algebra.columns.backends import on_numpy
from gradcheck_cli.algebra.columns.column import Column, balls_of, entries, shortened, sum_of
from gradcheck_cli.algebra.columns.enclosing import ANSWERS, LOGICAL, decisions, is_truth
from gradcheck_cli.algebra.columns.layer import Cell
from gradcheck_cli.algebra.columns.meeting import shaped
from gradcheck_cli.algebra.columns.stretches import CONTINUED, HIGHEST_SETTING
from gradcheck_cli.algebra.columns.words import OPEN, UP
from gradcheck_cli.algebra.directions import Directional, straight
from gradcheck_cli.algebra.program import LARGEST_PRODUCT, Program
from gradcheck_cli.floats import Floats, Format
from gradcheck_cli.language import syntax
from gradcheck_cli.language.functions import TABLE, Function
from gradcheck_cli.language.parser import parse
from gradcheck_cli.language.tree import Node

VALUE, SLOPE = 0, 1

Half = tuple[Any, ...]
"""The value, or the slope, of a cell: its words and the radius."""

SLOPES: Mapping[str, str] = MappingProxyType({"cos": "-sin(x)", "cosh": "sinh(x)"})
"""Those of rows that the function table gives a series instead."""


class Moving(ColumnAlgebra):
    """Numbers and their slopes, of two words each. `tied`: numbers that move and are the same were compared. `blind`: a
    function without a kernel was asked for."""

    strict, stepwise = True, False
    steps = None

    def __init__(self, kind: str = "double", words: int = 2) -> None:
        super().__init__(kind, on_numpy(), words)
        self.tied = self.blind = False
        self.programs: dict[Any, Program] = {}
        self._functions: dict[str, Callable[..., Cell] | None] = {}
        self._plain = self._still()
        self._none: Half = (np.float64(0.0),) * (words + 1)
        self._add, self._multiply, self._over = map(self._kernel, ("add", "multiply", "over"))

    def _still(self) -> ColumnAlgebra:
        """The algebra of such numbers without slopes."""
        return ColumnAlgebra(self.kind, self.backend)

    def within(self, form: Format | None) -> Moving:
        """Nothing is rounded here."""
        return self

    # -- numbers ----------------------------------------------------------------------------------------------------

    def number(self, words: Sequence[float], radius: float) -> Cell:
        """A constant."""
        *own, radius = self.fitting(words, radius)
        radii = np.array([[radius], [OPEN if radius == OPEN else 0.0]])
        return *map(np.float64, own), *self._none[:-1], np.float64(0.0), radii

    def literal(self, value: float, form: Format) -> Cell:
        """A single float that no operation has made: itself, as in `directions.Precise`."""
        return self.scalar(value)

    def scalar(self, value: float | bool) -> Cell:
        """A Python number that is an argument of an operation: itself."""
        return self.constant(value) if isinstance(value, bool) or math.isfinite(value) else self.number([0.0], OPEN)

    def data(self, values: Floats, slopes: Floats | None = None) -> Cell:
        """Floats that stand for themselves, and move so fast; those of speed 0 stand still."""
        known, (zero, *others) = np.isfinite(values), self._none[:-1]
        moves = zero if slopes is None else np.float64(1.0) if slopes.all() else (slopes != 0.0).astype(np.float64)
        rates = (zero if slopes is None else slopes), moves
        if known.all():
            return values, *others, rates[0], *others, rates[1], np.zeros((2, 1))
        radii = np.where(known, 0.0, OPEN)[None].repeat(2, axis=0)
        return np.where(known, values, 0.0), *others, rates[0], *others, rates[1], radii

    def convert(self, cell: Cell, form: Format) -> Cell:
        """Nothing is rounded here."""
        return cell

    def truth(self, cell: Cell) -> Cell:
        """A number as a truth value: whether it isn't 0."""
        return cell if is_truth(cell) else self._row(syntax.NE)(cell, self.constant(0))

    def real(self, cell: Cell) -> Cell:
        """A truth value as a number, 1 or 0."""
        return self._choose(cell, self.constant(1), self.constant(0)) if is_truth(cell) else cell

    # -- balls --------------------------------------------------------------------------------------------------------

    @cached_property
    def witness(self) -> Directional:
        """Series that mean the same."""
        return Directional()

    def balls(self, cell: Cell, places: Sequence[int]) -> list[Any]:
        """Some entries as series, or as balls where they don't move; None where a truth value isn't decided."""
        if is_truth(cell):
            return decisions(cell, places)
        value, slope, moves = self._entries(cell, places)
        moving = zip(balls_of(*value), balls_of(*slope), moves, strict=True)
        return [straight(known, rate) if moves else known for known, rate, moves in moving]

    def _entries(self, cell: Cell, places: Sequence[int]) -> tuple[Any, Any, list[float]]:
        """Of some entries the words and the radii, of values and of slopes, and whether they move."""
        (*values, near), (*slopes, far) = ([entries(part, places) for part in half] for half in _halves(cell))
        return (values, near), (slopes, far), entries(cell[-2], places)

    def summed(self, cell: Cell, places: Sequence[int]) -> Any:
        """The sum of some entries there."""
        value, slope, moves = self._entries(cell, places)
        known = self._added_up(*value)
        return straight(known, self._added_up(*slope)) if any(moves) else known

    def _added_up(self, words: Sequence[Sequence[float]], radii: Sequence[float]) -> Any:
        """The sum of numbers as a ball."""
        return sum_of(words, radii)

    def slope(self, cell: Cell, count: int) -> Column:
        """The slopes of so many numbers."""
        *words, radius = (np.broadcast_to(part, count) for part in _halves(cell)[SLOPE])
        return shortened(words, radius)

    # -- rows ---------------------------------------------------------------------------------------------------------

    def function(self, row: Function) -> Callable[..., Cell] | None:
        if row.name not in self._functions:
            self._functions[row.name] = self._rules.get(row.name) or self._sloped(row)
        return self._functions[row.name]

    @cached_property
    def _rules(self) -> Mapping[str, Callable[..., Cell]]:
        """Rows of several arguments, or without a slope in the table."""
        one, zero = self.constant(1), self.constant(0)
        return {
            syntax.ADD: self._sum, syntax.SUB: lambda x, y: self._sum(x, self._negative(y)), syntax.NEG: self._negative,
            syntax.MUL: self._product, syntax.DIV: self._quotient, syntax.POW: self._power, syntax.WHERE: self._choose,
            syntax.SQUARE: lambda x: self._product(x, x), "reciprocal": lambda x: self._quotient(one, x),
            "sech": lambda x: self._quotient(one, self._row("cosh")(x)),
            "abs": lambda x: self._choose(self._row("lt")(x, zero), self._negative(x), x),
        }  # fmt: skip

    def _sloped(self, row: Function) -> Callable[..., Cell] | None:
        """A row by its kernel, and by its slope in the function table."""
        kernel = super().function(row)
        if kernel is None or not row.parameters or row.name in LOGICAL:
            return kernel
        if row.name in ANSWERS:
            return partial(self._compared, row.name)
        if row.name in CONTINUED:
            return partial(self._stretch, row.name)
        slope = SLOPES.get(row.name, row.slope)
        if row.name not in KERNELS or not slope:
            return self._open
        derivative = Program([parse(slope)], (row.parameters[0].name, "f"), self._plain, brief=True)

        def run(x: Cell) -> Cell:
            value = self._value(x)
            found = kernel(value)
            return self._lifted(found, [(x, lambda: derivative(value, found)[0])])

        return run

    def _value(self, cell: Cell) -> Half:
        """The numbers without their slopes."""
        return _halves(cell)[VALUE]

    def _lifted(self, value: Half, made: Sequence[tuple[Cell, Callable[[], Half] | None]]) -> Cell:
        """What was made of numbers, with its derivative by each (None: 1)."""
        steps = [(_halves(cell)[SLOPE], by) for cell, by in made]
        slopes = [step if by is None else self._multiply(by(), step) for step, by in steps if not _zero(step)]
        return _cell(value, self._added(slopes), _moves(*(cell for cell, _ in made)))

    def _stretch(self, name: str, *arguments: Any) -> Cell:
        """A row of one number, after its settings, without a kernel."""
        *settings, x = arguments
        if self.kind not in KINDS or any(not 0 <= n <= HIGHEST_SETTING for n in settings):
            return self._open(x)
        row = stretches(name, tuple(settings), self.kind)
        value = self._value(x)
        found = row(value)
        return self._lifted(found, [(x, lambda: row.slope(value, found))])

    def _open(self, *cells: Cell) -> Cell:
        """What nothing is known of."""
        self.blind = True
        return self.number([0.0], OPEN)

    def _row(self, name: str) -> Callable[..., Cell]:
        found = self.function(TABLE[name])
        assert found is not None
        return found

    def _compared(self, name: str, x: Cell, y: Cell) -> Cell:
        """A comparison of values. Numbers that are known exactly and don't move are the same beside the point too."""
        a, b = self._value(x), self._value(y)
        above, below = self._kernel("order")(a, b)
        same = reduce(and_, map(eq, a[:-1], b[:-1])) & (a[-1] == 0.0) & (b[-1] == 0.0)
        still = _moves(x, y) == 0.0
        self.tied = self.tied or bool(np.any(same & ~still))
        found: Cell = ANSWERS[name](above, below, same & still)
        return found

    def _sum(self, x: Cell, y: Cell) -> Cell:
        return self._lifted(self._add(self._value(x), self._value(y)), [(x, None), (y, None)])

    def _negative(self, x: Cell) -> Cell:
        return *(-word for word in x[:-2]), *x[-2:]

    def _product(self, x: Cell, y: Cell) -> Cell:
        a, b = self._value(x), self._value(y)
        return self._lifted(self._multiply(a, b), [(y, lambda: a), (x, lambda: b)])

    def _added(self, parts: Sequence[Half]) -> Half:
        return reduce(self._add, parts) if parts else self._none

    def _quotient(self, x: Cell, y: Cell) -> Cell:
        """(x/y)' = (x' - (x/y)*y')/y."""
        (a, da), (b, db) = _halves(x), _halves(y)
        found = self._over(a, b)
        if not _zero(db):
            da = self._add(da, self._multiply((*(-word for word in found[:-1]), found[-1]), db))
        return _cell(found, self._none if _zero(da) else self._over(da, b), _moves(x, y))

    def _power(self, base: Cell, exponent: Cell) -> Cell:
        """Whole powers as products; others, of a positive base, as exp(y*log(x))."""
        y, *rest = self._value(exponent)
        value = float(y) if np.ndim(y) == 0 and not any(map(np.any, (*rest, _moves(exponent)))) else math.nan
        if abs(value) <= LARGEST_PRODUCT and value == int(value):
            found = self.constant(1)
            for bit in f"{abs(int(value)):b}":
                found = self._product(found, found)
                found = self._product(found, base) if bit == "1" else found
            return self._quotient(self.constant(1), found) if value < 0 else found
        return self._row("exp")(self._product(exponent, self._row("log")(base)))

    def _choose(self, condition: Cell, x: Cell, y: Cell) -> Cell:
        if is_truth(x):
            return tuple((condition[0] & a) | (condition[1] & b) for a, b in zip(x, y, strict=True))
        choose = self._kernel("choose")
        value, slope = (choose(condition, f, g) for f, g in zip(_halves(x), _halves(y), strict=True))
        return _cell(value, slope, np.where(condition[0], _moves(x), _moves(y)))

    # -- folds --------------------------------------------------------------------------------------------------------

    def total(self, cell: Cell, kept: int, count: int) -> Cell:
        """Sums of so many numbers each, which stand together."""
        moves = np.broadcast_to(_moves(cell), kept * count).reshape(kept, count).max(-1, initial=0.0)
        value, slope = (self._summed(half, kept, count) for half in _halves(cell))
        return _cell(value, slope, moves)

    def dot(self, xs: Cell, ys: Cell, batch: int, rows: int, inner: int, columns: int, parts: bool = False) -> Cell:
        """Products of so many matrices."""
        shapes = (batch, rows, inner), (batch, inner, columns)
        (x, dx), (y, dy) = ([_shaped(half, s) for half in _halves(cell)] for cell, s in zip((xs, ys), shapes, strict=True))
        if rows <= columns:  # the larger factor is cut into slices once, for both parts of the other
            value, *slopes = _split(self._multiplied(_stacked(x, dx, 1), y), rows, 1)
            slopes += [] if _zero(dy) else [self._multiplied(x, dy)]
        else:
            value, *slopes = _split(self._multiplied(x, _stacked(y, dy, 2)), columns, 2)
            slopes += [] if _zero(dx) else [self._multiplied(dx, y)]
        left, right = (
            cell[-2] if np.size(cell[-2]) == 1 else shaped(cell[-2], shape).max(axis, initial=0.0, keepdims=True)
            for cell, shape, axis in ((xs, shapes[0], 2), (ys, shapes[1], 1))
        )
        moves = np.broadcast_to(np.maximum(left, right), (batch, rows, columns))
        value, *slopes = [tuple(part.reshape(-1) for part in half) for half in (value, *slopes)]
        return _cell(value, self._added(slopes), moves.reshape(-1))

    def _summed(self, half: Half, kept: int, count: int) -> Half:
        """Sums of so many numbers each."""
        return total(half, kept, count)

    def _multiplied(self, x: Half, y: Half) -> Half:
        """Products of matrices."""
        (xh, xl, _), (yh, yl, _) = x, y
        return grown(sums.dot((xh, xl if np.any(xl) else None), (yh, yl if np.any(yl) else None)), x, y)


def _shaped(half: Half, shape: tuple[int, ...]) -> Half:
    return tuple(shaped(part, shape) for part in half)


def _stacked(value: Half, slope: Half, axis: int) -> Half:
    """Both, side by side; the value alone, where the slope is 0."""
    return value if _zero(slope) else tuple(np.concatenate(pair, axis=axis) for pair in zip(value, slope, strict=True))


def _split(both: Half, count: int, axis: int) -> list[Half]:
    starts = range(0, both[0].shape[axis], count)
    return [tuple(part[(slice(None),) * axis + (slice(s, s + count),)] for part in both) for s in starts]


def total(half: Half, kept: int, count: int) -> Half:
    """Sums of double words, so many each."""
    high, low, radius = _shaped(half, (kept, count))
    high, low, error = sums.total(high, low)
    return high, low, (error + radius.sum(-1)) * (1.0 + (count + 2) * 2.0**-52)


def grown(found: Half, x: Half, y: Half) -> Half:
    """Products of matrices, whose radius says how far they are off, with what the radii of both make of them."""
    (xh, *xl, xr), (yh, *yl, yr) = x, y
    *words, error = found
    near, far, left_low, right_low = map(np.any, (xr, yr, any(map(np.any, xl)), any(map(np.any, yl))))
    if near and (far or right_low):
        error = error + sums.upper(xr, sum(map(np.abs, yl), np.abs(yh)) + yr)
    elif near:
        error = error + sums.upper(yh.swapaxes(1, 2), xr.swapaxes(1, 2), signed=True).swapaxes(1, 2)
    if far and left_low:
        error = error + sums.upper(sum(map(np.abs, xl), np.abs(xh)), yr)
    elif far:
        error = error + sums.upper(xh, yr, signed=True)
    return *words, error * UP if near or far else error


CHUNK = 1 << 13
"""Points that go together: what they hold stays in the cache."""


class Slopes:
    """A formula and its first derivatives by some of its inputs, without a formula of these: where that cancels, this doesn't.
    `along`: the inputs' numbers; None for the derivative of the formula by itself, which is 1."""

    def __init__(self, tree: Node, inputs: Sequence[str], along: Sequence[int | None], kind: str) -> None:
        self._algebra = Moving(kind, KINDS.index(kind) + 1)
        self._program = Program([tree], inputs, self._algebra, brief=True)
        self._along = along

    def at(self, *inputs: Floats) -> list[Column]:
        """The value, then the derivatives, at many points."""
        parts = [self._part([values[start : start + CHUNK] for values in inputs]) for start in range(0, len(inputs[0]), CHUNK)]
        return [Column(*map(np.concatenate, zip(*columns, strict=True))) for columns in zip(*parts, strict=True)]

    def _part(self, inputs: Sequence[Floats]) -> list[Column]:
        count = len(inputs[0])
        found: dict[int | None, tuple[Column, Column]] = {}
        for moved in {*self._along, *([0] if set(self._along) == {None} else [])} - {None}:
            moving = (self._algebra.data(x, np.full(count, float(i == moved))) for i, x in enumerate(inputs))
            with np.errstate(all="ignore"):
                (cell,) = self._program(*moving)
                value, slope = ([np.broadcast_to(part, count) for part in half] for half in _halves(cell))
                found[moved] = shortened(value[:-1], value[-1]), shortened(slope[:-1], slope[-1])
        whole = next(iter(found.values()))[0]
        one = Column(np.ones(count), np.zeros(count), np.where(whole.open, OPEN, 0.0))
        return [whole, *(one if moved is None else found[moved][1] for moved in self._along)]


def _halves(cell: Cell) -> tuple[Half, Half]:
    """The value and the slope."""
    *words, _, radii = cell
    half = len(words) // 2
    return (*words[:half], radii[VALUE]), (*words[half:], radii[SLOPE])


def _moves(*cells: Cell) -> Any:
    """Whether one of some numbers moves."""
    return reduce(np.maximum, (cell[-2] for cell in cells))


def _cell(value: Half, slope: Half, moves: Any) -> Cell:
    """All together; what has no value has no slope."""
    radii = np.stack(np.broadcast_arrays(value[-1], np.where(value[-1] < OPEN, slope[-1], OPEN)))
    return *value[:-1], *slope[:-1], moves, radii if radii.ndim > 1 else radii[:, None]


def _zero(half: Half) -> bool:
    """Whether all of them are exactly 0: what costs nothing."""
    return not any(map(np.any, half))
