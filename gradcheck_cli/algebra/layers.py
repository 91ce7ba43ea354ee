"""What the shadow keeps beside each float: a ball in exact arithmetic, a ball that allows for rounding, or a symbol.

Each layer is an algebra over the same definitions, plus how a float that the shadow has never seen enters it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cmp_to_key, partial, reduce
from itertools import pairwise
from operator import add, mul
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import sympy
from flint import arb

from gradcheck_cli.algebra.balls import BallAlgebra, hull
from gradcheck_cli.algebra.constants import CONSTANT_ULPS, enclosed
from gradcheck_cli.algebra.products import Sizes, at_once, by_rows, many
from gradcheck_cli.algebra.program import Program, inline
from gradcheck_cli.algebra.symbols import SYMBOLS, Expression, opaque, to_symbols, where
from gradcheck_cli.floats import FORMATS, Format
from gradcheck_cli.language import syntax
from gradcheck_cli.language.functions import Function
from gradcheck_cli.language.parser import definition, parse
from gradcheck_cli.language.tree import Call, Node

Cell = Any
"""A ball or an expression; in a tensor of truth values True, False, None (undecided) or a SymPy condition."""

_SHORT, _WHOLE = (1 << 30, 1 << 20), 1 << 53
"""A fraction of a numerator and a denominator up to these, or a whole number that a double holds, is meant as it stands (0.5,
1.375, 1023.25): a constant that was rounded to 53 bits looks so by a chance of 2**-32 near 1, of 2**-23 near 1000. One of
float32 looks so from 8 on, one of float16 always: such tensors of a single number get no slack."""

DOUBLE = FORMATS["float64"]

LOWERED = 6
"""How often an exponent may be lowered by 1: an order of differentiation each."""


class Layer(Protocol):
    """One kind of shadow: an algebra and the way in for floats."""

    operators: Mapping[str, str]
    stepwise: bool
    """Evaluate the formulas as the kernel computes them (see `aten`, column `steps`)."""
    strict: bool
    """What isn't decided is unknown here; elsewhere torch's own decision stands in its place."""
    programs: dict[Any, Program]
    """Formulas compiled for this layer."""

    def constant(self, value: int | float | bool) -> Any: ...
    def function(self, row: Function) -> Callable[..., Any] | None: ...
    def body(self, row: Function) -> Node: ...
    def number(self, value: float | bool, form: Format) -> Cell:
        """The cell of a single float of format `form` that no operation of the shadow has made: a constant."""

    def data(self, values: Sequence[float | bool], form: Format) -> Sequence[Cell]:
        """The cells of many floats of format `form` that no operation of the shadow has made: each stands for itself."""

    def scalar(self, value: float | bool) -> Cell:
        """The cell of a Python number that is an argument of an operation."""

    def convert(self, cell: Cell, form: Format) -> Cell:
        """The cell of a float that is converted to the shorter format `form`."""

    def still(self, cell: Cell, value: float | bool) -> Cell:
        """The cell of a number, of which torch has the float `value`, that is a constant from here on."""

    def truth(self, cell: Cell) -> Cell:
        """A number as a truth value: whether it isn't 0. A truth value stays one."""

    def real(self, cell: Cell) -> Cell:
        """A truth value as a number, 1 or 0. A number stays one."""

    def total(self, cells: Sequence[Cell]) -> Cell:
        """The sum of numbers, added in any order."""

    def dot(self, xs: Sequence[Cell], ys: Sequence[Cell], parts: bool = False) -> Cell:
        """The sum of products of numbers, added in any order, fused or not. `parts`: sums of parts of them may be stored in
        between."""

    def products(self, xs: Sequence[Cell], ys: Sequence[Cell], sizes: Sizes, parts: bool = False) -> list[Cell]:
        """Of two matrices, row by row: `dot` of each row and each column."""

    def ranks(self, cells: Sequence[Cell]) -> list[list[int]]:
        """The places of numbers, given in the order of their floats, in ascending order; those of numbers that may be equal
        together."""

    def sorted(self, cells: Sequence[Cell]) -> list[Cell]:
        """Numbers that may be equal, each as what the one of this rank may be."""

    def tied(self, cells: Sequence[Cell]) -> bool:
        """Whether numbers are equal for certain, and stay so."""

    def lasting(self, cell: Cell, finite: bool) -> bool:
        """Whether a number and its float, which is `finite` or not, don't disagree on that, nor may do so beside the point."""

    def within(self, form: Format | None) -> Layer:
        """The layer in which an operation is repeated whose result has the format `form` (None: no float)."""


