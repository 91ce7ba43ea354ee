"""Derivatives by all inputs at once: numbers that know what they were made of.

Each number keeps the numbers that it was made of, and its derivative by each of them: certified, by the power series of
`algebra.series`, as along one direction. The chain rule, applied from the result back, then gives the derivative by every
input, whatever their number, for a few times the cost of the result (Griewank and Walther, Evaluating Derivatives, 2nd ed.,
section 3.2). What isn't certified to be analytic is nan as a whole; a decision that hangs on any input at all isn't taken,
where one direction may leave it alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from types import MappingProxyType
from typing import Any

from flint import arb, arb_series, ctx

from gradcheck_cli.algebra.layers import HULL
from gradcheck_cli.algebra.number import NAN, ONE, ZERO, Ball
from gradcheck_cli.algebra.series import LONG, SERIES, coefficient, constant
from gradcheck_cli.language import syntax
from gradcheck_cli.language.functions import Function

_later = count().__next__


class Taped:
    """A number that hangs on inputs. `made`: the numbers that it was made of, with its derivative by each (None: 1); an input
    was made of none. `number`: those that were made later have a larger one."""

    __slots__ = ("made", "number", "value")

    def __init__(self, value: Ball, made: tuple[tuple[Taped, Ball | None], ...] = ()) -> None:
        self.value, self.made, self.number = value, made, _later()

    def __getitem__(self, place: int) -> Ball:
        """The value, as of what has coefficients."""
        return self.value

    def __add__(self, other: Any) -> Taped:
        if type(other) is Taped:
            return Taped(self.value + other.value, ((self, None), (other, None)))
        return Taped(self.value + other, ((self, None),))

    __radd__ = __add__

    def __neg__(self) -> Taped:
        return Taped(-self.value, ((self, -ONE),))

    def __sub__(self, other: Any) -> Taped:
        if type(other) is Taped:
            return Taped(self.value - other.value, ((self, None), (other, -ONE)))
        return Taped(self.value - other, ((self, None),))

    def __rsub__(self, other: Any) -> Taped:
        return Taped(other - self.value, ((self, -ONE),))

    def __mul__(self, other: Any) -> Taped:
        if type(other) is Taped:
            return Taped(self.value * other.value, ((self, other.value), (other, self.value)))
        return Taped(self.value * other, ((self, arb(other)),))

    __rmul__ = __mul__


def added(cells: Sequence[Any]) -> Taped:
    """The sum of numbers, some of which hang on inputs: one number made of all of them."""
    value, made = ZERO, []
    for cell in cells:
        if type(cell) is Taped:
            made.append((cell, None))
            cell = cell.value
        value = value + cell
    return Taped(value, tuple(made))


def multiplied(xs: Sequence[Any], ys: Sequence[Any]) -> Taped:
    """The sum of products of such."""
    value, made = ZERO, []
    for x, y in zip(xs, ys, strict=True):
        left, right = (cell.value if type(cell) is Taped else cell for cell in (x, y))
        value = value + left * right
        if type(x) is Taped:
            made.append((x, right))
        if type(y) is Taped:
            made.append((y, left))
    return Taped(value, tuple(made))


def derivatives(result: Any, inputs: Sequence[Any]) -> list[Ball]:
    """The derivatives of a number by inputs; nan where it isn't known."""
    if type(result) is not Taped:
        return [ZERO if result.is_finite() else NAN] * len(inputs)
    if not result.value.is_finite():
        return [NAN] * len(inputs)
    found: dict[Taped, Ball] = {result: ONE}
    for number in sorted(_behind(result), key=lambda made: -made.number):
        weight = found[number]
        for source, slope in number.made:
            term = weight if slope is None else weight * slope
            before = found.get(source)
            found[source] = term if before is None else before + term
    return [found.get(x, ZERO) for x in inputs]


def _behind(result: Taped) -> set[Taped]:
    """All that a number was made of, and itself."""
    seen, waiting = {result}, [result]
    while waiting:
        for source, _ in waiting.pop().made:
            if source not in seen:
                seen.add(source)
                waiting.append(source)
    return seen


def recorded(row: Function, defined: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
    """A row of the function table on numbers some of which hang on inputs, others plain balls. `defined`: the same by its
    definition. Series must have two terms."""
    if row.name == syntax.MUL:
        return lambda x, y: x * y
    if row.name == syntax.DIV:
        return _quotient
    if row.name in _SLOPES:
        return _sloped(HULL.evaluate(row.name), _SLOPES[row.name])
    series = SERIES.function(row)
    if series is None:
        return defined()
    if row.truth:
        return lambda *cells: series(*[(c.value if type(c) is Taped else c,) for c in cells])
    return lambda *cells: _lifted(series, cells)


def _quotient(x: Any, y: Any) -> Taped:
    """By x 1/y, by y -(x/y)/y."""
    above, below = (c.value if type(c) is Taped else c for c in (x, y))
    value, inverse = above / below, ONE / below
    if not (value.is_finite() and inverse.is_finite()):
        return Taped(NAN)
    made: list[tuple[Taped, Ball | None]] = [(x, inverse)] if type(x) is Taped else []
    if type(y) is Taped:
        made.append((y, -value * inverse))
    return Taped(value, tuple(made))


_HALF = ONE / 2

_SLOPES: Mapping[str, Callable[[Ball, Ball], Ball]] = MappingProxyType(
    {
        "exp": lambda x, y: y,
        "log": lambda x, y: ONE / x,
        "sqrt": lambda x, y: _HALF / y,
        "sin": lambda x, y: x.cos(),
        "cos": lambda x, y: -x.sin(),
    }
)
"""Derivatives of functions that are met often, from the argument and the value: a power series of two terms takes ten times as
long. They have one wherever both are finite."""


def _sloped(function: Callable[[Ball], Ball], slope: Callable[[Ball, Ball], Ball]) -> Callable[[Taped], Taped]:
    def run(x: Taped) -> Taped:
        value = function(x.value)
        rate = slope(x.value, value)
        return Taped(value, ((x, rate),)) if value.is_finite() and rate.is_finite() else Taped(NAN)

    return run


def _lifted(series: Callable[..., Any], cells: tuple[Any, ...]) -> Any:
    """A function by what it makes of each number alone that hangs on inputs, the others held."""
    fixed = [constant(c.value if type(c) is Taped else c) if type(c) in (Taped, arb) else c for c in cells]
    if not all(c.value.is_finite() for c in cells if type(c) is Taped):
        return Taped(NAN)
    value, made = None, []
    for place, cell in enumerate(cells):
        if type(cell) is not Taped:
            continue
        given, fixed[place] = fixed[place], arb_series([cell.value, ONE], ctx.cap)
        found = series(*fixed)
        fixed[place], value = given, found[0]
        if found.prec < LONG:  # else a branch that doesn't move
            slope = coefficient(found, 1)
            if not (value.is_finite() and slope.is_finite()):
                return Taped(NAN)
            made.append((cell, slope))
    return Taped(value, tuple(made)) if made else value
