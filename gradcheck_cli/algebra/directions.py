"""The layer that differentiates: power series along one direction, carried through the forward pass.

An input that moves is seeded with `moving(x, u)`, x + u*t; what the forward pass makes of it has the derivative along u as its
first coefficient, certified, by the series of `algebra.series`: no rule of torch's backward passes takes part. What doesn't
depend on t stays a plain ball. Seeded with a `Jet`, which moves along several directions, it has mixed derivatives; with
`Taped` numbers, the derivatives by all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import chain

from flint import arb, arb_series, ctx

from gradcheck_cli.algebra.balls import where
from gradcheck_cli.algebra.jets import Jet, lifted
from gradcheck_cli.algebra.layers import HULL, Cell, Exact, kept, ranks, significant
from gradcheck_cli.algebra.number import NAN, ZERO, Ball, conditions
from gradcheck_cli.algebra.products import Sizes, at_once, many
from gradcheck_cli.algebra.program import Algebra, Program
from gradcheck_cli.algebra.series import LONG, SERIES, coefficient, constant, same
from gradcheck_cli.algebra.tape import Taped, added, multiplied, recorded
from gradcheck_cli.floats import Format
from gradcheck_cli.language import syntax
from gradcheck_cli.language.functions import Function
from gradcheck_cli.language.parser import definition
from gradcheck_cli.language.tree import Call, Node, Variable

_ABS = "abs"
"""The one primitive row with a border, besides comparisons."""

KEPT_ULPS = 4
"""Of the largest number of a table, what two ways to compute one may differ by: two roundings each."""


class Precise(Exact):
    """Balls in which every float stands for itself: the function as the code has it, its constants included."""

    def number(self, value: float | bool, form: Format) -> Cell:
        return value if isinstance(value, bool) else arb(value)


class Nudged(Precise):
    """The same with every constant off by up to what its author may have meant, to a side and by a share that are drawn."""

    def __init__(self, draw: int) -> None:
        super().__init__()
        self.programs = kept(type(self), draw)
        self._draw = draw

    def number(self, value: float | bool, form: Format) -> Cell:
        meant = Exact.number(self, value, form)
        if isinstance(value, bool) or not meant.is_finite() or meant.is_exact():
            return meant
        share = hash((self._draw, value)) % 512 / 256 - 1
        return arb(value) + arb(meant.rad()) * (share + (0.5 if share >= 0 else -0.5)) / 1.5


class Moved(Precise):
    """The same beside the point, where what was equal at the point isn't: decisions are taken again, from these balls."""

    strict = True

    def real(self, cell: Cell) -> Cell:
        return NAN if cell is None else super().real(cell)