def _where(condition: bool | None, x: Cell, y: Cell) -> Cell:
    """A choice that isn't decided encloses both branches."""
    return x if condition else hull(x, y) if condition is None else y


HULL = BallAlgebra(MappingProxyType({syntax.WHERE: _where}))

_ZERO, _ONE = arb(0), arb(1)
_EITHER = hull(_ZERO, _ONE)


_LARGEST = frozenset(form.largest for form in FORMATS.values())

_row = HULL.evaluate
"""A row of the function table as a function on balls, undecided choices enclosed."""


KEPT = 1024
"""Compiled formulas that a process keeps for one kind of layer: all rows of the tables, and some of users."""


class _Kept(dict[Any, Program]):
    """At most KEPT programs: the oldest goes first."""

    def __setitem__(self, key: Any, program: Program) -> None:
        if len(self) >= KEPT and key not in self:
            del self[next(iter(self))]
        super().__setitem__(key, program)


_PROGRAMS: dict[tuple[object, ...], _Kept] = {}
"""By what tells layers apart: those that are alike have no state, so that what was compiled for one serves the next."""


def kept(*kind: object) -> dict[Any, Program]:
    """What was compiled for a kind of layer."""
    return _PROGRAMS.setdefault(kind, _Kept())


class Exact:
    """Balls without rounding: what the operations return in exact arithmetic.

    A constant that isn't a short binary fraction (0.1, 0.7978845608028654), nor one of a format's own (its largest number, a
    power of two), stands for the number that its author meant,
    which lies within CONSTANT_ULPS: its ball has that radius, so that no formula is called wrong for a rounded constant.
    `constants`: formulas of doubles that look short and were rounded all the same (1/0.1); as exponents they come lowered too.
    """

    operators: Mapping[str, str] = HULL.operators
    stepwise = False
    strict = False

    def __init__(self, constants: Mapping[float, Node] = MappingProxyType({})) -> None:
        self.programs: dict[Any, Program] = {} if constants else kept(type(self))
        self._meant: dict[float, Cell] = {}
        for value, tree in constants.items():
            if not math.isfinite(value):  # beyond the largest float of a shorter format
                self._meant[value] = enclosed(tree)
            elif self.number(value, DOUBLE).is_exact():
                ball = hull(arb(value), enclosed(tree))
                self._meant |= {} if ball.is_exact() else {value - k: ball - k for k in range(LOWERED + 1)}

    def constant(self, value: int | float | bool) -> Cell:
        return self.number(value, DOUBLE)

    def scalar(self, value: float | bool) -> Cell:
        return self.number(value, DOUBLE)

    def number(self, value: float | bool, form: Format) -> Cell:
        if isinstance(value, bool):
            return value
        if value in self._meant:
            return self._meant[value]
        if not math.isfinite(value):
            return arb(value)
        numerator, denominator = value.as_integer_ratio()
        if (denominator <= _SHORT[1] and abs(numerator) <= _SHORT[0]) or (denominator == 1 and abs(numerator) <= _WHOLE):
            return arb(value)
        if abs(numerator) == 1 or abs(value) in _LARGEST:
            return arb(value)
        return arb(value) + arb(0, form.gap(value) * CONSTANT_ULPS)

    def data(self, values: Sequence[float | bool], form: Format) -> list[Cell]:
        return [value if isinstance(value, bool) else arb(value) for value in values]

    def convert(self, cell: Cell, form: Format) -> Cell:
        return cell

    def still(self, cell: Cell, value: float | bool) -> Cell:
        return cell

    def total(self, cells: Sequence[Cell]) -> Cell:
        return sum(cells, _ZERO)

    def dot(self, xs: Sequence[Cell], ys: Sequence[Cell], parts: bool = False) -> Cell:
        return sum(map(mul, xs, ys), _ZERO)

    def products(self, xs: Sequence[Cell], ys: Sequence[Cell], sizes: Sizes, parts: bool = False) -> list[Cell]:
        return at_once(xs, ys, sizes) if many(xs, ys, sizes) else by_rows(partial(self.dot, parts=parts), xs, ys, sizes)

    def truth(self, cell: Cell) -> Cell:
        return _row(syntax.NE)(cell, _ZERO) if isinstance(cell, arb) else cell

    def real(self, cell: Cell) -> Cell:
        return cell if isinstance(cell, arb) else _EITHER if cell is None else _ONE if cell else _ZERO

    def ranks(self, cells: Sequence[Cell]) -> list[list[int]]:
        return ranks(cells)

    def sorted(self, cells: Sequence[Cell]) -> list[Cell]:
        if self.tied(cells):
            return list(cells)
        # the k-th of numbers lies between the k-th of their lower and the k-th of their upper bounds
        bounds = [sorted(side, key=_EXACTLY) for side in ([c.lower() for c in cells], [c.upper() for c in cells])]
        return list(map(hull, *bounds))

    def tied(self, cells: Sequence[Cell]) -> bool:
        return all(c == cells[0] for c in cells)

    def lasting(self, cell: Cell, finite: bool) -> bool:
        return bool(cell.is_finite()) or not finite

    def within(self, form: Format | None) -> Layer:
        return self

    def function(self, row: Function) -> Callable[..., Cell] | None:
        return _row(row.name)

    def body(self, row: Function) -> Node:
        return definition(row.name)


