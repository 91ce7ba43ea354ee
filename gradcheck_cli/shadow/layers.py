"""What the shadow keeps beside each float: a ball in exact arithmetic, a ball that allows for rounding, or a symbol.

Each layer is an algebra over the same definitions, plus how a float that the shadow has never seen enters it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Protocol

from flint import arb, ctx

from gradcheck_cli.algebra import balls
from gradcheck_cli.algebra.balls import BallAlgebra, hull
from gradcheck_cli.algebra.program import Program
from gradcheck_cli.algebra.symbols import SYMBOLS, Expression, opaque
from gradcheck_cli.floats import FORMATS, Format
from gradcheck_cli.language.functions import TABLE, Function
from gradcheck_cli.language.parser import definition
from gradcheck_cli.language.tree import Call, Constant, Node, Variable

Cell = Any

DOUBLE = FORMATS["float64"]


class Layer(Protocol):
    """One kind of shadow: an algebra and the way in for floats."""

    operators: Mapping[str, str]

    def constant(self, value: int | float | bool) -> Any: ...
    def function(self, row: Function) -> Callable[..., Any] | None: ...
    def body(self, row: Function) -> Node: ...
    def number(self, value: float | bool, form: Format) -> Cell:
        """The cell of a float of format `form` that no operation of the shadow has made."""


def _where(condition: bool | None, x: Cell, y: Cell) -> Cell:
    """A choice that isn't decided encloses both branches."""
    return x if condition else hull(x, y) if condition is None else y


HULL = BallAlgebra(MappingProxyType({"where": _where}))


@cache
def _row(name: str) -> Callable[..., Cell]:
    """A row of the function table as a function on balls, undecided choices enclosed."""
    row = TABLE[name]
    direct = HULL.function(row)
    if direct is not None:
        return direct
    names = [p.name for p in row.parameters]
    integers = {p.name for p in row.parameters if p.kind == "integer"}
    assert not integers, f"{name}: a defined row with an integer setting"
    program = Program([Call(name, tuple(Variable(n) for n in names))], names, HULL, lambda: ctx.prec)
    return lambda *cells: program(*cells)[0]


class Exact:
    """Balls without rounding: what the operations return in exact arithmetic.

    A constant that isn't a short binary fraction (0.1, 0.7978845608028654) stands for the number that its author meant,
    which lies within half an ulp: its ball has that radius, so that no formula is called wrong for a rounded constant.
    """

    operators: Mapping[str, str] = MappingProxyType({})

    def constant(self, value: int | float | bool) -> Cell:
        return self.number(value, DOUBLE)

    def number(self, value: float | bool, form: Format) -> Cell:
        if isinstance(value, bool) or value != value or value in (float("inf"), float("-inf")):
            return value if isinstance(value, bool) else arb(value)
        numerator, denominator = value.as_integer_ratio()
        if denominator <= 1 << 20 and abs(numerator) <= 1 << 30 or denominator == 1:
            return arb(value)
        return arb(value) + arb(0, float(form.ulp(value)) / 2)

    def function(self, row: Function) -> Callable[..., Cell] | None:
        return _row(row.name)

    def body(self, row: Function) -> Node:
        return definition(row.name)


class Rounded(Exact):
    """Balls that contain every float that the operations may return under the standard model of floating point,
    fl(f(x)) = f(x)(1 + d) + e with |d| at most the row's `ulps` and |e| the smallest subnormal (Higham, Accuracy and
    Stability of Numerical Algorithms, 2nd ed., section 2.2 and (2.8)).
    """

    def __init__(self, form: Format) -> None:
        self.form = form
        self._functions: dict[str, Callable[..., Cell]] = {}

    def function(self, row: Function) -> Callable[..., Cell]:
        if row.name not in self._functions:
            self._functions[row.name] = self._widened(row)
        return self._functions[row.name]

    def _widened(self, row: Function) -> Callable[..., Cell]:
        exact = _row(row.name)
        if row.name in _SELECT:
            return exact
        # Correct rounding errs by u relative; a kernel good to n ulps by 2*n*u (an ulp is up to 2*u of the result).
        relative = arb(self.form.unit_roundoff * (1 if row.ulps == 1 else 2 * row.ulps))
        absolute = arb(self.form.smallest_subnormal * row.ulps + 2 * self.form.unit_roundoff * row.ulps * row.absolute)

        def rounded(*cells: Cell) -> Cell:
            result = exact(*cells)
            if not isinstance(result, arb) or (result.is_exact() and result.is_zero()):
                return result
            return result + arb(0, (result.abs_upper() * relative + absolute).upper()) if result.is_finite() else result

        return rounded

    def round(self, cell: Cell) -> Cell:
        """The cell of a conversion to this format."""
        if not isinstance(cell, arb) or not cell.is_finite() or (cell.is_exact() and cell.is_zero()):
            return cell
        return cell + arb(0, (cell.abs_upper() * self.form.unit_roundoff + self.form.smallest_subnormal).upper())


_SELECT = frozenset({
    "lt", "le", "gt", "ge", "eq", "ne", "logical_and", "logical_or", "logical_not", "where", "neg", "abs", "sign", "floor",
    "ceil", "trunc", "round", "maximum", "minimum", "fmax", "fmin", "relu", "clamp", "clamp_min", "clamp_max", "copysign",
    "heaviside", "relu6", "hardtanh", "threshold", "hardshrink",
})  # fmt: skip
"""Rows that only choose among floats, or change a sign: they don't round."""


class Symbolic:
    """SymPy expressions: the formula that the operations apply."""

    operators: Mapping[str, str] = SYMBOLS.operators

    def constant(self, value: int | float | bool) -> Expression:
        return SYMBOLS.constant(value)

    def number(self, value: float | bool, form: Format) -> Expression:
        if value != value or value in (float("inf"), float("-inf")):
            return opaque(Call("inf", ()) if value == value else Call("sub", (Call("inf", ()), Call("inf", ()))))
        return SYMBOLS.constant(value if isinstance(value, bool) or not float(value).is_integer() else int(value))

    def function(self, row: Function) -> Callable[..., Expression] | None:
        return SYMBOLS.function(row)

    def body(self, row: Function) -> Node:
        return SYMBOLS.body(row)


__all__ = ["Cell", "Constant", "Exact", "Layer", "Rounded", "Symbolic", "balls"]