class Directional(Precise):
    """Series in t (two terms: set `series.terms(2)` around the run) or jets (a term more than infinitesimals) beside plain
    balls."""

    operators = SERIES.operators
    strict = True

    def ranks(self, cells: Sequence[Cell]) -> list[list[int]]:
        return ranks([value_of(c) for c in cells])

    def sorted(self, cells: Sequence[Cell]) -> list[Cell]:
        """Unknown, unless they are equal all along the direction."""
        return list(cells) if self.tied(cells) else [NAN] * len(cells)

    def tied(self, cells: Sequence[Cell]) -> bool:
        return all(alike(c, cells[0]) for c in cells)

    def lasting(self, cell: Cell, finite: bool) -> bool:
        return super().lasting(cell, finite) if isinstance(cell, arb) else bool(cell[0].is_finite())

    def total(self, cells: Sequence[Cell]) -> Cell:
        return added(cells) if Taped in map(type, cells) else super().total(cells)

    def dot(self, xs: Sequence[Cell], ys: Sequence[Cell], parts: bool = False) -> Cell:
        return multiplied(xs, ys) if Taped in map(type, xs) or Taped in map(type, ys) else super().dot(xs, ys, parts)

    def products(self, xs: Sequence[Cell], ys: Sequence[Cell], sizes: Sizes, parts: bool = False) -> list[Cell]:
        """Of series of two terms: the values, and the slopes of what moves in a row or a column, (XY)' = X'Y + XY'."""
        kinds = set(map(type, chain(xs, ys)))
        if arb_series not in kinds or kinds - {arb, arb_series} or ctx.cap != 2:
            return super().products(xs, ys, sizes, parts)
        left, right = (list(map(value_of, cells)) for cells in (xs, ys))
        moved, others = (list(map(_rate, cells)) for cells in (xs, ys))
        if not many(left, right, sizes):
            return super().products(xs, ys, sizes, parts)
        values, *slopes = (at_once(a, b, sizes) for a, b in ((left, right), (moved, right), (left, others)))
        rows, inner, columns = sizes
        across = [any(type(c) is arb_series for c in xs[r * inner : (r + 1) * inner]) for r in range(rows)]
        down = [any(type(c) is arb_series for c in ys[c::columns]) for c in range(columns)]
        moves = (a or b for a in across for b in down)
        return [straight(v, p + q) if m else v for v, p, q, m in zip(values, *slopes, moves, strict=True)]

    def still(self, cell: Cell, value: float | bool) -> Cell:
        return cell[0] if isinstance(cell, arb_series | Taped) else cell

    def function(self, row: Function) -> Callable[..., Cell]:
        return where if row.name == syntax.WHERE else _mixed(row, type(self))

    def body(self, row: Function) -> Node:
        return definition(row.name)

    def truth(self, cell: Cell) -> Cell:
        return super().truth(cell[0]) if moves(cell) else super().truth(cell)

    def real(self, cell: Cell) -> Cell:
        """Unknown where it isn't decided: it may jump."""
        return cell if moves(cell) else NAN if cell is None else super().real(cell)


class Meant(Directional):
    """The same, with the code's constants as what their author may have meant by them (see `layers.Exact`)."""

    number = Exact.number


class Sided(Directional):
    """The same on one side of a border, for jets with two infinitesimals: what is 0 and moves by the first alone has the sign
    that it takes on that side (`first`); what moves by the second one too, if `second` is given, that of the second, however
    far the first one goes."""

    first, second = 1, 0

    def function(self, row: Function) -> Callable[..., Cell]:
        found = super().function(row)
        if row.name == _ABS:
            return lambda x: found(x) if (sign := self._sign(x)) is None else x * sign
        if not (row.truth and row.operator and row.parameters[0].kind != "truth"):
            return found
        return lambda x, y: found(x, y) if (sign := self._sign(x - y)) is None else found(arb(sign), ZERO)

    def _sign(self, cell: Cell) -> int | None:
        """Of what is 0 and moves; None where that isn't known, or isn't needed."""
        if not isinstance(cell, Jet) or not cell[0].is_zero():
            return None
        side, slope = (self.first, cell[1]) if cell.moves == 1 else (self.second, cell[2])
        return (side if slope > 0 else -side if slope < 0 else None) if side else None


def sided(layer: type[Directional], first: int, second: int = 0) -> type[Directional]:
    """A layer on these sides: 1 or -1, 0 for none."""
    made = _SIDED.get((layer, first, second))
    if made is None:
        made = _SIDED[layer, first, second] = type("Sided", (Sided, layer), {"first": first, "second": second})
    return made


_SIDED: dict[tuple[type, int, int], type[Directional]] = {}


def alike(f: Cell, g: Cell) -> bool:
    """Whether two cells are known to be equal all along the direction."""
    if isinstance(f, arb_series) or isinstance(g, arb_series):
        return isinstance(f, arb_series) and isinstance(g, arb_series) and same(f, g)
    if isinstance(f, Jet) or isinstance(g, Jet):
        return isinstance(f, Jet) and f.same(g)
    if isinstance(f, Taped) or isinstance(g, Taped):
        return f is g
    return bool(f == g)


class Kept(Meant):
    """The same, with the numbers that the code keeps (a grid by linspace, a table) as what they were rounded from: two
    spellings of one table differ by a few ulps of its largest number. Whole numbers, and others of few bits, stand as they
    are."""

    def data(self, values: Sequence[float | bool], form: Format) -> list[Cell]:
        size = max((abs(v) for v in values if math.isfinite(v)), default=0.0)
        slack = arb(0, form.gap(size) * KEPT_ULPS)
        return [v if isinstance(v, bool) else arb(v) + slack if _rounded(v, form) else arb(v) for v in values]