class Rounded(Exact):
    """Balls that contain every float that the operations may return under the standard model of floating point,
    fl(f(x)) = f(x)(1 + d) + e with |d| at most the row's `ulps` and |e| the smallest subnormal (Higham, Accuracy and
    Stability of Numerical Algorithms, 2nd ed., section 2.2 and (2.8)).

    Not `limited`: in a format whose exponents have no limits, where nothing is lost to underflow, so that what only the limits
    explain shows.
    """

    operators = inline(syntax.NEG)
    stepwise = True
    strict = True

    def __init__(self, form: Format, limited: bool = True) -> None:
        super().__init__()
        self.programs = kept(type(self), form.name, limited)
        self.form, self.limited = form, limited
        self._least = form.smallest_subnormal if limited else 0.0
        self._functions: dict[str, Callable[..., Cell]] = {}
        self._shorter: dict[str, Rounded] = {}

    def within(self, form: Format | None) -> Layer:
        """Code that computes in a shorter format on its way rounds to that."""
        if form is None or form.bits >= self.form.bits:
            return self
        if form.name not in self._shorter:
            self._shorter[form.name] = Rounded(form, self.limited)
        return self._shorter[form.name]

    def scalar(self, value: float | bool) -> Cell:
        """The float itself: kernels use it as it is, or rounded to their format."""
        if isinstance(value, bool):
            return value
        cell = arb(value)
        return cell if significant(value) <= self.form.bits else self.convert(cell, self.form)

    constant = scalar

    def function(self, row: Function) -> Callable[..., Cell]:
        if row.name not in self._functions:
            self._functions[row.name] = self._widened(row)
        return self._functions[row.name]

    def model(self, row: Function) -> tuple[float, float]:
        """How far the float of a function evaluation may be off: relative to the result, and besides."""
        # Correct rounding errs by u relative; a kernel good to n ulps by 2*n*u (an ulp is up to 2*u of the result).
        relative = self.form.unit_roundoff * (1 if row.ulps == 1 else 2 * row.ulps)
        # Kernels that aren't correctly rounded may lose a subnormal result (the exp(95) in sigmoid(-95) overflows), in the
        # format they compute in, which is float32 for the shorter ones.
        lossy = self.limited and row.ulps != 1
        flushed = FORMATS["float64" if self.form.bits > 24 else "float32"].smallest_normal if lossy else 0.0
        absolute = self._least * row.ulps + flushed + 2 * self.form.unit_roundoff * row.ulps * row.absolute
        return relative, absolute

    def _widened(self, row: Function) -> Callable[..., Cell]:
        exact = _row(row.name)
        if row.ulps == 0:
            return exact
        relative, absolute = self.model(row)
        factor, offset = arb(1, relative), arb(0, absolute)

        def rounded(*cells: Cell) -> Cell:
            result = exact(*cells)
            return result if result.is_zero() and not row.absolute else result * factor + offset

        return rounded

    def convert(self, cell: Cell, form: Format) -> Cell:
        if not isinstance(cell, arb) or cell.is_zero():
            return cell
        return cell * arb(1, form.unit_roundoff) + arb(0, form.smallest_subnormal if self.limited else 0.0)

    def total(self, cells: Sequence[Cell]) -> Cell:
        """Any order of n - 1 additions errs by at most (n - 1)*u*sum(|x|) (Higham, section 4.2; without terms of second order:
        Jeannerod and Rump, SIAM J. Matrix Anal. Appl. 34 (2013), theorem 3.2). Adding a zero is no addition."""
        result = sum(cells, _ZERO)
        sizes = [abs(c) for c in cells if not c.is_zero()]
        return self._summed(result, sizes, len(sizes) - 1, 0.0, False) if len(sizes) > 1 else result

    def dot(self, xs: Sequence[Cell], ys: Sequence[Cell], parts: bool = False) -> Cell:
        """In any order, n products and their additions err by at most n*u*sum(|x*y|), and by the underflow of the products."""
        products = list(map(mul, xs, ys))
        result = sum(products, _ZERO)
        sizes = [abs(p) for p in products if not p.is_zero()]
        return self._summed(result, sizes, len(sizes), len(sizes) * self._least, parts) if sizes else result

    def products(self, xs: Sequence[Cell], ys: Sequence[Cell], sizes: Sizes, parts: bool = False) -> list[Cell]:
        """As `dot`: the sizes of products are products of sizes, and a product is 0 where a factor is."""
        if not many(xs, ys, sizes):
            return by_rows(partial(self.dot, parts=parts), xs, ys, sizes)
        rows, inner, columns = sizes
        weights = at_once(list(map(abs, xs)), list(map(abs, ys)), sizes)
        left, right = (
            np.array([not c.is_zero() for c in cells]).reshape(shape)
            for cells, shape in ((xs, (rows, inner)), (ys, (inner, columns)))
        )
        counts = (left.astype(np.float64) @ right.astype(np.float64)).reshape(-1).astype(int).tolist()
        found = zip(at_once(xs, ys, sizes), weights, counts, strict=True)
        return [self._summed(r, [w], n, n * self._least, parts) if n else r for r, w, n in found]

    def _summed(self, result: Cell, sizes: Sequence[Cell], operations: int, absolute: float, parts: bool) -> Cell:
        """A sum with what so many operations on numbers of these sizes may add. Kernels add 16-bit numbers in float32."""
        wide = self.form if parts else max(self.form, FORMATS["float32"], key=lambda form: form.bits)
        result += arb(0, 1) * (sum(sizes, _ZERO) * (operations * wide.unit_roundoff) + absolute)
        return result if wide is self.form else self.convert(result, self.form)