def _rounded(value: float, form: Format) -> bool:
    """Whether a number looks as if something was rounded: it uses more than half of the format's bits."""
    return isinstance(value, float) and significant(value) > form.bits // 2


def moves(cell: Cell) -> bool:
    """Whether a cell is more than a ball, a truth value or a symbol: it moves along directions."""
    return type(cell) is arb_series or type(cell) is Jet or type(cell) is Taped


def at_first(cell: Cell) -> bool:
    """Whether a cell moves, and knows first derivatives alone."""
    return type(cell) is Taped or (type(cell) is arb_series and ctx.cap == 2)


def moving(x: Ball, u: Ball) -> Cell:
    """x + u*t."""
    return arb_series([x, u], ctx.cap)


def _rate(cell: Cell) -> Ball:
    """The coefficient of t of a series, or of a ball."""
    return ZERO if type(cell) is arb else coefficient(cell, 1)


def straight(value: Ball, slope: Ball) -> Cell:
    """What has this value and this slope along the direction: both may be unknown."""
    return arb_series([value, slope], 2)


def ahead_of(cell: Cell, steps: Sequence[float]) -> Cell:
    """A number that moves along directions ahead too, by these steps: an infinitesimal for each of them, and one more for the
    direction along which it is a series."""
    parts = {1 << k: arb(step) for k, step in enumerate(steps) if step}
    if moves(cell):
        parts[1 << len(steps)] = cell[1]
    return Jet({0: value_of(cell), **parts}, sum(parts)) if parts else cell


def beside(cell: Cell, mask: int) -> Ball:
    """The mixed derivative along the directions of some infinitesimals. What has no finite value has none."""
    if isinstance(cell, Jet):
        return cell[mask]
    return ZERO if value_of(cell).is_finite() else NAN


def value_of(cell: Cell) -> Ball:
    """The value of a cell, whether or not it moves; of a truth value 1 or 0."""
    return cell if isinstance(cell, arb) else arb(int(cell)) if isinstance(cell, bool) else cell[0]


def slope(cell: Cell) -> Ball:
    """The derivative along the direction. What has no finite value has none."""
    if isinstance(cell, arb_series):
        return coefficient(cell, 1) if cell[0].is_finite() else NAN
    return ZERO if not isinstance(cell, arb) or cell.is_finite() else NAN


def _mixed(row: Function, layer: type[Directional]) -> Callable[..., Cell]:
    """The row on balls where nothing moves, on series or jets where something does; of jets a layer has the definitions."""
    found = _MIXED.get((row, layer))
    if found is None:
        found = _MIXED[row, layer] = _made(row, layer)
    return found


_MIXED: dict[tuple[Function, type], Callable[..., Cell]] = {}


def _made(row: Function, layer: type[Directional]) -> Callable[..., Cell]:
    still = HULL.evaluate(row.name)
    varying = SERIES.function(row) or _defined(row, SERIES)
    mixed, taped = (make(row, lambda: _defined(row, layer())) for make in (lifted, recorded))

    def run(*cells: Cell) -> Cell:
        for cell in cells:
            kind = type(cell)
            if kind is arb:
                continue
            if kind is Jet:
                return mixed(*cells)
            if kind is Taped:
                return taped(*cells)
            if kind is arb_series:
                found = varying(*[constant(c) if type(c) is arb else c for c in cells])
                # A branch that doesn't move (relu of a negative number) is a plain ball again: ties of such are no kinks.
                return found[0] if type(found) is arb_series and found.prec >= LONG else found
        return still(*cells)

    return run


def _defined(row: Function, algebra: Algebra) -> Callable[..., Cell]:
    names = [p.name for p in row.parameters]
    tree = Call(row.name, tuple(map(Variable, names))) if row.name in algebra.operators else definition(row.name)
    program = Program([tree], names, algebra, conditions)
    return lambda *cells: program(*cells)[0]