def ranks(balls: Sequence[Cell]) -> list[list[int]]:
    """The places of balls in ascending order, those of balls that overlap together; of all together where one is unknown."""
    if any(b.is_nan() for b in balls):
        return [list(range(len(balls)))]
    floats = [float(b.mid()) for b in balls]
    order = sorted(range(len(balls)), key=floats.__getitem__)
    if any(floats[i] == floats[j] for i, j in pairwise(order)):
        order.sort(key=lambda i: _EXACTLY(balls[i].mid()))
    found: list[list[int]] = []
    top = None
    for i in order:
        if top is None or balls[i] > top:
            found.append([])
            top = balls[i].upper()
        found[-1].append(i)
        top = top.max(balls[i].upper())
    return found


def _compare(x: Any, y: Any) -> int:
    return -1 if x < y else 1 if x > y else 0


_EXACTLY = cmp_to_key(_compare)
"""The order of balls without radius."""


def significant(value: float) -> int:
    """How many bits of significand a number needs (0 for infinities and nan)."""
    if not math.isfinite(value):
        return 0
    numerator = abs(value.as_integer_ratio()[0])
    return (numerator // (numerator & -numerator)).bit_length() if numerator else 0


class Symbolic:
    """SymPy expressions: the formula that the operations apply."""

    operators: Mapping[str, str] = SYMBOLS.operators
    stepwise = False
    strict = False

    def __init__(self) -> None:
        self.programs: dict[Any, Program] = {}
        self._constants: dict[Expression, Expression] = {}

    def constant(self, value: int | float | bool) -> Expression:
        return SYMBOLS.constant(value)

    def scalar(self, value: float | bool) -> Expression:
        return self.number(value, DOUBLE)

    def number(self, value: float | bool, form: Format) -> Expression:
        if not math.isfinite(value):
            infinity = Call(syntax.INF, ())
            if math.isnan(value):
                return opaque(Call(syntax.SUB, (infinity, infinity)))
            return opaque(infinity) if value > 0 else -opaque(infinity)
        if value in _KNOWN:
            return to_symbols(parse(_KNOWN[value]))
        return SYMBOLS.constant(value if isinstance(value, bool) or not float(value).is_integer() else int(value))

    def data(self, values: Sequence[float | bool], form: Format) -> list[Expression]:
        return [self.number(value, DOUBLE) for value in values]

    def convert(self, cell: Expression, form: Format) -> Expression:
        return cell

    def still(self, cell: Expression, value: float | bool) -> Expression:
        if _condition(cell) or not cell.free_symbols:
            return cell
        constant = sympy.Dummy(real=True)
        self._constants[constant] = self.released(cell)
        return constant

    def released(self, expression: Expression) -> Expression:
        """An expression with what the symbols of `still` stand for, after it was differentiated."""
        return expression.xreplace(self._constants)

    def total(self, cells: Sequence[Expression]) -> Expression:
        return reduce(add, cells, sympy.Integer(0))

    def dot(self, xs: Sequence[Expression], ys: Sequence[Expression], parts: bool = False) -> Expression:
        return self.total(list(map(mul, xs, ys)))

    def products(
        self, xs: Sequence[Expression], ys: Sequence[Expression], sizes: Sizes, parts: bool = False
    ) -> list[Expression]:
        return by_rows(self.dot, xs, ys, sizes)

    def ranks(self, cells: Sequence[Expression]) -> list[list[int]]:
        """The order of the floats: symbols have none."""
        return [[i] for i in range(len(cells))]

    def sorted(self, cells: Sequence[Expression]) -> list[Expression]:
        return list(cells)

    def tied(self, cells: Sequence[Expression]) -> bool:
        return True

    def lasting(self, cell: Expression, finite: bool) -> bool:
        return True

    def within(self, form: Format | None) -> Layer:
        return self

    def truth(self, cell: Expression) -> Expression:
        return cell if _condition(cell) else sympy.Ne(cell, 0, evaluate=cell.is_number)

    def real(self, cell: Expression) -> Expression:
        return where(cell, sympy.Integer(1), sympy.Integer(0)) if _condition(cell) else cell

    def function(self, row: Function) -> Callable[..., Expression] | None:
        return _SHOWN.get(row.name) or SYMBOLS.function(row)

    def body(self, row: Function) -> Node:
        return SYMBOLS.body(row)


def _at_most(x: Expression, y: Expression) -> Expression:
    """x <= y, where relu's result, compared with 0, is its argument: torch keeps the result only."""
    if isinstance(x, where) and y == 0 and x.args == (sympy.Gt(x.args[1], 0, evaluate=False), x.args[1], 0):
        x = x.args[1]
    return sympy.Le(x, y, evaluate=False)


def _normal(x: Expression) -> Expression:
    """The normal distribution function as it is taught; its definition in the table is the one that doesn't cancel."""
    return (1 + sympy.erf(x / sympy.sqrt(2))) / 2


_SHOWN: Mapping[str, Callable[..., Expression]] = MappingProxyType({syntax.LE: _at_most, "ndtr": _normal})
"""Cells of this layer alone, whose expressions are read and never evaluated."""


def _condition(cell: Expression) -> bool:
    return isinstance(cell, (bool, sympy.logic.boolalg.Boolean)) and not isinstance(cell, sympy.Symbol)


_KNOWN = {
    math.pi: "pi",
    math.e: "e",
    math.pi / 2: "pi/2",
    math.log(2): "log(2)",
    math.log(10): "log(10)",
    2.3025850929940455: "log(10)",  # as torch writes it
    1 / math.log(2): "1/log(2)",
    1 / math.log(10): "1/log(10)",
    math.sqrt(2): "sqrt(2)",
    math.sqrt(0.5): "1/sqrt(2)",
    2 / math.sqrt(math.pi): "2/sqrt(pi)",
    math.sqrt(math.pi) / 2: "sqrt(pi)/2",
    math.sqrt(2 * math.pi): "sqrt(2*pi)",
}
"""Doubles that stand for a constant in torch's formulas, by what to show for them."""

__all__ = ["Cell", "Exact", "Layer", "Rounded", "Symbolic"]
